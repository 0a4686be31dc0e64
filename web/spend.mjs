// What was ordered, what was spent, what is under way, and the calls that were perhaps billed.
import { EMULATOR } from './account.mjs';
import { el, iconButton } from './dom.mjs';
import { Orders } from './orders.mjs';
import { attempt, copy } from './say.mjs';
import { heading, line, Part } from './section.mjs';
import { post } from './server.mjs';
import { dollars, language, text } from './texts.mjs';

/** The numbers of the tab. */
export class Numbers {
  /** @param {() => void} look ask the server for the numbers again */
  constructor(look) {
    const doubtful = new Doubtful(look);
    this.parts = [
      [new Orders(look).part, ({ orders }) => orders],
      [new Part(spent), ({ account, today, month, here, spent: images, blocked, lost, in_flight, emulated, profiles }) =>
        ({ account, today, month, here, images, blocked, lost, in_flight, emulated, profiles })],
      [new Part(models), ({ models: rows }) => rows],
      [new Part(running), ({ calls, in_flight }) => ({ calls, in_flight })],
      [doubtful.part, ({ perhaps_billed, perhaps_billed_count }) => ({ perhaps_billed, perhaps_billed_count })],
    ];
    this.root = el('div', { className: 'mai-numbers' }, ...this.parts.map(([part]) => part.root));
  }

  show(status) {
    for (const [part, pick] of this.parts) part.show(pick(status));
  }
}

/**
 * The sums of all profiles, and of this machine where several share a ledger (`here`); then each
 * profile that has a budget, with how much of it is used.
 */
function spent({ account, today, month, here, images, blocked, lost, in_flight: booked, emulated, profiles }) {
  if (!account && !month.calls && !emulated.month.calls) return null;
  const rows = [
    line(text(here ? 'studioToday' : 'today'), amount(today)),
    line(text(here ? 'studioMonth' : 'month'), amount(month)),
  ];
  if (here) {
    rows.push(line(text('hereToday'), amount(here.today)), line(text('hereMonth'), amount(here.month)));
  }
  if (blocked.calls || lost.calls) rows.push(line(text('ofThatSpent'), amount(images)));
  if (blocked.calls) rows.push(line(text('ofThatBlocked'), amount(blocked)));
  if (lost.calls) rows.push(line(text('ofThatLost'), amount(lost)));
  if (booked.calls) rows.push(line(text('inFlight'), amount(booked)));
  if (emulated.month.calls) {
    rows.push(line(text('emulatedMonth'), text('calls', { count: emulated.month.calls })));
  }
  const budgets = profiles
    .filter((row) => row.known && (row.day_budget != null || row.month_budget != null))
    .map((row) =>
      el(
        'div',
        { className: 'mai-budget' },
        el('h4', {}, text('budgetOf', { profile: row.profile })),
        used(text('today'), row.today.usd, row.day_budget),
        used(text('month'), row.month.usd, row.month_budget),
      ),
    );
  return [heading(text('spent')), ...rows, ...budgets];
}

function used(name, usd, budget) {
  if (budget == null) return null;
  const part = budget > 0 ? Math.min(usd / budget, 1) : 1;
  const bar = el('i', {});
  bar.style.width = `${part * 100}%`;
  const className = `mai-share ${part > 0.9 ? 'mai-nearly' : ''}`;
  const share = el('span', { className, 'aria-hidden': 'true' }, bar);
  const of = text('ofBudget', { budget: dollars(budget, 2) });
  return el('div', {}, line(name, `${dollars(usd, 2)} ${of}`), share);
}

function amount({ usd, calls }) {
  return `${dollars(usd, 2)} · ${text('calls', { count: calls })}`;
}

function models(rows) {
  if (!rows.length) return null;
  return [heading(text('byModel')), ...rows.map(({ model, month }) => line(model, amount(month)))];
}

function running({ calls, in_flight: booked }) {
  const here = calls.map((call) => line(call.model, phase(call)));
  // The ledger counts the calls of every process that shares it.
  const elsewhere = booked.calls - calls.filter(({ profile }) => profile !== EMULATOR).length;
  if (elsewhere > 0) here.push(el('p', {}, text('elsewhere', { count: elsewhere })));
  const none = el('p', { className: 'mai-remark' }, text('nothingRunning'));
  return [heading(text('running')), ...(here.length ? here : [none])];
}

function phase({ phase: name, seconds }) {
  if (seconds == null && (name === 'waiting' || name === 'retrying')) return '…';
  return text(name || 'starting', { seconds: Math.ceil(seconds ?? 0) });
}

/** The calls of which nobody here knows, each settled by two clicks: it can't be undone. */
class Doubtful {
  constructor(look) {
    this.look = look;
    this.part = new Part((data) => this.make(data));
    /** The call and the verdict that the next click confirms. */
    this.asked = null;
    this.data = null;
  }

  make(data) {
    this.data = data;
    const { perhaps_billed: calls, perhaps_billed_count: count } = data;
    if (!count) return null;
    const help = el('p', { className: 'mai-remark' }, text('doubtfulHelp'));
    const more = count - calls.length;
    return [
      heading(`${text('doubtful')} (${count})`),
      help,
      el('ul', { className: 'mai-doubtful' }, ...calls.map((call) => this.row(call))),
      more > 0 ? el('p', { className: 'mai-remark' }, text('moreDoubtful', { count: more })) : null,
    ];
  }

  row(call) {
    const when = new Date(call.at).toLocaleString(language());
    const name = `${when}, ${call.model}`;
    const why = call.blocked ? el('p', { className: 'mai-remark' }, text('blocked')) : null;
    const id = call.request_id && el(
      'div',
      { className: 'mai-id' },
      el('code', {}, call.request_id),
      iconButton('copy', text('copyId'), () => copy(call.request_id), `id-${call.call}`),
    );
    return el('li', {}, line(name, dollars(call.usd)), why, id || null, this.choice(call, name));
  }

  choice(call, name) {
    const asked = this.asked?.call === call.call ? this.asked.verdict : null;
    const button = (label, focus, onclick, className = '') =>
      el('button', {
        type: 'button', className, onclick, 'aria-label': `${label}: ${name}`, 'data-focus': `${focus}-${call.call}`,
        // A key that is held would answer the question that it has just asked.
        onkeydown: (event) => {
          if (event.repeat && event.key !== 'Tab') event.preventDefault();
        },
      }, label);
    if (!asked) {
      return el('div', { className: 'mai-choice' },
        button(text('settleBilled'), 'billed', () => this.ask(call, 'billed')),
        button(text('settleFree'), 'free', () => this.ask(call, 'free')));
    }
    const label = text(asked === 'billed' ? 'countAsBilled' : 'countAsFree', { price: dollars(call.usd) });
    return el('div', { className: 'mai-choice', role: 'group', 'aria-label': text('noUndo') },
      el('p', { className: 'mai-remark' }, text('noUndo')),
      button(label, asked, () => this.settle(call, asked), 'mai-primary'),
      button(text('settleCancel'), 'cancel', () => this.ask(null)));
  }

  ask(call, verdict) {
    this.asked = call && { call: call.call, verdict };
    this.part.draw(this.data);
  }

  settle(call, verdict) {
    this.asked = null;
    return attempt(async () => {
      try {
        await post('settle', { call: call.call, verdict });
      } finally {
        this.part.draw(this.data);
        this.look();
      }
    });
  }
}
