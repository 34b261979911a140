import {inputError} from '../errors.js';

/**
 * An encoding, and whether text was cut off because it is longer than the model takes.
 *
 * @typedef {import('../tokenizer/tokenizer.js').Encoding & {truncated: boolean}} Encoded
 */

/** A model and its tokenizer; a subclass interprets the model's outputs in `call`. */
export class Pipeline {
  /**
   * @param {import('../model.js').Model} model
   * @param {import('../tokenizer/tokenizer.js').Tokenizer | null} tokenizer Null if the file carries
   *   none.
   */
  constructor(model, tokenizer) {
    this.model = model;
    this.tokenizer = tokenizer;
  }

  /** The number of tokens to which a text is truncated, special ones included. */
  get max_tokens() {
    const most = this.model.max_tokens;
    return Math.min(most, this.tokenizer?.model_max_length ?? most);
  }

  /**
   * Returns the tokenizer.
   *
   * @throws {AlbertEdgeError} The file carries none.
   */
  get text_tokenizer() {
    if (this.tokenizer !== null) return this.tokenizer;
    throw inputError(
      'this file carries no tokenizer, so it does not accept text; convert the checkpoint together ' +
        'with its spiece.model.',
    );
  }

  /**
   * Encodes one text, or two, cut at the end of the longer one where they are too long.
   *
   * @param {string} text
   * @param {string | null} pair
   * @param {boolean} [allow_special] Whether the names of special tokens become those tokens.
   * @returns {Encoded}
   * @throws {AlbertEdgeError} A text is empty or not Unicode, or the file carries no tokenizer.
   */
  encode(text, pair, allow_special = false) {
    const tokenizer = this.text_tokenizer;
    const most = this.max_tokens;
    const longer = tokenizer.encode(text, pair, {max_length: most + 1, allow_special});
    checkNotEmpty(longer, pair !== null);
    if (longer.input_ids.length <= most) return {...longer, truncated: false};
    const cut = tokenizer.encode(text, pair, {max_length: most, allow_special});
    return {...cut, truncated: true};
  }

  /** Runs the model on an encoding; see `Model.run`. */
  run({input_ids, token_type_ids}, options) {
    return this.model.run(input_ids, token_type_ids, options);
  }
}

/** Checks that the first text of an encoding, and the second if there are two, has tokens. */
export function checkNotEmpty({starts}, isPaired) {
  const isFirstEmpty = starts[1] < 0;
  if (!isFirstEmpty && !(isPaired && starts[starts.length - 2] < 0)) return;
  const which = !isFirstEmpty ? 'second ' : isPaired ? 'first ' : '';
  throw inputError(`the ${which}text is empty: it contains no tokens.`);
}
