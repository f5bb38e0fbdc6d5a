// A camera that shows a drawn person in a drawn room, for the picture of a meeting: `#drawn=0` … `5` in the address.
(() => {
  const number = new URLSearchParams(location.hash.slice(1)).get('drawn');
  if (number === null || !navigator.mediaDevices) return;

  const PEOPLE = [
    { wall: ['#e9dcc9', '#cdb79b'], skin: '#f0c8a4', hair: '#5b3a21', shirt: '#2f6f6d', style: 'long', room: 'window' },
    { wall: ['#cfdde6', '#9db5c4'], skin: '#8d5a3b', hair: '#1d1512', shirt: '#e0a33a', style: 'short', room: 'shelf', beard: true },
    { wall: ['#e6d3d8', '#c4a2ac'], skin: '#d9a47c', hair: '#2b1d1a', shirt: '#7a4a8c', style: 'bun', room: 'plant' },
    { wall: ['#d8e3cf', '#a9bd98'], skin: '#f3d3b8', hair: '#c9883e', shirt: '#34507a', style: 'short', room: 'lamp', glasses: true },
    { wall: ['#dcd8ea', '#aea6cb'], skin: '#6f4530', hair: '#17110f', shirt: '#c9503f', style: 'curls', room: 'window' },
    { wall: ['#efe2c2', '#d2bb84'], skin: '#eec3a0', hair: '#b9b4ad', shirt: '#5a6b4f', style: 'short', room: 'plant', glasses: true },
  ];
  const person = PEOPLE[Number(number) % PEOPLE.length];
  const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 360 });
  const c = canvas.getContext('2d');
  c.scale(0.5, 0.5);

  const shape = (fill, path) => {
    c.beginPath();
    path();
    c.fillStyle = fill;
    c.fill();
  };
  const oval = (fill, x, y, rx, ry, turn = 0) => shape(fill, () => c.ellipse(x, y, rx, ry, turn, 0, 2 * Math.PI));
  const box = (fill, x, y, width, height, round = 0) => shape(fill, () => c.roundRect(x, y, width, height, round));
  const shade = (from, to, x0, y0, x1, y1) => {
    const gradient = c.createLinearGradient(x0, y0, x1, y1);
    gradient.addColorStop(0, from);
    gradient.addColorStop(1, to);
    return gradient;
  };
  const mixed = (colour, with_, share) => `color-mix(in srgb, ${colour} ${100 - share}%, ${with_})`;

  const ROOMS = {
    window() {
      box('#fffaf0', 820, 50, 330, 400, 6);
      box(shade('#a9d4ec', '#e8f4f4', 0, 60, 0, 440), 838, 68, 294, 364);
      c.save();
      c.beginPath();
      c.rect(838, 68, 294, 364);
      c.clip();
      oval('#8fb98a', 900, 450, 150, 70);
      oval('#7ba877', 1080, 460, 140, 90);
      c.restore();
      box('#fffaf0', 978, 60, 14, 380);
      box('#fffaf0', 830, 236, 310, 14);
      box('#fffaf0', 800, 440, 370, 22, 5);
    },
    shelf() {
      const books = ['#b5533c', '#e2b04a', '#41657f', '#7d8f69', '#8c5a7c', '#d98d62', '#335c67'];
      for (const [row, y] of [120, 290, 460].entries()) {
        box('#8a6a4c', 760, y + 96, 460, 14, 3);
        for (let index = 0, x = 775; x < 1180; index++) {
          const width = 24 + ((index * 7 + row * 5) % 4) * 7;
          const height = 70 + ((index * 11 + row * 3) % 5) * 6;
          if ((index + row * 2) % 6 !== 5) box(books[(index * 3 + row) % books.length], x, y + 96 - height, width, height, 3);
          x += width + 4;
        }
      }
    },
    plant() {
      box('#b8643f', 1000, 560, 150, 160, 14);
      for (let index = 0; index < 9; index++) {
        const turn = -1.25 + index * 0.31;
        oval(index % 2 ? '#4f7f55' : '#3f6b47', 1075 + Math.sin(turn) * 130, 560 - Math.cos(turn) * 170, 34, 120, turn);
      }
      box('#ffffff66', 130, 90, 210, 260, 4);
      oval('#e58b6b', 235, 190, 52, 52);
      oval('#47635a', 235, 310, 90, 46);
    },
    lamp() {
      const glow = c.createRadialGradient(1050, 250, 20, 1050, 250, 330);
      glow.addColorStop(0, '#fff3c8cc');
      glow.addColorStop(1, '#fff3c800');
      oval(glow, 1050, 250, 330, 330);
      box('#5d5348', 1044, 250, 12, 480);
      shape('#f7e3a8', () => {
        c.moveTo(990, 180);
        c.lineTo(1110, 180);
        c.lineTo(1150, 300);
        c.lineTo(950, 300);
      });
    },
  };

  const HAIR = {
    behind: {
      long: (fill) => box(fill, 478, 190, 324, 420, 150),
      bun: (fill) => oval(fill, 640, 118, 72, 66),
      curls: (fill) => {
        for (let index = 0; index < 14; index++) {
          const turn = (index / 13) * Math.PI * 1.35 - Math.PI * 1.175;
          oval(fill, 640 + Math.cos(turn) * 158, 290 + Math.sin(turn) * 158, 62, 62);
        }
      },
      short: () => {},
    },
    front: (fill) =>
      shape(fill, () => {
        c.moveTo(500, 330);
        c.bezierCurveTo(480, 90, 800, 90, 780, 330);
        c.bezierCurveTo(765, 250, 735, 222, 690, 214);
        c.bezierCurveTo(620, 236, 545, 230, 500, 330);
      }),
  };

  function draw(now) {
    const { wall, skin, hair, shirt, style, room, beard, glasses } = person;
    const phase = now / 1000 + Number(number) * 1.7;
    c.fillStyle = shade(wall[0], wall[1], 0, 0, 400, 720);
    c.fillRect(0, 0, 1280, 720);
    ROOMS[room]();
    c.save();
    c.translate(-90 + Math.sin(phase * 0.7) * 6, Math.sin(phase * 1.3) * 3 + 14);
    HAIR.behind[style](mixed(hair, '#000', 18));
    box(mixed(skin, '#000', 16), 575, 430, 130, 150, 50);
    shape(shade(mixed(shirt, '#fff', 10), mixed(shirt, '#000', 22), 0, 540, 0, 740), () => {
      c.moveTo(320, 760);
      c.bezierCurveTo(330, 590, 470, 560, 575, 535);
      c.bezierCurveTo(610, 590, 670, 590, 705, 535);
      c.bezierCurveTo(810, 560, 950, 590, 960, 760);
    });
    c.translate(640, 330);
    c.rotate(Math.sin(phase * 0.9) * 0.03);
    c.translate(-640, -330);
    oval(skin, 500, 345, 24, 38);
    oval(skin, 780, 345, 24, 38);
    oval(shade(mixed(skin, '#fff', 12), mixed(skin, '#000', 6), 540, 180, 740, 500), 640, 335, 142, 172);
    if (beard) {
      shape(hair, () => {
        c.moveTo(500, 350);
        c.bezierCurveTo(505, 560, 775, 560, 780, 350);
        c.bezierCurveTo(760, 430, 700, 400, 640, 404);
        c.bezierCurveTo(580, 400, 520, 430, 500, 350);
      });
    }
    HAIR.front(hair);
    const blink = Math.sin(phase * 1.1) > 0.985 ? 0.1 : 1;
    for (const x of [588, 692]) {
      oval('#fffdf8', x, 330, 21, 15 * blink);
      oval('#3a2a20', x + Math.sin(phase * 0.4) * 4, 331, 10, 11 * blink);
      box(mixed(hair, '#000', 25), x - 26, 293, 52, 9, 5);
    }
    if (glasses) {
      c.strokeStyle = '#33302c';
      c.lineWidth = 7;
      c.beginPath();
      c.roundRect(550, 304, 78, 56, 22);
      c.roundRect(652, 304, 78, 56, 22);
      c.moveTo(628, 326);
      c.lineTo(652, 326);
      c.stroke();
    }
    oval(mixed(skin, '#a33', 22), 640, 376, 17, 11);
    const mouth = 10 + Math.abs(Math.sin(phase * 5)) * 9;
    shape('#8c3b36', () => c.ellipse(640, 428, 44, mouth, 0, 0, Math.PI));
    box('#fffaf4', 606, 427, 68, 7, 3);
    c.restore();
  }

  draw(0);
  setInterval(() => draw(performance.now()), 125);
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => (wanted.video ? canvas.captureStream(8) : open(wanted));
})();
