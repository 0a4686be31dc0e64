// Which profiles of this server are set up, and the way to the emulator and back for a whole graph.
import { api } from '../../scripts/api.js';
import {
  allNodes, announce, asOneChange, changeWidget, isOurs, settersOf, widgetOf,
} from './graph.mjs';
import { get, Refused } from './server.mjs';

/**
 * What the server says of its profiles; `default` is the one that this name means, and `unpriced`
 * are models for which a profile's service asks a price that isn't known.
 * @typedef {{profiles: {name: string, ready: boolean, unpriced: string[]}[],
 *   default: string | null}} Accounts
 *
 * What can be said of a profile before a run, and the one to `use` where it isn't set up. 'none':
 * no profile of this server is.
 * @typedef {{state: 'ready' | 'emulated' | 'missing' | 'none', use: string | null}} Account
 */

export const EMULATOR = 'emulator';
const DEFAULT = 'default';
const FRESH = 5000;

/** @type {Accounts | null} */
let known = null;
let asking = null;
let askedAt = 0;
let refused = false;
let version = 0;

/** @returns {number} another one after each change of what is known */
export function accountVersion() {
  if (!refused && Date.now() - askedAt > FRESH) ask();
  return version;
}

/** @returns {Promise<Accounts | null>} null where this page may not know, or nobody answers */
export async function accountState() {
  if (!askedAt) await ask();
  else if (asking) await asking;
  return known;
}

/**
 * @param {any} profile a profile's name, undefined where it is known only when the graph runs
 * @returns {Promise<Account | null>} null where nothing can be said
 */
export async function accountOf(profile) {
  const accounts = await accountState();
  if (!accounts || profile == null) return null;
  const ready = accounts.profiles.filter((one) => one.ready).map((one) => one.name);
  const use = ready.includes(accounts.default) ? accounts.default : (ready[0] ?? null);
  if (profile === EMULATOR) return { state: 'emulated', use };
  const name = profile === DEFAULT ? accounts.default : profile;
  if (ready.includes(name)) return { state: 'ready', use };
  return { state: ready.length ? 'missing' : 'none', use };
}

/** @returns {Promise<boolean>} whether what a profile's service asks for a model isn't known */
export async function isUnpriced(profile, model) {
  const accounts = await accountState();
  const name = profile === DEFAULT ? accounts?.default : profile;
  const found = accounts?.profiles.find((one) => one.name === name);
  return found?.unpriced.includes(model) ?? false;
}

/** Every widget of the graph that says which profile a node uses. */
function profileWidgets() {
  const nodes = allNodes().filter((node) => isOurs(node.type) && widgetOf(node, 'profile'));
  const found = nodes.flatMap((node) => settersOf(node, 'profile'));
  return [...new Map(found.map((one) => [one.widget, one])).values()];
}

/** @returns {string[]} the profiles that the graph's nodes use, each once */
export function usedProfiles() {
  return [...new Set(profileWidgets().map(({ widget }) => widget.value))];
}

/** @returns {boolean} whether all nodes that buy images are emulated; false without any */
export function usesEmulator() {
  const used = usedProfiles();
  return used.length === 1 && used[0] === EMULATOR;
}

/** Where each node's profile was before the emulator: by the place in the graph, as an undo makes
 * new nodes.
 * @type {Map<string, any>} */
const before = new Map();

function placeOf({ node, widget }) {
  return JSON.stringify([node.graph?.rootGraph?.id, node.graph?.id, node.id, widget.name]);
}

/** Set one profile on all nodes of the graph, those in subgraphs too; one undo takes it back. */
export function useProfile(name) {
  asOneChange(() => {
    for (const { node, widget } of profileWidgets()) changeWidget(node, widget, name);
  });
  announce();
}

/** Set the emulator on all nodes, and remember what was there. */
export function useEmulator() {
  for (const one of profileWidgets()) {
    if (one.widget.value !== EMULATOR) before.set(placeOf(one), one.widget.value);
  }
  useProfile(EMULATOR);
}

/** Set on all emulated nodes what was there before, or the server's usual profile. */
export function useAccount() {
  asOneChange(() => {
    for (const one of profileWidgets()) {
      if (one.widget.value !== EMULATOR) continue;
      changeWidget(one.node, one.widget, before.get(placeOf(one)) ?? DEFAULT);
    }
  });
  announce();
}

/** Look again when the user comes back, as from a shell in which a profile was written. */
export function watchAccounts() {
  window.addEventListener('focus', () => ask());
  document.addEventListener('visibilitychange', () => document.hidden || ask());
  api.addEventListener('execution_error', () => ask());
}

async function ask() {
  if (refused || asking) return asking;
  askedAt = Date.now();
  asking = get('accounts').catch((error) => {
    // Who may not know is told so once, not with every look.
    refused = error instanceof Refused;
    return null;
  });
  const found = await asking;
  asking = null;
  if (JSON.stringify(found) === JSON.stringify(known)) return known;
  known = found;
  version += 1;
  announce();
  return known;
}
