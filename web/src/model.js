import {earlyExitInputs} from './early_exit.js';
import {fileError, inputError} from './errors.js';
import {POOLER_OUTPUT, TASKS, rowSize} from './tasks.js';

/**
 * Runs a model once: what a runtime is to this package.
 *
 * It gets the name of a signature, and its inputs by name: `input_ids`, `token_type_ids` and, in
 * files of fixed lengths, `attention_mask`, Int32Array [T]; in files with early exit also `patience`,
 * `threshold` and `max_layers`, [1]. It returns the outputs by name, row-major.
 *
 * @callback Run
 * @param {string} signature
 * @param {Record<string, Int32Array | Float32Array>} inputs
 * @returns {Promise<Record<string, Float32Array | Int32Array>> |
 *   Record<string, Float32Array | Int32Array>}
 */

/** An open model: takes token ids and returns its head's outputs. */
export class Model {
  #run;
  #last = Promise.resolve();

  /**
   * @param {import('./file/model_file.js').ModelFile} file
   * @param {Run} run
   */
  constructor(file, run) {
    this.file = file;
    this.#run = run;
  }

  /** The longest input in tokens, special tokens included. */
  get max_tokens() {
    return this.file.max_tokens;
  }

  /**
   * Runs one sequence. Where the file has fixed lengths, it is padded to the shortest that it fits
   * in, and the outputs of padding are cut off. One call at a time is in the runtime.
   *
   * @param {ArrayLike<number>} inputIds T token ids, in [0, V), with 1 <= T <= `max_tokens`.
   * @param {ArrayLike<number> | null} [tokenTypeIds] T numbers, 0 in the first text and 1 in the
   *   second; all 0 if left out.
   * @param {object} [options]
   * @param {import('./early_exit.js').EarlyExit | null} [options.early_exit] When to stop, for a
   *   file with early exit; its own rule if left out.
   * @returns {Promise<Record<string, Float32Array>>} The outputs by name, row-major: `logits` C, T·C
   *   or T·V (`classification`, `token-classification`, `fill-mask`); `start_logits`, `end_logits`
   *   T; `sentence_logits` T; `last_hidden_state` T·H and `pooler_output` H; `prediction_logits` T·V
   *   and `sop_logits` 2. Of a file with early exit also `layers_used`, Int32Array 1.
   */
  async run(inputIds, tokenTypeIds = null, {early_exit = null} = {}) {
    this.#checkIds(inputIds, tokenTypeIds);
    if (early_exit !== null) this.requireEarlyExit();
    const rule = early_exit ?? this.file.early_exit;
    const {seq_lens} = this.file;
    const count = inputIds.length;
    const length = seq_lens.find((one) => one >= count) ?? count;
    const inputs = this.#inputs(inputIds, tokenTypeIds, rule, length);
    const signature = seq_lens.length > 1 ? `serving_${length}` : 'serving_default';
    const found = await this.#inTurn(() => this.#run(signature, inputs));
    return this.#checkedOutputs(found, count, length, rule);
  }

  /** Calls a function when the calls before it have ended. */
  #inTurn(call) {
    const result = this.#last.then(call);
    this.#last = result.then(
      () => {},
      () => {},
    );
    return result;
  }

  /** Checks that the file supports early exit. */
  requireEarlyExit() {
    if (this.file.early_exit !== null) return;
    throw inputError(
      'this file does not support early exit: it always runs all layers. Convert a checkpoint that ' +
        'was trained with early_exit, in layout loop or split.',
    );
  }

  #checkIds(inputIds, tokenTypeIds) {
    const {vocab_size, type_vocab_size, max_tokens} = this.file;
    if (!(inputIds.length > 0)) throw inputError('input_ids must have at least one token.');
    checkRange('input_ids', inputIds, vocab_size);
    if (inputIds.length > max_tokens) {
      throw inputError(
        `${inputIds.length} tokens are too many; this model supports at most ${max_tokens}.`,
      );
    }
    if (tokenTypeIds === null) return;
    checkRange('token_type_ids', tokenTypeIds, type_vocab_size);
    if (tokenTypeIds.length !== inputIds.length) {
      throw inputError(
        `token_type_ids has ${tokenTypeIds.length} entries for ${inputIds.length} input_ids.`,
      );
    }
  }

  #inputs(inputIds, tokenTypeIds, rule, length) {
    const inputs = {
      input_ids: new Int32Array(length).fill(this.file.pad_token_id, inputIds.length),
      token_type_ids: new Int32Array(length),
    };
    inputs.input_ids.set(inputIds);
    if (tokenTypeIds !== null) inputs.token_type_ids.set(tokenTypeIds);
    if (this.file.seq_lens.length > 0) {
      inputs.attention_mask = new Int32Array(length).fill(1, 0, inputIds.length);
    }
    return rule === null ? inputs : {...inputs, ...earlyExitInputs(rule)};
  }

  #checkedOutputs(found, count, length, rule) {
    const {outputs, perToken} = TASKS[this.file.task];
    const kept = {};
    for (const name of outputs) {
      const values = found[name];
      if (values === undefined && name === POOLER_OUTPUT) continue;
      const isPerToken = perToken.includes(name);
      const size = rowSize(this.file, name);
      this.#checkOutput(name, values, (isPerToken ? length : 1) * size);
      kept[name] = isPerToken ? values.subarray(0, count * size) : values;
    }
    if (rule !== null) {
      this.#checkOutput('layers_used', found.layers_used, 1);
      kept.layers_used = found.layers_used;
    }
    return kept;
  }

  #checkOutput(name, values, size) {
    if (values?.length !== size) {
      const what = values === undefined ? 'missing' : `of ${values.length} values`;
      throw fileError(
        `the model contradicts its task '${this.file.task}': its output ${name} is ${what}, ` +
          `expected ${size}.`,
      );
    }
    if (!values.every(Number.isFinite)) {
      throw fileError(
        `the model returns NaN or infinity in ${name}: its weights are damaged, or too large for ` +
          'its recipe. Convert the checkpoint again, or with --quantize float32.',
      );
    }
  }
}

function checkRange(name, ids, below) {
  for (let at = 0; at < ids.length; at++) {
    if (!Number.isInteger(ids[at]) || ids[at] < 0 || ids[at] >= below) {
      throw inputError(`${name} must be in [0, ${below}); there is ${ids[at]}.`);
    }
  }
}
