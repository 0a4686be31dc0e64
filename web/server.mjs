// The server's answers under /mai-image/. All arithmetic is done there.
import { api } from '../../scripts/api.js';
import { translate } from './translate.mjs';

const KEPT = 500;

/** @type {Map<string, Promise<any>>} */
const answers = new Map();

/** An answer that is an error, with the server's sentence in the page's language. */
export class Refused extends Error {
  constructor({ error, hint }, status) {
    super(translate([error, hint].filter(Boolean).join(' ')) || status);
  }
}

/**
 * Ask for arithmetic: the same question is sent once.
 * @param {'price' | 'plan'} path
 * @param {Record<string, any>} question values that are null or undefined are left out
 * @returns {Promise<any>}
 */
export function compute(path, question) {
  const given = Object.entries(question).filter(([, value]) => value != null);
  const address = `${path}?${new URLSearchParams(given)}`;
  let answer = answers.get(address);
  if (!answer) {
    if (answers.size >= KEPT) answers.delete(answers.keys().next().value);
    answer = get(address);
    answers.set(address, answer);
    // A server that is being restarted may answer the next time.
    answer.catch((error) => error instanceof Refused || answers.delete(address));
  }
  return answer;
}

/**
 * Ask for something that changes: never kept.
 * @param {string} path
 * @returns {Promise<any>}
 */
export async function get(path) {
  return read(await api.fetchApi(`/mai-image/${path}`));
}

/**
 * Have something changed: the one route that does is `settle`.
 * @param {string} path
 * @param {Record<string, any>} change
 */
export async function post(path, change) {
  const headers = { 'Content-Type': 'application/json' };
  const body = JSON.stringify(change);
  return read(await api.fetchApi(`/mai-image/${path}`, { method: 'POST', headers, body }));
}

async function read(answer) {
  const data = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(data, answer.statusText);
  return data;
}

/** @param {string} key @returns {string} where an image of the store is */
export function imageAddress(key) {
  return api.apiURL(`/mai-image/images/${key}`);
}

/** @param {string} key @returns {string} where the thumbnail of an image of the store is */
export function thumbnailAddress(key) {
  return api.apiURL(`/mai-image/images/${key}/thumbnail`);
}

/**
 * An image of the store, as the service sent it.
 * @param {string} key
 * @returns {Promise<Blob>}
 */
export async function image(key) {
  const answer = await api.fetchApi(`/mai-image/images/${key}`);
  if (answer.ok) return answer.blob();
  return read(answer);
}
