/**
 * The chat panel: history and private messages. The page counts unread messages.
 *
 * data-testid: `chat-panel`, `chat-message` (with data-from), `chat-input`, `chat-send`, `chat-to`, `chat-close`.
 * @module
 */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { icon } from './icons.js';
import { avatar, button, time } from './parts.js';

/** @typedef {import('../page/types.js').PageState} PageState */
/** @typedef {import('../page/actions.js').Actions} Actions */
/** @typedef {import('../client/types.js').ChatEntry} ChatEntry */

/** Messages of one person within this many seconds are grouped. */
const TOGETHER = 180;

/**
 * @param {PageState} state
 * @param {Actions} act
 */
export function chat(state, act) {
  const { chat: entries, permissions } = state.room;
  return html`
    <aside class="panel" aria-label="Chat" data-testid="chat-panel">
      <header class="panel-head">
        <h2>Chat</h2>
        ${button({ label: 'Close chat', icon: 'close', look: 'plain tip-left', testid: 'chat-close', click: () => act.togglePanel('chat') })}
      </header>
      <div class="panel-body chat-lines" id="chat-lines" role="log" aria-label="Messages" tabindex="0">
        ${entries.length
          ? repeat(entries, ({ id }) => id, (entry, index) => line(state, entry, entries[index - 1]))
          : html`<div class="empty">${icon('chat')}<p>No messages yet.</p><p>Messages to everyone are visible to all participants, including those who join later.</p></div>`}
      </div>
      ${permissions.data ? composer(state, act) : html`<p class="panel-note">You can read the chat but not send messages.</p>`}
    </aside>
  `;
}

/**
 * @param {PageState} state
 * @param {ChatEntry} entry
 * @param {ChatEntry | undefined} before
 */
function line(state, entry, before) {
  const mine = entry.participant === state.room.me?.id;
  const together = before?.participant === entry.participant && before.to === entry.to && entry.at - before.at < TOGETHER;
  const identity = (mine ? state.room.me : state.room.participants.get(entry.participant))?.identity ?? entry.participant;
  const whom = entry.to === state.room.me?.id ? 'you' : (state.room.participants.get(entry.to)?.name ?? 'someone who left');
  return html`
    <article class="line ${mine ? 'mine' : ''} ${together ? 'together' : ''} ${entry.to ? 'private' : ''}" data-testid="chat-message" data-from=${entry.participant}>
      ${together
        ? nothing
        : html`<header>
            ${mine ? nothing : avatar(entry.name, identity)}
            <strong>${mine ? 'You' : entry.name}</strong>
            ${entry.to ? html`<span class="whisper">${icon('lock')} to ${whom}</span>` : nothing}
            <time datetime=${new Date(entry.at * 1000).toISOString()}>${time(entry.at)}</time>
          </header>`}
      <p>${linked(entry.text)}</p>
    </article>
  `;
}

/** Turns web addresses into links. @param {string} text */
function linked(text) {
  return text.split(/(https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]])/g).map((part, index) =>
    index % 2 ? html`<a href=${part} target="_blank" rel="noopener noreferrer nofollow">${part}</a>` : part,
  );
}

/**
 * @param {PageState} state
 * @param {Actions} act
 */
function composer(state, act) {
  const others = [...state.room.participants.values()];
  /** @param {HTMLFormElement} form */
  const send = (form) => {
    const field = /** @type {HTMLTextAreaElement} */ (form.elements.namedItem('text'));
    if (field.value.trim()) act.chat(field.value.trim());
    field.value = '';
    field.style.height = '';
  };
  /** @param {KeyboardEvent} event */
  const key = (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send(/** @type {HTMLFormElement} */ (/** @type {HTMLTextAreaElement} */ (event.target).form));
  };
  /** @param {InputEvent} event */
  const grow = (event) => {
    const field = /** @type {HTMLTextAreaElement} */ (event.target);
    field.style.height = 'auto';
    field.style.height = `${Math.min(field.scrollHeight, 140)}px`;
  };
  return html`
    <form
      class="composer"
      @submit=${(/** @type {SubmitEvent} */ event) => {
        event.preventDefault();
        send(/** @type {HTMLFormElement} */ (event.target));
      }}
    >
      <label class="composer-to">
        <span>To</span>
        <select data-testid="chat-to" @change=${(/** @type {Event} */ event) => act.chatTo(/** @type {HTMLSelectElement} */ (event.target).value)}>
          <option value="" ?selected=${!state.chatTo}>Everyone</option>
          ${others.map(({ id, name }) => html`<option value=${id} ?selected=${state.chatTo === id}>${name} (private)</option>`)}
        </select>
        ${icon('down')}
      </label>
      <div class="composer-line">
        <textarea name="text" rows="1" maxlength="4096" aria-label="Message" placeholder="Write a message" data-testid="chat-input" @keydown=${key} @input=${grow}></textarea>
        <button class="button send" aria-label="Send" data-testid="chat-send">${icon('send')}</button>
      </div>
    </form>
  `;
}
