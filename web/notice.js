// What is wrong with a node's settings, on the node itself, with a button that mends it.
import { el } from './dom.js';
import { widgetOf } from './inputs.js';
import { Room } from './room.js';

const MARK = '⚠ ';
const GUESS = 64;

/** The notice of one node: there only while it has something to say. */
export class Notice {
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
