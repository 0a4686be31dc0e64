// The sidebar tab "MAI": money, calls under way, doubtful calls, the last images.
import { api } from '../../scripts/api.js';
import { app } from '../../scripts/app.js';
import { el } from './dom.mjs';
import { setWidget, widgetOf } from './graph.mjs';
import { get, image, thumbnailAddress } from './server.mjs';
import { dollars, pixels, text } from './texts.mjs';

const PAUSE = 2000;
const COUNT = 24;
const ENDINGS = { 'image/jpeg': 'jpg', 'image/webp': 'webp' };

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
        this.numbers.replaceChildren(el('p', { className: 'mai-notice mai-notice-wrong' }, error.message));
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

function line(left, right) {
  return el('div', { className: 'mai-line' }, el('span', {}, left), el('b', {}, right));
}

/** The sums of all profiles, then each profile that has a budget, with how much of it is used. */
function spent({ today, month, spent: images, blocked, lost, in_flight: booked, profiles }) {
  const total = [line(text('today'), amount(today)), line(text('month'), amount(month))];
  if (blocked.calls || lost.calls) total.push(line(text('ofThatSpent'), amount(images)));
  if (blocked.calls) total.push(line(text('ofThatBlocked'), amount(blocked)));
  if (lost.calls) total.push(line(text('ofThatLost'), amount(lost)));
  if (booked.calls) total.push(line(text('inFlight'), amount(booked)));
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

function running({ calls, in_flight: booked }) {
  const here = calls.map((call) => line(call.model, phase(call)));
  // The ledger counts the calls of every process that shares it.
  const elsewhere = booked.calls - calls.length;
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
    const why = call.blocked ? el('p', { className: 'mai-remark' }, text('blocked')) : null;
    return el('div', {}, line(`${when}, ${call.model}`, dollars(call.usd)), why, id);
  });
  const help = el('p', { className: 'mai-remark' }, text('doubtfulHelp'));
  return section(`${text('doubtful')} (${count})`, help, ...rows);
}

/** The last images of the store, each with a button that puts it into the graph. */
class Gallery {
  constructor() {
    this.list = el('div', { className: 'mai-images' });
    this.root = el('section', {}, el('h3', {}, text('images')), this.list);
    this.seen = '';
    this.shown = '';
  }

  /** Look for new images if the sums say that a call has ended since the last look. */
  async refresh({ today, month, in_flight: booked, calls }) {
    const seen = JSON.stringify([today.calls, month.calls, booked.calls, calls.length]);
    if (seen === this.seen) return;
    const { images } = await get(`images?count=${COUNT}`);
    this.seen = seen;
    const shown = JSON.stringify(images);
    if (shown === this.shown) return;
    this.shown = shown;
    const none = el('p', { className: 'mai-remark' }, text('noImages'));
    this.list.replaceChildren(...(images.length ? images.map(card) : [none]));
  }
}

function emulatedCost({ real_usd: usd }) {
  return usd == null ? text('emulated') : text('emulatedReal', { price: dollars(usd) });
}

function card(facts) {
  const cost = facts.emulated ? emulatedCost(facts) : dollars(facts.cost_usd ?? 0);
  const image = el('img', {
    src: thumbnailAddress(facts.key),
    alt: facts.prompt ?? facts.model,
    loading: 'lazy',
  });
  // An image may have left the store since the list was made.
  image.onerror = () => image.closest('.mai-image').remove();
  return el(
    'div',
    { className: 'mai-image' },
    image,
    facts.prompt ? el('p', { title: facts.prompt }, facts.prompt) : null,
    el('small', {}, `${facts.model} · ${pixels([facts.width, facts.height])} · ${cost}`),
    el('button', { type: 'button', onclick: () => insert(facts) }, text('insert')),
  );
}

/** Copy an image into ComfyUI's input folder, as the page's own upload does, and load it there. */
async function insert(facts) {
  try {
    const name = await upload(await image(facts.key), facts.key);
    addLoader(name);
    say('success', text('inserted'));
  } catch (error) {
    say('error', `${text('failed')}: ${error.message}`);
  }
}

async function upload(blob, key) {
  const form = new FormData();
  const file = `mai_${key.slice(0, 12)}.${ENDINGS[blob.type] ?? 'png'}`;
  form.append('image', new File([blob], file, { type: blob.type }));
  const answer = await api.fetchApi('/upload/image', { method: 'POST', body: form });
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  return (await answer.json()).name;
}

/** A Load Image node with that file, in the middle of what is to be seen of the graph. */
function addLoader(name) {
  const { canvas } = app;
  const node = window.LiteGraph.createNode('LoadImage');
  const [left, top, width, height] = canvas.visible_area ?? canvas.ds.visible_area;
  node.pos = [left + (width - node.size[0]) / 2, top + (height - node.size[1]) / 2];
  canvas.graph.add(node);
  const { options } = widgetOf(node, 'image');
  if (Array.isArray(options.values) && !options.values.includes(name)) options.values.push(name);
  setWidget(node, 'image', name);
  canvas.selectNode?.(node);
}

function say(severity, detail) {
  app.extensionManager.toast.add({ severity, summary: 'MAI Image', detail, life: 4000 });
}
