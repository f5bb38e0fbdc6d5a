import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConnectionLost, RequestError } from '../../../web/client/errors.js';
import { Socket } from '../../../web/client/socket.js';

/** A clock that advances only on request. */
class Timers {
  now = 0;
  #next = 1;
  #waiting = new Map();

  setTimeout = (callback, ms) => {
    this.#waiting.set(this.#next, { at: this.now + ms, callback });
    return this.#next++;
  };

  clearTimeout = (handle) => this.#waiting.delete(handle);

  async pass(ms) {
    const end = this.now + ms;
    for (;;) {
      const due = [...this.#waiting].filter(([, { at }]) => at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (!due) break;
      this.#waiting.delete(due[0]);
      this.now = due[1].at;
      due[1].callback();
      await settle();
    }
    this.now = end;
  }
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

/** The server's end of every socket that was opened. */
function world({ join = () => ({ type: 'join', token: 'T' }), why = async () => null } = {}) {
  const sockets = [];
  class FakeWebSocket {
    readyState = 0;
    sent = [];
    constructor(url, protocol) {
      this.url = url;
      this.protocol = protocol;
      sockets.push(this);
    }
    open() {
      this.readyState = 1;
      this.onopen?.({});
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    push(message) {
      this.onmessage?.({ data: JSON.stringify(message) });
    }
    close() {
      this.readyState = 3;
    }
    drop(code = 1006) {
      this.readyState = 3;
      this.onclose?.({ code });
    }
  }
  const timers = new Timers();
  const socket = new Socket({ url: 'ws://x/ws', join, WebSocket: FakeWebSocket, timers, random: () => 0.5, why });
  const events = [];
  for (const name of ['joined', 'waiting', 'message', 'reconnecting', 'closed']) {
    socket.on(name, (value) => events.push([name, value]));
  }
  const of = (name) => events.filter(([event]) => event === name).map(([, value]) => value);
  return { socket, sockets, timers, of };
}

const joined = (id, more = {}) => ({ type: 'joined', id, resume_key: 'KEY', heartbeat: 30, n: 10, ...more });

async function entered(options) {
  const it = world(options);
  it.socket.open();
  await settle();
  it.sockets[0].open();
  it.sockets[0].push(joined(1));
  return it;
}

test('the first message is the join, on the subprotocol sfu', async () => {
  const { sockets, of } = await entered();
  assert.equal(sockets[0].protocol, 'sfu');
  assert.deepEqual(sockets[0].sent, [{ type: 'join', token: 'T', id: 1 }]);
  assert.equal(of('joined').length, 1);
});

test('answers are matched to requests in any order', async () => {
  const { socket, sockets } = await entered();
  const first = socket.request({ type: 'chat', text: 'a' });
  const second = socket.request({ type: 'kick', participant: 'P' });
  const [, a, b] = sockets[0].sent;
  sockets[0].push({ type: 'error', id: b.id, code: 'not_authorized', message: 'No.' });
  sockets[0].push({ type: 'ok', id: a.id });
  assert.equal((await first).type, 'ok');
  await assert.rejects(second, (error) => error instanceof RequestError && error.code === 'not_authorized');
});

test('an array of messages is processed in order, and a ping is answered at once', async () => {
  const { sockets, of } = await entered();
  sockets[0].push([{ type: 'ping', at: 7 }, { type: 'speakers' }, { type: 'room_updated', n: 11 }]);
  assert.deepEqual(sockets[0].sent.at(-1), { type: 'pong', at: 7 });
  assert.deepEqual(of('message').map(({ type }) => type), ['speakers', 'room_updated']);
});

test('after a drop the session is resumed with its key and the newest number', async () => {
  const { sockets, timers, of } = await entered();
  sockets[0].push({ type: 'room_updated', n: 15 });
  sockets[0].drop();
  assert.deepEqual(of('reconnecting'), [{ attempt: 0, waitMs: 150 }]);
  await timers.pass(150);
  sockets[1].open();
  assert.deepEqual(sockets[1].sent[0], { type: 'join', token: 'T', id: 2, resume: 'KEY', last: 15 });
  sockets[1].push(joined(2, { resumed: true, n: 15 }));
  assert.equal(of('joined')[1].resumed, true);
});

test('repeated events are processed once', async () => {
  const { sockets, timers, of } = await entered();
  sockets[0].push({ type: 'chat_message', n: 12 });
  sockets[0].drop();
  await timers.pass(150);
  sockets[1].open();
  sockets[1].push([joined(2, { resumed: true, n: 12 }), { type: 'chat_message', n: 12 }, { type: 'chat_message', n: 13 }]);
  assert.deepEqual(of('message').map(({ n }) => n), [12, 13]);
});

test('the delays grow up to five seconds', async () => {
  const { sockets, timers, of } = await entered();
  sockets[0].drop();
  for (let index = 1; index < 10; index++) {
    await timers.pass(5000);
    sockets[index].drop();
  }
  assert.deepEqual(of('reconnecting').map(({ waitMs }) => waitMs), [150, 300, 600, 1200, 2400, 3750, 3750, 3750, 3750, 3750]);
});

test('a request in flight is repeated if repeatable, otherwise rejected', async () => {
  const { socket, sockets, timers } = await entered();
  const mute = socket.request({ type: 'mute', track: 'T', muted: true }, { repeatable: true });
  const chat = socket.request({ type: 'chat', text: 'hello' });
  const refused = assert.rejects(chat, ConnectionLost);
  sockets[0].drop();
  await refused;
  const later = socket.request({ type: 'chat', text: 'later' });
  await timers.pass(150);
  sockets[1].open();
  sockets[1].push(joined(4, { resumed: true }));
  assert.deepEqual(sockets[1].sent.slice(1).map(({ type }) => type), ['mute', 'chat']);
  for (const { id } of sockets[1].sent.slice(1)) sockets[1].push({ type: 'ok', id });
  await Promise.all([mute, later]);
});

test('a new session rejects requests of the old one', async () => {
  const { socket, sockets, timers } = await entered();
  const mute = socket.request({ type: 'mute', track: 'T', muted: true }, { repeatable: true });
  const refused = assert.rejects(mute, ConnectionLost);
  sockets[0].drop();
  await timers.pass(150);
  sockets[1].open();
  sockets[1].push(joined(3, { resumed: false, n: 2 }));
  await refused;
  assert.equal(socket.last, 2);
  assert.equal(sockets[1].sent.length, 1);
});

test('a client joins again if the session cannot be resumed', async () => {
  const { sockets, timers, of } = await entered();
  sockets[0].drop();
  await timers.pass(150);
  sockets[1].open();
  sockets[1].push({ type: 'error', id: 2, code: 'resume_failed', message: 'Gone.' });
  await settle();
  sockets[2].open();
  assert.equal(sockets[2].sent[0].resume, undefined);
  assert.deepEqual(of('closed'), []);
});

test('a server counts as lost after two and a half silent heartbeats', async () => {
  const { sockets, timers, of } = await entered();
  await timers.pass(74_000);
  assert.equal(of('reconnecting').length, 0);
  sockets[0].push({ type: 'ping', at: 1 });
  await timers.pass(74_000);
  assert.equal(of('reconnecting').length, 0);
  await timers.pass(1100);
  assert.equal(of('reconnecting').length, 1);
});

test('a server counts as lost after an unanswered request', async () => {
  const { socket, timers, of } = await entered();
  const request = socket.request({ type: 'chat', text: 'anybody?' });
  const refused = assert.rejects(request, ConnectionLost);
  await timers.pass(10_000);
  await refused;
  assert.equal(of('reconnecting').length, 1);
});

for (const [name, message, expected] of [
  ['a kick ends it permanently', { type: 'leave', reason: 'kicked', message: 'Out.' }, { closed: 1, sockets: 1 }],
  ['draining: join afresh, not before it says', { type: 'leave', reason: 'draining', message: '', action: 'reconnect', retry_after: 2 }, { closed: 0, sockets: 2 }],
  ['resume on request of the server', { type: 'leave', reason: 'draining', message: '', action: 'resume' }, { closed: 0, sockets: 2 }],
]) {
  test(name, async () => {
    const { sockets, timers, of } = await entered();
    sockets[0].push(message);
    await timers.pass(1900);
    if (message.retry_after) assert.equal(sockets.length, 1);
    await timers.pass(200);
    assert.equal(sockets.length, expected.sockets);
    assert.equal(of('closed').length, expected.closed);
    if (sockets[1]) {
      sockets[1].open();
      assert.equal(sockets[1].sent[0].resume, message.action === 'resume' ? 'KEY' : undefined);
    }
  });
}

test('a rejected join reports its code', async () => {
  const { socket, sockets, of } = world();
  socket.open();
  await settle();
  sockets[0].open();
  sockets[0].push({ type: 'error', id: 1, code: 'room_locked', message: 'Locked.' });
  assert.equal(of('closed')[0].reason, 'room_locked');
  await assert.rejects(socket.request({ type: 'chat', text: 'x' }), ConnectionLost);
});

test('a rejected token may be replaced once', async () => {
  const refusals = [];
  const { sockets, timers, of } = await entered({ join: (refused) => (refusals.push(refused), { type: 'join', token: 'T' }) });
  sockets[0].push({ type: 'leave', reason: 'draining', message: '', action: 'reconnect' });
  for (const index of [1, 2]) {
    await timers.pass(1000);
    sockets[index].open();
    sockets[index].push({ type: 'error', id: index + 1, code: 'token_invalid', message: 'Unknown key.' });
  }
  assert.deepEqual(refusals, ['', '', 'token_invalid']);
  assert.equal(of('closed')[0].reason, 'token_invalid');
});

test('the client waits in the lobby', async () => {
  const { socket, sockets, of } = world();
  socket.open();
  await settle();
  sockets[0].open();
  sockets[0].push({ type: 'waiting', id: 1, room: 'r' });
  assert.equal(of('waiting').length, 1);
  sockets[0].push(joined(1));
  assert.equal(of('joined').length, 1);
});

test('an unreachable server is given up after five attempts', async () => {
  const { socket, sockets, timers, of } = world();
  socket.open();
  await settle();
  for (let index = 0; index < 5; index++) {
    sockets[index].drop();
    await settle();
    await timers.pass(5000);
  }
  assert.equal(sockets.length, 5);
  assert.equal(of('closed')[0].reason, 'unreachable');
});

test('a session taken over by another tab is not resumed', async () => {
  const { sockets, timers, of } = await entered();
  sockets[0].drop(4001);
  await timers.pass(20_000);
  assert.equal(sockets.length, 1);
  assert.equal(of('closed')[0].reason, 'taken_over');
});

test('hurry skips the back-off', async () => {
  const { socket, sockets } = await entered();
  sockets[0].drop();
  socket.hurry();
  await settle();
  assert.equal(sockets.length, 2);
});

test('leaving notifies the server and ends the session', async () => {
  const { socket, sockets, timers, of } = await entered();
  socket.leave('tab closed');
  assert.deepEqual(sockets[0].sent.at(-1), { type: 'leave', reason: 'tab closed' });
  await timers.pass(100_000);
  assert.equal(sockets.length, 1);
  assert.equal(of('closed')[0].reason, 'left');
});

test('a new client learns why a full server rejects it, and does not retry', async () => {
  const { socket, sockets, timers, of } = world({ why: async (url) => (url === 'ws://x/ws' ? { code: 'at_capacity', message: 'Full.' } : null) });
  socket.open();
  await settle();
  sockets[0].drop();
  await settle();
  assert.deepEqual(of('closed'), [{ reason: 'at_capacity', message: 'Full.', action: 'disconnect', retryAfter: 0 }]);
  await timers.pass(60_000);
  assert.equal(sockets.length, 1);
});

test('a joined client sends its key with the handshake and retries until it opens', async () => {
  const { sockets, timers, of } = await entered({ why: async () => ({ code: 'at_capacity', message: 'Full.' }) });
  sockets[0].drop();
  await timers.pass(150);
  assert.deepEqual(sockets[1].protocol, ['sfu', 'resume.KEY']);
  sockets[1].drop();
  await settle();
  await timers.pass(300);
  assert.equal(sockets.length, 3);
  assert.deepEqual(of('closed'), []);
});

test('repeated WebSocket failures with working HTTP are reported as blocked', async () => {
  const it = world({ why: async () => ({ code: 'websocket_blocked', message: '' }) });
  it.socket.open();
  await settle();
  it.sockets[0].drop();
  await settle();
  assert.deepEqual(it.of('closed'), []);
  await it.timers.pass(5_000);
  it.sockets[1].drop();
  await settle();
  assert.equal(it.of('closed')[0].reason, 'websocket_blocked');
});

test('a handshake without an answer is reported as blocked', async () => {
  const it = world({ why: async () => ({ code: 'websocket_blocked', message: '' }) });
  it.socket.open();
  await settle();
  await it.timers.pass(30_000);
  assert.equal(it.sockets.length, 2);
  assert.equal(it.of('closed')[0].reason, 'websocket_blocked');
});

const refused = (id, after = 0.5) => ({ type: 'error', id, code: 'rate_limited', message: 'Too many.', retry_after: after });
const said = (socket) => socket.sent.filter(({ type }) => type !== 'join').map(({ type, id, text, muted }) => [type, id, text ?? muted]);

test('rate-limited requests are repeated in order, one at a time', async () => {
  const { socket, sockets, timers } = await entered();
  const wire = sockets[0];
  const first = socket.request({ type: 'chat', text: 'a' });
  const second = socket.request({ type: 'chat', text: 'b' });
  const [one, two] = said(wire).map(([, id]) => id);
  wire.push(refused(one));
  wire.push(refused(two));
  const third = socket.request({ type: 'chat', text: 'c' });
  await timers.pass(400);
  assert.equal(said(wire).length, 2);
  await timers.pass(200);
  assert.deepEqual(said(wire).at(-1), ['chat', one, 'a']);
  wire.push({ type: 'ok', id: one });
  await first;
  assert.deepEqual(said(wire).at(-1), ['chat', two, 'b']);
  wire.push({ type: 'ok', id: two });
  await second;
  assert.equal(said(wire).at(-1)[2], 'c');
  wire.push({ type: 'ok', id: said(wire).at(-1)[1] });
  await third;
  await timers.pass(11_000);
  assert.equal(sockets.length, 1); // no request counts as unanswered
});

test('only the newest request of a key is repeated', async () => {
  const { socket, sockets, timers } = await entered();
  const wire = sockets[0];
  const first = socket.request({ type: 'mute', track: 'T', muted: true }, { key: 'mute T' });
  wire.push(refused(said(wire)[0][1]));
  const second = socket.request({ type: 'mute', track: 'T', muted: false }, { key: 'mute T' });
  await first;
  await timers.pass(600);
  assert.deepEqual(said(wire).map(([, , muted]) => muted), [true, false]);
  wire.push({ type: 'ok', id: said(wire).at(-1)[1] });
  await second;
});

test('a request fails after repeated rate limiting', async () => {
  const { socket, sockets, timers } = await entered();
  const wire = sockets[0];
  const outcome = assert.rejects(socket.request({ type: 'chat', text: 'a' }), { code: 'rate_limited', retryAfter: 0.5 });
  for (let tries = 0; tries < 8; tries++) {
    wire.push(refused(said(wire).at(-1)[1]));
    await timers.pass(600);
  }
  await outcome;
});
