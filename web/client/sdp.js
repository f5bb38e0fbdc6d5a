/**
 * The few words of SDP that a browser lets one say only there: how Opus is to be encoded (RFC 7587 6.1).
 * @module
 */

/**
 * Adds parameters to the `a=fmtp` of Opus in every audio section of an answer; what is there already is overwritten.
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
