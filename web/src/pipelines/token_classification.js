import {inputError} from '../errors.js';
import {argmax, softmax} from './numbers.js';
import {Pipeline} from './pipeline.js';
import {alignWords, bioToEntities} from './words.js';

// The probabilities of a word's labels, from those of its tokens.
const AGGREGATIONS = {
  first: (rows) => rows[0], // models are trained on the first token of each word
  average: (rows) =>
    rows[0].map((_, label) => rows.reduce((sum, row) => sum + row[label], 0) / rows.length),
  max: (rows) => rows[argmax(rows.map((row) => row[argmax(row)]))],
};

/** Labels every word of a text: named entities, parts of speech. */
export class TokenClassification extends Pipeline {
  /**
   * Labels every word of a text, which is cut at its end if it is longer than the model takes.
   *
   * @param {string} text
   * @param {object} [options]
   * @param {'first' | 'average' | 'max'} [options.aggregation] How to label a word of several tokens:
   *   by its first token; by the mean of their probabilities; by the token with the highest one.
   * @param {boolean} [options.entities] Whether to group words into entities by their labels.
   * @returns `words`, each with `text`, `start`, `end`, `label` and `score`; with `entities` also
   *   `entities`, each with its type as `label` and the mean of its words' `score`; `tokens`;
   *   `truncated`; with early exit `layers_used`.
   */
  async call(text, {aggregation = 'first', entities = false} = {}) {
    if (!Object.hasOwn(AGGREGATIONS, aggregation)) {
      const choices = Object.keys(AGGREGATIONS).join(', ');
      throw inputError(`aggregation is '${aggregation}'; choose from ${choices}.`);
    }
    const encoded = this.encode(text, null);
    const {logits, layers_used} = await this.run(encoded);
    const words = this.#words(text, encoded, logits, AGGREGATIONS[aggregation]);
    return {
      words,
      ...(entities ? {entities: groupEntities(text, words)} : {}),
      tokens: encoded.input_ids.length,
      truncated: encoded.truncated,
      ...(layers_used === undefined ? {} : {layers_used: layers_used[0]}),
    };
  }

  #words(text, {starts, ends}, logits, aggregate) {
    const {labels} = this.model.file;
    const first = starts.findIndex((start) => start >= 0); // behind [CLS]
    const count = starts.filter((start) => start >= 0).length;
    const inner = [starts, ends].map((places) => places.subarray(first, first + count));
    return alignWords(text, inner[0], inner[1]).map(({start, end, tokens}) => {
      const rows = tokens.map((at) => softmax(logits, (first + at) * labels.length, labels.length));
      const scores = aggregate(rows);
      const best = argmax(scores);
      return {text: text.slice(start, end), start, end, label: labels[best], score: scores[best]};
    });
  }
}

function groupEntities(text, words) {
  return bioToEntities(words.map((word) => word.label)).map(({type, first, stop}) => {
    const inner = words.slice(first, stop);
    const [{start}, {end}] = [inner[0], inner[inner.length - 1]];
    const score = inner.reduce((sum, word) => sum + word.score, 0) / inner.length;
    return {text: text.slice(start, end), start, end, label: type, score};
  });
}
