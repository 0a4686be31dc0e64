// Buttons that mend a node's settings: options that its model lacks, a profile that isn't there.
import { canSet, changeWidget, settersOf, setWidget } from './graph.mjs';
import { text } from './texts.mjs';

/**
 * A button for each option that the model lacks and that the node itself can switch off.
 * @param {Record<string, any>} off the options, each with the value that is off
 * @returns {import('./badge.mjs').Button[]}
 */
export function optionButtons(node, off) {
  return Object.entries(off)
    .filter(([name]) => canSet(node, name))
    .map(([name, value]) => ({
      label: value === false ? text('switchOff', { what: name }) : text('set', { what: name, value }),
      apply: () => setWidget(node, name, value),
    }));
}

/**
 * What to say of a profile that isn't set up on a server where another one is; null else.
 * @param {any} profile its name
 * @param {import('./account.mjs').Account | null} account
 * @returns {import('./badge.mjs').Remark | null}
 */
export function accountRemark(node, profile, account) {
  if (account?.state !== 'missing') return null;
  const use = { label: text('use', { what: account.use }), apply: () => set(node, account.use) };
  return { kind: 'wrong', sentences: [text('noProfile', { profile })], buttons: [use] };
}

function set(node, profile) {
  for (const one of settersOf(node, 'profile')) changeWidget(one.node, one.widget, profile);
}
