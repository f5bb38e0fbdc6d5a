/**
 * Meeting controller: turns room events into page state, toasts, sounds and announcements.
 * @module
 */

import { ConnectionLost, RequestError } from '../client/errors.js';
import { REACTIONS, refusalWords } from '../views/messages.js';
import { capacity } from '../views/layout.js';
import { at } from './base.js';
import { invitation } from './preferences.js';
import { mediaPreferences, Session } from './session.js';
import { orderOf, tilesOf } from './tiles.js';

/** @typedef {import('./actions.js').Actions} Actions */
/** @typedef {import('../client/types.js').RoomState} RoomState */
/** @typedef {import('../client/types.js').ChatEntry} ChatEntry */

const REACTION_MS = 4500;
const STATS_MS = 1000;
const TOKEN_MS = 10_000;
const MUTED_HINT_MS = 20_000;
/** Level and number of consecutive samples that count as speech rather than a cough. */
const SPEECH = { level: 0.55, looks: 8 };
/** In larger meetings, joining and leaving is not announced. */
const CROWD = 12;

const SOURCES = { camera: 'camera', microphone: 'microphone', screen_share: 'screen', screen_share_audio: 'screen audio', unknown: 'track' };

export class Meeting {
  /** @type {Map<string, number>} time when each participant last spoke */
  spoke = new Map();
  /** Last other speaker. The speaker layout never enlarges the own tile. */
  lastSpeaker = '';
  #reactionId = 1;
  /** Token from a development server, kept to rejoin as the same participant. */
  #made = '';
  #loud = 0;
  #hinted = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /** @param {Actions} act */
  constructor(act) {
    this.act = act;
    this.store = act.store;
    this.toasts = act.toasts;
    const preferences = mediaPreferences(new URLSearchParams(location.hash.slice(1)));
    this.session = new Session(act.local, preferences, (error, source) =>
      this.toasts.show(`Your ${SOURCES[source]} could not be shared. ${refusalWords(error)}`, 'warn'),
    );
    const { room } = this.session;
    room.on('change', (state) => this.#changed(state));
    room.on('media', (media) => {
      this.store.update({ media });
      act.sound.play(media);
    });
    room.on('came', ({ name }) => this.#news(`${name} joined`, 'people'));
    room.on('went', ({ participant, reason }) =>
      this.#news(`${participant.name} ${reason === 'kicked' ? 'was removed' : 'left'}`, 'people'),
    );
    room.on('chat', (entry) => this.#said(entry));
    room.on('data', ({ participant, topic, payload }) => topic === 'reaction' && this.reacted(participant, payload));
    room.on('muted', ({ publication, by }) => {
      const who = room.state.participants.get(by)?.name ?? 'A host';
      this.toasts.show(`${who} turned off your ${SOURCES[publication.source]}`, publication.source === 'microphone' ? 'micOff' : 'cameraOff');
    });
    room.on('joined', ({ resumed, rebuilt }) => {
      if (resumed || rebuilt || this.#timer) this.toasts.show('Reconnected', 'wifi');
    });
    room.on('error', (error) => error instanceof ConnectionLost || console.warn('sfu:', error));
  }

  /** @returns {Promise<boolean>} whether the room was entered */
  async join() {
    const { name, roomName } = this.store.state;
    try {
      await this.session.room.join({ token: (refused) => this.#token(refused), name, attributes: {} });
    } catch {
      return false;
    }
    this.#timer = setInterval(() => this.#digest(), STATS_MS);
    document.title = `${roomName} · aiosfu`;
    return true;
  }

  leave() {
    this.session.room.leave('left');
  }

  /**
   * @param {string} participant
   * @param {string} emoji
   */
  reacted(participant, emoji) {
    if (!Object.hasOwn(REACTIONS, emoji)) return;
    const { room, reactions } = this.store.state;
    const name = participant === room.me?.id ? 'You' : (room.participants.get(participant)?.name ?? '');
    const id = this.#reactionId++;
    this.store.update({ reactions: [...reactions, { id, emoji, participant, name, lane: id % 5 }].slice(-20) });
    setTimeout(() => {
      this.store.update({ reactions: this.store.state.reactions.filter((reaction) => reaction.id !== id) });
    }, REACTION_MS);
  }

  /** Shows a hint when the user speaks while muted, at a limited rate. @param {number} level */
  hear(level) {
    const { local, view, talking } = this.store.state;
    const muted = view === 'meeting' && local.microphone.track && !local.microphone.wanted && !talking;
    this.#loud = muted && level > SPEECH.level ? this.#loud + 1 : 0;
    if (this.#loud < SPEECH.looks || performance.now() - this.#hinted < MUTED_HINT_MS) return;
    this.#hinted = performance.now() || 1;
    this.toasts.show('You are muted', 'micOff', { label: 'Unmute', run: this.act.toggleMicrophone });
  }

  /** The invitation token. A development server issues one on demand. @param {string} refused */
  async #token(refused) {
    const { roomName, name } = this.store.state;
    if (refused) this.#made = '';
    const kept = invitation(roomName) || this.#made;
    if (kept) return kept;
    const options = new URLSearchParams(location.hash.slice(1));
    const response = await fetch(at('api/dev/token'), {
      method: 'POST',
      signal: AbortSignal.timeout(TOKEN_MS),
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({
        room: roomName,
        name,
        ...(options.has('identity') ? { identity: options.get('identity') } : {}),
        ...(options.has('admin') ? { admin: options.get('admin') !== 'off' } : {}),
      }),
    });
    if (response.ok) return (this.#made = /** @type {string} */ ((await response.json()).token));
    if (response.status >= 500) throw new Error('server not ready');
    throw new RequestError(response.status === 404 ? 'token_missing' : 'not_authorized', '');
  }

  /** @param {RoomState} room */
  #changed(room) {
    const before = this.store.state;
    const now = performance.now();
    for (const id of room.levels.keys()) this.spoke.set(id, now);
    if (room.dominant && room.dominant !== room.me?.id) this.lastSpeaker = room.dominant;
    this.#hands(before.room, room);
    this.#egress(before.room, room);
    const state = { ...before, room };
    this.store.update({ room, order: orderOf(before.order, tilesOf(state), this.spoke, capacity(before.stage)) });
    if (room.phase === 'left') this.#ended();
  }

  /**
   * @param {RoomState} before
   * @param {RoomState} after
   */
  #hands(before, after) {
    if (before.participants === after.participants) return;
    for (const [id, { name, attributes }] of after.participants) {
      const old = before.participants.get(id);
      if (old && attributes['hand'] && !old.attributes['hand']) this.toasts.show(`${name} raised a hand`, 'hand');
    }
    const waiting = after.waiting.filter(({ participant }) => !before.waiting.some((other) => other.participant === participant));
    for (const { name } of waiting) {
      const show = { label: 'Show', run: () => this.act.togglePanel('people') };
      this.toasts.show(`${name} is waiting to be let in`, 'door', this.store.state.panel === 'people' ? undefined : show);
    }
  }

  /**
   * Informs all participants about recordings and live streams.
   * @param {RoomState} before
   * @param {RoomState} after
   */
  #egress({ room: { egress: old } }, { room: { egress } }) {
    if (egress.recording && !old.recording) this.toasts.show('This meeting is being recorded', 'record');
    else if (!egress.recording && old.recording) this.toasts.show('Recording stopped', 'record');
    if (egress.live && !old.live) this.toasts.show('This meeting is being streamed live', 'live');
    else if (!egress.live && old.live) this.toasts.show('Live stream stopped', 'live');
  }

  #ended() {
    clearInterval(this.#timer);
    this.act.local.stop();
    this.act.sound.play(new Map());
    document.title = 'aiosfu';
    const { dialog: _, ...rest } = this.store.state;
    const reason = rest.room.leave?.reason;
    if (reason === 'webrtc_blocked') this.store.update({ obstacle: reason });
    if (reason === 'webrtc_blocked' || (rest.view === 'lobby' && reason === 'left')) this.act.show();
    else this.store.update({ view: 'end', dialog: null, menu: '', panel: '', toasts: [], media: new Map() });
  }

  /**
   * @param {string} text
   * @param {import('./types.js').Toast['icon']} icon
   */
  #news(text, icon) {
    if (this.store.state.room.participants.size <= CROWD) this.toasts.show(text, icon);
  }

  /** @param {ChatEntry} entry */
  #said(entry) {
    const { room, panel } = this.store.state;
    if (entry.participant === room.me?.id) return;
    if (panel === 'chat') {
      this.store.update({ announcement: `${entry.name} says: ${entry.text}` });
      return;
    }
    this.store.update({ unread: this.store.state.unread + 1 });
    const text = `${entry.name}${entry.to ? ' (private)' : ''}: ${entry.text.length > 80 ? `${entry.text.slice(0, 80)} …` : entry.text}`;
    this.toasts.show(text, 'chat', { label: 'Reply', run: () => (entry.to ? this.act.whisper(entry.participant) : this.act.togglePanel('chat')) });
  }

  async #digest() {
    if (!this.store.state.showStats) return;
    this.store.update({ stats: await this.session.room.stats() });
  }
}
