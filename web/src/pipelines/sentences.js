import {codePointBefore, unitsOf} from '../lists.js';
import {checkText} from '../tokenizer/tokenizer.js';
import {
  hasLower,
  isAlphanumeric,
  isDecimal,
  isLower,
  isSpace,
  trimmedEnd,
  trimmedStart,
} from '../unicode.js';

const MARKS = '.!?…';
const CLOSING = '"\'”’»)]';
const OPENING = '(["\'“‘';
const CJK_MARKS = '。！？';
const CJK_CLOSING = '”’」』）';
const LOOK = 20; // characters around a full stop
const HEAD = 2000; // characters in which to look for a capital

// A full stop behind these, or behind an initial, does not end a sentence.
const ABBREVIATIONS = new Set(
  (
    'mr mrs ms dr prof sr jr st rev gen col lt sgt capt hon messrs vs etc al eq eqs fig figs sec no ' +
    'nos vol vols pp ca cf eg e.g ie i.e viz resp approx dept inc ltd co corp jan feb mar apr jun ' +
    'jul aug sep sept oct nov dec mt ft u.s u.k a.m p.m'
  ).split(' '),
);
// What Python's regular expressions fold to a letter of the abbreviations, beside capitals.
const FOLDED = {İ: 'i', ı: 'i', ſ: 's', '\u212a': 'k'};

/**
 * Returns an article as one text, and the places of its sentences in it.
 *
 * @param {string | string[]} article A text, or its sentences, which are then joined by spaces.
 * @returns {{text: string, spans: {start: number, end: number}[]}}
 */
export function sentenceSpans(article) {
  if (!Array.isArray(article)) {
    checkText(article);
    return {text: article, spans: splitSentences(article)};
  }
  article.forEach(checkText);
  let end = -1;
  const spans = article.map((sentence) => {
    const start = end + 1;
    end = start + sentence.length;
    return {start, end};
  });
  return {text: article.join(' '), spans};
}

/**
 * Returns the place of every sentence, without the space around it.
 *
 * A sentence ends at a full stop, a question or exclamation mark with space behind it, or at the end
 * of a line. A full stop behind an initial or a known abbreviation ends none, nor does a single one
 * before a lower-case letter.
 *
 * @param {string} text
 */
export function splitSentences(text) {
  const spans = [];
  let start = 0;
  for (const mark of [...sentenceEnds(text), text.length]) {
    const end = includeClosingQuote(text, start, mark);
    const first = trimmedStart(text, start, end);
    const stop = trimmedEnd(text, first, end);
    start = end;
    if (first === stop) continue;
    // ` . . . "` belongs to the last one.
    if (spans.length > 0 && !hasAlphanumeric(text, first, stop)) spans[spans.length - 1].end = stop;
    else spans.push({start: first, end: stop});
  }
  return spans;
}

/**
 * Tokenizes the sentences at `spans`, each on its own; those without tokens are left out.
 *
 * @param {number} most The number of tokens of a sentence that the model takes; a longer one is
 *   truncated.
 * @returns Each sentence's token ids, at least one; its place; and whether it has more tokens.
 */
export function tokenizeSentences(text, spans, tokenizer, most) {
  return spans
    .map(({start, end}) => {
      const tokens = tokenizer.tokenizePart(text.slice(start, end), most);
      const {ids} = tokenizer.truncate(tokens, most);
      return {ids, start, end, truncated: tokens.length > most};
    })
    .filter(({ids}) => ids.length > 0);
}

/**
 * Joins the token ids of sentences, each closed by its own `[SEP]`: `[CLS] a [SEP] b [SEP]`.
 *
 * Token types alternate from sentence to sentence (Liu 2019, arXiv:1903.10318, sec. 2.1).
 *
 * @param {Int32Array[]} sentences
 * @param {import('../tokenizer/tokenizer.js').Tokenizer} tokenizer
 * @param {number} types The model's `type_vocab_size`.
 * @returns The ids, their types, and where each sentence begins; it ends where the next begins.
 */
export function joinSentences(sentences, tokenizer, types) {
  const size = sentences.reduce((sum, ids) => sum + ids.length + 1, 1);
  const joined = {
    input_ids: new Int32Array(size),
    token_type_ids: new Int32Array(size),
    starts: [],
  };
  joined.input_ids[0] = tokenizer.cls_id;
  let at = 1;
  sentences.forEach((ids, index) => {
    const end = at + ids.length;
    joined.starts.push(at);
    joined.input_ids.set(ids, at);
    joined.input_ids[end] = tokenizer.sep_id;
    joined.token_type_ids.fill(index % Math.min(types, 2), at, end + 1);
    at = end + 1;
  });
  return joined;
}

/**
 * Divides sentences into windows of whole sentences.
 *
 * A window that does not begin at the article's beginning begins with sentences of the window before,
 * as many as fit in half of it: new sentences then have context before them, as in the article, and
 * do not look like the beginning of one.
 *
 * @param {number[]} sizes The number of tokens of each sentence, at most `maxTokens` - 2.
 * @param {number} maxTokens The longest input, special tokens included.
 * @returns {{start: number, firstNew: number, stop: number}[]} The sentences of each window, and the
 *   first of them that no earlier window has.
 */
export function splitIntoWindows(sizes, maxTokens) {
  const lengths = sizes.map((size) => size + 1); // with [SEP]
  const room = maxTokens - 1;
  const windows = [];
  for (let stop = 0; stop < lengths.length; ) {
    const firstNew = stop;
    let start = firstNew;
    let used = lengths[firstNew];
    let free = Math.min(room - used, Math.floor(room / 2));
    while (start > 0 && lengths[start - 1] <= free) {
      free -= lengths[--start];
      used += lengths[start];
    }
    stop = firstNew + 1;
    while (stop < lengths.length && lengths[stop] <= room - used) used += lengths[stop++];
    windows.push({start, firstNew, stop});
  }
  return windows;
}

/** Returns where sentences may end, ascending and distinct; not the end of the text. */
function sentenceEnds(text) {
  const ends = new Set();
  for (let at = 0; at < text.length; ) {
    const marks = at > 0 && isIn(text[at - 1], MARKS) ? null : findMarks(text, at);
    if (marks !== null) {
      if (isSentenceEnd(text, marks)) ends.add(marks.end);
      at = marks.end;
    } else {
      if (text[at] === '\n') ends.add(at);
      at++;
    }
  }
  addCjkEnds(text, ends);
  return [...ends].sort((one, other) => one - other);
}

const isIn = (char, chars) => char !== undefined && chars.includes(char);
const isSpaceAt = (text, at) => at < text.length && isSpace(text.charCodeAt(at));

function addCjkEnds(text, ends) {
  for (let at = 0; at < text.length; ) {
    if (!isIn(text[at++], CJK_MARKS)) continue;
    while (isIn(text[at], CJK_MARKS)) at++;
    while (isIn(text[at], CJK_CLOSING)) at++;
    ends.add(at);
  }
}

/**
 * Returns the run of closing marks that begins at `start`, what closes after it, and white space
 * behind: the end of the marks, which may have single spaces between them, as in `. . .`, and of the
 * quotation marks and brackets that close. Null if there is none.
 */
function findMarks(text, start) {
  let before = -1; // the end of the marks before the last space between them
  let markEnd = skipMarks(text, start);
  if (markEnd === start) return null;
  while (isSpaceAt(text, markEnd)) {
    const next = skipMarks(text, markEnd + 1);
    if (next === markEnd + 1) break;
    before = markEnd;
    markEnd = next;
  }
  let end = markEnd;
  while (isIn(text[end], CLOSING)) end++;
  if (isSpaceAt(text, end)) return {start, markEnd, end};
  return before < 0 ? null : {start, markEnd: before, end: before}; // as in `. . .b`
}

function skipMarks(text, start) {
  let end = start;
  while (isIn(text[end], MARKS)) end++;
  return end;
}

function isSentenceEnd(text, {start, markEnd, end}) {
  if (markEnd - start > 1 || text[start] !== '.') return true;
  if (isAbbreviation(lastWord(text, start))) return false;
  const limit = moveBy(text, end, LOOK);
  let next = end;
  while (next < limit && (text[next] === ' ' || text[next] === '\t')) next++;
  // In a text with capitals, sentences begin with one.
  const isInside = next < limit && isLower(text.codePointAt(next));
  return !(isInside && markEnd === end && hasCapitals(text));
}

/** Returns the end of the word before `end`, of at most `LOOK` characters. */
function lastWord(text, end) {
  const limit = moveBy(text, end, -LOOK);
  const stop = end > limit && text[end - 1] === '\n' ? end - 1 : end;
  let start = stop;
  while (start > limit && !isSpaceAt(text, start - 1) && !isIn(text[start - 1], OPENING)) start--;
  return text.slice(start, stop);
}

function isAbbreviation(word) {
  const lower = word.replace(/[A-Zİıſ\u212a]/g, (char) => FOLDED[char] ?? char.toLowerCase());
  if (ABBREVIATIONS.has(lower)) return true;
  const initial = lower.codePointAt(0);
  if (initial === undefined || lower.length > unitsOf(initial) || lower === 'i') return false;
  return isAlphanumeric(initial) && !isDecimal(initial);
}

/** Returns whether converting the beginning of a text to lower case would change it. */
function hasCapitals(text) {
  const end = moveBy(text, 0, HEAD);
  for (let at = 0; at < end; ) {
    const codePoint = text.codePointAt(at);
    if (hasLower(codePoint)) return true;
    at += unitsOf(codePoint);
  }
  return false;
}

/** Returns the place `count` characters behind `start`, or before it, within the text. */
function moveBy(text, start, count) {
  let at = start;
  for (let left = count; left > 0 && at < text.length; left--) at += unitsOf(text.codePointAt(at));
  for (let left = -count; left > 0 && at > 0; left--) at -= unitsOf(codePointBefore(text, at));
  return at;
}

function hasAlphanumeric(text, start, end) {
  for (let at = start; at < end; ) {
    const codePoint = text.codePointAt(at);
    if (isAlphanumeric(codePoint)) return true;
    at += unitsOf(codePoint);
  }
  return false;
}

/** Moves the sentence's end behind a detached quotation mark that closes one inside it. */
function includeClosingQuote(text, start, end) {
  let quotes = 0;
  for (let at = start; at < end; at++) if (text[at] === '"') quotes++;
  if (quotes % 2 === 0) return end;
  let at = end;
  while (isSpaceAt(text, at) && text[at] !== '\n') at++;
  const isDetached = at > end && text[at] === '"';
  const closes = isDetached && (at + 1 === text.length || isSpaceAt(text, at + 1));
  return closes ? at + 1 : end;
}
