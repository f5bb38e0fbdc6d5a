/**
 * The state of the page: everything that the views need, replaced and never changed in place.
 * @module
 */

/** @typedef {import('../client/types.js').RoomState} RoomState */
/** @typedef {import('../client/devices.js').DeviceList} DeviceList */
/** @typedef {import('../client/devices.js').DeviceProblem} DeviceProblem */

/**
 * @typedef {object} LocalState what this computer's devices do
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
 * @property {import('./support.js').Obstacle} obstacle why this browser cannot make calls
 * @property {import('./watchable.js').Watchable} watchable what the watch page can show of the room instead
 * @property {boolean} brokenLink the address names a room that cannot be read
 * @property {string} roomName
 * @property {string} name
 * @property {boolean | null} dev the server makes its own tokens; null: not known yet
 * @property {boolean} invited a token came with the link
 * @property {string[]} recent rooms
 * @property {boolean} joining
 * @property {RoomState} room
 * @property {ReadonlyMap<string, MediaStreamTrack>} media received, by track id
 * @property {LocalState} local
 * @property {'grid' | 'speaker'} layout
 * @property {string} pinned tile key
 * @property {number} pageIndex
 * @property {ReadonlyArray<string>} order tile keys in their places
 * @property {import('../views/layout.js').Size} stage
 * @property {Panel} panel
 * @property {Menu} menu
 * @property {Dialog} dialog
 * @property {boolean} showStats
 * @property {import('../client/stats.js').Digest | null} stats
 * @property {ReadonlyArray<Toast>} toasts
 * @property {ReadonlyArray<Reaction>} reactions
 * @property {number} unread
 * @property {string} openPerson whose row in the people panel shows its actions (where nothing can hover)
 * @property {string} chatTo participant id, or empty for everybody
 * @property {boolean} soundBlocked
 * @property {Theme} theme
 * @property {string} announcement for screen readers
 * @property {boolean} talking space is held
 */

export {};
