import {inputError} from '../errors.js';
import {WordPieceTokenizer} from '../tokenizer/wordpiece.js';
import {trim, trimmedEnd} from '../unicode.js';
import {topOrder} from './classification.js';
import {softmax} from './numbers.js';
import {Pipeline} from './pipeline.js';

const INNER = '##';
const WORD_START = '\u2581';

/**
 * Predicts the tokens behind `[MASK]`.
 *
 * The names of special tokens in the text become those tokens here, so do not pass it untrusted
 * text. The model computes all T times V logits: for 128 tokens and 30,000 pieces they take 15 MB.
 */
export class FillMask extends Pipeline {
  /**
   * Fills every mask of a text, and of a second one, each as if the others stayed masks.
   *
   * @param {string} text
   * @param {object} [options]
   * @param {string | null} [options.pair] A second text, which may contain masks too.
   * @param {number} [options.top_k] The number of candidates for each mask.
   * @returns `text`, with the best candidate in place of every mask (and `pair`, if there is one);
   *   `masks`, each with its place `start`, `end` in the text (in the second one if `in_pair`), and
   *   its `candidates`, the best first: `token`, `id`, `score` and `text`; `tokens`; `truncated`.
   */
  async call(text, {pair = null, top_k = 5} = {}) {
    checkTopK(top_k, this.model.file.vocab_size);
    const encoded = this.encode(text, pair, true);
    const {logits} = await this.run(encoded);
    const filled = fillMasks(text, pair, encoded, logits, this.tokenizer, top_k);
    return {...filled, tokens: encoded.input_ids.length, truncated: encoded.truncated};
  }
}

/** Both heads of pre-training: `FillMask` and `SentenceOrder` in one run of the model. */
export class Pretraining extends Pipeline {
  /**
   * Fills the masks of one text or two, and predicts the order of two.
   *
   * @param {string} text
   * @param {{pair?: string | null, top_k?: number}} [options] As in `FillMask`.
   * @returns If there are masks, `text`, `pair` and `masks` as `FillMask` returns them; if there are
   *   two texts, `order`: `label`, `score` and `scores`; `tokens`; `truncated`.
   */
  async call(text, {pair = null, top_k = 5} = {}) {
    checkTopK(top_k, this.model.file.vocab_size);
    const encoded = this.encode(text, pair, true);
    const isMasked = encoded.input_ids.includes(this.tokenizer.mask_id);
    if (!isMasked && pair === null) {
      throw inputError(
        'there is nothing to predict: put [MASK] where a word is missing, or give a second text ' +
          '(pair) to predict the order.',
      );
    }
    const {prediction_logits, sop_logits} = await this.run(encoded);
    const filled = isMasked
      ? fillMasks(text, pair, encoded, prediction_logits, this.tokenizer, top_k)
      : {};
    const order = pair === null ? {} : {order: topOrder(sop_logits)};
    const {truncated, input_ids} = encoded;
    return {...filled, ...order, tokens: input_ids.length, truncated};
  }
}

function checkTopK(count, vocabSize) {
  if (!(Number.isInteger(count) && count >= 1 && count <= vocabSize)) {
    throw inputError(`top_k must be in [1, ${vocabSize}], not ${count}.`);
  }
}

/** Fills the masks of one text or two, from the logits of all tokens, T·V. */
function fillMasks(text, pair, encoded, logits, tokenizer, count) {
  const {input_ids, token_type_ids, starts, ends} = encoded;
  const texts = pair === null ? [text] : [text, pair];
  const filled = [...texts];
  const width = logits.length / input_ids.length;
  const masks = [];
  // From the end: filling a mask moves only the text behind it.
  for (let at = input_ids.length - 1; at >= 0; at--) {
    if (starts[at] < 0 || input_ids[at] !== tokenizer.mask_id) continue;
    const [which, start, end] = [token_type_ids[at], starts[at], ends[at]];
    const scores = softmax(logits, at * width, width);
    // A model may have more rows than its tokenizer has pieces.
    const candidates = best(scores, Math.min(width, tokenizer.vocab_size), count).map((id) => ({
      token: surface(id, tokenizer),
      id,
      score: scores[id],
      text: replace(texts[which], start, end, id, tokenizer),
    }));
    filled[which] = replace(filled[which], start, end, candidates[0].id, tokenizer);
    masks.unshift({start, end, ...(pair === null ? {} : {in_pair: which === 1}), candidates});
  }
  if (masks.length === 0) {
    throw inputError(
      `there is no ${tokenizer.idToPiece(tokenizer.mask_id)} in the text (or it was cut off): put ` +
        'it where a word is missing.',
    );
  }
  return {text: filled[0], ...(pair === null ? {} : {pair: filled[1]}), masks};
}

/** Returns the ids in `[0, size)` with the best scores, the first of equal ones first. */
function best(scores, size, count) {
  const ids = Array.from({length: size}, (_, id) => id);
  return ids.sort((one, other) => scores[other] - scores[one] || one - other).slice(0, count);
}

/** Returns the text with a token in place of `[start, end)`. */
function replace(text, start, end, id, tokenizer) {
  const stop = continuesWord(id, tokenizer) ? trimmedEnd(text, 0, start) : start;
  return text.slice(0, stop) + surface(id, tokenizer) + text.slice(end);
}

/** Returns the text of a token, without the mark of its word's start or of its continuing one. */
function surface(id, tokenizer) {
  const piece = tokenizer.idToPiece(id);
  if (!(tokenizer instanceof WordPieceTokenizer)) return trim(piece.replaceAll(WORD_START, ' '));
  return piece.startsWith(INNER) ? piece.slice(INNER.length) : piece;
}

/** Returns whether a token continues the word before it. */
function continuesWord(id, tokenizer) {
  const piece = tokenizer.idToPiece(id);
  return tokenizer instanceof WordPieceTokenizer
    ? piece.startsWith(INNER)
    : !piece.startsWith(WORD_START);
}
