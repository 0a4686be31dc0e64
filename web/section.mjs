// The sections of the sidebar tab, and what they are made of.
import { el } from './dom.mjs';

/**
 * A section that is drawn again only when what it shows is another: so that the focus, and a
 * question that was asked in it, stay while the sums are asked for every two seconds.
 */
export class Part {
  /** @param {(data: any) => (Node | null)[] | null} make null: there is nothing to show */
  constructor(make) {
    this.make = make;
    this.shown = '';
    this.root = el('section', { hidden: true });
  }

  show(data) {
    const now = JSON.stringify(data);
    if (now === this.shown) return;
    this.shown = now;
    this.draw(data);
  }

  draw(data) {
    const focused = this.root.contains(document.activeElement) ? document.activeElement : null;
    const { focus } = focused?.dataset ?? {};
    const made = this.make(data);
    this.root.hidden = !made;
    this.root.replaceChildren(...(made ?? []).filter(Boolean));
    if (focus) this.root.querySelector(`[data-focus="${focus}"]`)?.focus();
  }
}

export function heading(title) {
  return el('h3', {}, title);
}

export function line(left, right) {
  return el('div', { className: 'mai-line' }, el('span', {}, left), el('b', {}, right));
}
