// Reads the time that tests/support/synthetic_stream.py draws into its pictures, at every picture that is shown.
// `barcode.shown`: [page's clock in ms, ms from the picture's making to the screen] of each.
(() => {
  const BITS = 24;
  const SQUARE = 1 / 32;
  const canvas = document.createElement('canvas');
  canvas.width = 320;
  canvas.height = 10;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const shown = [];
  const read = (video) => {
    context.drawImage(video, 0, 0, video.videoWidth, video.videoWidth / 32, 0, 0, canvas.width, canvas.height);
    const { data } = context.getImageData(0, 5, canvas.width, 1);
    const light = (place) => data[4 * Math.floor((place + 0.5) * SQUARE * canvas.width)];
    if (light(BITS) < 160 || light(BITS + 1) > 90) return null;
    let word = 0;
    for (let place = 0; place < BITS; place++) word = word * 2 + (light(place) > 128 ? 1 : 0);
    return word;
  };
  const watch = (video) => {
    const frame = (_, { expectedDisplayTime }) => {
      const made = read(video);
      if (made !== null) {
        const at = performance.timeOrigin + expectedDisplayTime;
        const late = (Math.floor(at) % 2 ** BITS) - made;
        shown.push([performance.now(), late < -(2 ** (BITS - 1)) ? late + 2 ** BITS : late]);
      }
      video.requestVideoFrameCallback(frame);
    };
    video.requestVideoFrameCallback(frame);
  };
  globalThis.barcode = { shown, watch, read };
})();
