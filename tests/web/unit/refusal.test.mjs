import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refusal } from '../../../web/client/refusal.js';

const answers = (status, body) => async (url) => {
  assert.equal(url, 'https://x/ws');
  return new Response(body, { status });
};

const CASES = [
  ['full', answers(503, '{"code": "at_capacity", "message": "Full."}'), { code: 'at_capacity', message: 'Full.' }],
  ['without a sentence', answers(503, '{"code": "draining"}'), { code: 'draining', message: '' }],
  ["a proxy's page", answers(503, '<h1>503</h1>'), null],
  ['something else', answers(503, '{}'), null],
  ['a server that wants a WebSocket', answers(400, '{"code": "error", "message": "No."}'), { code: 'websocket_blocked', message: '' }],
  ['a server that asks for an upgrade', answers(426, ''), { code: 'websocket_blocked', message: '' }],
  ['a proxy without its server', answers(502, '<h1>Bad gateway</h1>'), null],
  ['no network', () => Promise.reject(new TypeError('failed')), null],
];

for (const [name, fetch, expected] of CASES) {
  test(`why a socket did not open: ${name}`, async () => assert.deepEqual(await refusal('wss://x/ws', fetch), expected));
}
