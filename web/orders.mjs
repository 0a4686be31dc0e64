// What was ordered and not collected yet: what is under way, what has landed, what went wrong, and
// the button that runs the same workflow again, which then gets its images from the store.
import { api } from '../../scripts/api.js';
import { el } from './dom.mjs';
import { attempt, say } from './say.mjs';
import { heading, line, Part } from './section.mjs';
import { post } from './server.mjs';
import { language, text } from './texts.mjs';
import { translate } from './translate.mjs';

const STATES = { landed: 'landed', under_way: 'underWay', failed: 'orderFailed', left: 'orderLeft' };

/** The runs that ordered something. */
export class Orders {
  /** @param {() => void} look ask the server for the list again */
  constructor(look) {
    this.look = look;
    this.part = new Part((runs) => this.make(runs));
    this.runs = [];
    /** The ids of runs that ComfyUI's history doesn't hold any more. */
    this.gone = new Set();
  }

  make(runs) {
    this.runs = runs;
    if (!runs.length) return null;
    const rows = runs.map((run) => this.row(run));
    return [heading(text('ordered')), el('ul', { className: 'mai-orders' }, ...rows)];
  }

  row(run) {
    const name = `${new Date(run.at * 1000).toLocaleString(language())}, ${run.models.join(', ')}`;
    const states = Object.entries(STATES).filter(([state]) => run[state]);
    const told = states.map(([state, words]) => text(words, { count: run[state] })).join(' · ');
    const remark = (words) => el('p', { className: 'mai-remark' }, words);
    const reasons = run.reasons.map((one) =>
      remark(`${one.count > 1 ? `${one.count} × ` : ''}${translate(one.text)}`));
    const elsewhere = run.earlier ? 'orderEarlier' : this.gone.has(run.run) ? 'orderGone' : '';
    if (elsewhere) reasons.push(remark(text(elsewhere)));
    const ready = !run.under_way && !elsewhere;
    return el('li', {}, line(name, told), ...reasons, el('div', { className: 'mai-choice' },
      ready ? button('collect', run, name, () => this.collect(run), 'mai-primary') : null,
      button('forget', run, name, () => this.forget(run))));
  }

  /** Queue the prompt that ordered once more, as the page itself would, from wherever it is. */
  async collect({ run }) {
    const found = await promptOf(run);
    if (!found) {
      this.gone.add(run);
      this.part.draw(this.runs);
      return;
    }
    const [, , prompt, { client_id: asker, create_time: time, ...extra }, targets] = found;
    const body = JSON.stringify({
      prompt, extra_data: extra, client_id: api.clientId, partial_execution_targets: targets,
    });
    const headers = { 'Content-Type': 'application/json' };
    const answer = await api.fetchApi('/prompt', { method: 'POST', headers, body });
    if (!answer.ok) {
      const { error } = await answer.json().catch(() => ({}));
      throw new Error(error?.message ?? answer.statusText);
    }
    say('success', text('collecting'));
    this.look();
  }

  async forget({ run }) {
    try {
      await post('forget', { run });
    } finally {
      this.look();
    }
  }
}

function button(label, { run }, name, work, className = '') {
  let busy = null;
  const onclick = async () => {
    busy ??= attempt(work);
    await busy;
    busy = null;
  };
  return el('button', {
    type: 'button', className, onclick, title: text(`${label}Help`),
    'aria-label': `${text(label)}: ${name}`, 'data-focus': `${label}-${run}`,
  }, text(label));
}

/**
 * A prompt as ComfyUI keeps it: number, id, graph, extra data, output nodes. One that still runs is
 * in the queue, one that has ended in the history; null: in neither.
 */
async function promptOf(id) {
  const history = await ask(`/history/${id}`);
  if (history[id]) return history[id].prompt;
  const { queue_running: running, queue_pending: pending } = await ask('/queue');
  return [...running, ...pending].find((item) => item[1] === id) ?? null;
}

async function ask(path) {
  const answer = await api.fetchApi(path);
  if (!answer.ok) throw new Error(answer.statusText);
  return answer.json();
}
