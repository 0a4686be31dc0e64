// What one node's next run costs, what several cost together, and the words for both. All prices
// come from the server; here they are only added up.
import { app } from '../../scripts/app.js';
import { EMULATOR, isUnpriced } from './account.mjs';
import { listBefore, settle, source } from './graph.mjs';
import { compute, post, Refused } from './server.mjs';
import { dollars, text } from './texts.mjs';

const READ = [
  'model', 'width', 'height', 'batch_size', 'profile', 'auto_aspect_ratio', 'web_grounding',
  'background',
];

/** The settings of a Prompt List that say which rows it gives. */
const LIST = ['file', 'text', 'template', 'start', 'rows'];

/** A quote of which only the list is known. */
const EMPTY = { usd: null, bound: 'exact', nearest: null, off: {}, notes: [], retired: null };

/** @type {Map<string, Promise<any>>} */
const lists = new Map();

/** Grows when what was asked of lists counts no more. */
let version = 0;

const SIGNS = { exact: '', 'at least': '≥ ', 'at most': '≤ ', about: '≈ ' };

const DEFAULTS = { 'MAI.AmberAbove': 1, 'MAI.ConfirmAbove': 5 };

/** The nodes that buy images, and what the server calls what they do. */
export const PAID = { MAIGenerate: 'generate', MAIEdit: 'edit' };

/**
 * USD of a run: `real` is what emulated images would cost, which are 0 in `usd`; `problems` are
 * nodes that can't be run as they are set.
 * @typedef {{usd: number, real: number, bound: 'exact' | 'at least' | 'at most' | 'about',
 *   problems: number}} Price
 */

/** @type {Price} */
export const NOTHING = { usd: 0, real: 0, bound: 'exact', problems: 0 };

/** Where a paid node's settings come from, in plain data that can be compared. */
export function read(node) {
  const list = listBefore(node);
  if (!list) return sourcesOf(node, READ);
  return { ...sourcesOf(node, [...READ, 'prompt', 'seed']), list: { value: readList(list) } };
}

function sourcesOf(node, names) {
  return Object.fromEntries(names.map((name) => [name, source(node, name)]));
}

/** The same of a Prompt List: its settings, null where one is known only in the run. */
export function readList(node) {
  const settings = { version };
  for (const name of LIST) {
    const found = source(node, name);
    if (!found || !('value' in found)) return null;
    settings[name] = found.value;
  }
  return settings;
}

/** What was asked of lists counts no more: a file may have changed, or the store has more. */
export function forgetLists() {
  version += 1;
  lists.clear();
}

/**
 * The server's answer on a list, and on what its rows cost at a node that buys them: the same
 * question is sent once, until `forgetLists`.
 * @param {Record<string, any>} list what `readList` gives
 * @param {Record<string, any>} [buyer]
 * @returns {Promise<any>}
 */
export function askList({ version: _, ...list }, buyer = {}) {
  const question = { list, buyer };
  const key = JSON.stringify(question);
  if (!lists.has(key)) {
    const answer = post('list', question);
    answer.catch((error) => error instanceof Refused || lists.delete(key));
    lists.set(key, answer);
  }
  return lists.get(key);
}

/**
 * The server's quote for one image with these settings, and the settings' values; no quote while
 * the server doesn't answer, or where not even the model is known.
 * @param {ReturnType<typeof read>} sources
 */
export async function quoteFor(kind, sources) {
  const found = Object.entries(sources).map(async ([name, one]) => [name, await settle(one)]);
  const values = Object.fromEntries(await Promise.all(found));
  const { batch_size: count, profile, list, ...settings } = values;
  if (settings.model == null) return { quote: null, values };
  if (list) {
    const taken = Object.keys(sources).filter((name) => sources[name]?.list);
    const buyer = { kind, ...settings, batch_size: count, profile, taken };
    const quote = await askList(list, buyer).then(ofList).catch(() => null);
    return { quote: await at(profile, settings.model, quote), values };
  }
  const quote = await compute('price', { kind, ...settings }).catch(() => null);
  return { quote: await at(profile, settings.model, quote), values };
}

/** A quote as far as it is known at a profile's service, which may ask a price of its own. */
async function at(profile, model, quote) {
  return quote && (await isUnpriced(profile, model)) ? { ...quote, bound: 'about' } : quote;
}

/** A quote of a list that can't be run, or with nothing to run, is one with a problem. */
function ofList(quote) {
  if (quote.sum != null && !quote.mistake_count) return quote;
  return { ...EMPTY, ...quote, problems: [text('listNotUsable')] };
}

/** @returns {Price} what a whole run of the node costs */
export function priceOf(quote, { batch_size: count, profile }) {
  if (quote.problems.length) return { ...NOTHING, problems: 1 };
  // Of the price as it is shown, so that a reader gets the same sum.
  const all = quote.sum ?? Number(quote.usd.toFixed(3)) * (count ?? 1);
  const bound = count == null ? atLeast(quote.bound) : quote.bound;
  const emulated = profile === EMULATOR;
  return { usd: emulated ? 0 : all, real: emulated ? all : 0, bound, problems: 0 };
}

/** Of a number of images that isn't known, only what one costs at least bounds the sum. */
function atLeast(bound) {
  if (bound === 'exact') return 'at least';
  return bound === 'at most' ? 'about' : bound;
}

/** @param {Price[]} prices @returns {Price} */
export function sum(prices) {
  const paid = prices.some(({ usd }) => usd > 0);
  return prices.reduce((total, each) => ({
    usd: total.usd + each.usd,
    real: total.real + each.real,
    // How far an emulated price is known says nothing of what has to be paid.
    bound: paid && !each.usd ? total.bound : joined(total.bound, each.bound),
    problems: total.problems + each.problems,
  }), NOTHING);
}

function joined(one, other) {
  if (one === other || other === 'exact') return one;
  return one === 'exact' ? other : 'about';
}

/** An amount with the sign that says how far it is known: "≥ $0.035", "$6.98". */
export function amount(usd, bound = 'exact') {
  return `${SIGNS[bound]}${dollars(usd, usd < 1 ? 3 : 2)}`;
}

/** The same where there is little room: "≥$0.03", "$120". */
export function shortAmount(usd, bound) {
  const digits = usd < 100 ? 2 : 0;
  return `${SIGNS[bound].trim()}${dollars(Math.max(usd, 0.01), digits)}`;
}

/** The words for a price: "$6.98", "emulated; real ≈ $0.088"; "" where nothing costs anything. */
export function priceText({ usd, real, bound }) {
  if (usd > 0) return amount(usd, bound);
  return real > 0 ? text('emulatedReal', { price: amount(real) }) : '';
}

/** What a node's badge says: one image and all of them, "$0.109 × 64 = $6.98". */
export function badgeText(quote, values) {
  const price = priceOf(quote, values);
  const { batch_size: count } = values;
  if (quote.sum != null) return listText(quote, price);
  if (price.real || !(count > 1)) return priceText(price);
  const one = `${SIGNS[price.bound]}${dollars(quote.usd)}`;
  return `${one} × ${count} = ${amount(price.usd)}`;
}

/** The same of a list: "$0.035 × 52 = $1.82 · 12 in the store". */
function listText({ usd, to_buy: count, free }, price) {
  const stored = free ? ` · ${text('inStore', { count: free })}` : '';
  if (price.real || !(count > 1) || usd == null) return `${priceText(price) || amount(0)}${stored}`;
  const one = `${SIGNS[price.bound]}${dollars(usd)}`;
  return `${one} × ${count} = ${amount(price.usd)}${stored}`;
}

/** A sentence on the sign before an amount, for a tooltip. */
export function boundText(bound) {
  return bound === 'exact' ? '' : text(`bound ${bound}`);
}

/** Whether a price is over what the user wants to see in amber; a limit of 0 is none. */
export function isAmber(usd) {
  const limit = setting('MAI.AmberAbove');
  return limit > 0 && usd > limit;
}

/** @param {keyof typeof DEFAULTS} name @returns {number} USD */
export function setting(name) {
  const value = Number(app.extensionManager.setting.get(name) ?? DEFAULTS[name]);
  return Number.isFinite(value) ? value : DEFAULTS[name];
}
