/*
 * What the package needs of Unicode, the same in every browser: engines have data of different
 * versions of Unicode, and convert to lower case by other rules than Python.
 *
 * Code points may be any in [0, 0x10FFFF].
 */

import {binarySearch, codePointIn, codePointsOf, unitsOf} from './lists.js';
import {TABLE} from './unicode_table.js';

// The flags of `unicode_table.py`.
const PRINTABLE = 1;
const SPACE = 2;
const MARK = 4;
const PUNCTUATION = 8;
const DIGIT = 16;
const CASED = 32;
const IGNORABLE = 64;
const CHANGES = 128;

const BLOCK = 128;
const DOTTED_I = 0x130;
const SIGMA = 0x3a3;
const SMALL_SIGMA = 0x3c3;
const FINAL_SIGMA = 0x3c2;

// Hangul (Unicode Standard, section 3.12): the first of each kind, and their numbers.
const HANGUL = 0xac00;
const LEADING = 0x1100;
const LEADINGS = 19;
const VOWEL = 0x1161;
const VOWELS = 21;
const TRAILING = 0x11a7;
const TRAILINGS = 28;

// What has the numeric type Digit, but is not decimal.
const OTHER_DIGITS = [
  0xb2, 0xb3, 0xb9, 0xb9, 0x1369, 0x1371, 0x19da, 0x19da, 0x2070, 0x2070, 0x2074, 0x2079, 0x2080,
  0x2089, 0x2460, 0x2468, 0x2474, 0x247c, 0x2488, 0x2490, 0x24ea, 0x24ea, 0x24f5, 0x24fd, 0x24ff,
  0x24ff, 0x2776, 0x277e, 0x2780, 0x2788, 0x278a, 0x2792, 0x10a40, 0x10a43, 0x10e60, 0x10e68,
  0x11052, 0x1105a, 0x1f100, 0x1f10a,
];

/** Reads the numbers of the table. */
class TableReader {
  #at = 0;

  /** @param {Uint8Array} table */
  constructor(table) {
    this.table = table;
  }

  number() {
    let found = 0;
    let shift = 0;
    while (this.table[this.#at] > 127) {
      found |= (this.table[this.#at++] & 127) << shift;
      shift += 7;
    }
    return found | (this.table[this.#at++] << shift);
  }

  bytes(size) {
    this.#at += size;
    return this.table.subarray(this.#at - size, this.#at);
  }

  /** Reads the decompositions of some code points: strings by code point. */
  decompositions() {
    const found = new Map();
    let codePoint = 0;
    for (let left = this.number(); left > 0; left--) {
      codePoint += this.number();
      const units = Array.from({length: this.number()}, () => this.number());
      found.set(codePoint, codePointsOf(String.fromCharCode(...units)));
    }
    return found;
  }

  /** Reads a class: the boundaries of its ranges. */
  boundaries() {
    let before = 0;
    return Int32Array.from({length: this.number()}, () => (before += this.number()));
  }
}

const table = Uint8Array.from(atob(TABLE), (char) => char.charCodeAt(0));
const reader = new TableReader(table);

/** The version of Unicode, such as "14.0.0". */
export const version = String.fromCharCode(...reader.bytes(reader.number()));

const records = reader.bytes(2 * reader.number());
const flags = records.filter((_, at) => at % 2 === 0);
const classes = records.filter((_, at) => at % 2 === 1);
const blocks = reader.bytes(BLOCK * reader.number());
const index = reader.bytes(0x110000 / BLOCK);
const lowers = readLowers();
const canonical = reader.decompositions();
const compatible = reader.decompositions();
const compositions = readCompositions();
const alphanumeric = reader.boundaries();
const wordCharacters = reader.boundaries();
const lowerCase = reader.boundaries();

function readLowers() {
  const found = new Map();
  let codePoint = 0;
  for (let left = reader.number(); left > 0; left--) {
    codePoint += reader.number();
    const zigzag = reader.number();
    found.set(codePoint, codePoint + ((zigzag >>> 1) ^ -(zigzag & 1)));
  }
  return found;
}

function readCompositions() {
  const found = new Map();
  let first = 0;
  for (let left = reader.number(); left > 0; left--) {
    first += reader.number();
    const second = reader.number();
    found.set(first * 0x110000 + second, reader.number());
  }
  return found;
}

const record = (codePoint) => blocks[(index[codePoint >> 7] << 7) | (codePoint & 127)];
const has = (codePoint, flag) => (flags[record(codePoint)] & flag) !== 0;

/** Whether Python's `str.isprintable` holds: no separator but the space, no other character. */
export const isPrintable = (codePoint) => has(codePoint, PRINTABLE);

/** Whether Python's `str.isspace` holds. All white space is in the BMP. */
export const isSpace = (codePoint) => has(codePoint, SPACE);

/** Whether the category is Mn. */
export const isMark = (codePoint) => has(codePoint, MARK);

/** Whether the category begins with P. */
export const isPunctuation = (codePoint) => has(codePoint, PUNCTUATION);

/** Whether Python's `str.isdigit` holds. */
export const isDigit = (codePoint) => has(codePoint, DIGIT);

/** Whether it is a digit of a decimal system: category Nd. */
export const isDecimal = (codePoint) => isDigit(codePoint) && !isInRanges(codePoint, OTHER_DIGITS);

/** Whether Python's `str.isalnum` holds: a letter or a number. */
export const isAlphanumeric = (codePoint) => isInside(codePoint, alphanumeric);

/** Whether it is a letter, a number or a mark: the category begins with L, N or M. */
export const isWordCharacter = (codePoint) => isInside(codePoint, wordCharacters);

/** Whether Python's `str.islower` holds of one character. */
export const isLower = (codePoint) => isInside(codePoint, lowerCase);

/** Whether lower case or a decomposition changes a character. */
export const changes = (codePoint) => has(codePoint, CHANGES) || isHangul(codePoint);

/** The canonical combining class; 0 for a starter. */
export const combiningClass = (codePoint) => classes[record(codePoint)];

function isInside(codePoint, boundaries) {
  const at = binarySearch(boundaries, codePoint);
  const before = at < 0 ? -at - 1 : at + 1; // boundaries at the code point or before it
  return before % 2 === 1;
}

/** Whether a code point is in one of `ranges`: first, last, first, last, ..., ascending. */
export function isInRanges(codePoint, ranges) {
  const at = binarySearch(ranges, codePoint);
  return at >= 0 || (-1 - at) % 2 === 1;
}

/** The lower case of one character; U+0130, the only one with two, stays. */
export function lower(codePoint) {
  if (codePoint < 128) return codePoint > 64 && codePoint < 91 ? codePoint + 32 : codePoint;
  return has(codePoint, CHANGES) ? (lowers.get(codePoint) ?? codePoint) : codePoint;
}

/** Appends the lower case of one character, one or two characters. */
export function appendLower(codePoint, codePoints) {
  if (codePoint === DOTTED_I) codePoints.push(0x69, 0x307);
  else codePoints.push(lower(codePoint));
}

/** Whether lower case changes a character. */
export const hasLower = (codePoint) => codePoint === DOTTED_I || lower(codePoint) !== codePoint;

/**
 * Converts UTF-16 to lower case in place; U+0130, which would need more room, stays.
 *
 * A capital sigma at the end of a word becomes a final one, as in Python's `str.lower`.
 *
 * @param {Uint16Array} chars
 * @param {number} size
 */
export function lowerInPlace(chars, size) {
  for (let at = 0; at < size; at++) {
    const unit = chars[at];
    if (unit < 128) {
      if (unit > 64 && unit < 91) chars[at] = unit + 32;
      continue;
    }
    const codePoint = codePointIn(chars, at, size);
    const found = codePoint === SIGMA ? lowerSigma(chars, at, size) : lower(codePoint);
    if (codePoint < 0x10000) {
      chars[at] = found;
    } else {
      chars[at] = (found >> 10) + 0xd7c0;
      chars[++at] = (found & 0x3ff) | 0xdc00;
    }
  }
}

function lowerSigma(chars, at, size) {
  let before = at;
  let codePoint;
  do {
    if (before === 0) return SMALL_SIGMA;
    before -= (chars[before - 1] & 0xfc00) === 0xdc00 ? 2 : 1;
    codePoint = codePointIn(chars, before, size);
  } while (has(codePoint, IGNORABLE));
  if (!has(codePoint, CASED)) return SMALL_SIGMA;
  for (let after = at + 1; after < size; after += unitsOf(codePoint)) {
    codePoint = codePointIn(chars, after, size);
    if (!has(codePoint, IGNORABLE)) return has(codePoint, CASED) ? SMALL_SIGMA : FINAL_SIGMA;
  }
  return FINAL_SIGMA;
}

/** Appends the decomposition of one character, canonical or also compatible. */
export function appendDecomposed(codePoint, isCompatible, codePoints) {
  if (isHangul(codePoint)) {
    appendHangul(codePoint - HANGUL, codePoints);
    return;
  }
  const found =
    has(codePoint, CHANGES) &&
    ((isCompatible && compatible.get(codePoint)) || canonical.get(codePoint));
  if (found) codePoints.push(...found);
  else codePoints.push(codePoint);
}

function appendHangul(syllable, codePoints) {
  codePoints.push(LEADING + Math.floor(syllable / (VOWELS * TRAILINGS)));
  codePoints.push(VOWEL + (Math.floor(syllable / TRAILINGS) % VOWELS));
  if (syllable % TRAILINGS > 0) codePoints.push(TRAILING + (syllable % TRAILINGS));
}

/**
 * Returns NFD of code points.
 *
 * @param {number[]} codePoints
 * @returns {number[]}
 */
export function decompose(codePoints) {
  const found = [];
  for (const codePoint of codePoints) appendDecomposed(codePoint, false, found);
  reorder(found);
  return found;
}

/** Sorts each run of characters that are not starters by their class; equal ones stay. */
function reorder(codePoints) {
  for (let at = 0; at < codePoints.length; at++) {
    const begin = at;
    while (at < codePoints.length && combiningClass(codePoints[at]) !== 0) at++;
    if (at - begin < 2) continue;
    const sorted = codePoints
      .slice(begin, at)
      .sort((one, other) => combiningClass(one) - combiningClass(other));
    for (let place = 0; place < sorted.length; place++) codePoints[begin + place] = sorted[place];
  }
}

/**
 * Returns NFC of code points (Unicode Standard, section 3.11).
 *
 * @param {number[]} codePoints
 * @returns {number[]}
 */
export function compose(codePoints) {
  const found = [];
  let starter = -1; // where in `found` the last starter is
  let lastClass = 0; // of the last character that was kept behind it; 0 if there is none
  for (const codePoint of decompose(codePoints)) {
    const combining = combiningClass(codePoint);
    const isNext = starter === found.length - 1;
    if (starter >= 0 && (isNext || combining > lastClass)) {
      const both = composition(found[starter], codePoint, isNext);
      if (both !== undefined) {
        found[starter] = both;
        continue;
      }
    }
    if (combining === 0) starter = found.length;
    lastClass = combining;
    found.push(codePoint);
  }
  return found;
}

function composition(first, second, isNext) {
  const leading = first - LEADING;
  const vowel = second - VOWEL;
  if (isNext && leading >= 0 && leading < LEADINGS && vowel >= 0 && vowel < VOWELS) {
    return HANGUL + (leading * VOWELS + vowel) * TRAILINGS;
  }
  const trailing = second - TRAILING;
  const isOpen = isHangul(first) && (first - HANGUL) % TRAILINGS === 0;
  if (isNext && isOpen && trailing > 0 && trailing < TRAILINGS) return first + trailing;
  return compositions.get(first * 0x110000 + second);
}

function isHangul(codePoint) {
  return codePoint >= HANGUL && codePoint < HANGUL + LEADINGS * VOWELS * TRAILINGS;
}

/** Returns the start of the text in `[start, end)` without the white space at its start. */
export function trimmedStart(text, start, end) {
  let begin = start;
  while (begin < end && isSpace(text.charCodeAt(begin))) begin++;
  return begin;
}

/** Returns the end of the text in `[start, end)` without the white space at its end. */
export function trimmedEnd(text, start, end) {
  let stop = end;
  while (stop > start && isSpace(text.charCodeAt(stop - 1))) stop--;
  return stop;
}

/** Returns a text without the white space around it: Python's `str.strip`. */
export function trim(text) {
  const start = trimmedStart(text, 0, text.length);
  return text.slice(start, trimmedEnd(text, start, text.length));
}

