import {earlyExit} from '../early_exit.js';
import {fileError, inputError} from '../errors.js';
import {argmax, sigmoid, softmax} from './numbers.js';
import {Pipeline} from './pipeline.js';

const ORDER_LABELS = ['in order', 'swapped']; // as ALBERT numbers them in pre-training
const ONE_LABEL = 'single_label_classification';
const MULTI_LABEL = 'multi_label_classification';
const REGRESSION = 'regression';
const KINDS = [ONE_LABEL, MULTI_LABEL, REGRESSION];

/** Classifies a text, or a pair of texts, or predicts numbers for it. */
export class Classification extends Pipeline {
  /**
   * Classifies a text, or a text and a second one.
   *
   * A text that is longer than the model takes is cut at its end (of two, the longer one).
   *
   * @param {string} text
   * @param {object} [options]
   * @param {string | null} [options.pair] The second text, for tasks that compare two.
   * @param {number | null} [options.threshold] For multi-label models, the least probability of a
   *   label in `labels`; 0.5 if left out. For files with early exit, as in `EarlyExit`.
   * @param {number | null} [options.patience] For files with early exit, as in `EarlyExit`; this,
   *   `max_layers` and the `threshold` of an early exit are the file's own if left out.
   * @param {number | null} [options.max_layers] As in `EarlyExit`.
   * @returns One label: `label`, `score` and `scores`, the probability of every label. Multi-label:
   *   `labels`, those with at least the threshold, and `scores`. Regression: `value`, or with several
   *   labels `values`. Always `tokens` and `truncated`; with early exit `layers_used`.
   */
  async call(text, {pair = null, threshold = null, patience = null, max_layers = null} = {}) {
    const kind = kindOf(this.model.file);
    const isMulti = kind === MULTI_LABEL;
    if (isMulti && threshold !== null && !(threshold >= 0 && threshold <= 1)) {
      throw inputError(`threshold must be in [0, 1], not ${threshold}.`);
    }
    const rule = this.#earlyExit({patience, max_layers, threshold: isMulti ? null : threshold});
    const encoded = this.encode(text, pair);
    const outputs = await this.run(encoded, {early_exit: rule});
    const result = answer(outputs.logits, this.model.file.labels, kind, threshold ?? 0.5);
    if (outputs.layers_used !== undefined) [result.layers_used] = outputs.layers_used;
    return {...result, tokens: encoded.input_ids.length, truncated: encoded.truncated};
  }

  /** Returns the file's rule of early exit, with those values that are not null. */
  #earlyExit(values) {
    const stated = Object.entries(values).filter(([, value]) => value !== null);
    if (stated.length === 0) return null;
    this.model.requireEarlyExit();
    return earlyExit({...this.model.file.early_exit, ...Object.fromEntries(stated)});
  }
}

function kindOf(file) {
  const name = file.config.problem_type ?? null;
  if (name === null) return file.labels.length === 1 ? REGRESSION : ONE_LABEL;
  if (KINDS.includes(name)) return name;
  throw fileError(`${file.name}: problem_type '${name}' is not one of ${KINDS.join(', ')}.`);
}

function answer(logits, labels, kind, threshold) {
  if (kind === REGRESSION) {
    return labels.length === 1 ? {value: logits[0]} : {values: byLabel(labels, logits)};
  }
  if (kind === ONE_LABEL && labels.length > 1) return topLabel(logits, labels);
  const scores = Array.from(logits, sigmoid);
  if (kind === ONE_LABEL) {
    // The only label may be wrong, so its probability is not 1.
    return {label: labels[0], score: scores[0], scores: byLabel(labels, scores)};
  }
  const ranked = labels.map((_, at) => at).sort((one, other) => scores[other] - scores[one]);
  const predicted = ranked.filter((at) => scores[at] >= threshold);
  return {labels: predicted.map((at) => labels[at]), scores: byLabel(labels, scores)};
}

const byLabel = (labels, values) =>
  Object.fromEntries(labels.map((label, at) => [label, values[at]]));

/**
 * Returns the most probable label: `label`; `score`, its probability; `scores`, that of every label.
 *
 * @param {Float32Array} logits C numbers.
 * @param {string[]} labels The C labels.
 */
function topLabel(logits, labels) {
  const scores = softmax(logits);
  const best = argmax(scores);
  return {label: labels[best], score: scores[best], scores: byLabel(labels, scores)};
}

/** Returns the order of two texts, from the logits of pre-training's second head. */
export const topOrder = (logits) => topLabel(logits, ORDER_LABELS);

/** Predicts whether the second of two texts follows the first. */
export class SentenceOrder extends Pipeline {
  /**
   * Predicts the order of two texts; those that are too long are cut at the end of the longer one.
   *
   * @param {string} text
   * @param {{pair?: string | null}} [options] The second text.
   * @returns `label`, "in order" or "swapped"; `score`, its probability; `scores`, of both;
   *   `tokens`; `truncated`.
   */
  async call(text, {pair = null} = {}) {
    if (pair === null) throw inputError('sentence order needs two texts: give a second one (pair).');
    const encoded = this.encode(text, pair);
    const {sop_logits} = await this.run(encoded);
    const {truncated, input_ids} = encoded;
    return {...topOrder(sop_logits), tokens: input_ids.length, truncated};
  }
}
