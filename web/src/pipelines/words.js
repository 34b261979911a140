import {codePointBefore, unitsOf} from '../lists.js';
import {isDigit, isInRanges, isSpace, isWordCharacter} from '../unicode.js';

const NONE = -1;
const [APOSTROPHE, QUOTE, HYPHEN, POINT, COMMA] = [0x27, 0x2019, 0x2d, 0x2e, 0x2c];
// The scripts that are written without spaces between words: those of line-breaking class SA
// (Unicode, UAX #14), ideographs, kana and bopomofo with their marks, Yi, and Tibetan.
const SPACELESS = [
  0xe00, 0x109f, 0x1780, 0x17ff, 0x1950, 0x19ff, 0x1a20, 0x1aaf, 0x2e80, 0x2fdf, 0x3005, 0x3007,
  0x3021, 0x3029, 0x3031, 0x3035, 0x3038, 0x303b, 0x3040, 0x312f, 0x31a0, 0x31ff, 0x3400, 0x4dbf,
  0x4e00, 0xa4cf, 0xa9e0, 0xa9ff, 0xaa60, 0xaadf, 0xf900, 0xfaff, 0xff66, 0xff9f, 0x11700, 0x1174f,
  0x16fe0, 0x18cff, 0x1aff0, 0x1b2ff, 0x20000, 0x3ffff,
];
const TAG = /^([BIESLUMW])(?:-(.*))?$/s; // of IOB, IOBES, BILOU, BMES: M is I, L is E, U and W are S
const NAMELESS = '_'; // the type of tags without one, as seqeval calls it

/**
 * Groups tokens into words.
 *
 * A word ends at white space and at punctuation, which is a word of its own. An apostrophe or a
 * hyphen between two letters, and a full stop or a comma between two digits, are part of their word.
 * In scripts without spaces between words (ideographs, kana, Thai, Lao, Khmer, ...) every token is a
 * word. A zero-width token, which only marks the beginning of a word, belongs to that word.
 *
 * @param {string} text
 * @param {Int32Array} starts The starts of its tokens, which do not decrease.
 * @param {Int32Array} ends Their ends.
 * @returns {{start: number, end: number, tokens: number[]}[]} The words, in order, with the indices
 *   of their tokens.
 */
export function alignWords(text, starts, ends) {
  const words = [];
  let zeroWidth = [];
  for (let at = 0; at < starts.length; at++) {
    const [start, end] = [starts[at], ends[at]];
    if (start === end) {
      zeroWidth.push(at);
      continue;
    }
    const last = words.at(-1);
    const continues =
      last !== undefined &&
      (start < last.end || (zeroWidth.length === 0 && !isBoundary(text, last.end, start)));
    if (continues) {
      last.end = Math.max(end, last.end);
      last.tokens.push(...zeroWidth, at);
    } else {
      words.push({start, end, tokens: [...zeroWidth, at]});
    }
    zeroWidth = [];
  }
  return words;
}

/**
 * Finds the entities in the labels of consecutive words.
 *
 * A word continues the entity before it if its label is of the same type and is not marked as a
 * beginning (`B-`), and the label before is not marked as an end (`E-`). `O` is of no type, and `B`,
 * `I`, `E` and `S` alone are of one type, `_`.
 *
 * @param {string[]} labels
 * @returns {{type: string, first: number, stop: number}[]} Every entity's type, its first word and
 *   the one behind its last.
 */
export function bioToEntities(labels) {
  const entities = [];
  const tags = labels.map(parseBioTag);
  tags.forEach(({type, begins}, at) => {
    if (type === null) return;
    const isNew = begins || (at > 0 && tags[at - 1].ends);
    const last = entities.at(-1);
    if (!isNew && last?.type === type && last.stop === at) last.stop++;
    else entities.push({type, first: at, stop: at + 1});
  });
  return entities;
}

function parseBioTag(label) {
  if (label === 'O') return {type: null, begins: false, ends: false};
  const tag = TAG.exec(label);
  if (tag === null) return {type: label, begins: false, ends: false};
  return {
    type: tag[2] || NAMELESS,
    begins: 'BSUW'.includes(tag[1]),
    ends: 'ELSUW'.includes(tag[1]),
  };
}

/** Returns whether a word ends between a token that ends at `end` and the next, at `start`. */
function isBoundary(text, end, start) {
  for (let at = end; at < start; at++) if (isSpace(text.charCodeAt(at))) return true;
  const left = codePointBefore(text, start);
  const right = text.codePointAt(start);
  if (isLetter(left) && isLetter(right)) return false;
  const isMarkLeft = isLetter(right);
  const mark = isMarkLeft ? left : right;
  const beforeMark = start - unitsOf(left);
  const isFirst = beforeMark === 0;
  const before = !isMarkLeft ? left : isFirst ? NONE : codePointBefore(text, beforeMark);
  const after = isMarkLeft ? right : (text.codePointAt(start + unitsOf(right)) ?? NONE);
  if (mark === APOSTROPHE || mark === QUOTE || mark === HYPHEN) {
    return !(isLetter(before) && isLetter(after));
  }
  const isPoint = mark === POINT || mark === COMMA;
  return !(isPoint && before !== NONE && isDigit(before) && after !== NONE && isDigit(after));
}

/** Returns whether it is a letter, digit or mark of a script with spaces between words. */
function isLetter(codePoint) {
  return codePoint !== NONE && !isInRanges(codePoint, SPACELESS) && isWordCharacter(codePoint);
}
