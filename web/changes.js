// One place that learns of every change in the graph, and tells those who show something of it.
//
// A listener is called at most once a frame, and must itself find out whether its own inputs are
// other ones than before: that is cheap, and catches changes of nodes far up a link.
import { api } from '../../scripts/api.js';

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
  chain(node, 'onAdded', () => {
    listeners.add(listener);
    announce();
  });
  chain(node, 'onRemoved', () => listeners.delete(listener));
  for (const event of ['onConfigure', 'onConnectionsChange', 'onWidgetChanged']) {
    chain(node, event, announce);
  }
  for (const widget of node.widgets ?? []) chain(widget, 'callback', announce);
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
