// The images of the store: searched, enlarged, and used again.
import { el, iconButton } from './dom.mjs';
import { insert, reuse, startDrag } from './reuse.mjs';
import { attempt, copy } from './say.mjs';
import { get, thumbnailAddress } from './server.mjs';
import { dollars, language, pixels, text } from './texts.mjs';
import { enlarge } from './viewer.mjs';

const COUNT = 24;
const TYPING = 250;
const AGAIN = 1000;
const DAY = 86_400_000;
const ORIGINS = { all: 'originAll', paid: 'originPaid', emulated: 'originEmulated' };
const DATES = { any: 'dateAny', today: 'dateToday', week: 'dateWeek', month: 'dateMonth', days: 'dateDays' };

/** The images that fit the filter, newest first; more of them as they are asked for. */
export class History {
  constructor() {
    this.filter = new Filter(() => this.search());
    this.list = el('ul', { className: 'mai-images', 'aria-label': text('images') });
    this.said = el('p', { className: 'mai-remark', role: 'status' });
    this.more = el('button', { type: 'button', className: 'mai-more', hidden: true, onclick: () => this.extend() },
      text('showMore'));
    const title = el('h3', {}, text('images'));
    this.root = el('section', { className: 'mai-history' }, title, this.filter.root, this.list, this.said, this.more);
    this.seen = '';
    this.images = [];
    /** @type {Map<string, {facts: string, card: HTMLElement}>} */
    this.cards = new Map();
    this.after = null;
    this.asked = 0;
    this.timer = 0;
  }

  close() {
    clearTimeout(this.timer);
    this.filter.close();
    this.asked += 1;
  }

  /**
   * Look for new images if the sums say that a call has ended since the last look.
   * @param status null: the ledger doesn't say
   */
  async refresh(status) {
    const { today, month, emulated, in_flight: booked, calls } = status ?? {};
    const seen = status
      && JSON.stringify([today.calls, month.calls, emulated, booked.calls, calls.length]);
    if (seen === this.seen) return;
    await this.search();
    this.seen = seen;
  }

  /** The first page, and of the others what was shown before, if the filter is the same. */
  async search() {
    const filter = JSON.stringify(this.filter.question());
    const found = await this.ask(null);
    if (!found) return;
    const last = found.images.at(-1)?.key;
    const cut = filter === this.shownFor ? this.images.findIndex(({ key }) => key === last) : -1;
    const older = cut >= 0 ? this.images.slice(cut + 1) : [];
    if (!older.length) this.after = found.after;
    this.shownFor = filter;
    this.show([...found.images, ...older]);
  }

  async extend() {
    const count = this.images.length;
    await attempt(async () => {
      const found = await this.ask(this.after);
      if (!found) return;
      this.after = found.after;
      this.show([...this.images, ...found.images]);
      this.list.children[count]?.querySelector('button')?.focus();
    });
  }

  /** @returns {Promise<any>} null where another question was asked meanwhile */
  async ask(before) {
    this.asked += 1;
    const mine = this.asked;
    clearTimeout(this.timer);
    const question = { ...this.filter.question(), count: COUNT, before };
    const given = Object.entries(question).filter(([, value]) => value != null && value !== '');
    const found = await get(`images?${new URLSearchParams(given)}`);
    if (mine !== this.asked) return null;
    this.filter.offer(found);
    this.undescribed = found.undescribed;
    if (found.undescribed) this.timer = setTimeout(() => attempt(() => this.search()), AGAIN);
    return found;
  }

  show(images) {
    this.images = images;
    const cards = new Map();
    for (const facts of images) {
      const before = this.cards.get(facts.key);
      const now = JSON.stringify(facts);
      const card = before?.facts === now ? before.card : this.card(facts);
      cards.set(facts.key, { facts: now, card });
    }
    this.cards = cards;
    const wanted = [...cards.values()].map(({ card }) => card);
    const same = wanted.length === this.list.children.length
      && wanted.every((card, i) => card === this.list.children[i]);
    if (!same) this.replace(wanted);
    this.more.hidden = this.after == null;
    this.said.textContent = this.summary();
  }

  /** An element that is moved loses the focus. */
  replace(cards) {
    const focused = this.list.contains(document.activeElement) ? document.activeElement : null;
    this.list.replaceChildren(...cards);
    if (focused?.isConnected) focused.focus({ preventScroll: true });
  }

  summary() {
    if (this.undescribed) return text('indexing', { count: this.undescribed });
    if (this.images.length) return '';
    return text(this.filter.isEmpty() ? 'noImages' : 'nothingFound');
  }

  card(facts) {
    const picture = el('img', { src: thumbnailAddress(facts.key), alt: nameOf(facts), loading: 'lazy', draggable: false });
    const open = el('button', {
      type: 'button', className: 'mai-thumb', title: text('enlarge'), draggable: true,
      onclick: () => this.enlarge(facts.key), ondragstart: (event) => startDrag(event, facts.key),
    }, picture, facts.emulated ? el('span', { className: 'mai-tag' }, text('emulated')) : null);
    const card = el(
      'li',
      { className: 'mai-image' },
      open,
      facts.prompt ? el('p', { title: facts.prompt }, facts.prompt) : null,
      el('small', {}, `${facts.model} · ${pixels([facts.width, facts.height])} · ${priceOf(facts)}`),
      el('div', { className: 'mai-uses' }, ...actions(facts)),
    );
    // An image may have left the store since the list was made.
    picture.onerror = () => card.remove();
    return card;
  }

  enlarge(key) {
    const start = this.images.findIndex((facts) => facts.key === key);
    enlarge(this.images, start, {
      name: nameOf,
      describe,
      actions: (facts, close) => actions(facts, close),
      closed: (last) => this.cards.get(last)?.card.querySelector('.mai-thumb')?.focus(),
    });
  }
}

/** Search words, model, dates, and whether the emulator drew the image. */
class Filter {
  /** @param {() => void} changed */
  constructor(changed) {
    this.changed = () => attempt(changed);
    this.timer = 0;
    this.words = el('input', {
      type: 'search', 'aria-label': text('search'), placeholder: text('search'), maxLength: 100,
      oninput: () => this.later(),
    });
    this.model = choice(text('model'), [['', text('allModels')]], this.changed);
    const dates = Object.entries(DATES).map(([name, key]) => [name, text(key)]);
    this.date = choice(text('date'), dates, () => {
      this.days.hidden = this.date.value !== 'days';
      this.changed();
    });
    this.first = day(text('firstDay'), this.changed);
    this.last = day(text('lastDay'), this.changed);
    this.days = el('div', { className: 'mai-days', hidden: true }, this.first, el('span', { 'aria-hidden': 'true' }, '–'), this.last);
    this.origin = 'all';
    this.origins = el('div', { className: 'mai-origins', role: 'group', 'aria-label': text('origin') },
      ...Object.entries(ORIGINS).map(([name, key]) => el('button', {
        type: 'button', 'data-origin': name, 'aria-pressed': String(name === 'all'), onclick: () => this.choose(name),
      }, text(key))));
    const row = el('div', { className: 'mai-selects' }, this.model, this.date);
    this.root = el('div', { className: 'mai-filter', role: 'search' }, this.words, row, this.days, this.origins);
  }

  close() {
    clearTimeout(this.timer);
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(this.changed, TYPING);
  }

  choose(name) {
    this.origin = name;
    for (const button of this.origins.children) {
      button.setAttribute('aria-pressed', String(button.dataset.origin === name));
    }
    this.changed();
  }

  isEmpty() {
    return Object.values(this.question()).every((value) => value == null || value === '');
  }

  question() {
    const [since, until] = this.period();
    return {
      words: this.words.value.trim(),
      model: this.model.value,
      since,
      until,
      from: this.origin === 'all' ? null : this.origin,
    };
  }

  /** @returns {[number | null, number | null]} seconds since 1970, by this machine's days */
  period() {
    const ago = (days) => midnight(new Date(Date.now() - days * DAY));
    if (this.date.value === 'days') {
      const until = dayOf(this.last.value);
      until?.setDate(until.getDate() + 1);
      return [midnight(dayOf(this.first.value)), midnight(until)];
    }
    const days = { today: 0, week: 6, month: 29 }[this.date.value];
    return [days == null ? null : ago(days), null];
  }

  /** What can be chosen: the models that there are; a search in prompts only where they are shown. */
  offer({ models, with_prompts: withPrompts }) {
    const label = text(withPrompts ? 'search' : 'searchModels');
    Object.assign(this.words, { placeholder: label, ariaLabel: label });
    const chosen = this.model.value;
    const names = [...new Set([...models, ...(chosen ? [chosen] : [])])];
    if (names.length === this.model.options.length - 1) return;
    const all = el('option', { value: '' }, text('allModels'));
    this.model.replaceChildren(all, ...names.map((name) => el('option', { value: name }, name)));
    this.model.value = chosen;
  }
}

function choice(name, options, onchange) {
  const made = options.map(([value, label]) => el('option', { value }, label));
  return el('select', { 'aria-label': name, onchange }, ...made);
}

function day(name, onchange) {
  return el('input', { type: 'date', 'aria-label': name, onchange });
}

/** @returns {Date | null} the beginning of a day "2026-11-21" on this machine */
function dayOf(value) {
  const [year, month, date] = value.split('-').map(Number);
  return value ? new Date(year, month - 1, date) : null;
}

function midnight(moment) {
  if (!moment) return null;
  const day = new Date(moment.getFullYear(), moment.getMonth(), moment.getDate());
  return Math.max(Math.floor(day.getTime() / 1000), 0);
}

function actions(facts, then = () => {}) {
  const act = (icon, name, work) => iconButton(icon, name, () => attempt(async () => {
    await work();
    if (icon !== 'copy') then();
  }));
  return [
    act('plus', text('insert'), () => insert(facts.key)),
    act('sliders-h', text('reuse'), () => reuse(facts)),
    ...(facts.prompt ? [act('copy', text('copyPrompt'), () => copy(facts.prompt))] : []),
  ];
}

function nameOf({ prompt, model }) {
  return prompt || text('imageOf', { model });
}

function priceOf({ emulated, cost_usd: cost, real_usd: real }) {
  if (!emulated) return dollars(cost ?? 0);
  return real == null ? text('emulated') : text('emulatedReal', { price: dollars(real) });
}

function describe(facts) {
  const when = new Date(facts.arrived_at).toLocaleString(language());
  const { seed } = facts.settings;
  return [
    facts.model, pixels([facts.width, facts.height]), ...(seed == null ? [] : [text('seed', { seed })]),
    priceOf(facts), when,
  ].join(' · ');
}
