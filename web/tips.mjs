// What badges and progress texts mean, in a tooltip of the browser. The canvas draws its badges
// itself, so there the mouse is followed; the Vue renderer makes elements of them.
import { app } from '../../scripts/app.js';
import { isOurs, PROGRESS } from './graph.mjs';
import { text } from './texts.mjs';

/** A cost and seconds, as a node keeps them after a run: "$0.035 · 11 s". */
const COST = /^(\$|emulated; ).* · \d+ s/;

/**
 * A badge that says more when the mouse is over it.
 * @param {{text: string, fgColor: string, bgColor: string}} facts
 * @param {string} tip
 */
export function badgeWithTip(facts, tip) {
  const badge = new window.LGraphBadge(facts);
  const draw = function (ctx, x, y) {
    this.place.splice(0, 4, x, y, this.getWidth(ctx), this.height);
    Object.getPrototypeOf(this).draw.call(this, ctx, x, y);
  };
  // Not enumerable: the Vue renderer would make attributes of them.
  return Object.defineProperties(badge, {
    tip: { value: tip }, place: { value: [0, 0, 0, 0] }, draw: { value: draw },
  });
}

export function watchMouse() {
  const { canvas } = app.canvas;
  canvas.addEventListener('mousemove', (event) => {
    canvas.title = tipAt(app.canvas.convertEventToCanvasOffset(event));
  });
  document.addEventListener('mouseover', ({ target }) => {
    const tip = target.children?.length === 0 && tipOf(target.textContent.trim());
    if (tip && !target.title) target.title = tip;
    // The page uses an element again for other words.
    else if (!tip && target.title && target.dataset.maiTip) target.title = '';
    if (tip) target.dataset.maiTip = 'yes';
  });
}

function tipAt([x, y]) {
  const drawn = app.canvas.visible_nodes ?? [];
  for (const { node, badge } of drawn.flatMap(badgesOf)) {
    const [left, top, width, height] = badge.place;
    const [dx, dy] = [x - node.pos[0] - left, y - node.pos[1] - top];
    if (dx >= 0 && dy >= 0 && dx <= width && dy <= height) return badge.tip;
  }
  return '';
}

/** The tooltip of a badge or a progress text that reads so; "" for any other words. */
function tipOf(words) {
  if (!words) return '';
  const nodes = app.canvas.graph?.nodes ?? [];
  const found = nodes.flatMap(badgesOf).find(({ badge }) => badge.text === words);
  if (found) return found.badge.tip;
  const isCost = COST.test(words) && nodes.some(({ comfyClass, widgets }) =>
    isOurs(comfyClass)
    && widgets?.some(({ name, value }) => name === PROGRESS && value === words));
  return isCost ? text('costHelp') : '';
}

/** The node's badges that have a tooltip. */
function badgesOf(node) {
  if (!(node.comfyClass in { MAIGenerate: 1, MAIEdit: 1 }) && !node.maiBadges) return [];
  const drawn = node.badges.map((badge) => (typeof badge === 'function' ? badge() : badge));
  return drawn.filter(({ tip }) => tip).map((badge) => ({ node, badge }));
}
