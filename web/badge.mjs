// The badges of a paid node, the price of its next run and a model that is retired; and the notice
// that says what is wrong with its settings, or what will come back.
import { app } from '../../scripts/app.js';
import { accountOf, accountVersion } from './account.mjs';
import { Actions } from './actions.mjs';
import { el, Room } from './dom.mjs';
import { accountRemark, optionButtons } from './fixes.mjs';
import { asOneChange, canSet, listen, setWidget, widgetOf } from './graph.mjs';
import { badgeText, boundText, isAmber, priceOf, quoteFor, read, setting } from './prices.mjs';
import { offerProfiles } from './suggest.mjs';
import { pixels, text } from './texts.mjs';
import { badgeWithTip } from './tips.mjs';
import { ready, translate } from './translate.mjs';

export const COLOURS = {
  price: { fgColor: '#ffffff', bgColor: '#1d5c42' },
  amber: { fgColor: '#241500', bgColor: '#ffb020' },
  emulated: { fgColor: '#ffffff', bgColor: '#50555c' },
  state: { fgColor: '#ffffff', bgColor: '#3d4654' },
  retired: { fgColor: '#ffffff', bgColor: '#7d5300' },
  wrong: { fgColor: '#ffffff', bgColor: '#9c2222' },
};

const NOTHING = { text: '', ...COLOURS.price };

const MARK = '⚠ ';
const GUESS = 64;
const RETRY = 5000;

/**
 * Fill a paid node's badges, now and after every change.
 * @param {'generate' | 'edit'} kind
 * @param {{draw: () => any}} price the badge for the price
 * @param {{draw: () => any}} state the badge for a retired model
 * @param {{draw: () => any}} account the badge for a profile that isn't set up
 */
export function addPrice(node, kind, price, state, account) {
  const actions = new Actions(node, account);
  const notice = new Notice(node);
  offerProfiles(node);
  let shown = { price: badgeWithTip(NOTHING, ''), state: NOTHING };
  let asked = '';

  const refresh = async () => {
    const sources = read(node);
    const key = keyOf(sources);
    if (key === asked) return;
    asked = key;
    const { quote, values } = await quoteFor(kind, sources);
    const profile = await accountOf(values.profile);
    await ready();
    // A later change has asked again: its answer counts.
    if (key !== asked) return;
    if (!quote) setTimeout(forget, RETRY, key);
    shown = { price: priceBadge(quote, values), state: stateBadge(quote) };
    actions.show(quote, values, profile);
    redraw();
    const found = quote ? remarks(node, quote, values) : [];
    const lacking = accountRemark(node, values.profile, profile);
    notice.show([...found, ...(lacking ? [lacking] : [])], wrongOf(quote, lacking));
  };

  // A server that is being restarted may answer later: the next drawing asks again.
  const forget = (key) => {
    if (asked === key) asked = '';
  };

  price.draw = () => {
    // Where the page draws it again for a reason of its own, a change can have been missed.
    if (keyOf(read(node)) !== asked) refresh();
    return shown.price;
  };
  state.draw = () => new window.LGraphBadge(shown.state);
  listen(node, refresh);
}

/** What a badge depends on, to be compared: also what is known of this server's accounts. */
function keyOf(sources) {
  return JSON.stringify([sources, accountVersion(), setting('MAI.AmberAbove')]);
}

/** The names of the widgets that are wrong. */
function wrongOf(quote, lacking) {
  const size = quote?.nearest ? ['width', 'height'] : [];
  return [...size, ...Object.keys(quote?.off ?? {}), ...(lacking ? ['profile'] : [])];
}

function priceBadge(quote, values) {
  if (!quote) return badgeWithTip(NOTHING, '');
  const { usd, real, bound, problems } = priceOf(quote, values);
  if (problems) return badgeWithTip({ text: text('impossible'), ...COLOURS.wrong }, '');
  const kind = real ? 'emulated' : isAmber(usd) ? 'amber' : 'price';
  const tip = [real ? text('emulatedHelp') : text('perImage'), boundText(bound)].join(' ');
  return badgeWithTip({ text: badgeText(quote, values), ...COLOURS[kind] }, tip.trim());
}

function stateBadge(quote) {
  if (!quote?.retired) return NOTHING;
  return { text: text('retired', { date: quote.retired.on }), ...COLOURS.retired };
}

/**
 * A paragraph or more of the notice.
 * @typedef {{kind: 'wrong' | 'retired' | 'note', sentences: string[], buttons?: Button[]}} Remark
 * @typedef {{label: string, apply: () => void}} Button
 */

/** @returns {Remark[]} what a quote finds to say of a node's settings */
function remarks(node, { problems, nearest, off, retired, notes }, { model }) {
  const found = [];
  if (problems.length) {
    const buttons = [...optionButtons(node, off), sizeButton(node, nearest)].filter(Boolean);
    found.push({ kind: 'wrong', sentences: problems, buttons });
  }
  if (retired) {
    const button = successorButton(node, retired);
    const said = [text('retiredModel', { model, date: retired.on })];
    if (retired.successor && !button) said.push(text('successor', { model: retired.successor }));
    found.push({ kind: 'retired', sentences: [said.join(' ')], buttons: button ? [button] : [] });
  }
  if (notes.length) found.push({ kind: 'note', sentences: notes });
  return found;
}

/** The button that sets the nearest size, where both sides are the node's own to set. */
function sizeButton(node, nearest) {
  if (!nearest || !canSet(node, 'width') || !canSet(node, 'height')) return null;
  return { label: text('use', { what: pixels(nearest) }), apply: () => setSize(node, nearest) };
}

/** The button for a retired model's successor, and for a size that this one can make. */
function successorButton(node, { use, size }) {
  const offered = widgetOf(node, 'model')?.options?.values;
  if (!use || !canSet(node, 'model') || (Array.isArray(offered) && !offered.includes(use))) {
    return null;
  }
  const apply = () => {
    setWidget(node, 'model', use);
    if (size && canSet(node, 'width') && canSet(node, 'height')) setSize(node, size);
  };
  return { label: text('use', { what: use }), apply };
}

function setSize(node, [width, height]) {
  setWidget(node, 'width', width);
  setWidget(node, 'height', height);
}

/**
 * The canvas draws badges anew with every frame. The Vue renderer does when something of its own
 * changes that a badge has read: all of ours read this number of the pack's tab.
 */
export function redraw() {
  const tab = packTab();
  if (tab) tab.drawn += 1;
  app.canvas?.setDirty(true, true);
}

/** The pack's tab in the page's own list, so that what is changed in it is drawn. */
export function packTab() {
  return app.extensionManager.getSidebarTabs?.().find(({ id }) => id === 'mai-image');
}

/** The notice of one node: there only while it has something to say. */
export class Notice {
  constructor(node) {
    this.node = node;
    this.body = el('div', { className: 'mai-notices' });
    this.room = new Room(node, 'mai_notice', this.body, GUESS);
    this.said = '';
    this.marked = new Map();
  }

  /**
   * @param {Remark[]} remarks none: there is no notice
   * @param {string[]} names the widgets that are wrong
   */
  show(remarks, names) {
    this.mark(names);
    const said = JSON.stringify(remarks.map(({ kind, sentences, buttons = [] }) => [
      kind, sentences, buttons.map(({ label }) => label),
    ]));
    // Also where it says the same, a button may have to set something else.
    this.body.replaceChildren(...remarks.map(drawRemark));
    if (!remarks.length) this.room.close();
    else if (said !== this.said) this.room.open();
    this.said = said;
  }

  /** Put a sign before the names of widgets that are wrong, and take it from the others. */
  mark(names) {
    for (const [name, before] of this.marked) {
      if (names.includes(name)) continue;
      const widget = widgetOf(this.node, name);
      if (widget) unmark(widget, before);
      this.marked.delete(name);
    }
    for (const name of names) {
      const widget = widgetOf(this.node, name);
      if (!widget || this.marked.has(name)) continue;
      this.marked.set(name, { label: widget.label, advanced: widget.options.advanced });
      widget.label = `${MARK}${widget.label ?? name}`;
      // The Vue renderer hides advanced widgets: what is wrong has to be seen.
      widget.options.advanced = false;
    }
  }
}

/** @param {Remark} remark */
function drawRemark({ kind, sentences, buttons = [] }) {
  const lines = sentences.map((sentence) => el('p', {}, translate(sentence)));
  const row = buttons.map(({ label, apply }) =>
    el('button', { type: 'button', onclick: () => asOneChange(apply) }, label),
  );
  const presses = row.length ? el('div', { className: 'mai-buttons' }, ...row) : null;
  return el('div', { className: `mai-notice mai-notice-${kind}` }, ...lines, presses);
}

function unmark(widget, { label, advanced }) {
  widget.label = label;
  widget.options.advanced = advanced;
}
