// The catalogues without a page: which of their own sentences they don't find again, and what they
// make of TEXTS, a JSON object of lists by language; as JSON.
//
//   node says.mjs TEXTS
import { Catalogue } from '../../web/sentences.mjs';

const MODULES = { zh: 'chinese', ja: 'japanese', de: 'german', es: 'spanish' };
const texts = JSON.parse(process.argv[2]);

const seen = { lost: [], said: {}, seconds: 0 };
for (const [language, module] of Object.entries(MODULES)) {
  const entries = (await import(`../../web/${module}.mjs`)).default;
  const catalogue = new Catalogue(entries, ['zh', 'ja'].includes(language) ? '' : ' ');
  const fill = (text) => text.replace(/\{(\d+)\}/g, (_, number) => `V${number}v`);
  for (const [english, translation] of Object.entries(entries)) {
    const said = catalogue.translate(fill(english));
    if (said !== fill(translation)) seen.lost.push([language, english, said]);
  }
  seen.said[language] = (texts[language] ?? []).map((text) => catalogue.translate(text));
  const start = performance.now();
  for (const text of hostile()) catalogue.translate(text);
  seen.seconds = Math.max(seen.seconds, (performance.now() - start) / 1000);
}
console.log(JSON.stringify(seen));

/** Long texts that fit the beginnings of many sentences. */
function hostile() {
  const words = [' can ', 'The store ', ' is ', '. ', '; ', ' · ', ': ', "can't make "];
  return words.map((word) => word.repeat(Math.floor(4000 / word.length)));
}
