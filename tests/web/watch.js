// Runs in every page before its own scripts: keeps hold of what a test wants to look at and the page does not show.
(() => {
  const FRAME_MS = 100;
  const watched = { connections: [], sockets: [], sent: [], marks: [], samples: [], sampling: null, players: new Set() };
  const mark = (name, detail = null) => watched.marks.push({ name, at: performance.now(), detail });

  const Connection = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Connection {
    constructor(...rest) {
      super(...rest);
      const number = watched.connections.push(this) - 1;
      this.addEventListener('connectionstatechange', () => mark('connection', `${number} ${this.connectionState}`));
      this.addEventListener('track', ({ track }) => mark('track', track.kind));
    }

    close() {
      // The page's check of what the browser supports. (Firefox tells nothing of a closed connection.)
      const open = this.signalingState !== 'closed';
      const unused = open && !this.localDescription && !this.remoteDescription && !this.getTransceivers().length;
      super.close();
      if (unused && watched.connections.at(-1) === this) watched.connections.pop();
    }
  };

  const Socket = window.WebSocket;
  window.WebSocket = class extends Socket {
    constructor(...rest) {
      super(...rest);
      watched.sockets.push(this);
      const send = this.send.bind(this);
      this.send = (data) => {
        watched.sent.push(data.length);
        send(data);
      };
      this.addEventListener('message', ({ data }) => {
        for (const message of [JSON.parse(data)].flat()) {
          if (message.type === 'joined') mark('joined', { resumed: Boolean(message.resumed), session: message.session });
          else if (message.type !== 'speakers') mark(message.type, message.type === 'offer' ? null : message);
        }
      });
    }
  };
  const { play } = HTMLMediaElement.prototype;
  HTMLMediaElement.prototype.play = function () {
    watched.players.add(this);
    return play.call(this);
  };
  document.addEventListener('loadeddata', ({ target }) => mark('picture', target.closest?.('[data-track]')?.dataset.track ?? ''), true);

  // The page draws ten times a second: one machine renders the pages of all participants.
  const frame = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (draw) => window.setTimeout(() => frame(draw), FRAME_MS);

  // A test may ask for a smaller or slower camera than the page would: the machine that runs it encodes for everybody.
  const devices = navigator.mediaDevices;
  const options = new URLSearchParams(location.hash.slice(1));
  const camera = options.get('test-camera');
  if (devices && camera) {
    const [width, height, frameRate] = camera.split('x').map(Number);
    // The made-up microphone has no echo: without cancellation, a meeting of two uses a fifth less CPU time. Between its beeps it
    // is silent then; with `test-microphone=processed` it has an even level.
    const processed = options.get('test-microphone') === 'processed';
    const raw = processed ? {} : { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
    const open = devices.getUserMedia.bind(devices);
    devices.getUserMedia = ({ audio, video }) =>
      open({ audio: audio && { ...audio, ...raw }, video: video && { width, height, frameRate } });
  }

  /** Every RTP stream of this page, in and out, with the name of its codec. */
  watched.streams = async () => {
    const found = [];
    for (const [number, connection] of watched.connections.entries()) {
      if (connection.connectionState === 'closed') continue;
      const report = await connection.getStats();
      for (const entry of report.values()) {
        if (entry.type !== 'inbound-rtp' && entry.type !== 'outbound-rtp') continue;
        const codec = report.get(entry.codecId);
        found.push({
          ...entry,
          connection: number,
          mime: codec?.mimeType ?? '',
          fmtp: codec?.sdpFmtpLine ?? '',
          energy: entry.totalAudioEnergy ?? 0,
        });
      }
    }
    return found;
  };

  /** Received pictures by the id of their track as the server names it. */
  watched.pictures = async () => {
    const tracks = window.sfu.room?.subscriber?.tracks ?? new Map();
    const found = {};
    for (const entry of await watched.streams()) {
      if (entry.type === 'inbound-rtp' && tracks.has(entry.mid)) found[tracks.get(entry.mid)] = entry;
    }
    return found;
  };

  /** From now on, notes when each layer that this page sends first carried a frame, in seconds since the connection stood. */
  watched.layers = () => {
    watched.reached = {};
    setInterval(async () => {
      const start = watched.marks.find(({ name, detail }) => name === 'connection' && detail.endsWith(' connected'));
      for (const { type, rid, framesSent, bytesSent, frameWidth } of await watched.streams()) {
        if (type !== 'outbound-rtp' || !rid || !start || !framesSent || !bytesSent) continue;
        watched.reached[rid] ??= { after: (performance.now() - start.at) / 1000, width: frameWidth };
      }
    }, 100);
  };

  /** From now on, notes of every received picture how far it is, ten times a second. */
  watched.sample = async () => {
    clearInterval(watched.sampling);
    watched.samples = [];
    const look = async () => {
      const at = performance.now();
      for (const [track, entry] of Object.entries(await watched.pictures())) {
        if (entry.kind !== 'video') continue;
        const { framesDecoded = 0, frameWidth = 0, freezeCount = 0 } = entry;
        watched.samples.push({ at, track, frames: framesDecoded, width: frameWidth, freezes: freezeCount });
      }
    };
    await look();
    watched.sampling = setInterval(look, 100);
  };

  window.watched = watched;
})();
