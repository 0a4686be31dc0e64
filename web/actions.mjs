// What can be done from a paid node: buy a new image, try it without an account, use one profile
// for all nodes. A row of buttons at the node's foot, and a badge that can be clicked.
import { app } from '../../scripts/app.js';
import {
  EMULATOR, useAccount, usedProfiles, useEmulator, useProfile,
} from './account.mjs';
import { el, Room } from './dom.mjs';
import { changeWidget, settersOf, source } from './graph.mjs';
import { dollars, SIGNS, text } from './texts.mjs';

const GUESS = 26;
const SEEDS = 2 ** 50;

const COLOURS = { fgColor: '#ffffff', bgColor: '#0a5a9c' };

/** What a click on an account's badge does, by what can be said of the profile. */
const WAYS = {
  none: { name: 'noAccount', apply: useEmulator },
  missing: { name: 'noAccount', apply: useEmulator },
  emulated: { name: 'useMyAccount', apply: useAccount },
};

export class Actions {
  /** @param {{draw: () => any}} badge the badge for a profile that isn't set up */
  constructor(node, badge) {
    this.node = node;
    this.shown = '';
    this.badge = badgeOf(null);
    badge.draw = () => this.badge;
    this.more = el('button', { type: 'button', onclick: () => newImage(node) });
    this.way = el('button', { type: 'button' });
    this.all = el('button', { type: 'button' });
    const body = el('div', { className: 'mai-buttons mai-actions' }, this.more, this.way, this.all);
    new Room(node, 'mai_actions', body, GUESS).open();
    this.show(null, {}, null);
  }

  /**
   * @param {any} quote the server's, null where there is none
   * @param {Record<string, any>} values of the node's inputs, undefined where they aren't known
   * @param {import('./account.mjs').Account | null} account
   */
  show(quote, values, account) {
    const way = WAYS[account?.state];
    if (this.shown !== way?.name) this.badge = badgeOf(way);
    this.shown = way?.name;
    this.drawMore(quote, values);
    button(this.way, way && sentence(text(way.name)), way?.apply);
    this.way.title = way ? text(`${way.name}Help`) : '';
    const { profile } = values;
    const others = profile != null && usedProfiles().length > 1;
    button(this.all, others && text('useForAll', { profile }), () => useProfile(profile));
  }

  drawMore(quote, { batch_size: count, profile }) {
    const many = count == null || count > 1;
    const price = quote && priceOf(quote, count, profile);
    const label = text(many ? 'newImages' : 'newImage', { price });
    this.more.textContent = price ? label : label.replace(/ ?[(（].*/, '');
    const fixed = !settersOf(this.node, 'seed').length;
    this.more.disabled = fixed || Boolean(quote?.problems.length);
    this.more.title = text(fixed ? 'seedLinked' : 'newImageHelp');
  }
}

/** Buy another image: a new seed, and the graph is queued. */
export function newImage(node) {
  const seed = Math.floor(Math.random() * SEEDS);
  for (const one of settersOf(node, 'seed')) changeWidget(one.node, one.widget, seed);
  app.queuePrompt(0);
}

/** The price of the whole batch; "" where there is none. */
function priceOf({ usd, bound, problems }, count, profile) {
  if (problems.length || usd == null) return '';
  if (profile === EMULATOR) return text('free');
  return `${SIGNS[count == null && bound === 'exact' ? 'at least' : bound]}${dollars(usd * (count ?? 1))}`;
}

/** A badge that both renderers give clicks to; the Vue one makes attributes of what it has else. */
function badgeOf(way) {
  if (!way) return new window.LGraphBadge({ text: '' });
  const onClick = () => way.apply();
  const onKeydown = (event) => {
    if (event.key !== 'Enter' && event.key !== ' ') return;
    // The page moves its view with the space bar.
    event.preventDefault();
    event.stopPropagation();
    way.apply();
  };
  const badge = new window.LGraphBadge({ text: text(way.name), ...COLOURS, onClick });
  return Object.assign(badge, {
    role: 'button', tabindex: 0, class: 'mai-badge', title: text(`${way.name}Help`), onKeydown,
  });
}

function button(element, label, onclick) {
  element.hidden = !label;
  element.textContent = label || '';
  element.onclick = onclick ?? null;
}

/** Badges are small words; a button begins as a sentence does. */
function sentence(words) {
  return words[0].toUpperCase() + words.slice(1);
}
