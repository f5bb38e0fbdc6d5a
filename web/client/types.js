/**
 * The shapes of the signalling messages as this client holds them, with the defaults that the wire leaves out filled in.
 * @module
 */

/** @typedef {'audio' | 'video'} Kind */
/** @typedef {'camera' | 'microphone' | 'screen_share' | 'screen_share_audio' | 'unknown'} Source */
/** @typedef {'excellent' | 'good' | 'poor' | 'lost'} Quality */

/** @typedef {{rid: string, width: number, height: number, fps: number, bitrate: number}} LayerSpec */
/**
 * @typedef {object} Track
 * @property {string} id
 * @property {Kind} kind
 * @property {Source} source
 * @property {string} name
 * @property {boolean} muted
 * @property {string} codec
 * @property {number} width
 * @property {number} height
 * @property {ReadonlyArray<LayerSpec>} layers
 */
/**
 * @typedef {object} Participant
 * @property {string} id
 * @property {string} identity
 * @property {string} name
 * @property {string} metadata
 * @property {Readonly<Record<string, string>>} attributes
 * @property {boolean} admin
 * @property {number} joinedAt seconds since 1970
 * @property {ReadonlyArray<Track>} tracks
 */
/** @typedef {'auto' | 'grid' | 'speaker' | 'presentation' | 'pip' | 'single'} EgressLayout */
/** @typedef {{live: boolean, recording: boolean, layout: EgressLayout, focus: string, since: number, problem: string}} Egress */
/** @typedef {{name: string, id: string, metadata: string, locked: boolean, lobby: boolean, createdAt: number, egress: Egress}} RoomInfo */
/** @typedef {{publish: boolean, subscribe: boolean, data: boolean, admin: boolean, sources: ReadonlyArray<Source>, record?: boolean, egress?: boolean}} Permissions */
/** @typedef {{id: string, participant: string, name: string, text: string, at: number, to: string}} ChatEntry */
/** @typedef {{participant: string, topic: string, payload: string, at: number}} DataEntry */
/** @typedef {{participant: string, identity: string, name: string}} Waiting */
/** @typedef {{track: string, paused: boolean, reason: string, layer: string, width: number, height: number}} Subscription */
/** @typedef {'layer_up' | 'layer_down' | 'paused' | 'resumed' | 'keyframe' | 'loss' | 'estimate' | 'tier' | 'limited'} DecisionKind */
/** @typedef {{number: number, at: number, kind: DecisionKind, cause: string, track: string, before: number, after: number, rate: number}} Decision */
/** @typedef {{track: string, cause: string, paused: boolean, layer: string, width: number, height: number, topHeight: number, limitation: string}} Picture */
/**
 * Why one's own media are as they are.
 * @typedef {object} Account
 * @property {number} estimate bits a second that the way here carries; 0: not known
 * @property {number} rtt seconds
 * @property {number} loss 0 … 1
 * @property {number} height lines that the server's rules allow for one picture; 0: any
 * @property {string} rule by which of them: `estimate`, `delay` or `loss`
 * @property {ReadonlyMap<string, Picture>} pictures by track id
 * @property {ReadonlyArray<Decision>} decisions oldest first
 */
/** @typedef {{reason: string, message: string, action: 'disconnect' | 'resume' | 'reconnect', retryAfter: number}} Leave */
/** @typedef {{track: string, width?: number, height?: number, fps?: number, priority?: number, paused?: boolean}} Wish */

/**
 * `idle` → `connecting` → (`waiting` →) `joined` ⇄ `reconnecting`; `left` is the end.
 * @typedef {'idle' | 'connecting' | 'waiting' | 'joined' | 'reconnecting' | 'left'} Phase
 */
/**
 * Everything that a participant knows of its room; never changed in place.
 * @typedef {object} RoomState
 * @property {Phase} phase
 * @property {RoomInfo} room
 * @property {Participant | null} me
 * @property {Permissions} permissions
 * @property {ReadonlyMap<string, Participant>} participants the others, in the order of their coming
 * @property {ReadonlyArray<ChatEntry>} chat
 * @property {ReadonlyArray<Waiting>} waiting
 * @property {string} dominant participant id, or empty
 * @property {ReadonlyMap<string, number>} levels 0 … 1 of those who speak
 * @property {ReadonlyMap<string, Quality>} quality
 * @property {number} rtt seconds
 * @property {number} loss 0 … 1
 * @property {ReadonlyMap<string, Subscription>} subscriptions by track id
 * @property {Account} account
 * @property {boolean} mediaLost a media connection was there and is away; it is being mended
 * @property {number} drainedBy when the server stops at the latest, seconds since 1970; 0: it goes on
 * @property {Leave | null} leave why it ended, or why it is about to be interrupted
 */

/**
 * A message as it came from the socket; `type` says which one it is.
 * @typedef {{type: string, id?: number, n?: number, [field: string]: any}} Incoming
 */
/** @typedef {{type: string, [field: string]: unknown}} Outgoing */

export {};
