// What the page tells by the way, and texts for the clipboard.
import { app } from '../../scripts/app.js';
import { text } from './texts.mjs';

const SECONDS = 4;

/**
 * A short message in the page's corner, which goes away by itself.
 * @param {'success' | 'error' | 'info'} severity
 * @param {string} detail
 */
export function say(severity, detail) {
  const life = SECONDS * 1000;
  app.extensionManager.toast.add({ severity, summary: 'MAI Image', detail, life });
}

/**
 * Do what a click asks for, and say it where it fails.
 * @param {() => any} work
 */
export async function attempt(work) {
  try {
    await work();
  } catch (error) {
    say('error', `${text('failed')}: ${error.message}`);
  }
}

/** @param {string} words into the clipboard, also where the page has no clipboard (plain http) */
export async function copy(words) {
  try {
    await navigator.clipboard.writeText(words);
  } catch {
    copyBySelection(words);
  }
  say('success', text('copied'));
}

function copyBySelection(words) {
  const before = document.activeElement;
  const field = Object.assign(document.createElement('textarea'), { value: words });
  // Within an open dialog, where there is one: nothing outside of it can be selected.
  (document.querySelector('dialog[open]') ?? document.body).append(field);
  field.select();
  const done = document.execCommand('copy');
  field.remove();
  before?.focus?.();
  if (!done) throw new Error(text('notCopied'));
}
