import {inputError} from '../errors.js';
import {dot} from './numbers.js';
import {Pipeline} from './pipeline.js';

const POOLINGS = ['mean', 'cls', 'pooler'];

/** Turns a text into vectors: one for each token, and one for the whole text. */
export class FeatureExtraction extends Pipeline {
  /**
   * Encodes a text, or a text and a second one.
   *
   * @param {string} text
   * @param {object} [options]
   * @param {string | null} [options.pair] A second text.
   * @param {'mean' | 'cls' | 'pooler' | null} [options.pooling] How to make one vector of the whole
   *   text: the mean over all tokens, the first token's, or the pooler's output; null for none.
   * @param {boolean} [options.normalize] Whether to scale that vector to length 1, so that the dot
   *   product of two is their cosine.
   * @returns `last_hidden_state`, T vectors [H]; `mean`, their mean, [H]; `pooler_output`, [H],
   *   unless the model has no pooler; with `pooling` also `embedding`, [H]; `tokens`, the T pieces;
   *   `truncated`.
   */
  async call(text, {pair = null, pooling = null, normalize = false} = {}) {
    if (pooling !== null && !POOLINGS.includes(pooling)) {
      throw inputError(`pooling is '${pooling}'; choose from ${POOLINGS.join(', ')}.`);
    }
    if (normalize && pooling === null) {
      throw inputError(`normalize needs a pooling: ${POOLINGS.join(', ')}.`);
    }
    const encoded = this.encode(text, pair);
    const outputs = await this.run(encoded);
    const rows = rowsOf(outputs.last_hidden_state, encoded.input_ids.length);
    const mean = Float32Array.from(meanOf(rows));
    const {pooler_output} = outputs;
    const result = {last_hidden_state: rows, mean};
    if (pooler_output !== undefined) result.pooler_output = pooler_output;
    if (pooling !== null) {
      const pooled = {mean, cls: rows[0], pooler: pooler_output}[pooling];
      if (pooled === undefined) {
        throw inputError('this model has no pooler; choose the pooling mean or cls.');
      }
      result.embedding = normalize ? normalized(pooled) : pooled.slice();
    }
    const tokens = Array.from(encoded.input_ids, (id) => this.tokenizer.idToPiece(id));
    return {...result, tokens, truncated: encoded.truncated};
  }
}

function rowsOf(values, count) {
  const width = values.length / count;
  return Array.from({length: count}, (_, at) => values.subarray(at * width, (at + 1) * width));
}

/** Returns the mean of vectors of the same size, in double precision. */
function meanOf(rows) {
  const mean = new Float64Array(rows[0].length);
  for (const row of rows) for (let at = 0; at < mean.length; at++) mean[at] += row[at];
  return mean.map((sum) => sum / rows.length);
}

/** Returns the mean of the rows of a hidden state, in double precision. */
export const meanState = (values, count) => meanOf(rowsOf(values, count));

function normalized(vector) {
  const length = Math.sqrt(dot(vector, vector));
  return vector.map((value) => value / length);
}

/**
 * Returns the cosine of two vectors of the same size, in [-1, 1]; 0 if one is all zeros.
 *
 * @param {ArrayLike<number>} first
 * @param {ArrayLike<number>} second
 */
export function cosineSimilarity(first, second) {
  if (first.length !== second.length) {
    throw inputError(`vectors of ${first.length} and ${second.length} have no cosine.`);
  }
  const lengths = Math.sqrt(dot(first, first)) * Math.sqrt(dot(second, second));
  return lengths > 0 ? dot(first, second) / lengths : 0;
}
