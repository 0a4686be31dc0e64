// What can be done from a paid node: buy a new image, try it without an account, use one profile
// for all nodes. A row of buttons at the node's foot, and a badge that can be clicked.
import { app } from '../../scripts/app.js';
import {
  useAccount, usedProfiles, useEmulator, useProfile,
} from './account.mjs';
import { el, Room } from './dom.mjs';
import { changeWidget, listen, settersOf, source, widgetOf } from './graph.mjs';
import { amount, priceOf } from './prices.mjs';
import { text } from './texts.mjs';

const GUESS = 26;
const SEEDS = 2 ** 50;

const COLOURS = { fgColor: '#ffffff', bgColor: '#0a5a9c' };

const TRY = { name: 'noAccount', label: 'tryFree', help: 'noAccountHelp', apply: useEmulator };
const BACK = {
  name: 'useMyAccount', label: 'backToAccount', help: 'useMyAccountHelp', apply: useAccount,
};

/** What the badge says, and the button that does the same, by what can be said of the profile. */
const WAYS = { none: TRY, missing: TRY, emulated: BACK };

export class Actions {
  /** @param {{draw: () => any}} badge the badge for a profile that isn't set up */
  constructor(node, badge) {
    this.node = node;
    this.shown = '';
    this.impossible = false;
    this.badge = badgeOf(null);
    badge.draw = () => this.badge;
    this.more = el('button', { type: 'button', onclick: () => newImage(node) });
    this.way = el('button', { type: 'button' });
    this.all = el('button', { type: 'button' });
    const body = el('div', { className: 'mai-buttons mai-actions' }, this.more, this.way, this.all);
    new Room(node, 'mai_actions', body, GUESS).stay();
    this.show(null, { batch_size: 1 }, null);
    listen(node, () => this.drawLinks());
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
    button(this.way, way && text(way.label), way?.apply);
    this.way.title = way ? text(way.help) : '';
    this.drawLinks();
  }

  /** What depends on links and on other nodes, too: no price is asked for when they change. */
  drawLinks() {
    const computed = !settersOf(this.node, 'seed').length;
    this.more.disabled = computed || this.impossible;
    this.more.title = text(computed ? 'seedLinked' : 'newImageHelp');
    const profile = source(this.node, 'profile')?.value ?? widgetOf(this.node, 'profile')?.value;
    const differ = usedProfiles().length > 1;
    button(this.all, differ && text('useForAll', { profile }), () => useProfile(profile));
  }

  drawMore(quote, values) {
    const many = values.batch_size == null || values.batch_size > 1 || quote?.images > 1;
    const price = quote && priceOfAll(quote, values);
    const label = text(many ? 'newImages' : 'newImage');
    this.more.textContent = price ? `${label} (${price})` : label;
    this.impossible = Boolean(quote?.problems.length);
  }
}

/** Buy another image: a new seed, and the graph is queued. */
function newImage(node) {
  const seed = Math.floor(Math.random() * SEEDS);
  for (const one of settersOf(node, 'seed')) changeWidget(one.node, one.widget, seed);
  app.queuePrompt(0);
}

/** The price of the whole batch; "" where there is none. */
function priceOfAll(quote, values) {
  // With a new seed none of a list is in the store.
  const whole = quote.full == null ? quote : { ...quote, sum: quote.full };
  const { usd, real, bound, problems } = priceOf(whole, values);
  if (problems) return '';
  return real ? text('free') : amount(usd, bound);
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
    role: 'button', tabindex: 0, class: 'mai-badge', title: text(way.help), onKeydown,
  });
}

function button(element, label, onclick) {
  element.hidden = !label;
  element.textContent = label || '';
  element.onclick = onclick ?? null;
}
