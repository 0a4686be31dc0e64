// New nodes go where there is room: to be seen, and over no other node.
import { app } from '../../scripts/app.js';
import { asOneChange } from './graph.mjs';

const TITLE = 30;
const GAP = 24;
const STEP = 30;
const REACH = 8;

/** @typedef {[number, number, number, number]} Box left, top, right, bottom in the graph's pixels */

/**
 * Add a node in one step of undo, and select it.
 * @param {[number, number]} [at] where its corner should be; else where there is room
 * @param {[number, number]} [least] pixels that it will need once it shows all that it has
 */
export function addNode(node, { at, least = [0, 0] } = {}) {
  const { canvas } = app;
  const size = [0, 1].map((i) => Math.max(node.size[i], least[i]));
  node.pos = at ?? freePlace(size);
  asOneChange(() => canvas.graph.add(node));
  reveal(node, size);
  canvas.deselectAll?.();
  canvas.selectNode?.(node);
  canvas.setDirty(true, true);
  return node;
}

/** @returns {[number, number]} the place nearest to the middle of what is to be seen */
function freePlace([width, height]) {
  const view = visible();
  const taken = app.canvas.graph.nodes.map(boxOf);
  const middle = [(view[0] + view[2] - width) / 2, (view[1] + view[3] - height + TITLE) / 2];
  const inside = spots(view, width, height);
  const [spanX, spanY] = [view[2] - view[0], view[3] - view[1]];
  const around = (times) => {
    const wider = [view[0] - spanX * times, view[1] - spanY * times,
      view[2] + spanX * times, view[3] + spanY * times];
    return spots(wider, width, height);
  };
  for (let times = 0; times <= REACH; times += 1) {
    const free = (times ? around(times) : inside).filter(
      ([x, y]) => !taken.some((box) => touch(box, [x, y - TITLE, x + width, y + height])),
    );
    if (free.length) return nearest(free, middle);
  }
  return [Math.max(...taken.map((box) => box[2])) + GAP, view[1] + TITLE];
}

/** Corners at which a node would lie within a box, a step apart; few at most. */
function spots([left, top, right, bottom], width, height) {
  const step = Math.max(STEP, (right - left) / 60, (bottom - top) / 60);
  const found = [];
  for (let y = top + TITLE; y + height <= bottom; y += step) {
    for (let x = left; x + width <= right; x += step) found.push([x, y]);
  }
  return found;
}

function nearest(places, [x, y]) {
  const far = (place) => (place[0] - x) ** 2 + (place[1] - y) ** 2;
  return places.reduce((best, place) => (far(place) < far(best) ? place : best)).map(Math.round);
}

function touch(one, other) {
  return one[0] < other[2] + GAP && other[0] < one[2] + GAP
    && one[1] < other[3] + GAP && other[1] < one[3] + GAP;
}

/** @returns {Box} */
function boxOf(node) {
  const height = node.flags?.collapsed ? 0 : node.size[1];
  return [node.pos[0], node.pos[1] - TITLE, node.pos[0] + node.size[0], node.pos[1] + height];
}

/**
 * What is to be seen of the graph: the canvas lies behind the sidebar and the bars around it.
 * @returns {Box}
 */
function visible() {
  const { canvas, ds } = app.canvas;
  const whole = canvas.getBoundingClientRect();
  const view = [whole.left + GAP, whole.top + 2 * GAP, whole.right - GAP, whole.bottom - 2 * GAP];
  const tab = document.querySelector('.mai-tab')?.getBoundingClientRect();
  if (tab?.width) {
    if (tab.left + tab.width / 2 < whole.left + whole.width / 2) {
      view[0] = Math.max(view[0], tab.right + GAP);
    } else {
      view[2] = Math.min(view[2], tab.left - GAP);
    }
  }
  const inGraph = (value, i) => (value - [whole.left, whole.top][i % 2]) / ds.scale - ds.offset[i % 2];
  return view.map(inGraph);
}

/** Move the view if the node isn't wholly in it. */
function reveal(node, [width, height]) {
  const [left, top, right, bottom] = visible();
  const { ds } = app.canvas;
  const [x, y] = node.pos;
  const fits = x >= left && x + width <= right && y - TITLE >= top && y + height <= bottom;
  if (fits) return;
  ds.offset[0] += (left + right) / 2 - (x + width / 2);
  // Its top is to be seen, also of a node that is higher than the window.
  ds.offset[1] += Math.max((top + bottom - height) / 2, top + TITLE) - y;
}

/** @returns {[number, number]} where a mouse event is in the graph */
export function placeOf({ clientX, clientY }) {
  const { canvas, ds } = app.canvas;
  const box = canvas.getBoundingClientRect();
  return [
    (clientX - box.left) / ds.scale - ds.offset[0],
    (clientY - box.top) / ds.scale - ds.offset[1],
  ];
}
