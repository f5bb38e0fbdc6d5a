/**
 * One tile: a person's camera or a shared screen. A custom element, because its video must keep playing when the layout
 * moves it, and because it reports its size on the screen.
 *
 * data-testid: `tile`, with data-participant, data-identity, data-track, data-kind (camera, screen), data-me; inside:
 * `tile-name`, `tile-ingest`, `tile-muted`, `tile-video`, `tile-pin`.
 * @module
 */

import { ingestLabel } from '../page/tiles.js';
import { html, nothing, render } from '../vendor/lit-html/lit-html.js';
import { icon } from './icons.js';
import { pictureSize } from './layout.js';
import { avatar, bars, hue } from './parts.js';
import { PAUSED } from './messages.js';

/**
 * @typedef {object} TileView
 * @property {import('../page/tiles.js').Tile} tile
 * @property {import('./layout.js').Rect} rect
 * @property {boolean} main
 * @property {boolean} floating over another tile
 * @property {boolean} speaking
 * @property {boolean} dominant
 * @property {number} level 0 … 1
 * @property {import('../client/types.js').Quality | undefined} quality
 * @property {boolean} hand
 * @property {string} reaction
 * @property {boolean} pinned
 * @property {boolean} talking
 * @property {string[]} numbers statistics; empty: not shown
 * @property {() => void} pin
 * @property {(tile: SfuTile, demand: import('../client/subscription_settings.js').Demand | null, track: string) => void} demand
 */

/** @type {WeakMap<Element, (visible: boolean) => void>} */
const watchers = new WeakMap();
const visibility = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) watchers.get(target)?.(isIntersecting);
  },
  { threshold: 0.05 },
);

export class SfuTile extends HTMLElement {
  /** @type {TileView | null} */
  #view = null;
  #visible = true;
  #shown = '';
  #resize = new ResizeObserver(() => this.#say());
  #video = document.createElement('video');

  constructor() {
    super();
    this.#video.autoplay = this.#video.playsInline = this.#video.muted = true;
    this.#video.disablePictureInPicture = false;
    this.#video.dataset['testid'] = 'tile-video';
    // The avatar stays until the first video frame.
    const playing = () => this.toggleAttribute('playing', this.#video.videoWidth > 0 && Boolean(this.#video.srcObject));
    for (const event of ['loadeddata', 'resize', 'playing', 'emptied']) this.#video.addEventListener(event, playing);
  }

  connectedCallback() {
    watchers.set(this, (visible) => {
      this.#visible = visible;
      this.#say();
    });
    visibility.observe(this);
    this.#resize.observe(this);
    this.#draw();
  }

  disconnectedCallback() {
    visibility.unobserve(this);
    this.#resize.disconnect();
    if (this.#shown) this.#view?.demand(this, null, this.#shown);
    this.#shown = '';
    this.#video.srcObject = null;
  }

  /** @param {TileView} view */
  set view(view) {
    this.#view = view;
    if (this.isConnected) this.#draw();
  }

  #draw() {
    const view = this.#view;
    if (!view) return;
    const { tile, rect } = view;
    this.style.transform = `translate(${rect.x}px, ${rect.y}px)`;
    this.style.width = `${rect.width}px`;
    this.style.height = `${rect.height}px`;
    this.style.setProperty('--level', view.speaking ? String(Math.max(0.25, view.level)) : '0');
    Object.assign(this.dataset, {
      testid: 'tile',
      participant: tile.participant.id,
      identity: tile.participant.identity,
      track: tile.trackId,
      kind: tile.kind,
      me: String(tile.me),
    });
    this.toggleAttribute('main', view.main);
    this.toggleAttribute('floating', view.floating);
    this.toggleAttribute('speaking', view.speaking);
    this.toggleAttribute('dominant', view.dominant);
    this.toggleAttribute('small', rect.width < 200);
    this.toggleAttribute('mirror', tile.me && tile.kind === 'camera');
    this.#feed(tile.media);
    if (!view.tile.media) this.removeAttribute('playing');
    this.setAttribute('role', 'group');
    this.setAttribute('aria-label', label(view));
    render(content(view, this.#video), this);
    this.#say();
  }

  /** @param {MediaStreamTrack | null} media */
  #feed(media) {
    const stream = /** @type {MediaStream | null} */ (this.#video.srcObject);
    if ((stream?.getVideoTracks()[0] ?? null) === media) return;
    this.#video.srcObject = media ? new MediaStream([media]) : null;
    if (media) this.#video.play().catch(() => {});
  }

  /** Reports the size of the tile in device pixels, and its visibility. */
  #say() {
    const view = this.#view;
    if (!view || !this.isConnected) return;
    const { trackId, me } = view.tile;
    if (this.#shown && this.#shown !== trackId) view.demand(this, null, this.#shown);
    this.#shown = me ? '' : trackId;
    if (!this.#shown) return;
    // The final size of the layout. Sizes during an animation would cause repeated requests.
    const { width, height } = pictureSize(view.rect, view.tile.aspect, view.tile.kind === 'screen');
    const ratio = Math.min(3, devicePixelRatio || 1);
    view.demand(this, { width: width * ratio, height: height * ratio, visible: this.#visible, main: view.main }, trackId);
  }
}

/** @param {TileView} view */
function label({ tile, hand, speaking }) {
  const name = tile.me ? 'You' : tile.participant.name;
  if (tile.kind === 'screen') return tile.me ? 'Your screen' : `${name}'s screen`;
  return [name, tile.muted ? 'muted' : '', speaking ? 'speaking' : '', hand ? 'hand raised' : ''].filter(Boolean).join(', ');
}

/** @param {import('../client/types.js').Participant} participant an encoder or a camera */
function ingest({ attributes }) {
  return html`<span class="tile-ingest" data-testid="tile-ingest">${ingestLabel(attributes)}</span>`;
}

/**
 * @param {TileView} view
 * @param {HTMLVideoElement} video
 */
function content(view, video) {
  const { tile, quality, hand, reaction, pinned, numbers } = view;
  const name = tile.me ? 'You' : tile.participant.name;
  const screen = tile.kind === 'screen';
  return html`
    <div class="tile-picture hue-${hue(tile.participant.identity)}">${screen ? nothing : avatar(tile.participant.name, tile.participant.identity)}${video}</div>
    ${tile.paused ? html`<div class="tile-paused" data-reason=${tile.paused}>${PAUSED[tile.paused] ?? 'Paused'}</div>` : nothing}
    <div class="tile-top">
      ${hand && !screen ? html`<span class="tile-hand" title="Hand raised">${icon('hand')}</span>` : nothing}
      ${reaction && !screen ? html`<span class="tile-reaction" aria-hidden="true">${reaction}</span>` : nothing}
      <button
        type="button"
        class="tile-pin"
        data-testid="tile-pin"
        aria-label="${pinned ? 'Unpin' : 'Pin'} ${screen ? `${name}'s screen` : name}"
        aria-pressed=${String(pinned)}
        @click=${view.pin}
      >
        ${icon(pinned ? 'unpin' : 'pin')}
      </button>
    </div>
    ${numbers.length ? html`<pre class="tile-numbers">${numbers.join('\n')}</pre>` : nothing}
    <div class="tile-label">
      ${screen ? html`<span class="tile-icon">${icon('screen')}</span>` : nothing}
      ${tile.muted && !screen
        ? html`<span class="tile-icon tile-muted" data-testid="tile-muted" title="Muted">${icon('micOff')}</span>`
        : nothing}
      <span class="tile-name" data-testid="tile-name">${screen ? (tile.me ? 'Your screen' : `${name}'s screen`) : name}</span>
      ${tile.participant.kind === 'ingress' ? ingest(tile.participant) : nothing}
      ${quality && !screen ? bars(quality) : nothing}
    </div>
  `;
}

customElements.define('sfu-tile', SfuTile);
