/**
 * Room state as a function of the received messages: `reduce(state, message)` returns the next state and leaves the old
 * one unchanged. Unknown messages are ignored, for compatibility with newer servers.
 * @module
 */

/** @typedef {import('./types.js').RoomState} RoomState */
/** @typedef {import('./types.js').Participant} Participant */
/** @typedef {import('./types.js').Track} Track */
/** @typedef {import('./types.js').Incoming} Incoming */

const CHAT_KEPT = 500;
const DECISIONS_KEPT = 50;

/** @type {RoomState} */
export const initial = Object.freeze({
  phase: 'idle',
  room: { name: '', id: '', metadata: '', locked: false, lobby: false, createdAt: 0, egress: egressOf(undefined) },
  me: null,
  permissions: { publish: false, subscribe: false, data: false, admin: false, sources: [] },
  participants: new Map(),
  chat: [],
  waiting: [],
  dominant: '',
  levels: new Map(),
  quality: new Map(),
  rtt: 0,
  loss: 0,
  subscriptions: new Map(),
  account: { estimate: 0, rtt: 0, loss: 0, height: 0, rule: 'estimate', pictures: new Map(), decisions: [] },
  mediaLost: false,
  drainedBy: 0,
  leave: null,
});

/**
 * A track of the protocol, with defaults filled in.
 * @param {any} raw
 * @returns {Track}
 */
export function trackOf(raw) {
  return {
    id: raw.id,
    kind: raw.kind,
    source: raw.source ?? 'unknown',
    name: raw.name ?? '',
    muted: raw.muted ?? false,
    codec: raw.codec ?? '',
    width: raw.width ?? 0,
    height: raw.height ?? 0,
    layers: (raw.layers ?? []).map((/** @type {any} */ layer) => ({ width: 0, height: 0, fps: 0, bitrate: 0, ...layer })),
  };
}

/**
 * @param {any} raw
 * @returns {Participant}
 */
export function participantOf(raw) {
  return {
    id: raw.id,
    identity: raw.identity,
    name: raw.name || raw.identity,
    metadata: raw.metadata ?? '',
    attributes: raw.attributes ?? {},
    kind: raw.kind ?? 'standard',
    admin: raw.admin ?? false,
    joinedAt: raw.joined_at ?? 0,
    tracks: (raw.tracks ?? []).map(trackOf),
  };
}

/** @param {any} raw */
function roomOf(raw) {
  return {
    name: raw.name ?? '',
    id: raw.id ?? '',
    metadata: raw.metadata ?? '',
    locked: raw.locked ?? false,
    lobby: raw.lobby ?? false,
    createdAt: raw.created_at ?? 0,
    egress: egressOf(raw.egress),
  };
}

/** @param {any} raw @returns {import('./types.js').Egress} */
function egressOf(raw) {
  return { live: false, recording: false, layout: 'auto', focus: '', since: 0, problem: '', ...raw };
}

/** @param {any} raw */
const chatOf = (raw) => ({ ...raw, to: raw.to ?? '' });

/** @param {any} raw */
const waitingOf = (raw) => ({ participant: raw.participant, identity: raw.identity, name: raw.name || raw.identity });

/** @param {RoomState} state */
const kept = ({ subscriptions, quality, dominant, account, mediaLost }) => ({ subscriptions, quality, dominant, account, mediaLost });

/**
 * @param {RoomState} state
 * @param {Incoming} message
 * @returns {RoomState}
 */
function joined(state, message) {
  return {
    ...initial,
    // In a resumed session, the media measurements remain valid.
    ...(message.resumed || message.rebuild ? kept(state) : {}),
    phase: 'joined',
    room: roomOf(message.room),
    me: participantOf(message.participant),
    permissions: message.permissions,
    participants: new Map(message.participants.map((/** @type {any} */ raw) => [raw.id, participantOf(raw)])),
    chat: message.chat ? message.chat.map(chatOf) : message.resumed ? state.chat : [],
    waiting: (message.waiting ?? []).map(waitingOf),
  };
}

/**
 * @param {RoomState} state
 * @param {string} id
 * @param {(participant: Participant) => Participant} change
 * @returns {RoomState}
 */
function withParticipant(state, id, change) {
  if (state.me?.id === id) return { ...state, me: change(state.me) };
  const participant = state.participants.get(id);
  if (!participant) return state;
  return { ...state, participants: new Map(state.participants).set(id, change(participant)) };
}

/**
 * @template K, V
 * @param {ReadonlyMap<K, V>} map
 * @param {Iterable<K>} keys
 */
function without(map, keys) {
  const left = new Map(map);
  for (const key of keys) left.delete(key);
  return left;
}

/**
 * @param {RoomState} state
 * @param {string} id
 * @returns {RoomState}
 */
function participantLeft(state, id) {
  const tracks = (state.participants.get(id)?.tracks ?? []).map((track) => track.id);
  return {
    ...state,
    participants: without(state.participants, [id]),
    subscriptions: without(state.subscriptions, tracks),
    account: { ...state.account, pictures: without(state.account.pictures, tracks) },
    levels: without(state.levels, [id]),
    quality: without(state.quality, [id]),
    dominant: state.dominant === id ? '' : state.dominant,
  };
}

/**
 * @param {Participant} participant
 * @param {Track} track
 * @returns {Participant}
 */
function withTrack(participant, track) {
  const others = participant.tracks.filter((other) => other.id !== track.id);
  return { ...participant, tracks: [...others, track] };
}

/**
 * @param {import('./types.js').Account} account
 * @param {Incoming} message
 * @returns {import('./types.js').Account}
 */
function explained({ pictures, decisions }, { estimate = 0, rtt_ms: rtt = 0, loss = 0, height = 0, rule = 'estimate', ...news }) {
  const changed = (news['video_stats'] ?? []).map((/** @type {any} */ { max_height: topHeight = 0, ...raw }) => [
    raw.track,
    { paused: false, layer: '', width: 0, height: 0, limitation: 'none', ...raw, topHeight },
  ]);
  // Skip entries that the server repeats after a resume.
  const known = decisions.at(-1)?.number ?? 0;
  const fresh = (news['events'] ?? [])
    .filter((/** @type {any} */ { number }) => number > known)
    .map((/** @type {any} */ raw) => ({ track: '', before: 0, after: 0, rate: 0, ...raw }));
  return {
    ...{ estimate, loss, height, rule, rtt: rtt / 1000 },
    pictures: new Map([...pictures, ...changed]),
    decisions: [...decisions, ...fresh].slice(-DECISIONS_KEPT),
  };
}

/**
 * @param {RoomState} state
 * @param {Incoming} message
 * @returns {RoomState}
 */
export function reduce(state, message) {
  switch (message.type) {
    case 'joined':
      return joined(state, message);
    case 'participant_joined': {
      const participant = participantOf(message.participant);
      if (participant.id === state.me?.id) return state;
      return { ...state, participants: new Map(state.participants).set(participant.id, participant) };
    }
    case 'participant_left':
      return participantLeft(state, message.participant);
    case 'participant_updated':
      return withParticipant(state, message.participant.id, ({ tracks, joinedAt }) => ({
        ...participantOf(message.participant),
        joinedAt,
        tracks,
      }));
    case 'permissions':
      return { ...state, permissions: message.permissions };
    case 'track_published':
      return withParticipant(state, message.participant, (participant) => withTrack(participant, trackOf(message.track)));
    case 'track_unpublished':
      return {
        ...withParticipant(state, message.participant, (participant) => ({
          ...participant,
          tracks: participant.tracks.filter((track) => track.id !== message.track),
        })),
        subscriptions: without(state.subscriptions, [message.track]),
        account: { ...state.account, pictures: without(state.account.pictures, [message.track]) },
      };
    case 'track_muted':
      return withParticipant(state, message.participant, (participant) => ({
        ...participant,
        tracks: participant.tracks.map((track) =>
          track.id === message.track ? { ...track, muted: message.muted ?? false } : track,
        ),
      }));
    case 'subscription': {
      const { track, paused = false, reason = '', layer = '', width = 0, height = 0 } = message;
      const subscriptions = new Map(state.subscriptions).set(track, { track, paused, reason, layer, width, height });
      return { ...state, subscriptions };
    }
    case 'speakers': {
      /** @type {Array<{participant: string, level: number}>} */
      const speakers = message.speakers ?? [];
      const levels = new Map(speakers.map(({ participant, level }) => [participant, level]));
      return { ...state, dominant: message.dominant ?? '', levels };
    }
    case 'quality':
      return {
        ...state,
        quality: new Map([...state.quality, ...Object.entries(message.participants)]),
        rtt: message.rtt_ms === undefined ? state.rtt : message.rtt_ms / 1000,
        loss: message.loss ?? 0,
      };
    case 'diagnostics':
      return { ...state, account: explained(state.account, message) };
    case 'chat_message':
      if (state.chat.some((entry) => entry.id === message.entry.id)) return state;
      return { ...state, chat: [...state.chat, chatOf(message.entry)].slice(-CHAT_KEPT) };
    case 'room_updated':
      return { ...state, room: roomOf(message.room) };
    case 'lobby':
      return { ...state, waiting: (message.waiting ?? []).map(waitingOf) };
    default:
      return state;
  }
}

/**
 * Ids of the video tracks of the others.
 * @param {RoomState} state
 */
export function videoTracks({ participants }) {
  const tracks = new Set();
  for (const participant of participants.values()) {
    for (const { kind, id } of participant.tracks) if (kind === 'video') tracks.add(id);
  }
  return tracks;
}
