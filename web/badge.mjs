// The badge with the price of a node's next run, and the notice when its settings can't be run.
import { app } from '../../scripts/app.js';
import { el, Room } from './dom.mjs';
import { isLinked, listen, setWidget, settle, source, widgetOf } from './graph.mjs';
import { compute } from './server.mjs';
import { dollars, pixels, text } from './texts.mjs';

const READ = [
  'model', 'width', 'height', 'batch_size', 'profile', 'auto_aspect_ratio', 'web_grounding',
];

const SIGNAL = 'mai_price';

const SIGNS = { exact: '', 'at least': '≥ ', 'at most': '≤ ', about: '≈ ' };

const COLOURS = {
  price: { fgColor: '#ffffff', bgColor: '#1d5c42' },
  emulated: { fgColor: '#ffffff', bgColor: '#50555c' },
  wrong: { fgColor: '#ffffff', bgColor: '#9c2222' },
};

const MARK = '⚠ ';
const GUESS = 64;
const RETRY = 5000;

/**
 * Fill a paid node's badge, now and after every change.
 * @param {'generate' | 'edit'} kind
 * @param {{draw: () => any}} badge gives what is shown on the node
 */
export function addPrice(node, kind, badge) {
  const notice = new Notice(node);
  addSignal(node);
  let shown = { text: '', ...COLOURS.price };
  let asked = '';

  const refresh = async () => {
    const sources = read(node);
    const key = JSON.stringify(sources);
    if (key === asked) return;
    asked = key;
    const values = await settleAll(sources);
    const quote = await ask(kind, values);
    // A later change has asked again: its answer counts.
    if (key !== asked) return;
    if (!quote) setTimeout(forget, RETRY, key);
    shown = quote ? label(quote, values) : { text: '', ...COLOURS.price };
    redraw(node);
    if (quote?.problems.length) notice.show(quote.problems, remedy(node, quote), wrong(quote));
    else notice.hide();
  };

  // A server that is being restarted may answer later: the next drawing asks again.
  const forget = (key) => {
    if (asked === key) asked = '';
  };

  badge.draw = () => {
    // Where the page draws it again for a reason of its own, a change can have been missed.
    if (JSON.stringify(read(node)) !== asked) refresh();
    return new window.LGraphBadge(shown);
  };
  listen(node, refresh);
}

function read(node) {
  return Object.fromEntries(READ.map((name) => [name, source(node, name)]));
}

async function settleAll(sources) {
  const found = Object.entries(sources).map(async ([name, one]) => [name, await settle(one)]);
  return Object.fromEntries(await Promise.all(found));
}

/** The server's quote; null while it doesn't answer, or where not even the model is known. */
async function ask(kind, { batch_size, profile, ...settings }) {
  if (settings.model == null) return null;
  return compute('price', { kind, ...settings }).catch(() => null);
}

function label(quote, { batch_size: count, profile }) {
  if (quote.problems.length) return { text: text('impossible'), ...COLOURS.wrong };
  if (profile === 'emulator') return { text: text('emulated'), ...COLOURS.emulated };
  const sign = count == null ? SIGNS['at least'] : SIGNS[quote.bound];
  const times = count > 1 ? ` × ${count}` : '';
  return { text: `${sign}${dollars(quote.usd)}${times}`, ...COLOURS.price };
}

/** The widgets that a quote finds fault with. */
function wrong(quote) {
  return quote.nearest ? ['width', 'height'] : [];
}

/** The button that sets the nearest size, where both sides are the node's own to set. */
function remedy(node, { nearest }) {
  if (!nearest || isLinked(node, 'width') || isLinked(node, 'height')) return null;
  return {
    label: text('use', { size: pixels(nearest) }),
    apply: () => {
      setWidget(node, 'width', nearest[0]);
      setWidget(node, 'height', nearest[1]);
    },
  };
}

/** A widget that nobody sees, neither on the node nor in a workflow: see redraw. */
function addSignal(node) {
  const widget = node.addCustomWidget({
    type: 'text',
    name: SIGNAL,
    value: '',
    options: { serialize: false, hidden: true, canvasOnly: true },
    hidden: true,
    serialize: false,
    y: 0,
  });
  widget.serialize = false;
}

/**
 * The canvas draws badges anew with every frame. The Vue renderer does when the list of widgets
 * changes, which the badge has read; newer ones also when they are told.
 */
function redraw(node) {
  const { graph, badges, widgets } = node;
  const place = widgets.findIndex((widget) => widget.name === SIGNAL);
  if (place >= 0) widgets.push(...widgets.splice(place, 1));
  graph?.trigger?.('node:property:changed', {
    type: 'node:property:changed',
    nodeId: node.id,
    property: 'badges',
    oldValue: badges,
    newValue: [...badges],
  });
  app.canvas?.setDirty(true, true);
}

/** The notice of one node: there only while it has something to say. */
class Notice {
  constructor(node) {
    this.node = node;
    this.body = el('div', { className: 'mai-notice' });
    this.room = new Room(node, 'mai_notice', this.body, GUESS);
    this.said = '';
    this.marked = new Map();
  }

  /**
   * @param {string[]} problems sentences
   * @param {{label: string, apply: () => void} | null} remedy
   * @param {string[]} names the widgets that are wrong
   */
  show(problems, remedy, names) {
    this.mark(names);
    const said = JSON.stringify([problems, remedy?.label]);
    if (said === this.said) return;
    this.said = said;
    this.body.replaceChildren(...problems.map((problem) => el('p', {}, problem)));
    if (remedy) {
      const button = el('button', { type: 'button', onclick: remedy.apply }, remedy.label);
      this.body.append(button);
    }
    this.room.open();
  }

  hide() {
    this.mark([]);
    this.said = '';
    this.room.close();
  }

  /** Put a sign before the names of widgets that are wrong, and take it from the others. */
  mark(names) {
    for (const [name, label] of this.marked) {
      if (names.includes(name)) continue;
      const widget = widgetOf(this.node, name);
      if (widget) widget.label = label;
      this.marked.delete(name);
    }
    for (const name of names) {
      const widget = widgetOf(this.node, name);
      if (!widget || this.marked.has(name)) continue;
      this.marked.set(name, widget.label);
      widget.label = `${MARK}${widget.label ?? name}`;
    }
  }
}
