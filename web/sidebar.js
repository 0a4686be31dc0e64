// The sidebar tab "MAI": money, calls under way, doubtful calls, the last pictures.
import { app } from '../../scripts/app.js';
import { el } from './dom.js';
import { Gallery } from './gallery.js';
import { get } from './server.js';
import { dollars, text } from './texts.js';

const PAUSE = 2000;

/** Add the tab; nothing is asked of the server before it is opened, or after it is closed. */
export function addTab() {
  let open = null;
  app.extensionManager.registerSidebarTab({
    id: 'mai-image',
    icon: 'pi pi-palette',
    title: 'MAI',
    tooltip: 'MAI Image',
    type: 'custom',
    render: (element) => {
      // The page renders an open tab again now and then, into the same element.
      if (open?.root.parentElement === element) return;
      open?.close();
      open = new Tab(element);
    },
    destroy: () => {
      open?.close();
      open = null;
    },
  });
}

class Tab {
  constructor(element) {
    this.gallery = new Gallery();
    this.numbers = el('div', { className: 'mai-numbers' });
    this.root = el('div', { className: 'mai-tab' }, this.numbers, this.gallery.root);
    element.replaceChildren(this.root);
    this.timer = 0;
    this.closed = false;
    this.look();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.root.remove();
  }

  /** Ask and show, again and again while the tab is open and its window is to be seen. */
  async look() {
    if (!document.hidden) {
      try {
        const status = await get('status');
        this.numbers.replaceChildren(...sections(status));
        await this.gallery.refresh(status);
      } catch (error) {
        this.numbers.replaceChildren(el('p', { className: 'mai-notice' }, error.message));
      }
    }
    if (!this.closed) this.timer = setTimeout(() => this.look(), PAUSE);
  }
}

function sections(status) {
  return [
    section(text('spent'), ...spent(status)),
    ...(status.models.length ? [section(text('byModel'), ...models(status))] : []),
    section(text('running'), ...running(status)),
    ...(status.perhaps_billed_count ? [doubtful(status)] : []),
  ];
}

function section(title, ...children) {
  return el('section', {}, el('h3', {}, title), ...children);
}

function line(left, right, className = '') {
  return el('div', { className: `mai-line ${className}` }, el('span', {}, left), el('b', {}, right));
}

/** The sums of all profiles, then each profile that has a budget, with how much of it is used. */
function spent({ today, month, profiles }) {
  const total = [line(text('today'), amount(today)), line(text('month'), amount(month))];
  const budgets = profiles
    .filter((row) => row.day_budget != null || row.month_budget != null)
    .map((row) =>
      el(
        'div',
        { className: 'mai-budget' },
        el('em', {}, row.profile),
        used(text('today'), row.today.usd, row.day_budget),
        used(text('month'), row.month.usd, row.month_budget),
      ),
    );
  return [...total, ...budgets];
}

function used(name, usd, budget) {
  if (budget == null) return null;
  const part = budget > 0 ? Math.min(usd / budget, 1) : 1;
  const bar = el('i', {});
  bar.style.width = `${part * 100}%`;
  const share = el('span', { className: `mai-share ${part > 0.9 ? 'mai-nearly' : ''}` }, bar);
  const of = text('ofBudget', { budget: dollars(budget, 2) });
  return el('div', {}, line(name, `${dollars(usd, 2)} ${of}`), share);
}

function amount({ usd, calls }) {
  return `${dollars(usd, 2)} · ${text('calls', { count: calls })}`;
}

function models({ models: rows }) {
  return rows.map(({ model, month }) => line(model, amount(month)));
}

function running({ flights, in_flight: booked }) {
  const here = flights.map((flight) => line(flight.model, phase(flight)));
  // The ledger counts the calls of every process that shares it.
  const elsewhere = booked.calls - flights.length;
  if (elsewhere > 0) here.push(el('p', {}, text('elsewhere', { count: elsewhere })));
  return here.length ? here : [el('p', { className: 'mai-remark' }, text('nothingRunning'))];
}

function phase({ phase: name, seconds }) {
  if (seconds == null && (name === 'waiting' || name === 'retrying')) return '…';
  return text(name || 'starting', { seconds: Math.ceil(seconds ?? 0) });
}

function doubtful({ perhaps_billed: calls, perhaps_billed_count: count }) {
  const rows = calls.map((call) => {
    const when = new Date(call.at).toLocaleString();
    const id = call.request_id ? el('code', {}, call.request_id) : null;
    return el('div', {}, line(`${when}, ${call.model}`, dollars(call.usd)), id);
  });
  const help = el('p', { className: 'mai-remark' }, text('doubtfulHelp'));
  return section(`${text('doubtful')} (${count})`, help, ...rows);
}
