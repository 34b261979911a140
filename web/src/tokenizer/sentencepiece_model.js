import {DamagedError, fileError, orFileError} from '../errors.js';
import {IntList, textOf} from '../lists.js';
import {decodeUtf8} from '../utf8.js';
import {Normalizer, NormalizerSpec, SPACE_MARK} from './normalizer.js';
import {FieldReader} from './protobuf.js';
import {NONE, ROOT, Trie} from './trie.js';

const UNIGRAM = 1;
const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;
const UNUSED = 5;
const BYTE = 6;
const MAX_PIECE_BYTES = 8000;
const UNKNOWN_PENALTY = 10;
const SCORE_LIMIT = 100000;
const MARK = String.fromCharCode(SPACE_MARK);

/**
 * The pieces of a normalized text: P ids, and P + 1 places in it: each piece ends where the next
 * one starts.
 *
 * @typedef {{ids: Int32Array, places: Int32Array}} Segments
 */

/**
 * A unigram model of SentencePiece: `spiece.model`.
 *
 * It does what version 0.2.3 of SentencePiece's C++ does, in UTF-16 instead of UTF-8: normalize
 * text, and find the segmentation with the highest sum of scores (Viterbi), in single precision and
 * with the same choice among equal sums.
 */
export class SentencePieceModel {
  #texts = [];
  #types;
  #scores;
  #reserved = new Map();
  #trie;
  #unknownScore;
  #normalizer;
  #denormalizer;
  #unknownSurface;

  /**
   * @param {Uint8Array} bytes The content of the file.
   * @param {string} where The name of the file, for error messages.
   * @throws {AlbertEdgeError} The file is damaged, or not supported.
   */
  constructor(bytes, where) {
    orFileError(`${where} is not a SentencePiece model, or is damaged`, () =>
      this.#read(bytes, where),
    );
  }

  #read(bytes, where) {
    const parsed = parseModel(bytes);
    if (!parsed.fields.has(2) || !parsed.fields.has(3)) {
      throw fileError(
        `${where} is cut short: it ends before the settings of trainer and normalizer.`,
      );
    }
    checkKind(parsed, where);
    const {trainer, pieces} = parsed;
    this.#texts = pieces.map((piece) => piece.text);
    this.#types = Uint8Array.from(pieces, (piece) => piece.type);
    this.#scores = Float32Array.from(pieces, (piece) => piece.score);
    this.#trie = new Trie(this.#texts.reduce((sum, text) => sum + text.length, 0));
    /** The id of the unknown piece. */
    this.unkId = this.#addPieces();
    if (this.#types[this.find(trainer.unknownPiece)] !== UNKNOWN) {
      throw new DamagedError('the unknown piece is of another type');
    }
    this.#normalizer = new Normalizer(parsed.spec, trainer.spaceIsSuffix, this.#symbols());
    const {reverse} = parsed;
    this.#denormalizer =
      reverse.charsmap.length === 0 ? null : new Normalizer(reverse, false, new Trie(0));
    const lowest = this.#scores.reduce(
      (least, score, id) => (this.#types[id] === NORMAL ? Math.min(least, score) : least),
      3.4028234663852886e38, // the largest float32
    );
    this.#unknownScore = Math.fround(lowest - UNKNOWN_PENALTY);
    this.#unknownSurface = trainer.unknownSurface;
  }

  /** Adds all pieces to where they are found; returns the id of the unknown one. */
  #addPieces() {
    let unknown = NONE;
    this.#texts.forEach((text, id) => {
      const type = this.#types[id];
      let before = NONE;
      if (type === UNKNOWN || type === CONTROL) {
        before = this.#reserved.get(text) ?? NONE;
        this.#reserved.set(text, id);
      } else {
        before = this.#trie.put(text, id);
      }
      if (before !== NONE) throw new DamagedError(`${text} is already defined`);
      if (type !== UNKNOWN) return;
      if (unknown !== NONE) throw new DamagedError('the unknown piece is already defined');
      unknown = id;
    });
    if (unknown === NONE) throw new DamagedError('there is no unknown piece');
    if (this.#reserved.size === this.size) throw new DamagedError('there are no pieces');
    return unknown;
  }

  #symbols() {
    const symbols = new Trie(64);
    this.#texts.forEach((text, id) => {
      if (this.#types[id] === USER_DEFINED) symbols.put(text, id);
    });
    return symbols;
  }

  /** The number of pieces. */
  get size() {
    return this.#texts.length;
  }

  /** Returns the text of the piece with an id. */
  text(id) {
    return this.#texts[id];
  }

  /** Returns the id of a piece, that of the unknown one if there is no such piece. */
  find(piece) {
    const reserved = this.#reserved.get(piece);
    if (reserved !== undefined) return reserved;
    const id = this.#trie.get(piece);
    return id === NONE ? this.unkId : id;
  }

  /** Returns the id of a piece that is neither unknown nor a control piece, or `NONE`. */
  findInTexts(piece) {
    return this.#trie.get(piece);
  }

  /** The pieces that no text contains: the unknown one and control pieces. */
  get reservedPieces() {
    return this.#reserved.keys();
  }

  /** Whether the piece with an id is a control piece. */
  isControl(id) {
    return this.#types[id] === CONTROL;
  }

  /** Normalizes `chars[0, size)`. */
  normalize(chars, size) {
    return this.#normalizer.normalize(chars, size);
  }

  /** Whether nothing remains of `chars[start, end)`, normalized as a text of its own. */
  removes(chars, start, end) {
    return this.#normalizer.removes(chars, start, end);
  }

  /**
   * Splits normalized text into pieces; a run of unknown characters is one piece.
   *
   * The search for the best segmentation: Kudo 2018, arXiv:1804.10959.
   *
   * @param {import('./normalizer.js').NormalizedText} text
   * @returns {Segments}
   */
  segment({chars, size}) {
    const trie = this.#trie;
    const types = this.#types;
    const scores = this.#scores;
    // Of the best segmentation that ends at each place: its score, and its last piece.
    const best = new Float32Array(size + 1);
    const starts = new Int32Array(size + 1).fill(NONE);
    const ids = new Int32Array(size + 1);
    let frontier = 0; // the last place that has one

    const add = (id, score, start, end) => {
      const candidate = Math.fround(best[start] + score);
      if (starts[end] < 0 || candidate > best[end]) {
        best[end] = candidate;
        starts[end] = start;
        ids[end] = id;
      }
      if (end > frontier) frontier = end;
    };

    for (let start = 0; start < size; ) {
      if (best[start] < -SCORE_LIMIT || best[start] > SCORE_LIMIT) {
        subtractFrom(start, frontier, best, starts);
      }
      const single = start + ((chars[start] & 0xfc00) === 0xd800 ? 2 : 1);
      let isKnown = false;
      let node = ROOT;
      for (let end = start; end < size; ) {
        node = trie.next(node, chars[end++]);
        if (node === NONE) break;
        const id = trie.value(node);
        if (id === NONE || types[id] === UNUSED) continue;
        const isSymbol = types[id] === USER_DEFINED;
        add(id, isSymbol ? bonus(chars, start, end) : scores[id], start, end);
        if (end === single) isKnown = true;
      }
      if (!isKnown) add(this.unkId, this.#unknownScore, start, single);
      start = single;
    }
    return this.#backtrack(starts, ids, size);
  }

  #backtrack(starts, ids, size) {
    const pieces = new IntList(size >> 2);
    const places = new IntList(size >> 2);
    places.add(size);
    for (let end = size; end > 0; ) {
      const isUnknown = ids[end] === this.unkId;
      const isRun = isUnknown && pieces.size > 0 && pieces.items[pieces.size - 1] === this.unkId;
      if (isRun) places.dropLast();
      else pieces.add(ids[end]);
      end = starts[end];
      places.add(end);
    }
    return {ids: pieces.toArray().reverse(), places: places.toArray().reverse()};
  }

  /** Returns the text of the pieces with some ids. */
  decode(ids) {
    let text = '';
    let isStart = true;
    for (const id of ids) {
      if (text !== '') isStart = false;
      if (this.isControl(id)) continue;
      if (id === this.unkId) {
        text += this.#unknownSurface;
        continue;
      }
      const piece = this.text(id);
      const dropsMark = isStart && this.#normalizer.startsWithSpace && piece.startsWith(MARK);
      text += (dropsMark ? piece.slice(1) : piece).replaceAll(MARK, ' ');
      if (dropsMark && !this.#normalizer.removesSpaces) isStart = false;
    }
    if (this.#denormalizer === null) return text;
    const units = Uint16Array.from({length: text.length}, (_, at) => text.charCodeAt(at));
    const {chars, size} = this.#denormalizer.normalize(units, units.length);
    return textOf(chars, 0, size);
  }
}

/** Keeps the scores small, as those of a long text would lose precision. */
function subtractFrom(start, frontier, best, starts) {
  const subtracted = best[start];
  for (let at = start; at <= frontier; at++) {
    if (at === start || starts[at] >= 0) best[at] -= subtracted;
  }
  best[start] = 0;
}

/** The score of a symbol of the user: the longest wins. Its length is in bytes. */
function bonus(chars, start, end) {
  let bytes = 0;
  for (let at = start; at < end; at++) {
    const unit = chars[at];
    bytes += unit < 0x80 ? 1 : unit < 0x800 || (unit & 0xf800) === 0xd800 ? 2 : 3;
  }
  return Math.fround(0.1 * (bytes - 1));
}

function parseModel(bytes) {
  const parsed = {
    fields: new Set(),
    pieces: [],
    trainer: {
      modelType: 1,
      byteFallback: false,
      spaceIsSuffix: false,
      unknownPiece: '<unk>',
      unknownSurface: ' \u2047 ',
    },
    spec: new NormalizerSpec(),
    reverse: new NormalizerSpec(),
  };
  const reader = new FieldReader(bytes);
  while (reader.next()) {
    if (!reader.isBytes) continue;
    parsed.fields.add(reader.number);
    if (reader.number === 1) parsed.pieces.push(parsePiece(reader.message(), parsed.pieces.length));
    if (reader.number === 2) parseTrainer(reader.message(), parsed.trainer);
    if (reader.number === 3) parsed.spec.parse(reader.message());
    if (reader.number === 5) parsed.reverse.parse(reader.message());
  }
  return parsed;
}

function parsePiece(reader, id) {
  const {bytes} = reader;
  let text = '';
  let score = 0;
  let type = NORMAL;
  while (reader.next()) {
    if (reader.number === 1 && reader.isBytes) {
      text = decodePiece(reader.content(), id);
    } else if (reader.number === 2 && reader.isFixed32) {
      score = float32(bytes, reader.start);
    } else if (reader.number === 3 && reader.isVarint) {
      if (reader.value >= NORMAL && reader.value <= BYTE) type = reader.value;
    }
  }
  if (text === '') throw new DamagedError(`the piece ${id} is empty`);
  if (text.includes('\0')) throw new DamagedError(`the piece ${id} contains a null character`);
  if (!Number.isFinite(score)) throw new DamagedError(`the score of the piece ${id} is not a number`);
  return {text, score, type};
}

function decodePiece(bytes, id) {
  if (bytes.length >= MAX_PIECE_BYTES) throw new DamagedError('a piece is too long');
  try {
    return decodeUtf8(bytes);
  } catch {
    throw new DamagedError(`the piece ${id} is not UTF-8`);
  }
}

const floatBytes = new Uint8Array(4);
const floatView = new DataView(floatBytes.buffer);

function float32(bytes, start) {
  for (let at = 0; at < 4; at++) floatBytes[at] = bytes[start + at];
  return floatView.getFloat32(0, true);
}

/** Reads what a model says of its training that matters for its use. */
function parseTrainer(reader, trainer) {
  while (reader.next()) {
    const {number, value} = reader;
    if (reader.isVarint) {
      if (number === 3 && value >= 1 && value <= 4) trainer.modelType = value;
      if (number === 24) trainer.spaceIsSuffix = value !== 0;
      if (number === 35) trainer.byteFallback = value !== 0;
    } else if (reader.isBytes && (number === 44 || number === 45)) {
      const text = decodeUtf8(reader.content());
      if (number === 44) trainer.unknownSurface = text;
      else trainer.unknownPiece = text || '<unk>';
    }
  }
}

function checkKind({trainer, pieces}, where) {
  if (trainer.modelType !== UNIGRAM) {
    throw fileError(`${where} is not a unigram model, the only kind that is supported.`);
  }
  if (pieces.some((piece) => piece.type === BYTE)) {
    throw fileError(
      `${where} encodes unknown characters as bytes, which is not supported; ALBERT's do not.`,
    );
  }
  if (trainer.byteFallback) throw new DamagedError('there are not 256 byte pieces');
}
