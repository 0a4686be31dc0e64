// Finds out which sentence of a catalogue a text is, and says it in another language.
//
// A catalogue maps English templates ("There is no model {1} in this server's catalogue.") to
// translations with the same numbers. A text may be several sentences, lines, or facts with " · "
// between them; what stands at a number may be a sentence too. What no template fits stays as it
// is. Texts are searched for a template's fixed pieces from left to right, without going back.

const DEEPEST = 5;

/** Characters of a line that is still looked up. */
const LONGEST = 4000;

/** Places at which two values are parted for a try. */
const MOST_SPLITS = 40;

const NUMBER = /\{\d+\}/;
const ENDS = /[.!?:"]$/;
const TWO_SENTENCES = /[.!?] [A-Z]/;

/**
 * The fixed pieces of a template, with one value between each two; `whole`: it ends with a text,
 * not within one.
 * @typedef {{pieces: string[], translation: string, whole: boolean, weight: number}} Template
 * @typedef {{values: string[], end: number}} Match
 */

export class Catalogue {
  /**
   * @param {Record<string, string>} entries
   * @param {string} glue what stands between two sentences of the language
   */
  constructor(entries, glue) {
    this.glue = glue;
    this.templates = Object.entries(entries).map(template).sort(byFit);
  }

  /** @param {string} text @returns {string} the same in the other language, as far as it is known */
  translate(text) {
    return this.lines(text, 0);
  }

  lines(text, depth) {
    if (depth > DEEPEST) return text;
    const facts = (line) => line.split(' · ').map((fact) => this.fact(fact, depth)).join(' · ');
    const lines = text.split('\n');
    return lines.map((line) => (line.length > LONGEST ? line : facts(line))).join('\n');
  }

  /** A line, or a part of one, without the spaces around it. */
  fact(text, depth) {
    const bare = text.trim();
    if (!bare) return text;
    const said = this.sentences(bare, depth) ?? this.clauses(bare, depth);
    // Where no spaces part words, none part sentences.
    return said !== bare && !this.glue ? said : text.replace(bare, () => said);
  }

  /** What "; " separates. */
  clauses(text, depth) {
    const clauses = text.split('; ');
    if (clauses.length === 1) return text;
    return clauses.map((clause) => this.fact(clause, depth + 1)).join('; ');
  }

  /** One sentence after the other; null where no template fits any of them. */
  sentences(text, depth) {
    let said = '';
    let known = false;
    for (let at = 0, before = null; at < text.length; ) {
      const found = this.find(text, at);
      const end = found?.end ?? endOfSentence(text, at);
      if (before != null) said += found && before ? this.glue : ' ';
      said += found ? this.say(found, depth) : text.slice(at, end);
      known ||= Boolean(found);
      before = Boolean(found);
      at = end + 1;
    }
    return known ? said : null;
  }

  say({ translation, values }, depth) {
    return translation.replace(/\{(\d+)\}/g, (_, number) => this.lines(values[number - 1], depth + 1));
  }

  /** @returns {(Match & {translation: string}) | null} the template that fits best at `start` */
  find(text, start) {
    for (const one of this.templates) {
      const found = this.match(one, text, start);
      if (found) return { ...found, translation: one.translation };
    }
    return null;
  }

  /** @param {Template} one @returns {Match | null} */
  match({ pieces, whole }, text, start) {
    if (!text.startsWith(pieces[0], start)) return null;
    const last = pieces.length - 1;
    let end = start + pieces[0].length;
    if (last === 0) return closes(text, end, whole) ? { values: [], end } : null;
    const values = [];
    for (let i = 1, halves = false; i <= last; i += 1) {
      // Where only a space parts two values, their end is found first.
      halves = pieces[i] === ' ' && i < last;
      if (halves) i += 1;
      const place = i === last ? lastPlace(text, pieces[i], end, whole) : text.indexOf(pieces[i], end);
      if (place < 0) return null;
      const value = text.slice(end, place);
      if (!mayHold(pieces, i, value)) return null;
      values.push(...(halves ? this.halve(value) : [value]));
      end = place + pieces[i].length;
    }
    return { values, end };
  }

  /** Two values with a space between them: one of the two is known, else the first is one word. */
  halve(text) {
    const words = text.split(' ');
    const isKnown = (value) => this.find(value, 0)?.end === value.length;
    const halves = (count) => [words.slice(0, count).join(' '), words.slice(count).join(' ')];
    const most = Math.min(words.length, MOST_SPLITS);
    for (let count = 1; count < most; count += 1) {
      if (halves(count).some(isKnown)) return halves(count);
    }
    return halves(1);
  }
}

/** @returns {Template} */
function template([english, translation]) {
  const pieces = english.split(NUMBER);
  const weight = pieces.join('').length;
  return { pieces, translation, whole: !ENDS.test(english), weight };
}

/**
 * Those first that say how they begin, then whole sentences before parts of one, then the longest.
 * @param {Template} a @param {Template} b
 */
function byFit(a, b) {
  const begins = Number(b.pieces[0] !== '') - Number(a.pieces[0] !== '');
  return begins || Number(a.whole) - Number(b.whole) || b.weight - a.weight;
}

/** Whether a value may stand before a piece: several sentences only within quotes or at the end. */
function mayHold(pieces, place, value) {
  if (pieces[place] !== '') return pieces[place].endsWith('"') || !TWO_SENTENCES.test(value);
  return pieces[0] !== '' || !(TWO_SENTENCES.test(value) || value.includes('; '));
}

/** Where a template's last piece stands at the end of a sentence, or of all; -1: nowhere. */
function lastPlace(text, piece, from, whole) {
  if (piece === '') return text.length;
  const atEnd = text.length - piece.length;
  if (whole) return atEnd >= from && text.endsWith(piece) ? atEnd : -1;
  let place = text.indexOf(piece, from);
  while (place >= 0 && !closes(text, place + piece.length, false)) place = text.indexOf(piece, place + 1);
  return place;
}

function closes(text, at, whole) {
  return at === text.length || (!whole && text[at] === ' ');
}

/** The end of a sentence that no template fits. */
function endOfSentence(text, start) {
  const found = text.slice(start).search(TWO_SENTENCES);
  return found < 0 ? text.length : start + found + 1;
}
