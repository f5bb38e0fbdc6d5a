/**
 * User actions of the page. Views call only these.
 * @module
 */

import { RequestError } from '../client/errors.js';
import { initial } from '../client/state.js';
import { at, roomIn } from './base.js';
import { Meeting } from './meeting.js';
import { invitation, load, nameIn, save, visited } from './preferences.js';
import { watchable } from './watchable.js';

/** @typedef {import('./types.js').PageState} PageState */
/** @typedef {import('./local.js').LocalMedia} LocalMedia */
/** @typedef {import('./session.js').Session} Session */
/** @typedef {import('../client/types.js').Source} Source */

const NEXT_THEME = /** @type {const} */ ({ auto: 'light', light: 'dark', dark: 'auto' });

export class Actions {
  /** @type {Meeting | null} the current or upcoming meeting */
  meeting = null;
  /** Stops polling for a live stream of the room. */
  stopLooking = () => {};

  /**
   * @param {import('./store.js').Store<PageState>} store
   * @param {LocalMedia} local
   * @param {import('./toasts.js').Toasts} toasts
   * @param {import('./sound.js').Sound} sound
   */
  constructor(store, local, toasts, sound) {
    this.store = store;
    this.local = local;
    this.toasts = toasts;
    this.sound = sound;
  }

  get state() {
    return this.store.state;
  }

  get room() {
    return this.meeting?.session.room;
  }

  // -- enter and leave -------------------------------------------------------------------------------------------------

  /**
   * @param {string} room
   * @param {string} name
   */
  enter = (room, name) => {
    const roomName = room.trim();
    if (!roomName) return;
    this.rename(name.trim());
    history.pushState(null, '', at(`r/${encodeURIComponent(roomName)}`));
    this.show();
  };

  home = () => {
    history.pushState(null, '', at(''));
    this.show();
  };

  /** Shows the view for the page's address. */
  show() {
    this.meeting?.leave();
    this.meeting = null;
    const named = roomIn('r');
    const roomName = named ?? '';
    const options = new URLSearchParams(location.hash.slice(1));
    const token = options.get('token') ?? '';
    if (token) {
      // Remove the secret from the address at once, so that it is neither copied nor kept in the history.
      options.delete('token');
      history.replaceState(null, '', `${location.pathname}${options.size ? `#${options}` : ''}`);
    }
    const kept = roomName ? invitation(roomName, token) : '';
    const { obstacle } = this.state;
    this.stopLooking();
    this.store.update({
      view: !roomName ? 'landing' : obstacle ? 'unsupported' : 'lobby',
      watchable: '',
      brokenLink: named === null || options.has('broken-link'),
      roomName,
      name: options.get('name') || this.state.name || nameIn(kept),
      invited: Boolean(kept),
      room: initial,
      joining: false,
      panel: '',
      menu: '',
      dialog: null,
      recent: load().recent,
    });
    if (roomName && obstacle) this.stopLooking = watchable(roomName, kept, (found) => this.store.update({ watchable: found }));
    else if (roomName) this.local.start();
    else this.local.stop();
  }

  /** @param {string} name */
  rename = (name) => {
    if (this.state.view === 'meeting' && name) this.#ask(this.room?.setName(name));
    save({ name });
    this.store.update({ name });
  };

  join = async () => {
    if (this.state.joining || this.state.view !== 'lobby') return;
    this.meeting?.leave();
    const meeting = new Meeting(this);
    this.meeting = meeting;
    this.store.update({ joining: true, order: [], pageIndex: 0, pinned: '', unread: 0, chatTo: '', reactions: [] });
    const entered = await meeting.join();
    if (this.meeting !== meeting) return;
    this.store.update({ joining: false });
    if (!entered) return;
    // The token determines the room, not the address.
    const roomName = this.room?.state.room.name || this.state.roomName;
    this.store.update({ view: 'meeting', roomName, recent: visited(roomName) });
  };

  leave = () => {
    this.meeting?.leave();
  };

  again = () => this.show();

  // -- devices ---------------------------------------------------------------------------------------------------------

  /**
   * @param {PageState} state
   * @param {Source} source
   */
  may = ({ room: { permissions } }, source) =>
    permissions.publish && (!permissions.sources.length || permissions.sources.includes(source));

  toggleMicrophone = () => this.#toggle('microphone');
  toggleCamera = () => this.#toggle('camera');

  /** @param {'camera' | 'microphone'} input */
  #toggle(input) {
    if (this.state.view === 'meeting' && !this.may(this.state, input)) return;
    this.local.set(input, !this.state.local[input].wanted);
  }

  /** @param {'camera' | 'microphone'} input */
  retry = (input) => this.local.set(input, true);

  /** @param {boolean} talking the space key is held */
  talk = (talking) => {
    if (talking && this.state.local.microphone.wanted) return;
    if (!talking && !this.state.talking) return;
    this.store.update({ talking });
    this.local.set('microphone', talking, { remember: false });
  };

  /**
   * @param {'camera' | 'microphone' | 'speaker'} kind
   * @param {string} id
   */
  choose = (kind, id) => {
    this.local.choose(kind, id);
    if (kind === 'speaker') this.sound.speaker(id);
  };

  /** Switches between the front and back camera of a phone. */
  nextCamera = () => {
    const { devices, camera } = this.state.local;
    const now = devices.cameras.findIndex(({ id }) => id === camera.track?.getSettings().deviceId);
    const next = devices.cameras[(now + 1) % devices.cameras.length];
    if (next) this.choose('camera', next.id);
  };

  toggleShare = () => {
    if (this.state.local.screen) this.local.unshare();
    else if (this.may(this.state, 'screen_share')) this.local.share();
  };

  resumeSound = () => this.sound.check();

  // -- in the meeting --------------------------------------------------------------------------------------------------

  /** @param {import('../views/layout.js').Size} stage */
  resized = (stage) => this.store.update({ stage });

  /** @type {import('../views/tile.js').TileView['demand']} */
  demand = (tile, demand, track) => this.room?.subscriptionSettings.demand(track, tile, demand);

  toggleLayout = () => {
    const layout = this.state.layout === 'grid' ? 'speaker' : 'grid';
    save({ layout });
    this.store.update({ layout, pinned: '', pageIndex: 0 });
  };

  /** @param {string} key of a tile */
  pin = (key) => this.store.update({ pinned: this.state.pinned === key ? '' : key, pageIndex: 0 });

  /** @param {number} pageIndex */
  turn = (pageIndex) => this.store.update({ pageIndex });

  /** @param {'chat' | 'people'} panel */
  togglePanel = (panel) => {
    const next = this.state.panel === panel ? '' : panel;
    this.store.update({ panel: next, ...(next === 'chat' ? { unread: 0 } : {}) });
    if (next === 'chat') this.#focus('[data-testid="chat-input"]');
    else if (!next) this.#focus(`[data-testid="${panel}-toggle"]`);
  };

  /** @param {import('./types.js').Menu} menu */
  openMenu = (menu) => this.store.update({ menu: this.state.menu === menu ? '' : menu });

  /** @param {() => void} run */
  fromMenu = (run) => {
    this.store.update({ menu: '' });
    run();
  };

  /** @param {import('./types.js').Dialog} dialog */
  openDialog = (dialog) => this.store.update({ dialog, menu: '' });

  closeDialog = () => this.store.update({ dialog: null });

  toggleStats = () => this.store.update({ showStats: !this.state.showStats, stats: null });

  toggleFullscreen = () => {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.documentElement.requestFullscreen().catch(() => {});
  };

  toggleHand = () => {
    const up = this.state.room.me?.attributes['hand'];
    this.#ask(this.room?.setAttributes({ hand: up ? '' : String(Math.round(Date.now() / 1000)) }));
  };

  /** @param {string} emoji */
  react = (emoji) => {
    this.store.update({ menu: '' });
    this.meeting?.reacted(this.state.room.me?.id ?? '', emoji);
    this.#ask(this.room?.send('reaction', emoji));
  };

  /** @param {string} text */
  chat = (text) => this.#ask(this.room?.chat(text, this.state.chatTo));

  /** @param {string} participant */
  chatTo = (participant) => this.store.update({ chatTo: participant });

  /** @param {string} participant */
  whisper = (participant) => {
    this.store.update({ chatTo: participant, panel: 'chat', unread: 0 });
    this.#focus('[data-testid="chat-input"]');
  };

  /** @param {string} openPerson participant id */
  openPerson = (openPerson) => this.store.update({ openPerson });

  copyLink = () => this.#copy(at(`r/${encodeURIComponent(this.state.roomName)}`));

  /** Copies the link of the watch page. */
  copyWatchLink = () => this.#copy(at(`watch/${encodeURIComponent(this.state.roomName)}`));

  /** @param {string} link */
  #copy = async (link) => {
    try {
      await navigator.clipboard.writeText(link);
      this.toasts.show('Link copied', 'check');
    } catch {
      this.toasts.show(link, 'link');
    }
  };

  /** @param {import('./types.js').Toast} toast */
  runToast = (toast) => {
    this.toasts.dismiss(toast.id);
    toast.action?.run();
  };

  // -- host controls ---------------------------------------------------------------------------------------------------

  /**
   * @param {string} participant
   * @param {string} track
   */
  silence = (participant, track) => this.#ask(this.room?.silence(participant, track));

  /** @param {string} participant */
  kick = (participant) => {
    this.closeDialog();
    this.#ask(this.room?.kick(participant));
  };

  /** @param {{locked?: boolean, lobby?: boolean}} change */
  updateRoom = (change) => this.#ask(this.room?.updateRoom(change));

  toggleLive = () => this.updateEgress({ live: !this.state.room.room.egress.live });

  toggleRecording = () => this.updateEgress({ recording: !this.state.room.room.egress.recording });

  /** @param {{live?: boolean, recording?: boolean, layout?: import('../client/types.js').EgressLayout}} change */
  updateEgress = (change) => this.#ask(this.room?.updateEgress(change));

  /** @param {string} participant */
  admit = (participant) => this.#ask(this.room?.admit(participant));

  /** @param {string} participant */
  deny = (participant) => this.#ask(this.room?.deny(participant));

  // -- appearance ------------------------------------------------------------------------------------------------------

  nextTheme = () => this.setTheme(NEXT_THEME[this.state.theme]);

  /** @param {import('./types.js').Theme} theme */
  setTheme = (theme) => {
    save({ theme });
    if (theme === 'auto') delete document.documentElement.dataset['theme'];
    else document.documentElement.dataset['theme'] = theme;
    this.store.update({ theme });
  };

  /** Closes the topmost open element. @returns {boolean} whether one was open */
  escape() {
    const { menu, panel, showStats, pinned } = this.state;
    if (menu) this.store.update({ menu: '' });
    else if (panel) this.togglePanel(panel);
    else if (showStats) this.toggleStats();
    else if (pinned) this.store.update({ pinned: '' });
    else return false;
    return true;
  }

  /** @param {Promise<unknown> | undefined} request whose error is shown */
  #ask(request) {
    request?.catch((error) => {
      const text = error instanceof RequestError ? error.message : 'Could not reach the server. Try again.';
      this.toasts.show(text, 'warn');
    });
  }

  /** @param {string} selector of an element that the next frame renders */
  #focus(selector) {
    requestAnimationFrame(() =>
      requestAnimationFrame(() => /** @type {HTMLElement | null} */ (document.querySelector(selector))?.focus()),
    );
  }
}
