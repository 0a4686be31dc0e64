// What is wrong with a node's settings, on the node itself, with a button that mends it.
import { el } from './dom.js';
import { widgetOf } from './inputs.js';

const NAME = 'mai_notice';
const MARK = '⚠ ';
const MARGIN = 8;
const GUESS = 80;

/** The notice of one node; a widget that exists only while there is something to say. */
export class Notice {
  constructor(node) {
    this.node = node;
    this.widget = null;
    this.said = '';
    this.marked = new Map();
    this.observer = new ResizeObserver(() => this.fit());
    this.body = el('div', { className: 'mai-notice' });
    // The page lays the element out itself; the inner one keeps its natural height.
    this.frame = el('div', { className: 'mai-notice-frame' }, this.body);
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
    if (!this.widget) this.add();
  }

  hide() {
    this.mark([]);
    this.said = '';
    if (!this.widget) return;
    this.observer.disconnect();
    this.node.removeWidget(this.widget);
    this.widget = null;
    // The room that it took is given back, unless somebody has resized the node since.
    if (this.node.size[1] === this.tall) setHeight(this.node, this.before);
  }

  add() {
    this.before = this.node.size[1];
    this.widget = this.node.addDOMWidget(NAME, NAME, this.frame, {
      serialize: false,
      hideOnZoom: false,
      margin: MARGIN,
      getMinHeight: () => this.height(),
      getMaxHeight: () => this.height(),
    });
    // Not in the workflow: a saved node looks as if this pack had no page.
    this.widget.serialize = false;
    // How many lines the sentences take is known once the page has laid them out.
    this.observer.observe(this.body);
    this.fit();
  }

  /** Pixels of the canvas that the widget takes, its margins included. */
  height() {
    return (this.body.offsetHeight || GUESS) + 2 * MARGIN;
  }

  fit() {
    setHeight(this.node, this.before);
    this.tall = this.node.size[1];
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

/** At least `height`, and at least what the node's widgets need. */
function setHeight(node, height) {
  node.setSize([node.size[0], Math.max(height, node.computeSize()[1])]);
  node.setDirtyCanvas(true, true);
}
