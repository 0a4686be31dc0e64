// The server's sentences in the page's language. The server says everything in English, to the page
// as to a terminal or a log; here they are looked up in the language's catalogue, which is loaded
// when it is needed. Until then, and for what it doesn't hold, they stay English.
import { Catalogue } from './sentences.mjs';
import { language } from './texts.mjs';

const LANGUAGES = {
  zh: { load: () => import('./chinese.mjs'), glue: '' },
  ja: { load: () => import('./japanese.mjs'), glue: '' },
  de: { load: () => import('./german.mjs'), glue: ' ' },
  es: { load: () => import('./spanish.mjs'), glue: ' ' },
};

const COMMAND = /`(cd [^`]* -m [^`\s]+\.cli) /;

/** @type {Map<string, Promise<void>>} */
const loading = new Map();

/** @type {Map<string, Catalogue>} */
const catalogues = new Map();

/**
 * A sentence of the server, or several, in the page's language.
 * @param {string} text
 * @returns {string} English until `ready`
 */
export function translate(text) {
  const catalogue = catalogues.get(language());
  if (!catalogue) {
    void ready();
    return text;
  }
  // Inside ComfyUI the server names another command than the catalogues do.
  const command = COMMAND.exec(text)?.[1];
  if (!command) return catalogue.translate(text);
  const said = catalogue.translate(text.replaceAll(`\`${command} `, '`mai-image '));
  return said.replaceAll('`mai-image ', `\`${command} `);
}

/** Wait for the catalogue of the page's language; without it the page stays English. */
export function ready() {
  const name = language();
  if (!loading.has(name)) loading.set(name, load(name));
  return loading.get(name);
}

async function load(name) {
  const { load: fetchEntries, glue } = LANGUAGES[name] ?? {};
  if (!fetchEntries) return;
  try {
    catalogues.set(name, new Catalogue((await fetchEntries()).default, glue));
  } catch (error) {
    console.warn('MAI Image: the translations could not be loaded.', error);
  }
}
