// An image of the store back into the graph: as a Load Image node, or as a node with its settings.
import { api } from '../../scripts/api.js';
import { app } from '../../scripts/app.js';
import { setWidget, widgetOf } from './graph.mjs';
import { addNode, placeOf } from './place.mjs';
import { attempt, say } from './say.mjs';
import { image, imageAddress } from './server.mjs';
import { text } from './texts.mjs';

const ENDINGS = { 'image/jpeg': 'jpg', 'image/webp': 'webp' };
const DRAGGED = 'application/x-mai-image';
const LOADER = 'LoadImage';

/** Pixels that nodes take once they show all that they have, in the renderer that takes more. */
const LOADER_SIZE = [320, 420];
const PAID_SIZE = [420, 640];

/** Copy an image into ComfyUI's input folder, as the page's own upload does, and load it there. */
export async function insert(key, at) {
  const name = await upload(await image(key), key);
  load(addNode(window.LiteGraph.createNode(LOADER), { at, least: LOADER_SIZE }), name);
  say('success', text('inserted'));
}

/** A node with all that is known of how an image was made; what isn't stays as the node has it. */
export function reuse({ model, settings, profile, profile_known: usable, prompt }) {
  const { kind, seed, size, ...others } = settings;
  const node = window.LiteGraph.createNode(kind === 'edit' ? 'MAIEdit' : 'MAIGenerate');
  if (!node) throw new Error(text('noNode'));
  addNode(node, { least: PAID_SIZE });
  const known = { prompt, model, seed, profile: usable ? profile : null, ...others };
  if (kind !== 'edit' && size) Object.assign(known, { width: size[0], height: size[1] });
  for (const [name, value] of Object.entries(known)) {
    if (value != null) setWidget(node, name, value);
  }
  keepSeed(node);
  say('success', text(kind === 'edit' ? 'reusedEdit' : 'reused'));
}

/** What a drag of an image carries, for the graph and for other programs. */
export function startDrag(event, key) {
  const data = event.dataTransfer;
  const address = new URL(imageAddress(key), window.location.href);
  data.setData(DRAGGED, key);
  data.setData('text/uri-list', address.href);
  data.effectAllowed = 'copy';
  listenToDrops();
}

let listening = false;

/**
 * Take what is dropped on the graph: the page itself would take the image's address for a file's
 * name. In the capture phase, as the page's own listeners are on the document and on Vue's nodes.
 */
function listenToDrops() {
  if (listening) return;
  listening = true;
  document.addEventListener('dragover', (event) => {
    if (!isOurs(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = 'copy';
  }, true);
  document.addEventListener('drop', (event) => {
    if (!isOurs(event)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    app.dragOverNode = null;
    const [key, at, under] = [event.dataTransfer.getData(DRAGGED), placeOf(event), nodeAt(event)];
    attempt(() => (under?.type === LOADER ? show(under, key) : insert(key, at)));
  }, true);
}

function isOurs(event) {
  const onGraph = !event.target.closest?.('.mai-tab, .side-tool-bar-container, dialog');
  return onGraph && event.dataTransfer?.types.includes(DRAGGED);
}

/** The node at a mouse event: the Vue renderer draws it larger than the graph knows for a while. */
function nodeAt(event) {
  const { graph } = app.canvas;
  const id = event.target.closest?.('[data-node-id]')?.dataset.nodeId;
  const drawn = id && (graph.getNodeById(id) ?? graph.getNodeById(Number(id)));
  return drawn || graph.getNodeOnPos(...placeOf(event));
}

/** A Load Image node that an image is dropped on shows that one; elsewhere a new node takes it. */
async function show(node, key) {
  load(node, await upload(await image(key), key));
}

function load(node, name) {
  const { options } = widgetOf(node, 'image');
  if (Array.isArray(options.values) && !options.values.includes(name)) options.values.push(name);
  setWidget(node, 'image', name);
}

async function upload(blob, key) {
  const form = new FormData();
  const file = `mai_${key.slice(0, 12)}.${ENDINGS[blob.type] ?? 'png'}`;
  form.append('image', new File([blob], file, { type: blob.type }));
  const answer = await api.fetchApi('/upload/image', { method: 'POST', body: form });
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  return (await answer.json()).name;
}

/** The seed stays at the next run: with a new one it would be another image. */
function keepSeed(node) {
  for (const widget of widgetOf(node, 'seed')?.linkedWidgets ?? []) {
    if (widget.options?.values?.includes?.('fixed')) widget.value = 'fixed';
  }
}
