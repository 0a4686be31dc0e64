// Elements, made in one line, and their places on nodes. Texts go in as text nodes, so nothing from
// outside becomes markup.

const MARGIN = 8;

/**
 * An element with properties, attributes (`data-…`, `aria-…`) and children; null ones are left out.
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Node | string | null | undefined)} children
 * @returns {HTMLElement}
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  set(element, properties);
  element.append(...children.filter((child) => child != null));
  return element;
}

/**
 * The same for a part of an SVG image.
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {...(Node | string)} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** A button that shows one of the page's icons; its name is for screen readers and as a tooltip. */
export function iconButton(icon, name, onclick, focus = '') {
  const sign = el('i', { className: `pi pi-${icon}`, 'aria-hidden': 'true' });
  return el('button', {
    type: 'button', className: `mai-icon mai-${icon}`, title: name, onclick, 'aria-label': name, 'data-focus': focus,
  }, sign);
}

/** Load the pack's style sheet; it uses the page's own theme colours. */
export function addStyle() {
  const href = new URL('./style.css', import.meta.url).href;
  document.head.append(el('link', { rel: 'stylesheet', href }));
}

/**
 * The rooms on a node that will close again, and its height without them.
 * @type {WeakMap<any, {height: number, rooms: Set<Room>}>}
 */
const passing = new WeakMap();

/** The height that a room gave its node last. @type {WeakMap<object, number>} */
const given = new WeakMap();

/**
 * A place for an element on a node, as high as what is in it, and never saved. The node is made
 * higher for it, and lower when it is gone. What is opened is closed again some day; what stays is
 * there for good.
 */
export class Room {
  /**
   * @param {string} name of the widget that holds the place
   * @param {HTMLElement} body
   * @param {number} guess its height in pixels before the browser has laid it out
   */
  constructor(node, name, body, guess) {
    this.node = node;
    this.name = name;
    this.body = body;
    this.guess = guess;
    // The page sets the height of the outer element; the inner one keeps its natural height.
    this.frame = el('div', { className: 'mai-room' }, body);
    this.observer = new ResizeObserver(() => this.isShown() && this.fit());
    this.widget = null;
  }

  open() {
    if (this.widget) return;
    ownHeight(this.node).rooms.add(this);
    this.stay();
  }

  stay() {
    this.widget = this.node.addDOMWidget(this.name, this.name, this.frame, {
      serialize: false,
      hideOnZoom: false,
      margin: MARGIN,
      getMinHeight: () => this.height(),
      getMaxHeight: () => this.height(),
    });
    // Not in a workflow either: what is saved is the same as without this pack's scripts.
    this.widget.serialize = false;
    this.observer.observe(this.body);
    this.fit();
  }

  close() {
    if (!this.widget) return;
    this.observer.disconnect();
    // What the user made the node higher by meanwhile stays.
    const spare = Math.max(0, this.node.size[1] - given.get(this.node));
    this.node.removeWidget(this.widget);
    this.widget = null;
    const { height, rooms } = passing.get(this.node);
    rooms.delete(this);
    this.setHeight(Math.max(height, this.node.computeSize()[1]) + spare);
  }

  /** Pixels of the canvas that the widget takes, its margins included. */
  height() {
    return (this.isLaidOut() ? this.body.offsetHeight : this.guess) + 2 * MARGIN;
  }

  /** Some versions of the page show it as a narrow column first, of a word or less a line. */
  isLaidOut() {
    return this.body.offsetHeight > 0 && this.body.offsetWidth > this.node.size[0] / 2;
  }

  /** Higher if that is needed; never lower, as somebody may want the node so. */
  fit() {
    this.setHeight(Math.max(this.node.size[1], this.node.computeSize()[1]));
  }

  /** No more once another graph is open: the Vue renderer knows nodes by their ids, and would give
   * the size to the node that has this one's id there. */
  isShown() {
    return this.node.graph?.getNodeById(this.node.id) === this.node;
  }

  setHeight(height) {
    given.set(this.node, height);
    this.node.setSize([this.node.size[0], height]);
    this.node.setDirtyCanvas(true, true);
  }
}

/** The height of a node without the rooms that will close, remembered while there are any. */
function ownHeight(node) {
  const known = passing.get(node);
  if (known?.rooms.size) return known;
  const own = { height: node.size[1], rooms: new Set() };
  if (!known) saveOwnHeight(node);
  passing.set(node, own);
  return own;
}

/** Neither a saved workflow nor an undo has to do with what is on a node for a while. */
function saveOwnHeight(node) {
  const { onSerialize } = node;
  node.onSerialize = function (saved, ...more) {
    const { height, rooms } = passing.get(this);
    const higher = [...rooms].reduce((sum, room) => sum + room.height(), 0);
    if (rooms.size) saved.size = [saved.size[0], Math.max(height, saved.size[1] - higher)];
    return onSerialize?.call(this, saved, ...more);
  };
}

function set(element, properties) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes('-')) element.setAttribute(name, value);
    else element[name] = value;
  }
}
