// The whole graph's money: what its next run costs, in the sidebar, on its icon and on subgraphs;
// and the question before a run that costs much.
import { app } from '../../scripts/app.js';
import { accountVersion } from './account.mjs';
import { COLOURS, packTab, redraw } from './badge.mjs';
import { clearRefused } from './failures.mjs';
import { allNodes, onChange, rootGraph } from './graph.mjs';
import {
  amount, boundText, isAmber, NOTHING, PAID, priceOf, priceText, quoteFor, read, setting,
  shortAmount, sum,
} from './prices.mjs';
import { text } from './texts.mjs';
import { badgeWithTip } from './tips.mjs';

const MUTED = 2;
const BYPASSED = 4;
const PAUSE = 1000;
const RETRY = 5000;

/**
 * @typedef {import('./prices.mjs').Price & {nodes: number, amber: boolean}} Total
 */

/** @type {Total} */
let total = { ...NOTHING, nodes: 0, amber: false };
let asked = '';

/** @type {Set<(total: Total) => void>} */
const hearers = new Set();

/**
 * Call `hear` with the total, now and after every change of it.
 * @param {(total: Total) => void} hear
 * @returns {() => void} what ends that
 */
export function onTotal(hear) {
  hearers.add(hear);
  hear(total);
  return () => hearers.delete(hear);
}

/** Keep the total current, show it, and ask before runs that cost much. */
export function watchMoney() {
  onChange(refresh);
  // A node that a script mutes, or a setting of the page, tells nobody.
  setInterval(() => document.hidden || refresh(), PAUSE);
  onTotal(showOnTab);
  guardQueue();
  refresh();
}

/**
 * The paid nodes that would run: what is muted or bypassed would not, nor what is in such a
 * subgraph. `id` is the node's in a run, "12:5" for node 5 in the subgraph of node 12.
 */
function* paidNodes(graph, path = '') {
  for (const node of graph?.nodes ?? []) {
    if (node.mode === MUTED || node.mode === BYPASSED) continue;
    const id = `${path}${node.id}`;
    if (node.subgraph) yield* paidNodes(node.subgraph, `${id}:`);
    else if (PAID[node.comfyClass]) yield { id, node };
  }
}

/** Every node that stands for a subgraph, in all graphs. */
function hostNodes() {
  return allNodes().filter((node) => node.subgraph);
}

async function refresh() {
  const rows = [...paidNodes(rootGraph())];
  const inside = hostNodes().map((host) => ({ host, rows: [...paidNodes(host.subgraph)] }));
  const limit = setting('MAI.AmberAbove');
  const facts = [rows, ...inside.map((one) => one.rows)].map((some) =>
    some.map(({ id, node }) => [id, read(node)]),
  );
  const key = JSON.stringify([limit, accountVersion(), inside.map(({ host }) => host.id), facts]);
  if (key === asked) return;
  asked = key;
  const prices = await pricesOf([...rows, ...inside.flatMap((one) => one.rows)]);
  // A later change has asked again: its answer counts.
  if (key !== asked) return;
  if ([...prices.values()].includes(null)) setTimeout(forget, RETRY, key);
  total = totalOf(rows, prices);
  for (const hear of hearers) hear(total);
  for (const { host, rows: own } of inside) showOnHost(host, totalOf(own, prices));
}

/** A server that is being restarted may answer later. */
function forget(key) {
  if (asked === key) asked = '';
}

/** @returns {Promise<Map<any, import('./prices.mjs').Price | null>>} by node; null: not known */
async function pricesOf(rows) {
  const nodes = [...new Set(rows.map(({ node }) => node))];
  const found = nodes.map(async (node) => {
    const { quote, values } = await quoteFor(PAID[node.comfyClass], read(node));
    return [node, quote && priceOf(quote, values)];
  });
  return new Map(await Promise.all(found));
}

/** @returns {Total} */
function totalOf(rows, prices) {
  const unknown = { ...NOTHING, bound: 'at least' };
  const all = sum(rows.map(({ node }) => prices.get(node) ?? unknown));
  return { ...all, nodes: rows.length, amber: isAmber(all.usd) };
}

function showOnHost(host, { usd, real, bound, amber, problems }) {
  const badge = host.maiBadges?.price;
  if (!badge) return;
  const words = problems ? text('impossible') : priceText({ usd, real, bound });
  const kind = problems ? 'wrong' : amber ? 'amber' : usd > 0 ? 'price' : 'emulated';
  const drawn = badgeWithTip({ text: words, ...COLOURS[kind] }, problems ? '' : boundText(bound));
  badge.draw = () => drawn;
  redraw();
}

/** On the tab's icon what has to be paid; in its name, which is also read aloud, all of it. */
function showOnTab(now) {
  const tab = packTab();
  if (!tab) return;
  tab.iconBadge = now.usd > 0 ? shortAmount(now.usd, now.bound) : '';
  document.body.classList.toggle('mai-amber', now.amber);
  const words = priceText(now);
  tab.tooltip = words ? text('tabTotal', { price: words }) : 'MAI Image';
}

/** Ask before a run from the page that costs more than the user's limit. */
function guardQueue() {
  const queue = app.queuePrompt;
  let asking = false;
  app.queuePrompt = async function (number, batchCount = 1, ...more) {
    if (asking) return false;
    asking = true;
    try {
      if (!(await isAgreed(batchCount ?? 1, more[0]))) return false;
    } finally {
      asking = false;
    }
    const queued = await queue.call(this, number, batchCount, ...more);
    clearRefused();
    return queued;
  };
}

/** @param {string[]} [targets] ids of the only output nodes that are run */
async function isAgreed(batchCount, targets) {
  const limit = setting('MAI.ConfirmAbove');
  if (!(limit > 0)) return true;
  try {
    const rows = [...paidNodes(rootGraph())];
    const prices = await pricesOf(rows);
    if (totalOf(rows, prices).usd * batchCount <= limit) return true;
    const needed = await neededIds(targets);
    const { usd, bound } = totalOf(rows.filter(({ id }) => needed.has(id)), prices);
    return usd * batchCount <= limit || (await confirm(usd * batchCount, bound, limit));
  } catch (error) {
    console.warn('MAI Image: the price of this run could not be found.', error);
    return true;
  }
}

async function confirm(usd, bound, limit) {
  const words = { price: amount(usd), limit: amount(limit) };
  const title = text(bound === 'exact' ? 'confirm at most' : `confirm ${bound}`, words);
  const message = text('confirmHelp', words);
  const { dialog } = app.extensionManager;
  if (!dialog?.confirm) return window.confirm(`${title}\n${message}`);
  return Boolean(await dialog.confirm({ title, message, type: 'default' }));
}

/** The ids of all that will run: the output nodes, or `targets` of them, and what they need. */
async function neededIds(targets) {
  const { output } = await app.graphToPrompt();
  const isOutput = (id) =>
    window.LiteGraph.registered_node_types[output[id].class_type]?.nodeData?.output_node;
  const next = targets?.length ? targets.map(String) : Object.keys(output).filter(isOutput);
  const needed = new Set();
  while (next.length) {
    const id = next.pop();
    if (needed.has(id) || !output[id]) continue;
    needed.add(id);
    const links = Object.values(output[id].inputs).filter(Array.isArray);
    next.push(...links.map(([from]) => String(from)));
  }
  return needed;
}
