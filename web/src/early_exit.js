import {inputError} from './errors.js';

const MAX_INT32 = 0x7fffffff; // patience and max_layers are int32 in the file

/**
 * When a model with early exit stops: after the first pass that meets one of three conditions.
 *
 * A pass predicts a text's label, that of every token, or the first and the last token of an answer.
 *
 * @typedef {object} EarlyExit
 * @property {number} patience Stop when this many passes in a row have predicted the same as the
 *   pass before them; at least 1.
 * @property {number} threshold Stop when all that is predicted has at least this probability; above
 *   1 for never.
 * @property {number | null} max_layers Stop after this many passes in any case; null for no limit.
 */

/**
 * Returns a rule.
 *
 * @param {Partial<EarlyExit>} values
 * @returns {EarlyExit}
 * @throws {AlbertEdgeError} It is out of range.
 */
export function earlyExit({patience, threshold, max_layers = null}) {
  for (const [name, value] of Object.entries({patience, max_layers})) {
    if (name === 'max_layers' && value === null) continue;
    if (!Number.isInteger(value) || value < 1 || value > MAX_INT32) {
      throw inputError(`${name} must be a whole number of at least 1, not ${value}.`);
    }
  }
  if (!Number.isFinite(threshold) || threshold < 0) {
    throw inputError(`threshold must be a probability, or above 1 for none, not ${threshold}.`);
  }
  return {patience, threshold, max_layers};
}

/** Returns a rule as inputs of a signature, each [1]. */
export function earlyExitInputs({patience, threshold, max_layers}) {
  return {
    patience: Int32Array.of(patience),
    threshold: Float32Array.of(threshold),
    max_layers: Int32Array.of(max_layers ?? MAX_INT32),
  };
}
