import {fileError, orFileError} from '../errors.js';
import {CharList, IntList, codePointIn, codePointsOf, textOf, unitsOf} from '../lists.js';
import {decodeUtf8} from '../utf8.js';
import {
  appendDecomposed,
  appendLower,
  combiningClass,
  compose,
  decompose,
  isMark,
  isPrintable,
  isPunctuation,
  lower,
  trim,
} from '../unicode.js';
import {resolveAddedTokens} from './added_tokens.js';
import {TokenList, Tokenizer} from './tokenizer.js';
import {NONE, ROOT, Trie} from './trie.js';

const INNER = '##'; // the mark of a piece that does not begin a word
const MAX_WORD_CHARS = 100; // longer words are unknown, as in the original
const FIRST_COMBINING = 0x300;

/**
 * The tokenizer of BERT, which Chinese and some other ALBERTs use: `vocab.txt`, with the ids of
 * Hugging Face's slow `BertTokenizer`, but that the name of a special token in the text is treated
 * as text.
 *
 * The original (google-research/bert, `tokenization.BasicTokenizer`) normalizes whole strings:
 * convert to lower case, remove control characters, put spaces around Chinese characters, compose
 * (NFC), split at white space, decompose (NFD), remove combining marks, split at punctuation. Here
 * the text is first split into units that all these steps treat separately.
 */
export class WordPieceTokenizer extends Tokenizer {
  #lines;
  #trie;
  #innerRoot;
  #config;

  /**
   * @param {Uint8Array} vocab The content of the file: one piece per line, in the order of the ids.
   * @param {import('./config.js').TokenizerConfig} config
   * @param {string} where The name of the file, for error messages.
   * @throws {AlbertEdgeError} The file is not UTF-8, or lacks a special token.
   */
  constructor(vocab, config, where) {
    const {lines, trie} = orFileError(`${where} is not a vocabulary`, () => readVocab(vocab));
    super(resolveIds(lines, trie, config, where), config);
    this.#lines = lines;
    this.#trie = trie;
    this.#config = config;
    replaceLines(this, lines, trie);
    this.#innerRoot = trie.find(INNER);
  }

  /** @override */
  piece(id) {
    return id < this.piece_count ? this.#lines[id] : '';
  }

  /** @override */
  decodePieces(ids) {
    const hidden = [this.cls_id, this.sep_id, this.pad_id, this.mask_id];
    const pieces = ids.filter((id) => !hidden.includes(id)).map((id) => this.piece(id));
    return trim(pieces.join(' ').replaceAll(` ${INNER}`, ''));
  }

  /** @override */
  tokenizePlain(text) {
    const vocabulary = {trie: this.#trie, innerRoot: this.#innerRoot, unk_id: this.unk_id};
    return new Run(text, this.#config, vocabulary).tokenize();
  }
}

function readVocab(vocab) {
  // Some vocabularies have pieces that are the end of a line elsewhere.
  const lines = decodeUtf8(vocab)
    .replace(/^\ufeff/, '')
    .replace(/\r\n?/g, '\n')
    .split('\n');
  while (lines.length > 0 && lines[lines.length - 1] === '') lines.pop();
  const trie = new Trie(lines.reduce((sum, line) => sum + line.length, 0));
  // The last of equal lines counts, as in the original; an empty line is not a piece.
  lines.forEach((line, id) => {
    if (line !== '') trie.put(line, id);
  });
  return {lines, trie};
}

function resolveIds(lines, trie, config, where) {
  const findPiece = (name) => {
    const id = trie.get(name);
    return id === NONE ? undefined : id;
  };
  const {names} = config;
  const ends = [names.bos_token, names.eos_token];
  const distinct = new Set(lines).size;
  const added = resolveAddedTokens(config.addedTokens, findPiece, distinct, ends, where);
  const addedIds = new Map(Array.from(added, ([id, token]) => [token.content, id]));
  const find = (name) => (name === undefined ? undefined : (addedIds.get(name) ?? findPiece(name)));
  const specialId = (name) => {
    const id = find(name);
    if (id !== undefined) return id;
    throw fileError(
      `${where}: the vocabulary has no piece '${name}', one of BERT's special tokens. If it has ` +
        'another name, give it in a tokenizer_config.json next to the file.',
    );
  };
  const ids = {
    unk_id: specialId(names.unk_token),
    cls_id: specialId(names.cls_token),
    sep_id: specialId(names.sep_token),
    pad_id: specialId(names.pad_token),
    mask_id: specialId(names.mask_token),
  };
  const unmatched = new Set([...Object.values(ids), ...ends.map(find)]);
  const matched = new Map([...added].filter(([id]) => !unmatched.has(id)));
  const vocab_size = [...added.keys()].reduce((most, id) => Math.max(most, id + 1), lines.length);
  return {...ids, piece_count: lines.length, vocab_size, added, matched};
}

/** Lets added tokens take the place of pieces with their names; special ones are in no text. */
function replaceLines(tokenizer, lines, trie) {
  const {unk_id, cls_id, sep_id, pad_id, mask_id, added} = tokenizer;
  const special = new Set([unk_id, cls_id, sep_id, pad_id, mask_id]);
  for (const [id, {content}] of added) {
    if (trie.get(content) !== NONE) trie.put(content, special.has(id) ? NONE : id);
  }
  for (const id of special) {
    const line = lines[id];
    if (line && trie.get(line) === id) trie.put(line, NONE);
  }
}

/** The tokenization of one text. */
class Run {
  // The text without control characters, and where each of its units was.
  #chars;
  #indices;
  // What is split into pieces, with the span in `#chars` of each of its units.
  #folded = new CharList(64);
  #starts = new IntList(64);
  #ends = new IntList(64);

  constructor(text, config, vocabulary) {
    this.config = config;
    this.vocabulary = vocabulary;
    this.found = new TokenList(text.length >> 2);
    this.#chars = new CharList(text.length);
    this.#indices = new IntList(text.length);
    for (let at = 0; at < text.length; ) {
      const codePoint = text.codePointAt(at);
      const end = at + unitsOf(codePoint);
      const isKept = isKeptIn(codePoint);
      for (; at < end; at++) {
        if (!isKept) continue;
        this.#chars.add(text.charCodeAt(at));
        this.#indices.add(at);
      }
    }
  }

  tokenize() {
    const {items, size} = this.#chars;
    for (let at = 0; at < size; ) at = this.#unitFrom(at, items, size);
    return this.found.toTokens();
  }

  /** Tokenizes what begins at `at`; returns where it ends. */
  #unitFrom(at, items, size) {
    const unit = items[at];
    if (isSpaceIn(unit)) return at + 1;
    if (isAsciiWord(unit)) return this.#asciiWordAt(at);
    const codePoint = codePointIn(items, at, size);
    if (this.config.tokenize_chinese_chars && isChinese(codePoint)) {
      return this.#unitAt(at, at + unitsOf(codePoint));
    }
    return this.#isMarkAt(at) ? this.#asciiAt(at, at + 1) : this.#unitAt(at, this.#unitEnd(at));
  }

  // A mark may compose with the next character, unless that is ASCII.
  #isMarkAt(at) {
    const {items, size} = this.#chars;
    return isAsciiPunctuation(items[at]) && (at + 1 === size || items[at + 1] < 0x80);
  }

  #asciiWordAt(at) {
    const {items, size} = this.#chars;
    let end = at + 1;
    while (end < size && isAsciiWord(items[end])) end++;
    const isWhole = end === size || isSpaceIn(items[end]) || this.#isMarkAt(end);
    return isWhole ? this.#asciiAt(at, end) : this.#unitAt(at, this.#unitEnd(at));
  }

  #unitEnd(at) {
    const {items, size} = this.#chars;
    const splitsChinese = this.config.tokenize_chinese_chars;
    let end = at;
    while (end < size) {
      const codePoint = codePointIn(items, end, size);
      if (isSpaceIn(codePoint) || (splitsChinese && isChinese(codePoint))) break;
      end += unitsOf(codePoint);
    }
    return end;
  }

  /** Tokenizes an ASCII word or punctuation mark; returns where it ends. */
  #asciiAt(start, end) {
    this.#clear();
    const lowers = this.config.do_lower_case;
    for (let at = start; at < end; at++) {
      const code = this.#chars.items[at];
      this.#add(lowers ? lower(code) : code, at, at + 1);
    }
    this.#split(0, this.#folded.size);
    return end;
  }

  /** Tokenizes any unit; returns where it ends. */
  #unitAt(start, end) {
    this.#foldUnit(start, end);
    const {items, size} = this.#folded;
    let begin = 0;
    for (let at = 0; at < size; ) {
      const codePoint = codePointIn(items, at, size);
      const next = at + unitsOf(codePoint);
      if (isAsciiPunctuation(codePoint) || isPunctuation(codePoint)) {
        this.#split(begin, at);
        this.#split(at, next);
        begin = next;
      }
      at = next;
    }
    this.#split(begin, size);
    return end;
  }

  /** Splits a word greedily into the longest pieces; without a match the word is unknown. */
  #split(start, end) {
    if (start === end) return;
    const {trie, innerRoot, unk_id} = this.vocabulary;
    const {items} = this.#folded;
    const before = this.found.size;
    const isLong = end - start > MAX_WORD_CHARS && countChars(items, start, end) > MAX_WORD_CHARS;
    let root = ROOT;
    let begin = start;
    while (begin < end && !isLong) {
      let id = NONE;
      let stop = begin;
      let node = root;
      for (let at = begin; at < end; ) {
        node = trie.next(node, items[at++]);
        if (node === NONE) break;
        const value = trie.value(node);
        if (value === NONE) continue;
        id = value;
        stop = at;
      }
      if (id === NONE) break;
      this.#addToken(id, begin, stop);
      begin = stop;
      root = innerRoot;
    }
    if (begin === end) return;
    this.found.dropTo(before);
    this.#addToken(unk_id, start, end);
  }

  /** Adds a token that covers units of the folded word. */
  #addToken(id, start, end) {
    const {items} = this.#indices;
    const [first, last] = [this.#starts.items[start], this.#ends.items[end - 1] - 1];
    this.found.add(id, items[first], items[last] + 1);
  }

  #clear() {
    this.#folded.clear();
    this.#starts.clear();
    this.#ends.clear();
  }

  #add(unit, start, end) {
    this.#folded.add(unit);
    this.#starts.add(start);
    this.#ends.add(end);
  }

  /** Normalizes the characters of a unit. */
  #foldUnit(start, end) {
    this.#clear();
    this.#forEachCharacter(start, end, (from, to) => this.#addSource(from, to));
    const {items} = this.#chars;
    if (items.subarray(start, end).every((unit) => unit < FIRST_COMBINING)) return;
    const whole = this.#fold(start, end);
    if (whole === this.#folded.toString()) return;
    // Characters compose with their neighbours, or are reordered.
    this.#clear();
    this.#addClusters(start, end);
    for (let at = 0; at < whole.length; at++) this.#folded.items[at] = whole.charCodeAt(at);
  }

  #forEachCharacter(start, end, action) {
    for (let at = start; at < end; ) {
      const next = at + unitsOf(codePointIn(this.#chars.items, at, end));
      action(at, next);
      at = next;
    }
  }

  /** Adds what becomes of `#chars[start, end)`. */
  #addSource(start, end) {
    const before = this.#folded.size;
    const code = this.#chars.items[start];
    if (end === start + 1 && code < 0x80) {
      this.#add(this.config.do_lower_case ? lower(code) : code, start, end);
    } else {
      const folded = this.#fold(start, end);
      for (let at = 0; at < folded.length; at++) this.#add(folded.charCodeAt(at), start, end);
    }
    if (this.#folded.size === before && before > 0) this.#ends.items[before - 1] = end;
  }

  /** Adds the shortest parts of a unit whose results do not depend on their neighbours. */
  #addClusters(start, end) {
    let begin = start;
    this.#forEachCharacter(start, end, (at, next) => {
      const codePoint = codePointIn(this.#chars.items, at, end);
      if (at > begin && isStarter(codePoint) && this.#isSeparable(begin, at, next)) {
        this.#addCluster(begin, at);
        begin = at;
      }
    });
    if (begin < end) this.#addCluster(begin, end);
  }

  #isSeparable(start, middle, end) {
    return this.#fold(start, end) === this.#fold(start, middle) + this.#fold(middle, end);
  }

  #addCluster(start, end) {
    let each = '';
    this.#forEachCharacter(start, end, (from, to) => {
      each += this.#fold(from, to);
    });
    if (each === this.#fold(start, end)) {
      this.#forEachCharacter(start, end, (from, to) => this.#addSource(from, to));
    } else {
      this.#addSource(start, end);
    }
  }

  #fold(start, end) {
    const {do_lower_case, strip_accents} = this.config;
    let codePoints = codePointsOf(textOf(this.#chars.items, start, end));
    if (do_lower_case) {
      // Each character by itself, so that a capital sigma has one lower case.
      const lowered = [];
      for (const codePoint of codePoints) appendLower(codePoint, lowered);
      codePoints = lowered;
    }
    const folded = strip_accents
      ? decompose(codePoints).filter((codePoint) => !isMark(codePoint))
      : compose(codePoints);
    const text = new CharList(folded.length);
    for (const codePoint of folded) text.addCodePoint(codePoint);
    return text.toString();
  }
}

function isStarter(codePoint) {
  const decomposed = [];
  appendDecomposed(codePoint, false, decomposed);
  return combiningClass(decomposed[0]) === 0;
}

function countChars(chars, start, end) {
  let count = 0;
  for (let at = start; at < end; at++) if ((chars[at] & 0xfc00) !== 0xdc00) count++;
  return count;
}

function isKeptIn(codePoint) {
  if (codePoint >= 0x20 && codePoint <= 0x7e) return true;
  return codePoint !== 0xfffd && (isPrintable(codePoint) || isSpaceIn(codePoint));
}

const isAsciiWord = (unit) =>
  (unit > 96 && unit < 123) || (unit > 64 && unit < 91) || (unit > 47 && unit < 58);

const isAsciiPunctuation = (code) =>
  (code > 32 && code < 48) ||
  (code > 57 && code < 65) ||
  (code > 90 && code < 97) ||
  (code > 122 && code < 127);

/** Whether it is white space of Python, except control characters, which are removed. */
function isSpaceIn(code) {
  if (code < 0x80) return code === 32 || code === 9 || code === 10 || code === 13;
  if (code >= 0x2000 && code <= 0x200a) return true;
  return (
    code === 0xa0 ||
    code === 0x1680 ||
    code === 0x2028 ||
    code === 0x2029 ||
    code === 0x202f ||
    code === 0x205f ||
    code === 0x3000
  );
}

const isChinese = (code) =>
  code >= 0x3400 &&
  (code <= 0x4dbf ||
    (code >= 0x4e00 && code <= 0x9fff) ||
    (code >= 0xf900 && code <= 0xfaff) ||
    (code >= 0x20000 && code <= 0x2a6df) ||
    (code >= 0x2a700 && code <= 0x2ceaf) ||
    (code >= 0x2f800 && code <= 0x2fa1f));
