/**
 * SDP changes without an API: Opus parameters (RFC 7587 6.1), and removal of redundant lines.
 * @module
 */

/**
 * Sets parameters in the `a=fmtp` of Opus in every audio section of an answer.
 * @param {string} sdp
 * @param {(mid: string) => Record<string, string | number>} parameters by m-line id
 */
export function withOpus(sdp, parameters) {
  const [session = '', ...sections] = sdp.split(/^(?=m=)/m);
  return session + sections.map((section) => (section.startsWith('m=audio') ? opusIn(section, parameters) : section)).join('');
}

/**
 * @param {string} section
 * @param {(mid: string) => Record<string, string | number>} parameters
 */
function opusIn(section, parameters) {
  const payloadType = /^a=rtpmap:(\d+) opus\/48000/im.exec(section)?.[1];
  const mid = /^a=mid:(\S+)/m.exec(section)?.[1] ?? '';
  const wanted = Object.entries(parameters(mid));
  if (!payloadType || !wanted.length) return section;
  const present = new RegExp(`^a=fmtp:${payloadType} ([^\\r\\n]*)`, 'm').exec(section);
  const all = new Map(
    (present?.[1] ?? '')
      .split(';')
      .filter(Boolean)
      .map((pair) => /** @type {[string, string]} */ (pair.trim().split('=', 2))),
  );
  for (const [key, value] of wanted) all.set(key, String(value));
  const line = `a=fmtp:${payloadType} ${[...all].map((pair) => pair.join('=')).join(';')}`;
  if (present) return section.replace(present[0], line);
  return section.replace(new RegExp(`^a=rtpmap:${payloadType} [^\\r\\n]*`, 'm'), (rtpmap) => `${rtpmap}\r\n${line}`);
}

/**
 * Requests two channels for audio that the offer declares as stereo; Chromium decodes only one otherwise.
 * @param {string} answer
 * @param {string} offer
 */
export function withStereo(answer, offer) {
  const sections = offer.split(/^(?=m=)/m).filter((section) => /^a=fmtp:\d+ (?:.*;)?\s*sprop-stereo=1\s*(?:;|$)/m.test(section));
  const mids = new Set(sections.map((section) => /^a=mid:(\S+)/m.exec(section)?.[1]));
  return mids.size ? withOpus(answer, (mid) => (mids.has(mid) ? { stereo: 1 } : /** @type {Record<string, number>} */ ({}))) : answer;
}

/** Lines of an m-line that differ from other m-lines and do not follow from the offer. */
const TELLING = /^(?:m=|a=(?:mid:|sendrecv|sendonly|recvonly|inactive|rtpmap:|fmtp:\d+ apt=|extmap:))/;
/** Transport lines, identical for all bundled m-lines (RFC 9143). */
const TRANSPORT = /^a=(?:ice-|fingerprint:|setup:|candidate:)/;

/**
 * Removes redundant lines from an answer. It shrinks to a quarter, so that a room of a hundred fits into one message.
 * @param {string} sdp
 */
export function brief(sdp) {
  const [session = [], ...sections] = sdp.split(/^(?=m=)/m).map((part) => part.split(/\r?\n/).filter(Boolean));
  const carrier = sections.findIndex(([line = '']) => !/^m=\S+ 0 /.test(line));
  const used = sections.filter(([line = '']) => !/^m=\S+ 0 /.test(line));
  // Extensions common to all m-lines move to the session level (RFC 8285 5).
  const common = (used[0] ?? []).filter((line) => line.startsWith('a=extmap:') && used.every((each) => each.includes(line)));
  const shared = new Set(common);
  const kept = sections.map((lines, index) =>
    lines.filter((line) => (TELLING.test(line) && !shared.has(line)) || (index === carrier && TRANSPORT.test(line))),
  );
  return [session, common, ...kept].flat().join('\n') + '\n';
}
