import assert from 'node:assert/strict';
import { test } from 'node:test';

const mediaDevices = new EventTarget();
globalThis.document = new EventTarget();
Object.defineProperty(globalThis, 'navigator', { value: { mediaDevices }, configurable: true });
const page = new EventTarget();
globalThis.addEventListener = page.addEventListener.bind(page);
globalThis.setInterval = () => 0; // signs alone
globalThis.MediaStream = class {
  active = true;
};
class FakeAudio extends EventTarget {
  paused = true;
  srcObject = null;
  async play() {
    this.paused = false;
  }
}
const elements = [];
globalThis.Audio = class extends FakeAudio {
  constructor() {
    super();
    elements.push(this);
  }
};
const { Sound } = await import('../../../web/page/sound.js');
const settle = () => new Promise((resolve) => setImmediate(resolve));

const SIGNS = [
  [globalThis.document, 'visibilitychange'],
  [globalThis.document, 'pointerdown'],
  [globalThis.document, 'keydown'],
  [globalThis.document, 'touchend'],
  [page, 'focus'],
  [page, 'pageshow'],
  [mediaDevices, 'devicechange'],
];

for (const [target, name] of SIGNS) {
  test(`an interrupted element resumes on ${name}`, async () => {
    elements.length = 0;
    new Sound(() => {}).play(new Map([['TR_1', { kind: 'audio' }]]));
    await settle();
    assert.equal(elements[0].paused, false);
    elements[0].paused = true;
    target.dispatchEvent(new Event(name));
    await settle();
    assert.equal(elements[0].paused, false);
  });
}

test('an ended track is not restarted', async () => {
  elements.length = 0;
  const reports = [];
  const sound = new Sound((blocked) => reports.push(blocked));
  sound.play(new Map([['TR_1', { kind: 'audio' }]]));
  await settle();
  elements[0].paused = true;
  elements[0].srcObject.active = false;
  sound.check();
  await settle();
  assert.equal(elements[0].paused, true);
  assert.deepEqual(reports, []);
});
