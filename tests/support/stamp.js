// Reads the time that sfu/bots/picture.py draws into its pictures, at every picture that is shown: the corner of a picture
// that fills the whole screen. As barcode.js: `barcode.shown`: [page's clock in ms, ms from drawing to the screen] of each.
(() => {
  const [COLUMNS, ROWS, CELLS, PIXELS] = [8, 6, 18, 4];
  const canvas = document.createElement('canvas');
  canvas.width = COLUMNS * PIXELS;
  canvas.height = ROWS * PIXELS;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const shown = [];
  const crc = (bytes) => {
    let rest = -1;
    for (const byte of bytes) {
      rest ^= byte;
      for (let bit = 0; bit < 8; bit++) rest = (rest >>> 1) ^ (rest & 1 ? 0xedb88320 : 0);
    }
    return ~rest & 0xff;
  };
  const read = (video) => {
    const cell = video.videoHeight / CELLS;
    context.drawImage(video, 0, 0, COLUMNS * cell, ROWS * cell, 0, 0, canvas.width, canvas.height);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    const bytes = [];
    for (let row = 0; row < ROWS; row++) {
      let byte = 0;
      for (let column = 0; column < COLUMNS; column++) {
        const at = ((row + 0.5) * PIXELS * canvas.width + (column + 0.5) * PIXELS) * 4;
        byte = byte * 2 + (data[at] > 128 ? 1 : 0);
      }
      bytes.push(byte);
    }
    return crc(bytes.slice(0, 5)) === bytes[5] ? bytes.slice(0, 5).reduce((sum, byte) => sum * 256 + byte, 0) : null;
  };
  const watch = (video) => {
    const frame = (_, { expectedDisplayTime }) => {
      const drawn = read(video);
      if (drawn !== null) {
        const at = performance.timeOrigin + expectedDisplayTime;
        shown.push([performance.now(), Math.round((Math.floor(at) % 2 ** 40) - drawn)]);
      }
      video.requestVideoFrameCallback(frame);
    };
    video.requestVideoFrameCallback(frame);
  };
  globalThis.barcode = { shown, watch, read };
})();
