import {DamagedError} from '../errors.js';
import {CharList, IntList, codePointIn, unitsOf} from '../lists.js';
import {decodeUtf8} from '../utf8.js';
import {NONE, ROOT} from './trie.js';

/** The mark for the space before a word. */
export const SPACE_MARK = 0x2581;
const SPACE = 0x20;
const UNIT_BLOCK = 1024; // bytes

/** The settings of a `Normalizer`. */
export class NormalizerSpec {
  charsmap = new Uint8Array(0);
  addsPrefix = true;
  removesSpaces = true;
  marksSpaces = true;

  /**
   * @param {import('./protobuf.js').FieldReader} reader
   * @throws {DamagedError} It is not a message.
   */
  parse(reader) {
    while (reader.next()) {
      const {number, value, isVarint} = reader;
      if (number === 2 && reader.isBytes) this.charsmap = reader.content();
      if (number === 3 && isVarint) this.addsPrefix = value !== 0;
      if (number === 4 && isVarint) this.removesSpaces = value !== 0;
      if (number === 5 && isVarint) this.marksSpaces = value !== 0;
    }
  }
}

/**
 * A normalized text: its UTF-16 code units, the first `size` of `chars`; and `places`, for each of
 * them where in the original text the character begins that it comes from, and where the text ends.
 *
 * @typedef {{chars: Uint16Array, size: number, places: Int32Array}} NormalizedText
 */

/** SentencePiece's normalizer: rules that replace strings, the longest first, and white space. */
export class Normalizer {
  /**
   * @param {NormalizerSpec} spec Its settings; the rules are a trie of darts-clone, and the strings
   *   that it leads to.
   * @param {boolean} spaceIsSuffix Whether the mark of a space is behind a word.
   * @param {import('./trie.js').Trie} symbols The strings that no rule changes.
   * @throws {DamagedError} The rules are damaged.
   */
  constructor(spec, spaceIsSuffix, symbols) {
    this.addsPrefix = spec.addsPrefix;
    this.removesSpaces = spec.removesSpaces;
    this.spaceIsSuffix = spaceIsSuffix;
    this.symbols = symbols;
    this.mark = spec.marksSpaces ? SPACE_MARK : SPACE;
    this.rules = spec.charsmap.length === 0 ? null : new Rules(spec.charsmap);
    // Whether nothing but itself comes of each ASCII character that an ASCII character follows.
    this.isPlain = Uint8Array.from({length: 128}, (_, code) => Number(this.#staysAlone(code)));
  }

  #staysAlone(code) {
    if (code === SPACE || this.symbols.next(ROOT, code) !== NONE) return false;
    return this.rules === null || !this.rules.hasAscii(code);
  }

  /** Whether `decode` removes the mark at the start. */
  get startsWithSpace() {
    return this.addsPrefix || this.removesSpaces;
  }

  /**
   * Normalizes `chars[0, size)`, valid UTF-16.
   *
   * @param {Uint16Array} chars
   * @param {number} size
   * @returns {NormalizedText}
   */
  normalize(chars, size) {
    const run = new Run(this, chars, size);
    run.normalize();
    return {chars: run.found.items, size: run.found.size, places: run.places.items};
  }

  /** Whether nothing remains of `chars[start, end)`, normalized as a text of its own. */
  removes(chars, start, end) {
    return this.normalize(chars.slice(start, end), end - start).size === 0;
  }
}

/** The normalization of one text. */
class Run {
  #at = 0;
  // The replacement of the prefix at `#at`: units of the rules' text, or else the prefix itself.
  #prefixUnits = 0;
  #start = 0;
  #end = 0;
  #isRule = false;

  /** @param {Normalizer} normalizer */
  constructor(normalizer, chars, size) {
    this.normalizer = normalizer;
    this.chars = chars;
    this.size = size;
    this.found = new CharList(size + (size >> 2) + 1);
    this.places = new IntList(size + (size >> 2) + 2);
  }

  normalize() {
    const {removesSpaces, addsPrefix, spaceIsSuffix, mark} = this.normalizer;
    if (removesSpaces) this.#skipSpaces();
    if (this.#at === this.size) {
      this.places.add(this.#at);
      return;
    }
    if (!spaceIsSuffix && addsPrefix) this.#add(mark);
    this.#addAll(removesSpaces);
    if (removesSpaces) this.#dropSpaces(mark);
    if (spaceIsSuffix && addsPrefix) this.#add(mark);
    this.places.add(this.#at);
  }

  #addAll(removesSpaces) {
    const {chars, size} = this;
    const {isPlain} = this.normalizer;
    let isAfterSpace = removesSpaces;
    while (this.#at < size) {
      const unit = chars[this.#at];
      const isAlone = this.#at + 1 === size || chars[this.#at + 1] < 128;
      if (unit < 128 && isPlain[unit] === 1 && isAlone) {
        this.found.add(unit);
        this.places.add(this.#at++);
        isAfterSpace = false;
        continue;
      }
      this.#findPrefix();
      isAfterSpace = this.#addReplacement(isAfterSpace) && removesSpaces;
      this.#at += this.#prefixUnits;
    }
  }

  #dropSpaces(mark) {
    const {found, places} = this;
    while (found.size > 0 && found.items[found.size - 1] === mark) {
      this.#at = places.items[found.size - 1];
      found.dropLast();
      places.dropLast();
    }
  }

  #skipSpaces() {
    while (this.#at < this.size) {
      this.#findPrefix();
      const isSpace = this.#end === this.#start + 1 && this.#source[this.#start] === SPACE;
      if (!isSpace) return;
      this.#at += this.#prefixUnits;
    }
  }

  get #source() {
    return this.#isRule ? this.normalizer.rules.units : this.chars;
  }

  #add(unit) {
    this.found.add(unit === SPACE ? this.normalizer.mark : unit);
    this.places.add(this.#at);
  }

  /** Finds what begins at `#at`: a symbol, what a rule replaces, or one character. */
  #findPrefix() {
    const {rules} = this.normalizer;
    this.#isRule = false;
    this.#prefixUnits = this.#symbolUnits();
    if (this.#prefixUnits === 0 && rules !== null) {
      this.#isRule = rules.findLongest(this.chars, this.#at, this.size);
    }
    if (this.#isRule) {
      this.#prefixUnits = rules.foundUnits;
      this.#start = rules.foundStart;
      this.#end = rules.end(this.#start);
      return;
    }
    if (this.#prefixUnits === 0) {
      this.#prefixUnits = (this.chars[this.#at] & 0xfc00) === 0xd800 ? 2 : 1;
    }
    this.#start = this.#at;
    this.#end = this.#at + this.#prefixUnits;
  }

  #symbolUnits() {
    const {symbols} = this.normalizer;
    let units = 0;
    let node = ROOT;
    for (let end = this.#at; end < this.size; end++) {
      node = symbols.next(node, this.chars[end]);
      if (node === NONE) break;
      if (symbols.value(node) !== NONE) units = end + 1 - this.#at;
    }
    return units;
  }

  /** Adds the replacement; returns whether a space is now the last. */
  #addReplacement(isAfterSpace) {
    const source = this.#source;
    let start = this.#start;
    const end = this.#end;
    if (isAfterSpace) while (start < end && source[start] === SPACE) start++;
    if (start === end) return isAfterSpace;
    for (let at = start; at < end; at++) this.#add(source[at]);
    return source[end - 1] === SPACE;
  }
}

/**
 * The rules of a normalizer: a trie over UTF-8, and the strings to which it leads, each with a 0
 * behind it.
 *
 * The trie is a double array of darts-clone. An element of it has a label (8 bits), or with the
 * highest bit set a value; whether a value follows (bit 8); and the distance to what follows (from
 * bit 10, times 256 with bit 9).
 */
class Rules {
  #elements;
  #unitOfByte;
  foundUnits = 0;
  foundStart = 0;

  /** @param {Uint8Array} charsmap */
  constructor(charsmap) {
    const view = new DataView(charsmap.buffer, charsmap.byteOffset, charsmap.length);
    const size = charsmap.length < 4 ? 0 : view.getInt32(0, true);
    const isCut = size < UNIT_BLOCK || size % UNIT_BLOCK !== 0 || size >= charsmap.length - 4;
    if (isCut || charsmap[charsmap.length - 1] !== 0) {
      throw new DamagedError('the normalization rules are cut short');
    }
    this.#elements = Int32Array.from({length: size / 4}, (_, at) => view.getInt32(4 + 4 * at, true));
    const bytes = charsmap.subarray(4 + size);
    /** The strings, in UTF-16. */
    this.units = readRules(bytes);
    this.#unitOfByte = unitsOfBytes(bytes);
    this.#check(bytes);
  }

  /** Checks that no text leads out of the array. */
  #check(bytes) {
    const elements = this.#elements;
    const root = elements[0];
    let isValid = label(root) === 0 && !hasValue(root) && offset(root) !== 0;
    for (let at = 0; at < elements.length && isValid; at++) {
      const element = elements[at];
      if (element >= 0) {
        const next = at ^ offset(element);
        isValid = next >= 0 && (next | 255) < elements.length;
        isValid &&= at === 0 || !hasValue(element) || elements[next] < 0;
      } else {
        const value = element & 0x7fffffff;
        isValid = value < bytes.length && (bytes[value] & 0xc0) !== 0x80;
      }
    }
    if (!isValid) throw new DamagedError('the normalization rules are invalid');
  }

  /** Whether a rule replaces an ASCII character, or it and another ASCII character, or more. */
  hasAscii(code) {
    const first = this.#next(offset(this.#elements[0]), code);
    if (first < 0) return false;
    const element = this.#elements[first];
    if (hasValue(element)) return true;
    for (let next = 0; next < 128; next++) {
      if (this.#next(first ^ offset(element), next) >= 0) return true;
    }
    return false;
  }

  /** Returns the place behind `base` by `byte`, or -1. */
  #next(base, byte) {
    const at = base ^ byte;
    return label(this.#elements[at]) === byte ? at : -1;
  }

  /**
   * Finds the longest rule for a prefix of `chars[start, size)`.
   *
   * If there is one, `foundUnits` is the number of units that it replaces, and `foundStart` where
   * its string begins.
   */
  findLongest(chars, start, size) {
    const elements = this.#elements;
    let isFound = false;
    let base = offset(elements[0]);
    let at = start;
    while (at < size) {
      const codePoint = codePointIn(chars, at, size);
      at += unitsOf(codePoint);
      const length = bytesOf(codePoint);
      let place = 0;
      for (let index = 0; index < length; index++) {
        place = this.#next(base, byteOf(codePoint, index, length));
        if (place < 0) return isFound;
        base = place ^ offset(elements[place]);
      }
      if (hasValue(elements[place])) {
        this.foundUnits = at - start;
        this.foundStart = this.#unitOfByte[elements[base] & 0x7fffffff];
        isFound = true;
      }
    }
    return isFound;
  }

  /** Returns where the string that begins at `start` ends. */
  end(start) {
    return this.units.indexOf(0, start);
  }
}

function readRules(bytes) {
  let text;
  try {
    text = decodeUtf8(bytes);
  } catch {
    throw new DamagedError('a normalization rule is not UTF-8');
  }
  return Uint16Array.from({length: text.length}, (_, at) => text.charCodeAt(at));
}

/** Returns for each byte of UTF-8 that begins a character where it is in UTF-16. */
function unitsOfBytes(bytes) {
  const found = new Int32Array(bytes.length);
  let units = 0;
  for (let at = 0; at < bytes.length; at++) {
    found[at] = units;
    const byte = bytes[at];
    if ((byte & 0xc0) !== 0x80) units += byte >= 0xf0 ? 2 : 1;
  }
  return found;
}

const label = (element) => element & (-0x80000000 | 255);
const hasValue = (element) => (element & 256) !== 0;
const offset = (element) => (element >>> 10) << ((element & 512) >>> 6);

function bytesOf(codePoint) {
  return codePoint < 0x80 ? 1 : codePoint < 0x800 ? 2 : codePoint < 0x10000 ? 3 : 4;
}

function byteOf(codePoint, index, length) {
  if (length === 1) return codePoint;
  const bits = codePoint >>> (6 * (length - 1 - index));
  return index > 0 ? (bits & 63) | 128 : ((0xf00 >>> length) & 255) | bits;
}
