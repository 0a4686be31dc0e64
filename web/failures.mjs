// What went wrong stays on the node that failed until its next run; and what a node within a
// subgraph says is also to be read on the subgraph's own node.
import { api } from '../../scripts/api.js';
import { app } from '../../scripts/app.js';
import { COLOURS, redraw } from './badge.mjs';
import { el, Room } from './dom.mjs';
import { isOurs, nodeOf, onChange, PROGRESS, rootGraph } from './graph.mjs';

const GUESS = 90;
const LONGEST = 48;

/**
 * A failed run of one node: `graph` is the workflow's id, `room` the notice while it is shown.
 * @typedef {{graph: string, type: string, title: string, sentences: string[], node: any,
 *   room: Room | null}} Failure
 */

/** @type {Map<string, Failure>} by the node's id in the run, "12:5" within a subgraph */
const failures = new Map();

/** The last text of each node: some versions of the page take them all away at a run's end.
 * @type {Map<string, {graph: string, text: string}>} by the node's id in the run */
const texts = new Map();

/** Hear of runs for as long as the page is there. */
export function watchFailures() {
  api.addEventListener('execution_error', ({ detail }) => fail(detail));
  api.addEventListener('executing', ({ detail }) => detail != null && begin(String(detail)));
  api.addEventListener('execution_cached', ({ detail }) => {
    for (const id of detail.nodes ?? []) forget(String(id));
  });
  api.addEventListener('progress_text', ({ detail }) => hear(detail));
  for (const end of ['execution_success', 'execution_error', 'execution_interrupted']) {
    // After the page's own listeners.
    api.addEventListener(end, () => setTimeout(sayAgain));
  }
  onChange(showAgain);
}

/** Take away what the last run left on nodes that the server refuses to run again. */
export function clearRefused() {
  for (const id of Object.keys(app.lastNodeErrors ?? {})) clearText(id);
}

function fail({ node_id: id, node_type: type, exception_type: title, exception_message: words }) {
  const node = nodeOf(id);
  if (!node || node.comfyClass !== type || !isOurs(node.comfyClass)) return;
  forget(String(id));
  texts.delete(String(id));
  removeText(node);
  const sentences = words.trim().split('\n').filter(Boolean);
  // Ours are shown in words; another error's name is one of the code.
  const named = /^[\w.]*(Error|Exception)$/.test(title) ? '' : title;
  const graph = rootGraph().id;
  failures.set(String(id), { graph, type, title: named, sentences, node: null, room: null });
  showAgain();
}

/** Show each failure on its node; that is another one after an undo or a change of tabs. */
function showAgain() {
  for (const [id, failure] of failures) {
    const node = failure.graph === rootGraph().id ? nodeOf(id) : null;
    if (!node || node === failure.node || node.comfyClass !== failure.type) continue;
    failure.node = node;
    failure.room = new Room(node, 'mai_failure', draw(failure), GUESS);
    failure.room.open();
    showOnHosts(id, failure.title || failure.sentences[0], 'wrong');
  }
}

/** @param {Failure} failure */
function draw({ title, sentences }) {
  const body = el(
    'div',
    { className: 'mai-notice mai-notice-wrong', role: 'status' },
    title ? el('strong', {}, title) : null,
    ...sentences.map((one) => el('p', {}, one)),
  );
  return el('div', { className: 'mai-notices mai-failure' }, body);
}

/** A node's next run: nothing of the last one stands on it any more. */
function begin(id) {
  forget(id);
  const node = nodeOf(id);
  if (node && isOurs(node.comfyClass)) clearText(id);
}

function forget(id) {
  const failure = failures.get(id);
  if (!failure) return;
  failures.delete(id);
  failure.room?.close();
  showOnHosts(id, '', 'state');
}

function clearText(id) {
  texts.delete(id);
  const widget = nodeOf(id)?.widgets?.find(({ name }) => name === PROGRESS);
  if (widget) widget.value = '';
  showOnHosts(id, '', 'state');
}

/** An empty text would keep its place above the failure; the next run's needs as much again. */
function removeText(node) {
  const widget = node.widgets?.find(({ name }) => name === PROGRESS);
  if (widget) node.removeWidget(widget);
}

/** The page shows a progress text on the node itself, where that can be seen. */
function hear(detail) {
  const id = String(detail.nodeId);
  const node = nodeOf(id);
  if (!node || !isOurs(node.comfyClass) || failures.has(id)) return;
  texts.set(id, { graph: rootGraph().id, text: detail.text });
  showOnHosts(id, detail.text, 'state');
}

/** What a node cost stays on it until its next run. */
function sayAgain() {
  for (const [nodeId, { graph, text }] of texts) {
    const node = graph === rootGraph().id ? nodeOf(nodeId) : null;
    if (!node || node.widgets?.some(({ name }) => name === PROGRESS)) continue;
    api.dispatchEvent(new CustomEvent('progress_text', { detail: { nodeId, text } }));
  }
}

/** Show a few words on every subgraph's node that the node of that id is in. */
function showOnHosts(id, words, kind) {
  const short = words.length > LONGEST ? `${words.slice(0, LONGEST - 1)}…` : words;
  const parts = String(id).split(':').slice(0, -1);
  for (let count = 1; count <= parts.length; count += 1) {
    const host = nodeOf(parts.slice(0, count).join(':'));
    const badge = host?.maiBadges?.state;
    if (!badge) continue;
    badge.draw = () => new window.LGraphBadge({ text: short, ...COLOURS[kind] });
    redraw();
  }
}
