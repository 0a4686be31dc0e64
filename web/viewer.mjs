// One image of the history, as large as the window: a dialog.
import { el, iconButton } from './dom.mjs';
import { imageAddress } from './server.mjs';
import { text } from './texts.mjs';

/**
 * Show an image of a list, and the others by the arrow keys. Escape closes it.
 * @param {any[]} images the facts of all images of the list
 * @param {number} start which of them
 * @param {{describe: (facts: any) => string, name: (facts: any) => string,
 *   actions: (facts: any) => HTMLElement[], closed: (key: string) => void}} help
 */
export function enlarge(images, start, { describe, name, actions, closed }) {
  let at = start;
  const picture = el('img', {});
  const caption = el('figcaption', {});
  const tools = el('div', { className: 'mai-tools' });
  const counter = el('span', { className: 'mai-counter', role: 'status' });
  const step = (by) => {
    at = Math.min(Math.max(at + by, 0), images.length - 1);
    draw();
  };
  const before = iconButton('chevron-left', text('previousImage'), () => step(-1));
  const after = iconButton('chevron-right', text('nextImage'), () => step(1));
  const close = iconButton('times', text('closeViewer'), () => dialog.close());
  const dialog = el(
    'dialog',
    { className: 'mai-viewer', 'aria-label': text('viewer') },
    el('div', { className: 'mai-bar' }, counter, tools, close),
    el('figure', {}, el('div', { className: 'mai-stage' }, before, picture, after), caption),
  );
  const draw = () => {
    const facts = images[at];
    picture.src = imageAddress(facts.key);
    picture.alt = name(facts);
    caption.replaceChildren(
      ...(facts.prompt ? [el('p', {}, facts.prompt)] : []), el('small', {}, describe(facts)),
    );
    counter.textContent = text('counter', { at: at + 1, count: images.length });
    tools.replaceChildren(...actions(facts, () => dialog.close()));
    // A button that has the focus loses it when it can't be used any more.
    const focused = document.activeElement;
    before.disabled = at === 0;
    after.disabled = at === images.length - 1;
    if (focused?.disabled) close.focus();
  };
  const press = (event) => {
    // Before the page hears of it: the graph behind has keys of its own.
    event.stopPropagation();
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) step(by);
    else if (event.key === 'Escape') dialog.close();
    else if (event.key === 'Tab') goRound(dialog, event);
  };
  window.addEventListener('keydown', press, true);
  dialog.onclick = ({ target }) => {
    if (target === dialog) dialog.close();
  };
  dialog.onclose = () => {
    window.removeEventListener('keydown', press, true);
    dialog.remove();
    closed(images[at].key);
  };
  draw();
  document.body.append(dialog);
  dialog.showModal();
  close.focus();
}

/** The next button of the dialog, or the one before; after the last comes the first. */
function goRound(dialog, event) {
  event.preventDefault();
  const buttons = [...dialog.querySelectorAll('button:not(:disabled)')];
  const now = buttons.indexOf(document.activeElement);
  const by = event.shiftKey ? -1 : 1;
  buttons[(Math.max(now, by > 0 ? -1 : 0) + by + buttons.length) % buttons.length].focus();
}
