// The live preview on MAI Size Helper: what will be generated, and what becomes of it.
import { el, Room, svg } from './dom.mjs';
import { announce, answerOf, asOneChange, isLinked, listen, planOf, setWidget, widgetOf } from './graph.mjs';
import { dollars, pixels, text } from './texts.mjs';
import { ready, translate } from './translate.mjs';

const GUESS = 190;

// The drawing's own units.
const WIDE = 120;
const HIGH = 74;
const EDGE = 2;

/** Give a Size Helper its preview. */
export function addPreview(node) {
  const chips = el('div', { className: 'mai-chips' });
  const body = el('div', { className: 'mai-plan' });
  new Room(node, 'mai_preview', el('div', { className: 'mai-preview' }, chips, body), GUESS).stay();

  let asked = '';
  const refresh = async () => {
    const plan = planOf(node);
    const key = JSON.stringify(plan);
    if (key === asked) return;
    asked = key;
    chips.replaceChildren(...choices(node));
    await ready();
    const shown = plan ? await answerOf(plan).then(show, complain) : remark(text('later'));
    // A later change has asked again: its answer counts.
    if (key === asked) body.replaceChildren(shown);
  };
  listen(node, refresh);
}

/** One button a preset, in the present orientation, and one that turns it. */
function choices(node) {
  const { value: now, options } = widgetOf(node, 'aspect_ratio');
  const presets = options.values.filter((name) => name.includes(':'));
  const portrait = presets.includes(now) && isPortrait(now);
  const offered = presets.filter((name) => name === turned(name) || isPortrait(name) === portrait);
  const fixed = isLinked(node, 'aspect_ratio');
  const chip = (name) =>
    el(
      'button',
      {
        type: 'button',
        disabled: fixed,
        'aria-pressed': String(name === now),
        onclick: () => asOneChange(() => setWidget(node, 'aspect_ratio', name)),
      },
      name,
    );
  const swap = el(
    'button',
    {
      type: 'button',
      className: 'mai-swap',
      title: text('swap'),
      'aria-label': text('swap'),
      onclick: () => asOneChange(() => exchange(node)),
    },
    '⇄',
  );
  return [...offered.map(chip), swap];
}

/** Width becomes height, in the ratio and in the target. */
function exchange(node) {
  const [ratio, width, height] = ['aspect_ratio', 'target_width', 'target_height'].map((name) =>
    isLinked(node, name) ? null : widgetOf(node, name).value,
  );
  if (ratio?.includes(':')) setWidget(node, 'aspect_ratio', turned(ratio));
  if (width != null && height != null) {
    setWidget(node, 'target_width', height);
    setWidget(node, 'target_height', width);
  }
  announce();
}

function turned(ratio) {
  return ratio.split(':').reverse().join(':');
}

function isPortrait(ratio) {
  const [width, height] = ratio.split(':').map(Number);
  return width < height;
}

/** The server's plan as a drawing and lines of text, or what is wrong with the settings. */
function show(plan) {
  if (plan.problems.length) return notice(plan.problems);
  const megapixels = plan.megapixels.toFixed(2);
  const percent = plan.percent_of_limit.toFixed(0);
  return el(
    'div',
    { className: 'mai-facts' },
    drawFrame(plan),
    el('div', { className: 'mai-size' }, el('strong', {}, pixels(plan.size)), el('span', { title: ratioHelp(plan) }, ratioLine(plan))),
    el('span', {}, text('share', { megapixels, percent }), share(plan.percent_of_limit)),
    el(
      'span',
      { title: plan.price_known ? '' : text('bound about') },
      text('price', { tokens: plan.tokens, price: priceOf(plan) }),
    ),
    el('span', { title: isTarget(plan) ? text('asItIsHelp') : '' }, targetLine(plan)),
    ...plan.notes.map((note) => el('p', {}, translate(note))),
  );
}

function priceOf({ price_usd: usd, price_known: known }) {
  return `${known ? '' : '≈ '}${dollars(usd)}`;
}

function ratioLine({ ratio, ratio_asked: asked, ratio_error_percent: error }) {
  if (error === 0) return text('exact', { ratio });
  return text('offBy', { ratio, asked, error: Number(error.toPrecision(3)) });
}

function ratioHelp({ ratio, size: [width, height] }) {
  return text('ratioHelp', { ratio, decimal: (width / height).toFixed(2) });
}

function isTarget({ size, target }) {
  return pixels(size) === pixels(target);
}

function targetLine({ size, target, scale, cut: [width, height] }) {
  if (isTarget({ size, target })) return text('asItIs');
  const values = { target: pixels(target), scale: Number(scale.toPrecision(5)), width, height };
  return text(width || height ? 'cut' : 'scaled', values);
}

function share(percent) {
  const bar = el('i', {});
  bar.style.width = `${Math.min(percent, 100)}%`;
  return el('span', { className: 'mai-share' }, bar);
}

function complain(error) {
  return notice([error.message]);
}

function notice(problems) {
  const sentences = problems.map((one) => el('p', {}, translate(one)));
  return el('div', { className: 'mai-notice mai-notice-wrong' }, ...sentences);
}

function remark(words) {
  return el('p', { className: 'mai-remark' }, words);
}

/**
 * @param {{size: [number, number], scaled: [number, number], target: [number, number]}} plan
 * @returns {SVGElement} the scaled image, dashed where it is cut off, and the target in it
 */
function drawFrame({ size, scaled, target }) {
  const scale = Math.min((WIDE - 2 * EDGE) / scaled[0], (HIGH - 2 * EDGE) / scaled[1]);
  const outer = box(scaled, scale);
  const inner = box(target, scale);
  return svg(
    'svg',
    { viewBox: `0 0 ${WIDE} ${HIGH}`, class: 'mai-frame', role: 'img' },
    svg('title', {}, `${pixels(size)} → ${pixels(target)}`),
    svg('rect', { ...outer, class: 'mai-frame-cut' }),
    svg('rect', { ...inner, class: 'mai-frame-kept' }),
  );
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
