/** A growing list of numbers in a typed array. */
class NumberList {
  /** @param {number} capacity */
  constructor(capacity, make) {
    this.items = make(Math.max(capacity, 16));
    this.size = 0;
  }

  /** @param {number} item */
  add(item) {
    if (this.size === this.items.length) this.#grow();
    this.items[this.size++] = item;
  }

  #grow() {
    const larger = new this.items.constructor(2 * this.items.length);
    larger.set(this.items);
    this.items = larger;
  }

  dropLast() {
    this.size--;
  }

  clear() {
    this.size = 0;
  }

  /** Returns a copy of the items. */
  toArray() {
    return this.items.slice(0, this.size);
  }
}

/** A growing list of 32-bit integers. */
export class IntList extends NumberList {
  /** @param {number} capacity */
  constructor(capacity) {
    super(capacity, (size) => new Int32Array(size));
  }
}

/** A growing list of UTF-16 code units. */
export class CharList extends NumberList {
  /** @param {number} capacity */
  constructor(capacity) {
    super(capacity, (size) => new Uint16Array(size));
  }

  /** @param {number} codePoint */
  addCodePoint(codePoint) {
    if (codePoint < 0x10000) {
      this.add(codePoint);
    } else {
      this.add((codePoint >> 10) + 0xd7c0);
      this.add((codePoint & 0x3ff) | 0xdc00);
    }
  }

  toString() {
    return textOf(this.items, 0, this.size);
  }
}

const BLOCK = 8192; // arguments of one call

/**
 * Returns `chars[start, end)` as a string.
 *
 * @param {Uint16Array} chars
 * @param {number} start
 * @param {number} end
 */
export function textOf(chars, start, end) {
  if (end - start <= BLOCK) return String.fromCharCode.apply(null, chars.subarray(start, end));
  const parts = [];
  for (let at = start; at < end; at += BLOCK) {
    parts.push(String.fromCharCode.apply(null, chars.subarray(at, Math.min(at + BLOCK, end))));
  }
  return parts.join('');
}

/**
 * Returns the code points of a text.
 *
 * @param {string} text Valid UTF-16.
 * @returns {number[]}
 */
export function codePointsOf(text) {
  const found = [];
  for (let at = 0; at < text.length; at++) {
    const codePoint = text.codePointAt(at);
    if (codePoint > 0xffff) at++;
    found.push(codePoint);
  }
  return found;
}

/** Returns the code point at `at` in valid UTF-16 of `size` units. */
export function codePointIn(chars, at, size) {
  const unit = chars[at];
  return (unit & 0xfc00) === 0xd800 && at + 1 < size
    ? (unit << 10) + chars[at + 1] - 0x35fdc00
    : unit;
}

/** Returns the code point before `at`, which is above 0. */
export function codePointBefore(text, at) {
  const unit = text.charCodeAt(at - 1);
  const isLow = (unit & 0xfc00) === 0xdc00 && at > 1;
  return isLow ? text.codePointAt(at - 2) : unit;
}

/** The number of UTF-16 code units of a code point. */
export const unitsOf = (codePoint) => (codePoint < 0x10000 ? 1 : 2);

/** Returns the index of a value in an ascending array, or -1 - the index where it would be. */
export function binarySearch(values, wanted) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low < values.length && values[low] === wanted ? low : -1 - low;
}
