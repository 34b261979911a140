import {fileError} from '../errors.js';
import {CharList, IntList, codePointBefore, textOf, unitsOf} from '../lists.js';
import {
  appendDecomposed,
  appendLower,
  changes,
  combiningClass,
  isDigit,
  isSpace,
  lowerInPlace,
} from '../unicode.js';
import {resolveAddedTokens} from './added_tokens.js';
import {SPACE_MARK} from './normalizer.js';
import {SentencePieceModel} from './sentencepiece_model.js';
import {TokenList, Tokenizer} from './tokenizer.js';

const MARK = String.fromCharCode(SPACE_MARK);
const SPLIT = -1; // in place of the id of a piece such as `9,`, which becomes several tokens
const [SPACE, QUOTE, APOSTROPHE, BACKTICK] = [0x20, 0x22, 0x27, 0x60];

/**
 * The tokenizer of the original ALBERT: `spiece.model`, with the ids of Hugging Face's slow
 * `AlbertTokenizer`, but that the name of a special token in the text is treated as text.
 *
 * The original (google-research/albert, `tokenization.preprocess_text`) normalizes whole strings:
 * fold white space, replace doubled ` and ' by ", decompose (NFKD), remove combining marks, convert
 * to lower case. Here `preprocess` does this character by character, to keep the span of every
 * character.
 */
export class SentencePieceTokenizer extends Tokenizer {
  #pieces;
  #config;
  #addedIds;
  #hidden;
  #tokenOfPiece;
  #splitPieces = new Map();

  /**
   * @param {Uint8Array} model The content of the file.
   * @param {import('./config.js').TokenizerConfig} config
   * @param {string} where The name of the file, for error messages.
   * @throws {AlbertEdgeError} The file is damaged, or lacks a special token.
   */
  constructor(model, config, where) {
    const pieces = new SentencePieceModel(model, where);
    const ids = resolveIds(pieces, config, where);
    super(ids, config);
    this.#pieces = pieces;
    this.#config = config;
    this.#addedIds = ids.addedIds;
    this.#hidden = ids.hidden;
    this.#tokenOfPiece = this.#tokensOfPieces();
  }

  #tokensOfPieces() {
    const pieces = this.#pieces;
    const tokens = Int32Array.from({length: pieces.size}, (_, id) =>
      pieces.isControl(id) || this.#hidden.has(id) ? this.unk_id : id,
    );
    // Where an added or a reserved token has the text of a piece, it takes its place.
    for (const name of [...this.#addedIds.keys(), ...pieces.reservedPieces]) {
      const id = pieces.findInTexts(name);
      if (id >= 0) tokens[id] = this.#tokenOf(name);
    }
    for (let id = 0; id < pieces.size; id++) if (isNumber(pieces.text(id))) tokens[id] = SPLIT;
    return tokens;
  }

  #tokenOf(piece) {
    let id = this.#addedIds.get(piece);
    if (id === undefined) {
      id = this.#pieces.find(piece);
      if (this.#pieces.isControl(id)) id = this.unk_id;
    }
    return this.#hidden.has(id) ? this.unk_id : id;
  }

  /** @override */
  tokenizePlain(text) {
    const source = preprocess(text, this.#config);
    const normal = this.#pieces.normalize(source.chars, source.size);
    // In most texts SentencePiece only adds a mark at the start.
    const isPlain = isOnlyMarked(normal, source);
    const aligned = isPlain ? source : this.#align(normal, source);
    return this.#locate(normal, aligned, isPlain ? -1 : 0);
  }

  /**
   * Aligns a text that SentencePiece has normalized with the original.
   *
   * Characters that SentencePiece removes (control characters, ...) are in no span.
   */
  #align(normal, source) {
    const starts = new Int32Array(normal.size);
    const ends = new Int32Array(normal.size);
    let stop = source.size;
    let after = normal.places[normal.size];
    // One character of the original may have become several units, which have the same place.
    for (let at = normal.size - 1; at >= 0; at--) {
      const place = normal.places[at];
      if (after > place) stop = this.#endOfKept(source, place, after);
      starts[at] = source.starts[Math.min(place, source.size - 1)];
      ends[at] = source.ends[stop - 1];
      after = place;
    }
    return {chars: normal.chars, size: normal.size, starts, ends};
  }

  /** Returns the end of what SentencePiece keeps of `[place, after)`. */
  #endOfKept({chars}, place, after) {
    let stop = after;
    for (;;) {
      const last = stop - ((chars[stop - 1] & 0xfc00) === 0xdc00 ? 2 : 1);
      if (last <= place || !this.#pieces.removes(chars, last, stop)) return stop;
      stop = last;
    }
  }

  /** Returns the tokens of a text with their spans; it begins at `source.chars[offset]`. */
  #locate(normal, source, offset) {
    const {ids, places} = this.#pieces.segment(normal);
    const found = new TokenList(ids.length + (ids.length >> 3));
    const spans = new Spans(source, offset, found);
    for (let at = 0; at < ids.length; at++) {
      const start = places[at];
      const token = ids[at] === this.unk_id ? SPLIT : this.#tokenOfPiece[ids[at]];
      if (token !== SPLIT) {
        spans.add(token, normal.chars[start] === SPACE_MARK, places[at + 1] - start);
        continue;
      }
      const tokens =
        ids[at] === this.unk_id
          ? this.#convert(textOf(normal.chars, start, places[at + 1]))
          : this.#split(ids[at]);
      for (const {id, isMarked, width} of tokens) spans.add(id, isMarked, width);
    }
    return found.toTokens();
  }

  #split(id) {
    if (!this.#splitPieces.has(id)) this.#splitPieces.set(id, this.#convert(this.#pieces.text(id)));
    return this.#splitPieces.get(id);
  }

  /** Converts a piece to tokens: one, or several for a piece such as `9,`. */
  #convert(piece) {
    if (!isNumber(piece)) return [this.#partToken(piece, piece.length)];
    // As in the original tokenizer: encode `9` again, then append `,`.
    const number = piece.slice(0, -1);
    let parts = this.#encodeNumber(number.replaceAll(MARK, ''));
    if (!piece.startsWith(MARK) && parts.length > 0 && parts[0].startsWith(MARK)) {
      parts = [parts[0].slice(1), ...parts.slice(1)].filter((part) => part !== '');
    }
    // With a mark inside, the parts cannot be located.
    const isWhole = parts.join('') === number;
    const widths = parts.map((part, at) => (isWhole ? part.length : at === 0 ? number.length : 0));
    return [...parts.map((part, at) => this.#partToken(part, widths[at])), this.#partToken(',', 1)];
  }

  #encodeNumber(number) {
    const chars = Uint16Array.from({length: number.length}, (_, at) => number.charCodeAt(at));
    const normal = this.#pieces.normalize(chars, chars.length);
    const {ids, places} = this.#pieces.segment(normal);
    return Array.from(ids, (_, at) => textOf(normal.chars, places[at], places[at + 1]));
  }

  #partToken(part, width) {
    return {id: this.#tokenOf(part), isMarked: width > 0 && part.startsWith(MARK), width};
  }

  /** @override */
  piece(id) {
    return id < this.piece_count ? this.#pieces.text(id) : '';
  }

  /** @override */
  decodePieces(ids) {
    return this.#pieces.decode(ids.filter((id) => id < this.piece_count));
  }
}

function resolveIds(pieces, config, where) {
  const {size, unkId} = pieces;
  const find = (name) => {
    const id = pieces.find(name);
    return id !== unkId || pieces.text(id) === name ? id : undefined;
  };
  const {names, addedTokens} = config;
  const ends = [names.bos_token, names.eos_token];
  // In transformers, a token in the place of a piece hides the piece.
  const hides = addedTokens.filter(
    ({id, content}) => id !== null && id < size && find(content) !== id,
  );
  const added = resolveAddedTokens(addedTokens, find, size - hides.length, ends, where);
  const addedIds = new Map(Array.from(added, ([id, token]) => [token.content, id]));
  const specialId = (...choices) => {
    for (const name of choices) {
      const id = addedIds.get(name) ?? find(name);
      if (id !== undefined && id !== unkId) return id;
    }
    throw fileError(
      `${where}: the vocabulary has no piece '${choices[0]}', one of ALBERT's special tokens. If ` +
        'it has another name, give it in a tokenizer_config.json next to the file.',
    );
  };
  const ids = {
    cls_id: specialId(names.cls_token),
    sep_id: specialId(names.sep_token),
    pad_id: specialId(names.pad_token, '[PAD]'),
    mask_id: specialId(names.mask_token),
  };
  const hidden = new Set(Object.values(ids));
  const unmatched = new Set([...hidden, unkId, ...ends.map((name) => addedIds.get(name) ?? find(name))]);
  const matched = new Map([...added].filter(([id]) => !unmatched.has(id)));
  const vocab_size = [...added.keys()].reduce((most, id) => Math.max(most, id + 1), size);
  return {...ids, unk_id: unkId, piece_count: size, vocab_size, added, matched, addedIds, hidden};
}

/** Whether a piece ends in a digit and a comma. */
function isNumber(piece) {
  const end = piece.length - 1;
  return end > 0 && piece[end] === ',' && isDigit(codePointBefore(piece, end));
}

function isOnlyMarked(normal, source) {
  if (normal.size !== source.size + 1 || normal.chars[0] !== SPACE_MARK) return false;
  for (let at = 0; at < source.size; at++) {
    const unit = source.chars[at];
    if (normal.chars[at + 1] !== (unit === SPACE ? SPACE_MARK : unit)) return false;
  }
  return true;
}

/** Gives each token of a text its span in the original, from left to right. */
class Spans {
  #end = 0;

  constructor(source, at, found) {
    this.source = source;
    this.at = at;
    this.found = found;
  }

  add(id, isMarked, width) {
    const {source} = this;
    const begin = isMarked ? this.at + 1 : this.at;
    this.at += width;
    const start = begin < source.size ? source.starts[begin] : this.#end;
    // A mark alone has an empty span, unless it is one of several tokens of a character.
    this.#end = begin < this.at ? source.ends[this.at - 1] : Math.max(start, this.#end);
    this.found.add(id, start, this.#end);
  }
}

/**
 * Normalizes text for SentencePiece.
 *
 * @param {string} text
 * @param {import('./config.js').TokenizerConfig} config
 * @returns Its UTF-16 code units, the first `size` of `chars`; and for each of them where its
 *   character begins and ends in the original. A removed mark belongs to the character before it.
 */
function preprocess(text, config) {
  const run = new Preprocessing(text, config);
  run.run();
  const {items: chars, size} = run.found;
  if (config.do_lower_case) lowerInPlace(chars, size);
  return {chars, size, starts: run.starts.items, ends: run.ends.items};
}

/** The normalization of one text. */
class Preprocessing {
  #at = 0;

  constructor(text, config) {
    this.text = text;
    this.config = config;
    this.found = new CharList(text.length + 16);
    this.starts = new IntList(text.length + 16);
    this.ends = new IntList(text.length + 16);
  }

  run() {
    const {text} = this;
    const folds = this.config.remove_space;
    while (this.#at < text.length) {
      const unit = text.charCodeAt(this.#at);
      const isQuote = unit === BACKTICK || unit === APOSTROPHE;
      if (isQuote && text.charCodeAt(this.#at + 1) === unit) this.#add(QUOTE, 2);
      else if (folds && isSpace(unit)) this.#foldSpace();
      else if (unit < 0x80) this.#add(unit, 1);
      else this.#fold();
    }
  }

  /** Adds a unit in place of `units` ones of the text. */
  #add(unit, units) {
    this.found.add(unit);
    this.starts.add(this.#at);
    this.#at += units;
    this.ends.add(this.#at);
  }

  #foldSpace() {
    const {text} = this;
    const start = this.#at;
    let end = start + 1;
    while (end < text.length && isSpace(text.charCodeAt(end))) end++;
    if (start > 0 && end < text.length) this.#add(SPACE, end - start);
    this.#at = end;
  }

  #fold() {
    const codePoint = this.text.codePointAt(this.#at);
    const start = this.#at;
    this.#at += unitsOf(codePoint);
    const keeps = this.config.keep_accents;
    const isChanged = changes(codePoint) || (!keeps && combiningClass(codePoint) !== 0);
    const folded = isChanged ? this.#foldCharacter(codePoint) : [codePoint];
    const before = this.found.size;
    for (const one of folded) {
      this.found.addCodePoint(one);
      while (this.starts.size < this.found.size) {
        this.starts.add(start);
        this.ends.add(this.#at);
      }
    }
    if (folded.length === 0 && before > 0) this.ends.items[before - 1] = this.#at;
  }

  /** Hugging Face first converts each character by itself to lower case. */
  #foldCharacter(codePoint) {
    const lowered = [];
    if (this.config.do_lower_case) appendLower(codePoint, lowered);
    else lowered.push(codePoint);
    if (this.config.keep_accents) return lowered;
    const decomposed = [];
    for (const one of lowered) appendDecomposed(one, true, decomposed);
    return decomposed.filter((one) => combiningClass(one) === 0);
  }
}
