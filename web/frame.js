// The picture that will be generated, drawn to scale, with what is cut off for the target.
import { pixels } from './texts.js';
import { svg } from './dom.js';

const WIDE = 120;
const HIGH = 74;
const EDGE = 2;

/**
 * @param {{size: [number, number], scaled: [number, number], target: [number, number]}} plan
 * @returns {SVGElement} the scaled picture, dashed where it is cut off, and the target in it
 */
export function drawFrame({ size, scaled, target }) {
  const scale = Math.min((WIDE - 2 * EDGE) / scaled[0], (HIGH - 2 * EDGE) / scaled[1]);
  const outer = box(scaled, scale);
  const inner = box(target, scale);
  const drawing = svg(
    'svg',
    { viewBox: `0 0 ${WIDE} ${HIGH}`, class: 'mai-frame', role: 'img' },
    svg('title', {}, `${pixels(size)} → ${pixels(target)}`),
    svg('rect', { ...outer, class: 'mai-frame-cut' }),
    svg('rect', { ...inner, class: 'mai-frame-kept' }),
  );
  return drawing;
}

/** A rectangle in the middle of the drawing. */
function box([width, height], scale) {
  return {
    x: (WIDE - width * scale) / 2,
    y: (HIGH - height * scale) / 2,
    width: width * scale,
    height: height * scale,
    rx: 1,
  };
}
