// Runs in a page before its own scripts: with `test-key` in the address, it scrambles each coded frame that the page sends
// and restores each that it receives, so that the server cannot read the media that it forwards. Not a secure cipher.
(() => {
  const key = Number(new URLSearchParams(location.hash.slice(1)).get('test-key'));
  const sealed = (window.sealed = { opened: 0, refused: 0 });
  if (!key) return;

  const work = () => {
    const TRAILER = 4;
    const sum = (bytes) => bytes.reduce((all, byte) => (Math.imul(all ^ byte, 16777619)) >>> 0, 2166136261);
    // The first byte stays: in it the server sees where a keyframe begins.
    const mask = (bytes, key) => {
      let state = key >>> 0;
      for (let at = 1; at < bytes.length; at++) {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        bytes[at] ^= state >>> 24;
      }
    };
    self.onrtctransform = ({ transformer }) => {
      const { seals, key } = transformer.options;
      const transform = (frame, controller) => {
        const data = new Uint8Array(frame.data);
        if (seals) {
          const out = new Uint8Array(data.length + TRAILER);
          out.set(data);
          new DataView(out.buffer).setUint32(data.length, sum(data));
          mask(out, key);
          frame.data = out.buffer;
        } else {
          if (data.length <= TRAILER) return;
          mask(data, key);
          const plain = data.slice(0, -TRAILER);
          const whole = sum(plain) === new DataView(data.buffer).getUint32(plain.length);
          self.postMessage(whole);
          if (!whole) return;
          frame.data = plain.buffer;
        }
        controller.enqueue(frame);
      };
      transformer.readable.pipeThrough(new TransformStream({ transform })).pipeTo(transformer.writable);
    };
  };
  const worker = new Worker(URL.createObjectURL(new Blob([`(${work})()`], { type: 'text/javascript' })));
  worker.onmessage = ({ data }) => (data ? sealed.opened++ : sealed.refused++);

  const Connection = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Connection {
    constructor(...rest) {
      super(...rest);
      this.addEventListener('track', ({ receiver }) => {
        receiver.transform ??= new RTCRtpScriptTransform(worker, { seals: false, key });
      });
    }

    addTransceiver(...rest) {
      const transceiver = super.addTransceiver(...rest);
      transceiver.sender.transform = new RTCRtpScriptTransform(worker, { seals: true, key });
      return transceiver;
    }
  };
})();
