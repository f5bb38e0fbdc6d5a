/**
 * State of the watch page. Immutable.
 * @module
 */

/**
 * @typedef {'connecting' | 'denied' | 'waiting' | 'playing' | 'reconnecting' | 'ended' | 'unsupported'} Phase
 */
/**
 * @typedef {object} WatchState
 * @property {string} room
 * @property {Phase} phase
 * @property {string} reason server's error code if watching is not allowed
 * @property {boolean} replay plays the recording of an ended live stream
 * @property {boolean} replayable
 * @property {boolean} paused
 * @property {boolean} muted
 * @property {boolean} silenced muted by autoplay rules, not by the viewer
 * @property {boolean} needsTap the browser requires a tap to play
 * @property {number} volume 0 to 1
 * @property {boolean} stalled waits for data
 * @property {boolean} atEdge at the live edge
 * @property {number | null} latency seconds behind real time
 * @property {{at: number, start: number, end: number}} position seconds
 * @property {{index: number, height: number, rate: number}[]} levels
 * @property {number} level selected; −1: automatic
 * @property {number} height of the displayed video
 * @property {import('./access.js').Captions[]} captions
 * @property {string} caption language shown; empty: none
 * @property {'' | 'quality' | 'captions'} menu
 * @property {boolean} full
 * @property {boolean} idle no user activity: the controls are hidden
 * @property {string} announcement for screen readers
 */

/**
 * @typedef {object} WatchActions
 * @property {() => void} togglePlay
 * @property {() => void} toggleMute
 * @property {(volume: number) => void} setVolume
 * @property {() => void} tap
 * @property {() => void} goLive
 * @property {(position: number) => void} seek
 * @property {(index: number) => void} choose
 * @property {(language: string) => void} caption
 * @property {(menu: WatchState['menu']) => void} openMenu
 * @property {() => void} toggleFull
 * @property {() => void} togglePip
 * @property {() => void} replay
 * @property {() => void} again
 */

export {};
