/**
 * The state of the watch page, replaced and never changed in place.
 * @module
 */

/**
 * @typedef {'connecting' | 'denied' | 'waiting' | 'playing' | 'reconnecting' | 'ended' | 'unsupported'} Phase
 */
/**
 * @typedef {object} WatchState
 * @property {string} room
 * @property {Phase} phase
 * @property {string} reason why somebody may not watch, the server's code
 * @property {boolean} replay what plays is the whole of a live stream that has ended
 * @property {boolean} replayable
 * @property {boolean} paused
 * @property {boolean} muted
 * @property {boolean} silenced muted by the browser's rules and not by the viewer
 * @property {boolean} needsTap the browser wants a tap before anything plays
 * @property {number} volume 0 to 1
 * @property {boolean} stalled waits for data
 * @property {boolean} atEdge at the live edge
 * @property {number | null} latency seconds behind what happens
 * @property {{at: number, start: number, end: number}} position seconds
 * @property {{index: number, height: number, rate: number}[]} levels
 * @property {number} level chosen; −1: by the network
 * @property {number} height of the picture shown
 * @property {import('./access.js').Captions[]} captions
 * @property {string} caption language shown; empty: none
 * @property {'' | 'quality' | 'captions'} menu
 * @property {boolean} full
 * @property {boolean} idle nobody touches anything: the controls are out of the way
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
