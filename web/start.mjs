// The way in: without an account the emulator, and what to do for one, with ticks that follow.
import { useEmulator, usesEmulator } from './account.mjs';
import { el, iconButton } from './dom.mjs';
import { attempt, copy, say } from './say.mjs';
import { get } from './server.mjs';
import { text } from './texts.mjs';

const PAUSE = 5000;
const STEPS = ['profile', 'credential', 'connection', 'accepted', 'deployment'];
const SIGNS = { true: 'check-circle', false: 'times-circle', null: 'circle' };
const FOUNDRY = 'https://ai.azure.com';

/** Said by docs/command-line.md; the folder is that of custom_nodes, the Python is ComfyUI's. */
const COMMANDS = {
  login: 'az login',
  init: 'python -m mai-image.cli init',
  doctor: 'python -m mai-image.cli doctor',
};

/** The section about the account: first in a tab without one, last in a tab with one. */
export class Start {
  constructor() {
    this.title = el('h3', {});
    this.intro = el('p', {}, text('startIntro'));
    this.tryIt = el('button', { type: 'button', className: 'mai-primary', onclick: () => attempt(tryEmulator) }, text('tryIt'));
    this.connect = el('button', { type: 'button', 'aria-expanded': 'false', onclick: () => this.toggle() });
    this.guide = el('ol', { className: 'mai-guide' }, ...guide());
    this.ticks = el('ul', { className: 'mai-ticks', 'aria-label': text('checks') });
    this.verdict = el('p', { role: 'status' });
    this.details = el('div', { hidden: true }, this.guide, this.ticks, this.verdict);
    this.root = el('section', { className: 'mai-start', hidden: true }, this.title, this.intro,
      el('div', { className: 'mai-choice' }, this.tryIt, this.connect), this.details);
    this.timer = 0;
    this.account = null;
    this.shown = '';
  }

  close() {
    clearTimeout(this.timer);
    this.closed = true;
  }

  /** @param {boolean} account whether the server has any profile of its own */
  show(account) {
    if (account === this.account) return;
    this.account = account;
    this.root.hidden = false;
    this.root.classList.toggle('mai-welcome', !account);
    this.title.textContent = text(account ? 'account' : 'noAccountYet');
    this.connect.textContent = text(account ? 'checkAccount' : 'connect');
    this.intro.hidden = account;
    this.tryIt.hidden = account;
    const { parentElement: tab } = this.root;
    const focused = this.root.contains(document.activeElement) ? document.activeElement : null;
    if (tab) account ? tab.append(this.root) : tab.querySelector('.mai-total').after(this.root);
    focused?.focus();
  }

  toggle() {
    this.details.hidden = !this.details.hidden;
    this.connect.setAttribute('aria-expanded', String(!this.details.hidden));
    clearTimeout(this.timer);
    if (!this.details.hidden) this.look();
  }

  /** Ask how far the user has come, again and again while that is to be seen. */
  async look() {
    if (!document.hidden) {
      try {
        this.tick(await get('checks'));
      } catch (error) {
        this.verdict.textContent = error.message;
      }
    }
    if (!this.closed && !this.details.hidden) this.timer = setTimeout(() => this.look(), PAUSE);
  }

  tick(found) {
    const now = JSON.stringify(found);
    if (now === this.shown) return;
    this.shown = now;
    const { profile, steps } = found;
    this.ticks.replaceChildren(...STEPS.map((name) => tick(name, steps[name] ?? null, profile)));
    const ready = STEPS.every((name) => steps[name] !== false) && steps.accepted === true;
    this.guide.hidden = ready;
    this.verdict.replaceChildren(...(ready ? [text('accountReady')] : []));
  }
}

function tryEmulator() {
  useEmulator();
  if (usesEmulator()) say('success', text('triesEmulator'));
  else say('info', text('noMaiNodes'));
}

function guide() {
  const link = el('a', { href: FOUNDRY, target: '_blank', rel: 'noopener noreferrer' }, 'Microsoft Foundry');
  return [
    el('li', {}, text('stepDeploy'), ' ', link),
    el('li', {}, text('stepKey'), command(COMMANDS.login)),
    el('li', {}, text('stepInit'), command(COMMANDS.init)),
  ];
}

function command(words) {
  const button = iconButton('copy', `${text('copyCommand')}: ${words}`, () => attempt(() => copy(words)));
  return el('div', { className: 'mai-command' }, el('code', {}, words), button);
}

/** @param {boolean | null} well null: not known yet, as an earlier step has to be well first */
function tick(name, well, profile) {
  const state = text({ true: 'stepWell', false: 'stepWrong', null: 'stepLater' }[well]);
  const sign = el('i', { className: `pi pi-${SIGNS[well]}`, role: 'img', 'aria-label': state });
  const words = text(`check_${name}`, { profile: profile ?? '' });
  const help = well === false
    ? [el('p', { className: 'mai-remark' }, text(`help_${name}`)),
      ...(name === 'profile' && !profile ? [] : [command(COMMANDS.doctor)])]
    : [];
  const label = name === 'profile' && profile ? text('check_named', { profile }) : words;
  return el('li', { className: `mai-tick mai-tick-${well}` }, sign, el('div', {}, label, ...help));
}
