// MAI Prompt List on the page: what its rows are and cost, its mistakes, a button for a file from
// this computer; and after a run it moves on to the next rows.
import { api } from '../../scripts/api.js';
import { app } from '../../scripts/app.js';
import { COLOURS, Notice, redraw } from './badge.mjs';
import {
  allNodes, announce, canSet, changeWidget, listBefore, listen, nodeOf, rootGraph, setWidget,
  widgetOf,
} from './graph.mjs';
import {
  askList, forgetLists, NOTHING, PAID, priceOf, priceText, quoteFor, read, readList, sum,
} from './prices.mjs';
import { attempt, say } from './say.mjs';
import { text } from './texts.mjs';
import { badgeWithTip } from './tips.mjs';
import { ready } from './translate.mjs';

const LIST = 'MAIPromptList';
const ENDINGS = '.csv,.tsv,.tab,.jsonl,.ndjson,.txt';
const TYPED = 'the text below';
const STAY = 'same rows';
const SKIP_FAILURES = 'skip failures';

/** The runs that have moved lists on: by prompt id, the graph, and each list's id, its start in the
 * run and the next one. @type {Map<string, {graph: string, starts: [string, number, number][]}>} */
const moved = new Map();

/** Runs that failed before they had moved any. @type {Set<string>} */
const failed = new Set();
const MOST_RUNS = 100;

/**
 * Fill a list's badge and notice, now and after every change, and let its files be dropped on it.
 * @param {{draw: () => any}} badge
 */
export function addList(node, badge) {
  const notice = new Notice(node);
  let asked = '';
  const refresh = async () => {
    const list = readList(node);
    const buyers = allNodes().filter((one) => PAID[one.comfyClass] && listBefore(one) === node);
    const key = JSON.stringify([list, buyers.map(read), buyers.map(stops)]);
    if (key === asked) return;
    asked = key;
    const [facts, prices] = await Promise.all([factsOf(list), Promise.all(buyers.map(priceAt))]);
    await ready();
    if (key !== asked) return;
    const drawn = badgeWithTip(wordsOf(facts, prices), text('listHelp'));
    badge.draw = () => drawn;
    redraw();
    notice.show(remarks(facts, buyers), facts?.mistake_count ? ['file'] : []);
  };
  widgetOf(node, 'choose_list').label = text('chooseList');
  takeFiles(node);
  listen(node, refresh);
}

/** What the server says of a list; null where it isn't known before the run, or not begun yet. */
async function factsOf(list) {
  if (!list || (list.file === TYPED && !list.text.trim())) return null;
  try {
    return await askList(list);
  } catch (error) {
    return { mistakes: [], mistake_count: 1, unread: [], error: error.message };
  }
}

async function priceAt(buyer) {
  const { quote, values } = await quoteFor(PAID[buyer.comfyClass], read(buyer));
  return quote ? { ...priceOf(quote, values), free: quote.free ?? 0 } : null;
}

/** "rows 1 to 64 of 100 · ≈ $2.24 · 12 in the store" */
function wordsOf(facts, prices) {
  if (!facts) return { text: '', ...COLOURS.price };
  if (facts.mistake_count) return { text: text('listNotUsable'), ...COLOURS.wrong };
  const { start, rows, total } = facts;
  const words = [text('rowsOf', { from: start, to: start + rows - 1, total })];
  const all = sum(prices.filter(Boolean).map(({ free, ...price }) => price));
  const free = prices.reduce((count, price) => count + (price?.free ?? 0), 0);
  if (all !== NOTHING && priceText(all)) words.push(priceText(all));
  if (free) words.push(text('inStore', { count: free }));
  return { text: words.join(' · '), ...COLOURS.price };
}

/** @returns {import('./badge.mjs').Remark[]} */
function remarks(facts, buyers) {
  if (!facts) return [];
  if (facts.mistake_count) {
    const lines = facts.mistakes.map(([line, what]) => `line ${line}: ${what}`);
    const more = facts.mistake_count - lines.length;
    const rest = more > 0 && lines.length ? [text('moreMistakes', { count: more })] : [];
    return [{ kind: 'wrong', sentences: facts.error ? [facts.error] : [...lines, ...rest] }];
  }
  const notes = [];
  if (!facts.rows) notes.push(text('noRowsLeft', { total: facts.total }));
  if (facts.left) notes.push(text('rowsLeft', { count: facts.left }));
  if (facts.unread.length) notes.push(text('unreadColumns', { columns: facts.unread.join(', ') }));
  const stopping = facts.rows > 1 ? buyers.filter(stops) : [];
  const found = notes.length ? [{ kind: 'note', sentences: notes }] : [];
  return stopping.length ? [...found, skipRemark(stopping)] : found;
}

/** Whether one row that fails would throw the others away. */
function stops(buyer) {
  return canSet(buyer, 'if_blocked') && widgetOf(buyer, 'if_blocked').value !== SKIP_FAILURES;
}

function skipRemark(buyers) {
  const label = text('set', { what: 'if_blocked', value: SKIP_FAILURES });
  const apply = () => buyers.forEach((one) => setWidget(one, 'if_blocked', SKIP_FAILURES));
  return { kind: 'note', sentences: [text('rowsStop')], buttons: [{ label, apply }] };
}

/** Keep what is known of lists current, and move them on, for as long as the page is there. */
export function watchLists() {
  const forget = () => {
    if (!allNodes().some(({ comfyClass }) => comfyClass === LIST)) return;
    forgetLists();
    announce();
  };
  // A file may have been changed in another program.
  window.addEventListener('focus', forget);
  for (const end of ['execution_success', 'execution_error', 'execution_interrupted']) {
    api.addEventListener(end, forget);
  }
  for (const end of ['execution_error', 'execution_interrupted']) {
    api.addEventListener(end, ({ detail }) => moveBack(detail?.prompt_id));
  }
  const queue = api.queuePrompt;
  api.queuePrompt = async function (number, prompt, ...more) {
    const answer = await queue.call(this, number, prompt, ...more);
    try {
      await moveOn(prompt.output, answer?.prompt_id);
    } catch (error) {
      console.warn('MAI Image: a list could not be moved on.', error);
    }
    return answer;
  };
}

/** The lists of a prompt that was queued go on to their next rows, where there are any. */
async function moveOn(output, id) {
  const graph = rootGraph().id;
  const starts = [];
  for (const [nodeId, { class_type: type, inputs }] of Object.entries(output ?? {})) {
    const { start, rows } = inputs;
    if (type !== LIST || inputs.after_run === STAY || !Number.isInteger(start + rows)) continue;
    const { total } = await askList(readList(nodeOf(nodeId))).catch(() => ({ total: 0 }));
    if (start + rows <= total) starts.push([nodeId, start, start + rows]);
  }
  // The run may have failed already.
  if (!starts.length || failed.delete(id) || rootGraph().id !== graph) return;
  for (const [nodeId, , next] of starts) setWidget(nodeOf(nodeId), 'start', next);
  moved.set(id, { graph, starts });
  if (moved.size > MOST_RUNS) moved.delete(moved.keys().next().value);
}

/** A run that failed: its lists stand where it began, so that the next one takes its rows again. */
function moveBack(id) {
  const run = moved.get(id);
  if (!moved.delete(id)) failed.add(id);
  if (failed.size > MOST_RUNS) failed.delete(failed.values().next().value);
  if (!run || run.graph !== rootGraph().id) return;
  for (const [nodeId, start] of run.starts) {
    const node = nodeOf(nodeId);
    if (node?.comfyClass === LIST && widgetOf(node, 'start').value > start) {
      setWidget(node, 'start', start);
    }
  }
}

/** Ask for a file of this computer, put it into ComfyUI's input folder, and choose it. */
export function chooseList(node) {
  const input = Object.assign(document.createElement('input'), { type: 'file', accept: ENDINGS });
  input.onchange = () => attempt(() => input.files?.[0] && upload(node, input.files[0]));
  input.click();
}

/** Files that are dropped on the node, in both renderers. */
function takeFiles(node) {
  const isList = ({ name }) => ENDINGS.split(',').some((one) => name.toLowerCase().endsWith(one));
  node.onDragOver = ({ dataTransfer }) => [...(dataTransfer?.items ?? [])].some(({ kind }) => kind === 'file');
  node.onDragDrop = async ({ dataTransfer }) => {
    const file = [...(dataTransfer?.files ?? [])].find(isList);
    if (file) await attempt(() => upload(node, file));
    return Boolean(file);
  };
}

async function upload(node, file) {
  const body = new FormData();
  body.append('image', file);
  const answer = await api.fetchApi('/upload/image', { method: 'POST', body });
  if (!answer.ok) throw new Error(answer.statusText);
  const { name, subfolder } = await answer.json();
  const path = subfolder ? `${subfolder}/${name}` : name;
  const widget = widgetOf(node, 'file');
  for (const { widgets, comfyClass } of allNodes()) {
    const values = comfyClass === LIST && widgets.find((one) => one.name === 'file')?.options.values;
    if (values && !values.includes(path)) values.push(path);
  }
  forgetLists();
  changeWidget(node, widget, path);
  if (widgetOf(node, 'start').value !== 1) setWidget(node, 'start', 1);
  announce();
  say('success', text('uploaded', { name: path }));
}
