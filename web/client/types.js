/**
 * Signalling messages as this client stores them, with the protocol's defaults filled in.
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
 * @property {'standard' | 'ingress'} kind `ingress`: an encoder or a camera; PROTOCOL.md lists its attributes
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
 * Media statistics of this participant and the reasons for the current video quality.
 * @typedef {object} Account
 * @property {number} estimate bandwidth estimate of the downlink in bits per second; 0: unknown
 * @property {number} rtt seconds
 * @property {number} loss 0 … 1
 * @property {number} height maximum video height by the server's policy; 0: unlimited
 * @property {string} rule reason of that limit: `estimate`, `delay` or `loss`
 * @property {ReadonlyMap<string, Picture>} pictures by track id
 * @property {ReadonlyArray<Decision>} decisions oldest first
 */
/** @typedef {{reason: string, message: string, action: 'disconnect' | 'resume' | 'reconnect', retryAfter: number}} Leave */
/** @typedef {{track: string, width?: number, height?: number, fps?: number, priority?: number, paused?: boolean}} TrackSettings */

/**
 * `idle` → `connecting` → (`waiting` →) `joined` ⇄ `reconnecting`; `left` is the end.
 * @typedef {'idle' | 'connecting' | 'waiting' | 'joined' | 'reconnecting' | 'left'} Phase
 */
/**
 * State of a room for one participant. Immutable.
 * @typedef {object} RoomState
 * @property {Phase} phase
 * @property {RoomInfo} room
 * @property {Participant | null} me
 * @property {Permissions} permissions
 * @property {ReadonlyMap<string, Participant>} participants the others, in the order of joining
 * @property {ReadonlyArray<ChatEntry>} chat
 * @property {ReadonlyArray<Waiting>} waiting
 * @property {string} dominant participant id, or empty
 * @property {ReadonlyMap<string, number>} levels audio levels of the speakers, 0 … 1
 * @property {ReadonlyMap<string, Quality>} quality
 * @property {number} rtt seconds
 * @property {number} loss 0 … 1
 * @property {ReadonlyMap<string, Subscription>} subscriptions by track id
 * @property {Account} account
 * @property {boolean} mediaLost an established media connection was lost and is being restored
 * @property {number} drainedBy latest shutdown time of the server, seconds since 1970; 0: no shutdown planned
 * @property {Leave | null} leave reason of the end or of an imminent interruption
 */

/**
 * A message of the socket, identified by `type`.
 * @typedef {{type: string, id?: number, n?: number, [field: string]: any}} Incoming
 */
/** @typedef {{type: string, [field: string]: unknown}} Outgoing */

export {};
