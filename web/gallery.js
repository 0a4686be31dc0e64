// The last pictures of the store, each with a button that puts it into the graph.
import { api } from '../../scripts/api.js';
import { app } from '../../scripts/app.js';
import { el } from './dom.js';
import { setWidget, widgetOf } from './inputs.js';
import { get, picture, thumbnailAddress } from './server.js';
import { dollars, pixels, text } from './texts.js';

const COUNT = 24;
const ENDINGS = { 'image/jpeg': 'jpg', 'image/webp': 'webp' };

export class Gallery {
  constructor() {
    this.list = el('div', { className: 'mai-pictures' });
    this.root = el('section', {}, el('h3', {}, text('pictures')), this.list);
    this.seen = '';
    this.shown = '';
  }

  /** Look for new pictures if the sums say that a call has ended since the last look. */
  async refresh({ today, month, in_flight: booked, flights }) {
    const seen = JSON.stringify([today.calls, month.calls, booked.calls, flights.length]);
    if (seen === this.seen) return;
    const { pictures } = await get(`pictures?count=${COUNT}`);
    this.seen = seen;
    const shown = JSON.stringify(pictures);
    if (shown === this.shown) return;
    this.shown = shown;
    const none = el('p', { className: 'mai-remark' }, text('noPictures'));
    this.list.replaceChildren(...(pictures.length ? pictures.map(card) : [none]));
  }
}

function card(facts) {
  const cost = facts.emulated ? text('emulated') : dollars(facts.cost_usd ?? 0);
  const image = el('img', {
    src: thumbnailAddress(facts.key),
    alt: facts.prompt ?? facts.model,
    loading: 'lazy',
  });
  // A picture may have left the store since the list was made.
  image.onerror = () => image.closest('.mai-picture').remove();
  return el(
    'div',
    { className: 'mai-picture' },
    image,
    facts.prompt ? el('p', { title: facts.prompt }, facts.prompt) : null,
    el('small', {}, `${facts.model} · ${pixels([facts.width, facts.height])} · ${cost}`),
    el('button', { type: 'button', onclick: () => insert(facts) }, text('insert')),
  );
}

/** Copy a picture into ComfyUI's input folder, as the page's own upload does, and load it there. */
async function insert(facts) {
  try {
    const name = await upload(await picture(facts.key), facts.key);
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
