// A menu over the page: buttons that arrow keys, a pointer and screen readers can reach.
import { el } from './dom.mjs';

const GAP = 2;
const EDGE = 8;

/** @typedef {{label: string, apply: () => void, chosen?: boolean}} Entry */

/** The one menu that is open. */
let shown = null;

export class Menu {
  /**
   * @param {string} name for screen readers
   * @param {Entry[]} entries
   * @param {HTMLElement} from where the focus goes when it is closed by a key; where that is an
   *   input, it keeps the focus until an arrow key is pressed
   */
  constructor(name, entries, from) {
    this.from = from;
    this.typing = from instanceof HTMLInputElement;
    this.items = entries.map((entry) => this.item(entry));
    this.root = el('div', { className: 'mai-menu', role: 'menu', 'aria-label': name }, ...this.items);
    this.stop = new AbortController();
  }

  /** @param {{left: number, top: number, bottom: number}} place in pixels of the window */
  open({ left, top, bottom }) {
    shown?.close();
    shown = this;
    document.body.append(this.root);
    const { offsetWidth: wide, offsetHeight: high } = this.root;
    const below = bottom + GAP + high <= window.innerHeight - EDGE;
    const x = Math.max(EDGE, Math.min(left, window.innerWidth - wide - EDGE));
    const y = below ? bottom + GAP : Math.max(EDGE, top - GAP - high);
    Object.assign(this.root.style, { left: `${x}px`, top: `${y}px` });
    this.listen();
    if (!this.typing) this.items[0]?.focus();
  }

  close() {
    this.stop.abort();
    this.root.remove();
    if (shown === this) shown = null;
  }

  item({ label, apply, chosen }) {
    const onclick = () => {
      this.close();
      apply();
    };
    const current = chosen ? { 'aria-current': 'true' } : {};
    return el('button', { type: 'button', role: 'menuitem', onclick, ...current }, label);
  }

  listen() {
    const { signal } = this.stop;
    const outside = ({ target }) => {
      if (!this.root.contains(target) && !(this.typing && target === this.from)) this.close();
    };
    const options = { signal, capture: true };
    for (const event of ['pointerdown', 'focusin', 'wheel']) {
      document.addEventListener(event, outside, options);
    }
    document.addEventListener('keydown', (event) => this.press(event), options);
  }

  press(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const inside = this.root.contains(document.activeElement);
    if (event.key === 'Tab' || (event.key === 'Enter' && !inside)) this.close();
    if (event.key === 'Escape') {
      this.close();
      this.from.focus();
    }
    if (step) {
      const at = this.items.indexOf(document.activeElement);
      const count = this.items.length;
      this.items[at < 0 && step < 0 ? count - 1 : (at + step + count) % count].focus();
    }
    // The page's own keys (deleting a node, moving it) are not meant.
    if (inside || step || event.key === 'Escape') event.stopPropagation();
    if (step) event.preventDefault();
  }
}
