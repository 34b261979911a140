import {inputError} from '../errors.js';
import {IntList} from '../lists.js';
import {addedToken, TokenSplitter} from './added_tokens.js';

// How a text is cut before it is tokenized: so many tokens, or more, are between the cut and those
// that are kept. A word may have up to 100 characters, and so tokens.
const CUT_MARGIN = 256;
const CHARS_PER_TOKEN = 8;
const HALF = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/**
 * The tokens of one text, without special ones.
 *
 * Neither starts nor ends ever decrease. The space before a word is in no span, so a token that is
 * only the mark of a word's start has an empty span. If one character becomes several tokens, they
 * all have its span.
 */
export class Tokens {
  /**
   * @param {Int32Array} ids T token ids, in [0, V).
   * @param {Int32Array} starts T starts in the text, in UTF-16 code units.
   * @param {Int32Array} ends T ends likewise.
   */
  constructor(ids, starts, ends) {
    this.ids = ids;
    this.starts = starts;
    this.ends = ends;
  }

  /** The number of tokens, T. */
  get length() {
    return this.ids.length;
  }

  /** Returns the tokens from `start` up to, but without, `stop`, as far as there are any. */
  slice(start, stop) {
    const [ids, starts, ends] = [this.ids, this.starts, this.ends].map((one) =>
      one.slice(start, stop),
    );
    return new Tokens(ids, starts, ends);
  }
}

/** A growing list of tokens. */
export class TokenList {
  #ids;
  #starts;
  #ends;

  /** @param {number} capacity */
  constructor(capacity) {
    this.#ids = new IntList(capacity);
    this.#starts = new IntList(capacity);
    this.#ends = new IntList(capacity);
  }

  get size() {
    return this.#ids.size;
  }

  add(id, start, end) {
    this.#ids.add(id);
    this.#starts.add(start);
    this.#ends.add(end);
  }

  /** Drops all tokens but the first `count`. */
  dropTo(count) {
    this.#ids.size = count;
    this.#starts.size = count;
    this.#ends.size = count;
  }

  toTokens() {
    return new Tokens(this.#ids.toArray(), this.#starts.toArray(), this.#ends.toArray());
  }
}

/**
 * The input of a model: `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]`.
 *
 * @typedef {object} Encoding
 * @property {Int32Array} input_ids T token ids, in [0, V).
 * @property {Int32Array} token_type_ids T numbers, 0 up to and including the first `[SEP]`, 1 after.
 * @property {Int32Array} starts T starts in UTF-16 code units, in `a` for type 0 and in `b` for type
 *   1; -1 for the special tokens around them.
 * @property {Int32Array} ends T ends likewise.
 */

/**
 * Converts text to token ids, those of `albert_edge.load_tokenizer` in Python.
 *
 * `tokenizerFromFiles` makes one. Its subclasses tokenize one text in which no added token is looked
 * for (`tokenizePlain`), and return the pieces of ids (`piece`, `decodePieces`).
 *
 * @abstract
 */
export class Tokenizer {
  #matchedSplitter;
  #specialSplitter;

  /**
   * @param {object} properties
   * @param {number} properties.vocab_size V, the number of token ids.
   * @param {number} properties.piece_count The number of pieces of the vocabulary: the first ids.
   * @param {number} properties.cls_id
   * @param {number} properties.sep_id
   * @param {number} properties.pad_id
   * @param {number} properties.unk_id
   * @param {number} properties.mask_id
   * @param {Map<number, import('./added_tokens.js').AddedToken>} properties.added The tokens beside
   *   the pieces, by id.
   * @param {Map<number, import('./added_tokens.js').AddedToken>} properties.matched Those of them
   *   that are found in every text: no special tokens.
   * @param {import('./config.js').TokenizerConfig} config
   */
  constructor(properties, config) {
    this.vocab_size = properties.vocab_size;
    this.piece_count = properties.piece_count;
    this.cls_id = properties.cls_id;
    this.sep_id = properties.sep_id;
    this.pad_id = properties.pad_id;
    this.unk_id = properties.unk_id;
    this.mask_id = properties.mask_id;
    this.added = properties.added;
    this.matched = properties.matched;
    /** Whether text is converted to lower case. */
    this.do_lower_case = config.do_lower_case;
    /** The end at which a text that is too long is cut. */
    this.truncation_side = config.truncation_side;
    /** The number of tokens to which pipelines truncate; null for as many as the model takes. */
    this.model_max_length = config.model_max_length;
  }

  /**
   * Tokenizes one text.
   *
   * Added tokens are found in it. The name of a special token is treated as text: no special token
   * is in the result.
   *
   * @param {string} text
   * @returns {Tokens}
   * @throws {AlbertEdgeError} The text is no string, or has half of a surrogate pair.
   */
  tokenize(text) {
    checkText(text);
    if (this.matched.size === 0) return this.tokenizePlain(text);
    this.#matchedSplitter ??= new TokenSplitter(this.matched, this.do_lower_case);
    return this.#tokenizeAround(text, this.#matchedSplitter);
  }

  /**
   * Returns the piece, or the added token, with an id, in [0, V).
   *
   * @param {number} id
   * @returns {string}
   */
  idToPiece(id) {
    this.#checkId(id);
    return this.added.get(id)?.content ?? this.piece(id);
  }

  /**
   * Returns the normalized text of ids, each in [0, V), without special tokens.
   *
   * @param {ArrayLike<number>} ids
   * @returns {string}
   */
  decode(ids) {
    const all = Array.from(ids);
    all.forEach((id) => this.#checkId(id));
    if (!all.some((id) => this.added.has(id))) return this.decodePieces(all);
    const parts = [];
    let begin = 0;
    for (let at = 0; at <= all.length; at++) {
      const token = this.added.get(all[at]);
      if (token === undefined && at < all.length) continue;
      parts.push(this.decodePieces(all.slice(begin, at)));
      begin = at + 1;
      if (token !== undefined && !token.special && this.matched.has(all[at])) {
        parts.push(token.content);
      }
    }
    return parts.filter((part) => part !== '').join(' ');
  }

  #checkId(id) {
    if (!Number.isInteger(id) || id < 0 || id >= this.vocab_size) {
      throw inputError(`token id ${id} is not in [0, ${this.vocab_size}).`);
    }
  }

  /**
   * Encodes one text, or two.
   *
   * @param {string} text The first text, `a`.
   * @param {string | null} [pair] The second, `b`.
   * @param {object} [options]
   * @param {number | null} [options.max_length] The maximum number of tokens, special ones included;
   *   null for no limit.
   * @param {'longest_first' | 'only_second'} [options.truncate] The text to truncate:
   *   `longest_first` removes one token at a time from the longer text (of the second if they are
   *   equal); `only_second` does not truncate `text`.
   * @param {boolean} [options.allow_special] Whether the name of a special token, as in "Paris is the
   *   [MASK] of France.", is converted to that token. Do not use it on untrusted text.
   * @returns {Encoding}
   * @throws {AlbertEdgeError} A text cannot be encoded, or `max_length` leaves no room.
   */
  encode(text, pair = null, options = {}) {
    const {max_length: most = null, truncate = 'longest_first', allow_special = false} = options;
    if (truncate !== 'longest_first' && truncate !== 'only_second') {
      throw inputError(`truncate is '${truncate}'; choose longest_first or only_second.`);
    }
    const isLongest = truncate === 'longest_first';
    const first = this.tokenizePart(text, isLongest ? most : null, allow_special);
    const second =
      pair === null ? null : this.tokenizePart(pair, isLongest ? most : null, allow_special);
    if (most === null) return this.#buildEncoding(first, second);
    if (isLongest) return this.#truncateLongestFirst(first, second, most);
    if (second === null) throw inputError("truncate='only_second' needs a second text.");
    if (first.length + second.length + 3 <= most) return this.#buildEncoding(first, second);
    return this.#buildEncoding(first, this.truncate(second, maxSecondTokens(first, most)));
  }

  /**
   * Encodes a question with each of the overlapping windows of a passage.
   *
   * Every token of the passage is in at least one window. The last window can be shorter. An empty
   * passage has one window, without tokens of it.
   *
   * @param {string} question The first text, which is in every window.
   * @param {string} context The passage, the second text.
   * @param {object} options
   * @param {number} options.max_length The maximum number of tokens of a window, special ones
   *   included.
   * @param {number} options.stride The number of tokens of the passage that neighbours share.
   * @param {number | null} [options.max_question] The number of tokens to which the question is
   *   truncated; null for all.
   * @returns {Encoding[]}
   * @throws {AlbertEdgeError} A text cannot be encoded, the question leaves no room for the passage,
   *   or the stride is not less than that room.
   */
  windows(question, context, {max_length, stride, max_question = null}) {
    const all = this.tokenize(question);
    const second = this.tokenize(context);
    const first = max_question === null ? all : this.truncate(all, max_question);
    const room = maxSecondTokens(first, max_length);
    if (!(stride >= 0 && stride < room)) {
      throw inputError(
        `stride must be in [0, ${room}), the tokens of context that fit in a window of ` +
          `${max_length} beside a question of ${first.length}, not ${stride}.`,
      );
    }
    const found = [];
    // The last window is the first that includes the end of the passage.
    for (let at = 0; at < Math.max(second.length - stride, 1); at += room - stride) {
      found.push(this.#buildEncoding(first, second.slice(at, at + room)));
    }
    return found;
  }

  /**
   * Tokenizes as much of a text as it takes to truncate it to `most` tokens.
   *
   * A longer text is cut at white space, if there is any, and far behind the tokens that are kept,
   * or before them with `truncation_side` "left".
   *
   * @param {string} text The text, of any length.
   * @param {number | null} most The number of tokens that are kept at most; null to tokenize all.
   * @param {boolean} [allowSpecial] As in `encode`.
   * @returns {Tokens} All tokens, or more than `most` of them: the first, or with "left" the last.
   */
  tokenizePart(text, most, allowSpecial = false) {
    checkText(text);
    const least = most === null ? 0 : most + CUT_MARGIN;
    // Counted in characters, as in Python, since where the text is cut can change its tokens.
    const length = least === 0 || text.length <= CHARS_PER_TOKEN * least ? 0 : countChars(text);
    const isLeft = this.truncation_side === 'left';
    for (let size = CHARS_PER_TOKEN * least; size > 0 && size < length; size *= 4) {
      const half = Math.floor(size / 2);
      const from = placeOf(isLeft ? length - size : half, text, length);
      const to = placeOf(isLeft ? length - half : size, text, length);
      const cut = lastSpace(text, from, to);
      const begin = isLeft ? cut : 0;
      const tokens = this.#tokenizeAll(text.slice(begin, isLeft ? text.length : cut), allowSpecial);
      if (tokens.length < least) continue;
      const move = (place) => place + begin;
      return new Tokens(tokens.ids, tokens.starts.map(move), tokens.ends.map(move));
    }
    return this.#tokenizeAll(text, allowSpecial);
  }

  /** Returns the first tokens, or with `truncation_side` "left" the last, at most `count`. */
  truncate(tokens, count) {
    const start = this.truncation_side === 'left' ? Math.max(tokens.length - count, 0) : 0;
    return tokens.slice(start, start + count);
  }

  #tokenizeAll(text, allowSpecial) {
    if (!allowSpecial) return this.tokenize(text);
    this.#specialSplitter ??= new TokenSplitter(
      new Map([...this.#specialTokens(), ...this.matched]),
      this.do_lower_case,
    );
    return this.#tokenizeAround(text, this.#specialSplitter);
  }

  #specialTokens() {
    const ids = [this.cls_id, this.sep_id, this.pad_id, this.unk_id, this.mask_id];
    return new Map(
      ids.map((id) => {
        // `[MASK]` includes the space before it, because a word begins with its space.
        const lstrip = id === this.mask_id;
        return [id, addedToken({content: this.idToPiece(id), named: true, lstrip})];
      }),
    );
  }

  #tokenizeAround(text, splitter) {
    const found = new TokenList(text.length >> 2);
    for (const {places, text: part, id} of splitter.split(text)) {
      const stop = places[places.length - 1] + 1;
      if (id !== undefined) {
        found.add(id, places[0], stop);
        continue;
      }
      const {ids, starts, ends} = this.tokenizePlain(part);
      for (let at = 0; at < ids.length; at++) {
        const place = starts[at] < places.length ? places[starts[at]] : stop;
        found.add(ids[at], place, starts[at] < ends[at] ? places[ends[at] - 1] + 1 : place);
      }
    }
    return found.toTokens();
  }

  #truncateLongestFirst(first, second, most) {
    const special = second === null ? 2 : 3;
    if (most < special) throw inputError(`max_length must be at least ${special}, not ${most}.`);
    const budget = most - special;
    if (second === null) return this.#buildEncoding(this.truncate(first, budget), null);
    if (first.length + second.length <= budget) return this.#buildEncoding(first, second);
    // Both texts get half (an odd token goes to the first), unless one of them needs less.
    const half = Math.floor((budget + 1) / 2);
    const keep = Math.min(first.length, Math.max(budget - second.length, half));
    return this.#buildEncoding(this.truncate(first, keep), this.truncate(second, budget - keep));
  }

  #buildEncoding(first, second) {
    const firstSize = first.length + 2;
    const size = firstSize + (second === null ? 0 : second.length + 1);
    const encoding = {
      input_ids: new Int32Array(size),
      token_type_ids: new Int32Array(size).fill(1, firstSize),
      starts: new Int32Array(size).fill(-1),
      ends: new Int32Array(size).fill(-1),
    };
    encoding.input_ids[0] = this.cls_id;
    this.#place(first, 1, encoding);
    if (second !== null) this.#place(second, firstSize, encoding);
    return encoding;
  }

  #place(tokens, at, {input_ids, starts, ends}) {
    input_ids.set(tokens.ids, at);
    starts.set(tokens.starts, at);
    ends.set(tokens.ends, at);
    input_ids[at + tokens.length] = this.sep_id;
  }
}

/**
 * Checks that a text is valid Unicode.
 *
 * @throws {AlbertEdgeError} It is no string, or has half of a surrogate pair.
 */
export function checkText(text) {
  if (typeof text !== 'string') throw inputError(`a text must be a string, not ${typeof text}.`);
  if (text.isWellFormed?.()) return; // which is faster, where the engine has it
  const found = HALF.exec(text);
  if (found === null) return;
  throw inputError(
    `the text is not Unicode: character ${found.index} is half of a surrogate pair. ` +
      'Replace it by text.toWellFormed().',
  );
}

function maxSecondTokens(question, most) {
  const room = most - question.length - 3;
  if (room < 1) {
    throw inputError(
      `the first text has ${question.length} tokens; with three special ones it leaves no room ` +
        `for the second in ${most}. Shorten it or increase max_length.`,
    );
  }
  return room;
}

const isLowSurrogate = (text, at) => (text.charCodeAt(at) & 0xfc00) === 0xdc00;

function countChars(text) {
  let count = text.length;
  for (let at = 0; at < text.length; at++) if (isLowSurrogate(text, at)) count--;
  return count;
}

/** Returns where the character with an index begins. */
function placeOf(index, text, length) {
  if (length === text.length) return index;
  let at = 0;
  for (let left = index; left > 0; left--) at += isLowSurrogate(text, at + 1) ? 2 : 1;
  return at;
}

/** The last space or line end in `text[start, stop)`; without one, `stop`. */
function lastSpace(text, start, stop) {
  for (let at = stop - 1; at >= start; at--) {
    if (text[at] === ' ' || text[at] === '\n') return at;
  }
  return stop;
}
