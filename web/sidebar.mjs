// The sidebar tab "MAI": what the graph will cost, orders, money, calls under way, images.
import { el } from './dom.mjs';
import { History } from './history.mjs';
import { onTotal } from './money.mjs';
import { priceText } from './prices.mjs';
import { get } from './server.mjs';
import { Numbers } from './spend.mjs';
import { Start } from './start.mjs';
import { text } from './texts.mjs';
import { ready } from './translate.mjs';

const PAUSE = 2000;

/** The tab as it is open now: nothing is asked of the server before, or after it is closed. */
let open = null;

/** Show the tab in that element of the page. */
export function showTab(element) {
  // The page renders an open tab again now and then, into the same element.
  if (open?.root.parentElement === element) return;
  open?.close();
  open = new Tab(element);
}

export function hideTab() {
  open?.close();
  open = null;
}

class Tab {
  constructor(element) {
    this.history = new History();
    this.start = new Start();
    this.total = new Total();
    this.wrong = el('p', { className: 'mai-alert', role: 'alert', hidden: true });
    this.numbers = new Numbers(() => this.look());
    this.root = el('div', { className: 'mai-tab', role: 'region', 'aria-label': 'MAI Image' },
      el('h2', {}, 'MAI Image'), this.wrong, this.total.root, this.numbers.root, this.history.root, this.start.root);
    element.replaceChildren(this.root);
    this.timer = 0;
    this.closed = false;
    this.look();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    for (const part of [this.total, this.history, this.start]) part.close();
    this.root.remove();
  }

  /** Ask and show, again and again while the tab is open and its window is to be seen. */
  async look() {
    clearTimeout(this.timer);
    if (!document.hidden) {
      try {
        const status = await get('status');
        this.start.show(status.account);
        await ready();
        this.numbers.show(status);
        await this.history.refresh(status);
        this.fail('');
      } catch (error) {
        this.fail(error.message, await this.hasImages());
      }
    }
    clearTimeout(this.timer);
    if (!this.closed) this.timer = setTimeout(() => this.look(), PAUSE);
  }

  /** Whether the images can be shown, as they need no ledger. */
  async hasImages() {
    try {
      await this.history.refresh(null);
      return true;
    } catch {
      return false;
    }
  }

  /** @param {string} reason why there are no numbers to show; "" takes it back */
  fail(reason, hasImages = true) {
    if (this.wrong.textContent !== reason) this.wrong.textContent = reason;
    this.wrong.hidden = !reason;
    this.numbers.root.hidden = Boolean(reason);
    this.history.root.hidden = !hasImages;
  }
}

/** What the next run of the graph costs. */
class Total {
  constructor() {
    this.price = el('b', {});
    this.problems = el('p', { className: 'mai-remark', hidden: true });
    this.root = el('section', { className: 'mai-total', hidden: true },
      el('div', { className: 'mai-line' }, el('span', {}, text('graphTotal')), this.price), this.problems);
    this.stop = onTotal((total) => {
      this.root.hidden = !total.nodes;
      this.root.classList.toggle('mai-amber', total.amber);
      this.price.textContent = priceText(total);
      this.problems.hidden = !total.problems;
      this.problems.textContent = text('graphProblems', { count: total.problems });
    });
  }

  close() {
    this.stop();
  }
}
