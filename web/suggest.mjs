// The names of this server's profiles, offered where a profile is typed: in both renderers.
import { app } from '../../scripts/app.js';
import { accountState, EMULATOR, useProfile } from './account.mjs';
import { asOneChange, changeWidget } from './graph.mjs';
import { Menu } from './menu.mjs';
import { text } from './texts.mjs';

const MARK = 'data-mai-profile';

/** Offer names for the widget `profile` of a node. */
export function offerProfiles(node) {
  const widget = node.widgets.find(({ name }) => name === 'profile');
  // The Vue renderer gives a text's options to its input as attributes.
  widget.options[MARK] = '';
  const type = widget.onClick;
  if (!type) return;
  // The canvas asks for a text in a dialog of its own: still so, by the last entry.
  widget.onClick = async function (click) {
    const { clientX: left, clientY: top } = click.e;
    const other = { label: text('otherProfile'), apply: () => type.call(this, click) };
    const choose = (name) => this.setValue(name, click);
    open({ left, top, bottom: top }, await entries(this.value, choose, [other]));
  };
}

/** Offer them below the input of the Vue renderer, as long as somebody is in it. */
export function suggestProfiles() {
  document.addEventListener('focusin', async ({ target }) => {
    if (!target.matches?.(`input[${MARK}]`) || target.readOnly) return;
    const choose = (name) => asOneChange(() => type(target, name));
    const offered = await entries(target.value, choose, []);
    if (document.activeElement === target) open(target.getBoundingClientRect(), offered, target);
  });
}

/** What the menu offers: the profiles, those that can't be called marked, and what can be done. */
async function entries(current, choose, more) {
  const accounts = await accountState();
  const names = (accounts?.profiles ?? []).map(({ name, ready }) => ({
    label: ready ? name : `${name} · ${text('notReady')}`,
    chosen: name === current,
    apply: () => choose(name),
  }));
  const emulator = {
    label: EMULATOR, chosen: current === EMULATOR, apply: () => choose(EMULATOR),
  };
  const all = { label: text('useForAll', { profile: current }), apply: () => useProfile(current) };
  return [...names, emulator, ...more, all];
}

/** Type into an input of the page, as a user does. */
function type(input, words) {
  input.value = words;
  input.dispatchEvent(new Event('input', { bubbles: true }));
}

function open(place, offered, input) {
  new Menu(text('profiles'), offered, input ?? app.canvas.canvas).open(place);
}
