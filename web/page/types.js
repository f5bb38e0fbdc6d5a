/**
 * The page state: everything that the views need. Immutable.
 * @module
 */

/** @typedef {import('../client/types.js').RoomState} RoomState */
/** @typedef {import('../client/devices.js').DeviceList} DeviceList */
/** @typedef {import('../client/devices.js').DeviceProblem} DeviceProblem */

/**
 * @typedef {object} LocalState state of the local devices
 * @property {{wanted: boolean, starting: boolean, track: MediaStreamTrack | null}} camera
 * @property {{wanted: boolean, starting: boolean, track: MediaStreamTrack | null, sent: MediaStreamTrack | null}} microphone
 * @property {{video: MediaStreamTrack, audio: MediaStreamTrack | null} | null} screen
 * @property {{camera: string, microphone: string, speaker: string}} chosen device ids; empty: the browser's choice
 * @property {DeviceList} devices
 * @property {{camera: DeviceProblem | null, microphone: DeviceProblem | null}} problems
 */
/** @typedef {{id: number, text: string, icon: import('../views/icons.js').IconName, action?: {label: string, run: () => void}}} Toast */
/** @typedef {{id: number, emoji: string, participant: string, name: string, lane: number}} Reaction */
/** @typedef {{kind: 'settings'} | {kind: 'help'} | {kind: 'kick', participant: string, name: string} | null} Dialog */
/** @typedef {'' | 'chat' | 'people'} Panel */
/** @typedef {'' | 'reactions' | 'more'} Menu */
/** @typedef {'auto' | 'light' | 'dark'} Theme */

/**
 * @typedef {object} PageState
 * @property {'landing' | 'lobby' | 'meeting' | 'end' | 'unsupported'} view
 * @property {import('./support.js').Obstacle} obstacle reason why the browser does not support calls
 * @property {import('./watchable.js').Watchable} watchable content of the watch page as an alternative
 * @property {boolean} brokenLink the room name in the address is damaged
 * @property {string} roomName
 * @property {string} name
 * @property {boolean | null} dev the server issues tokens (development mode); null: unknown
 * @property {boolean} invited a token came with the link
 * @property {string[]} recent rooms
 * @property {boolean} joining
 * @property {RoomState} room
 * @property {ReadonlyMap<string, MediaStreamTrack>} media received, by track id
 * @property {LocalState} local
 * @property {'grid' | 'speaker'} layout
 * @property {string} pinned tile key
 * @property {number} pageIndex
 * @property {ReadonlyArray<string>} order tile keys in display order
 * @property {import('../views/layout.js').Size} stage
 * @property {Panel} panel
 * @property {Menu} menu
 * @property {Dialog} dialog
 * @property {boolean} showStats
 * @property {import('../client/stats.js').Digest | null} stats
 * @property {ReadonlyArray<Toast>} toasts
 * @property {ReadonlyArray<Reaction>} reactions
 * @property {number} unread
 * @property {string} openPerson participant whose actions are open in the people panel (on touch devices)
 * @property {string} chatTo participant id; empty: everyone
 * @property {boolean} soundBlocked
 * @property {Theme} theme
 * @property {string} announcement for screen readers
 * @property {boolean} talking the space key is held
 */

export {};
