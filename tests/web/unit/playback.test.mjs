// Playback of a live stream: what a start that fails, or a pause by the browser, does to the sound.
import assert from 'node:assert/strict';
import { test } from 'node:test';

globalThis.document ??= { hidden: false, pictureInPictureElement: null };
const { Playback } = await import('../../../web/watch/playback.js');

/** An element whose `play` fails with these errors, in turn, and then plays. */
function video(...errors) {
  return {
    paused: true,
    muted: false,
    ended: false,
    controls: false,
    async play() {
      const name = errors.shift();
      if (name) throw new DOMException('', name);
      this.paused = false;
    },
  };
}

function playback(element) {
  return new Playback(element, { active: () => true, resume: () => {}, unmuted: () => {}, show: () => {} });
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

test('autoplay rules: it plays without sound', async () => {
  const element = video('NotAllowedError');
  const player = playback(element);
  await player.play();
  assert.deepEqual([element.paused, element.muted, player.prompts.silenced], [false, true, true]);
});

test('a start that new media interrupts begins again with sound', async () => {
  const element = video('AbortError');
  const player = playback(element);
  await player.play();
  assert.equal(element.paused, true);
  player.check();
  await settled();
  assert.deepEqual([element.paused, element.muted, player.prompts.silenced], [false, false, false]);
});

test('a pause by the browser: it goes on without sound', async () => {
  const element = video();
  const player = playback(element);
  await player.play();
  element.paused = true;
  player.check();
  await settled();
  assert.deepEqual([element.paused, element.muted], [false, true]);
});

test('an element that nothing has started yet was not paused by the browser', async () => {
  const element = video();
  const player = playback(element);
  player.reset();
  player.check();
  await settled();
  assert.deepEqual([element.paused, element.muted], [true, false]);
  await player.play();
  assert.deepEqual([element.paused, element.muted], [false, false]);
});
