// What a node's inputs will hold at the next run, as far as the page can know it, and who wants to
// hear of changes.
//
// Reading is done in two steps, so that a change is noticed without asking anybody: `source` says
// at once where a value comes from, in plain data that can be compared; `settle` finds the value.
import { api } from '../../scripts/api.js';
import { app } from '../../scripts/app.js';
import { compute } from './server.mjs';

/**
 * Where an input's value comes from: a value, an output of a Size Helper, one of a Prompt List, or
 * null: known only when the graph runs.
 * @typedef {{value: any} | {plan: Plan, output: string} | {list: string} | null} Source
 *
 * The settings of a Size Helper; `image` is the address of the image at its image.
 * @typedef {{model: any, aspect_ratio: any, target_width: any, target_height: any,
 *   image?: string | null}} Plan
 */

const ACTIVE = 0;
const SUBGRAPH_INPUT = '-10'; // some versions of the page have numbers for ids, some texts
const LONGEST_WAY = 20;
const LIST = 'MAIPromptList';
const PRIMITIVES = new Set([
  'PrimitiveNode', 'PrimitiveInt', 'PrimitiveFloat', 'PrimitiveBoolean', 'PrimitiveString',
  'PrimitiveStringMultiline',
]);

/** The widget of the page's own in which a node's progress text stands. */
export const PROGRESS = '$$node-text-preview';

/** The graph of the workflow, also while a subgraph of it is open. */
export function rootGraph() {
  return app.rootGraph ?? app.graph;
}

/** @returns {boolean} whether a node of this type is one of this pack's */
export function isOurs(type) {
  return /^MAI[A-Z]/.test(type);
}

/** @returns the node's widget of that name */
export function widgetOf(node, name) {
  return node.widgets?.find((widget) => widget.name === name);
}

/** @returns {boolean} whether the input of that name gets its value from another node */
export function isLinked(node, name) {
  return inputOf(node, name)?.link != null;
}

/**
 * Whether a widget's value is what counts, so that it can be set: no link brings another one. A
 * subgraph's input that nothing is connected to is a widget of the subgraph's own node.
 * @returns {boolean}
 */
export function canSet(node, name) {
  const setters = widgetOf(node, name) ? settersOf(node, name) : [];
  return setters.length > 0 && setters.every((one) => !PRIMITIVES.has(one.node.type));
}

/** @returns {any[]} every node of the graph that is open, those in its subgraphs too */
export function allNodes() {
  return allGraphs().flatMap((graph) => graph?.nodes ?? []);
}

/**
 * The widgets that an input gets its value from, in the order in which they count: of the nodes
 * that stand for its subgraph, of a primitive that is linked to it, and last its own. None where
 * another node computes it.
 * @returns {{node: any, widget: any}[]}
 */
export function settersOf(node, name, way = LONGEST_WAY) {
  const widget = widgetOf(node, name);
  const own = widget ? [{ node, widget }] : [];
  const link = linkOf(node, name);
  if (!link) return own;
  if (isSubgraphInput(link)) {
    const outside = hostsOf(node.graph).map((host) => hostSetters(host, link.origin_slot, way));
    return outside.includes(null) ? [] : [...outside.flat(), ...own];
  }
  const origin = node.graph.getNodeById(link.origin_id);
  if (origin?.type === 'Reroute' && way > 0) return settersOf(origin, origin.inputs[0].name, way - 1);
  if (!PRIMITIVES.has(origin?.type) || !origin.widgets?.length) return [];
  return [{ node: origin, widget: origin.widgets[0] }];
}

/** The setters of a subgraph's input at a node that stands for it, null where it is computed. */
function hostSetters(host, slot, way) {
  const input = host.inputs?.[slot];
  if (!input || way === 0) return [];
  const found = settersOf(host, input.widget?.name ?? input.name, way - 1);
  return input.link != null && !found.length ? null : found;
}

/**
 * Make changes that one undo takes back together, and nothing that came before them. The page looks
 * for changes at its own times, which a click on a button isn't one of: so it is told to look
 * before them as well as after.
 * @param {() => void} work
 */
export function asOneChange(work) {
  inTransaction(() => {});
  inTransaction(work);
}

function inTransaction(work) {
  app.canvas?.emitBeforeChange?.();
  try {
    work();
  } finally {
    app.canvas?.emitAfterChange?.();
  }
}

/**
 * Change a widget as if the user had, also where the node of a subgraph shows it in its place.
 * @param {string} name
 * @param {any} value
 */
export function setWidget(node, name, value) {
  for (const one of settersOf(node, name)) changeWidget(one.node, one.widget, value);
}

/** The same for a widget that is at hand. */
export function changeWidget(node, widget, value) {
  if (widget.value === value) return;
  const before = widget.value;
  widget.value = value;
  widget.callback?.(value, app.canvas, node);
  node.onWidgetChanged?.(widget.name, value, before, widget);
  node.setDirtyCanvas?.(true, true);
}

/**
 * Where an input's value comes from, at most `way` links away: two nodes can form a circle.
 * @returns {Source}
 */
export function source(node, name, way = LONGEST_WAY) {
  const link = linkOf(node, name);
  if (!link) return own(node, name);
  if (isSubgraphInput(link)) return outside(node, name, link.origin_slot, way);
  return from(node.graph.getNodeById(link.origin_id), link.origin_slot, way);
}

/** @returns {Plan | null} the settings of a Size Helper, null where one is known only in the run */
export function planOf(node, way = LONGEST_WAY) {
  const plan = {};
  for (const name of ['model', 'aspect_ratio', 'target_width', 'target_height']) {
    const found = source(node, name, way);
    if (!found || !('value' in found)) return null;
    plan[name] = found.value;
  }
  // Without an image the server says what is missing.
  if (plan.aspect_ratio === 'from image' && isLinked(node, 'image')) {
    plan.image = imageAt(node, 'image');
    if (!plan.image) return null;
  }
  return plan;
}

/**
 * What MAI Size Helper will answer for these settings.
 * @param {Plan} plan
 */
export async function answerOf(plan) {
  const { image, ...question } = plan;
  if (image) {
    const [width, height] = await imageSize(image);
    Object.assign(question, { image_width: width, image_height: height });
  }
  return compute('plan', question);
}

/**
 * The value itself; undefined where it is known only when the graph runs.
 * @param {Source} found
 */
export async function settle(found) {
  if (!found) return undefined;
  if ('value' in found) return found.value;
  if ('list' in found) return undefined;
  const answer = await answerOf(found.plan).catch(() => null);
  const side = { width: 0, height: 1 }[found.output.replace('target_', '')];
  const size = found.output.startsWith('target_') ? answer?.target : answer?.size;
  return size?.[side];
}

/**
 * The Prompt List that gives a node one item after the other, however far before it; null: none
 * does. A node that takes a list as a whole ends it.
 * @param {Set<any>} [seen] nodes that were looked at: two nodes can form a circle
 */
export function listBefore(node, seen = new Set()) {
  if (!node || seen.has(node) || takesLists(node)) return null;
  seen.add(node);
  for (const input of node.inputs ?? []) {
    for (const origin of originsOf(node, input)) {
      const found = origin.type === LIST && origin.mode === ACTIVE ? origin : listBefore(origin, seen);
      if (found) return found;
    }
  }
  return null;
}

function takesLists(node) {
  return Boolean(node.constructor.nodeData?.input_is_list?.some?.(Boolean)
    ?? node.constructor.nodeData?.is_input_list);
}

/** The nodes that give an input its value: several where it is that of a subgraph. */
function originsOf(node, input) {
  const link = input.link == null || !node.graph ? null : node.graph.getLink(input.link);
  if (!link) return [];
  if (!isSubgraphInput(link)) return [node.graph.getNodeById(link.origin_id)].filter(Boolean);
  return hostsOf(node.graph).flatMap((host) => {
    const outer = host.inputs?.[link.origin_slot];
    return outer ? originsOf(host, outer) : [];
  });
}

/** The node of that id in a run, "12:5" within a subgraph, in the graph that is open. */
export function nodeOf(id) {
  let [graph, node] = [rootGraph(), null];
  for (const part of String(id ?? '').split(':')) {
    node = graph?.getNodeById(part) ?? graph?.getNodeById(Number(part)) ?? null;
    graph = node?.subgraph;
  }
  return node;
}

/** @type {Set<() => void>} */
const listeners = new Set();
let planned = false;

/** Tell all listeners before the next frame. */
export function announce() {
  if (planned) return;
  planned = true;
  // In a tab that isn't shown there are no frames.
  const soon = document.hidden ? (work) => setTimeout(work, 50) : requestAnimationFrame;
  soon(() => {
    planned = false;
    for (const listener of listeners) listener();
  });
}

/**
 * Call `listener` after changes for as long as the node is in a graph.
 * @param {() => void} listener
 */
export function listen(node, listener) {
  const start = () => {
    listeners.add(listener);
    announce();
  };
  if (node.graph) start();
  chain(node, 'onAdded', start);
  chain(node, 'onRemoved', () => listeners.delete(listener));
  for (const event of ['onConfigure', 'onConnectionsChange', 'onWidgetChanged']) {
    chain(node, event, announce);
  }
  for (const widget of node.widgets ?? []) chain(widget, 'callback', announce);
}

/** Call `listener` after changes for as long as the page is there. */
export function onChange(listener) {
  listeners.add(listener);
}

/** Undo, paste, changes of other nodes: the page looks for them itself and says so. */
export function listenToPage() {
  api.addEventListener('graphChanged', announce);
}

function chain(object, name, after) {
  const before = object[name];
  object[name] = function (...args) {
    const result = before?.apply(this, args);
    after();
    return result;
  };
}

function inputOf(node, name) {
  return node.inputs?.find((input) => input.widget?.name === name || input.name === name);
}

function linkOf(node, name) {
  const id = inputOf(node, name)?.link;
  return id == null || !node.graph ? null : node.graph.getLink(id);
}

function own(node, name) {
  const widget = widgetOf(node, name);
  return widget ? { value: widget.value } : null;
}

function from(node, slot, way) {
  if (!node || node.mode !== ACTIVE || way === 0) return null;
  const output = node.outputs?.[slot]?.name ?? '';
  if (node.type === 'MAISizeHelper' && /^(target_)?(width|height)$/.test(output)) {
    const plan = planOf(node, way - 1);
    return plan && { plan, output };
  }
  if (PRIMITIVES.has(node.type)) return { value: node.widgets?.[0]?.value };
  if (node.type === LIST) return { list: output };
  if (node.type !== 'Reroute') return null;
  const link = node.graph.getLink(node.inputs[0]?.link);
  return link ? from(node.graph.getNodeById(link.origin_id), link.origin_slot, way - 1) : null;
}

/** Where a subgraph's input gets its value: the same at all nodes that stand for it, else unknown. */
function outside(node, name, slot, way) {
  const hosts = way === 0 ? [] : hostsOf(node.graph);
  const found = hosts.map((host) => {
    const input = host.inputs[slot];
    return widgetOf(host, input.name) || input.link != null
      ? source(host, input.name, way - 1)
      : own(node, name);
  });
  if (!found.length) return own(node, name);
  const [first, ...others] = found.map((one) => JSON.stringify(one));
  return others.every((one) => one === first) ? found[0] : null;
}

function isSubgraphInput(link) {
  return String(link.origin_id) === SUBGRAPH_INPUT;
}

/** The nodes that stand for a subgraph. */
function hostsOf(subgraph) {
  return allNodes().filter((node) => node.subgraph === subgraph);
}

function allGraphs() {
  return [rootGraph(), ...(app.rootGraph?.subgraphs?.values() ?? [])];
}

/** The address of the image that a Load Image node gives to an input, null for any other. */
function imageAt(node, name) {
  const link = linkOf(node, name);
  const loader = link && node.graph.getNodeById(link.origin_id);
  if (loader?.type !== 'LoadImage' || loader.mode !== ACTIVE || link.origin_slot !== 0) return null;
  const [, path, type] = /^(.*?)(?: \[(\w+)\])?$/.exec(String(widgetOf(loader, 'image')?.value));
  const cut = path.lastIndexOf('/');
  const query = { filename: path.slice(cut + 1), subfolder: path.slice(0, Math.max(cut, 0)) };
  return api.apiURL(`/view?${new URLSearchParams({ ...query, type: type ?? 'input' })}`);
}

/** @type {Map<string, Promise<[number, number]>>} */
const sizes = new Map();

function imageSize(address) {
  if (!sizes.has(address)) {
    const image = new Image();
    image.src = address;
    const size = image.decode().then(() => [image.naturalWidth, image.naturalHeight]);
    size.catch(() => sizes.delete(address));
    sizes.set(address, size);
  }
  return sizes.get(address);
}
