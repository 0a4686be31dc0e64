// What the server says of a run of this pack's nodes, translated before anybody hears it: the text on
// a node while it runs, and the error at its end.
import { api } from '../../scripts/api.js';
import { app } from '../../scripts/app.js';
import { translate } from './translate.mjs';

const OURS = /^MAI[A-Z]/;

/** @type {WeakMap<object, string>} */
const english = new WeakMap();

/**
 * Translate the events from now on. Listeners that capture come first, whenever they were added: so
 * the page's own, which draw the text and open the dialog, read what is written here.
 */
export function translateEvents() {
  api.addEventListener('progress_text', hearProgress, true);
  api.addEventListener('execution_error', hearError, true);
}

/**
 * What the server said of a failed run, for whoever looks for words in it.
 * @param {{exception_message: string}} detail of an event "execution_error"
 * @returns {string}
 */
export function saidInEnglish(detail) {
  return english.get(detail) ?? detail.exception_message;
}

function hearProgress({ detail }) {
  if (OURS.test(typeAt(detail.nodeId))) detail.text = translate(detail.text);
}

/** The English text stays in the report, where Python puts it: at the end of the traceback. */
function hearError({ detail }) {
  const { node_type: type, exception_type: kind, exception_message: said, traceback } = detail;
  if (!OURS.test(type) || !said) return;
  const translated = translate(said);
  if (translated === said) return;
  english.set(detail, said);
  detail.exception_message = translated;
  detail.traceback = [...(traceback ?? []), `${kind}: ${said}`];
}

/** The type of the node with the id of a run: "12", or within a subgraph's node "7:12". */
function typeAt(id) {
  let graph = app.rootGraph ?? app.graph;
  let node = null;
  for (const part of String(id).split(':')) {
    node = graph?.getNodeById(Number(part));
    graph = node?.subgraph;
  }
  return node?.comfyClass ?? '';
}
