import {inputError} from '../errors.js';
import {meanState} from './feature_extraction.js';
import {argmax, dot, sigmoid} from './numbers.js';
import {Pipeline} from './pipeline.js';
import {joinSentences, sentenceSpans, splitIntoWindows, tokenizeSentences} from './sentences.js';

// The default window of training: a model may be untrained at positions beyond it.
const WINDOW = 384;
// Both chosen on SciTLDR's dev abstracts.
const THRESHOLD = 0.3; // its position between the least and the largest cosine
const EARLIER_WEIGHT = 0.5; // of the similarity to an earlier sentence
const EPSILON = 1e-12;

/**
 * Summarizes an article by its own sentences: central ones that do not repeat each other.
 *
 * A model with a summarization head scores every sentence in its context. An encoder without a head
 * (`feature-extraction`) is not trained for that; then the sentences most similar to the others are
 * selected.
 */
export class Summarization extends Pipeline {
  /**
   * Selects the sentences that summarize an article of any length, which is read in windows of whole
   * sentences if it is longer than the model takes.
   *
   * @param {string | string[]} text The article, or its sentences, which are then joined by spaces.
   * @param {object} [options]
   * @param {number} [options.bullets] The number of sentences to select.
   * @param {number} [options.redundancy] The weight of a sentence's similarity to the selected ones
   *   against its score, in [0, 1].
   * @returns `bullets`, in the order of the article, each with `text`, `start`, `end` and its `score`
   *   without regard to the others, in [0, 1]; `sentences`, the number of sentences of the article;
   *   `truncated`, whether one was cut because the model takes no sentence that long.
   */
  async call(text, {bullets = 3, redundancy = 0.3} = {}) {
    if (!(bullets >= 1 && redundancy >= 0 && redundancy <= 1)) {
      throw inputError('bullets must be at least 1, redundancy in [0, 1].');
    }
    const article = sentenceSpans(text);
    const tokenizer = this.text_tokenizer;
    const sentences = tokenizeSentences(article.text, article.spans, tokenizer, this.#window - 2);
    if (sentences.length === 0) throw inputError('the text is empty: it contains no sentences.');
    const ids = sentences.map((sentence) => sentence.ids);
    const hasHead = this.model.file.task === 'summarization';
    const {scores, similarity} = hasHead
      ? {scores: await this.#headScores(ids), similarity: bigramOverlap(ids)}
      : centrality(await this.#embed(ids));
    const selected = selectByMarginalRelevance(minMax(scores), similarity, bullets, redundancy);
    return {
      bullets: selected.map((at) => {
        const {start, end} = sentences[at];
        return {text: article.text.slice(start, end), start, end, score: scores[at]};
      }),
      sentences: sentences.length,
      truncated: sentences.some((sentence) => sentence.truncated),
    };
  }

  get #window() {
    return Math.min(this.max_tokens, WINDOW);
  }

  /** Returns the head's score of every sentence, [n], from the first window that contains it. */
  async #headScores(sentences) {
    const scores = new Float64Array(sentences.length);
    const sizes = sentences.map((ids) => ids.length);
    for (const {start, firstNew, stop} of splitIntoWindows(sizes, this.#window)) {
      const inner = sentences.slice(start, stop);
      const joined = joinSentences(inner, this.tokenizer, this.model.file.type_vocab_size);
      const {sentence_logits} = await this.run(joined);
      for (let at = firstNew; at < stop; at++) {
        const begin = joined.starts[at - start];
        const logits = sentence_logits.subarray(begin, begin + sizes[at] + 1);
        scores[at] = sigmoid(logits.reduce((sum, logit) => sum + logit, 0) / logits.length);
      }
    }
    return scores;
  }

  /** Returns the mean hidden state of every sentence on its own, [n, H]. */
  async #embed(sentences) {
    const known = new Map(); // equal sentences are embedded once
    const vectors = [];
    for (const ids of sentences) {
      const key = ids.join();
      if (!known.has(key)) {
        const joined = joinSentences([ids], this.tokenizer, 1);
        const {last_hidden_state} = await this.run(joined);
        known.set(key, meanState(last_hidden_state, joined.input_ids.length));
      }
      vectors.push(known.get(key));
    }
    return vectors;
  }
}

/**
 * Selects sentences one by one, by relevance less similarity to those already selected.
 *
 * Maximal marginal relevance (Carbonell and Goldstein 1998, doi:10.1145/290941.291025), where lambda
 * is 1 - `redundancy`.
 *
 * @param {Float64Array} relevance The relevance of each sentence on its own, [n], in [0, 1].
 * @param {(at: number) => ArrayLike<number>} similarity Returns the similarity of a sentence to each,
 *   [n], in [0, 1].
 * @param {number} count The number of sentences to select, at most n.
 * @param {number} redundancy The weight of the similarity to a selected sentence, in [0, 1].
 * @returns {number[]} The selected sentences, in the order of the article.
 */
function selectByMarginalRelevance(relevance, similarity, count, redundancy) {
  const selected = [];
  const maxSimilarity = new Float64Array(relevance.length); // to any selected sentence
  while (selected.length < Math.min(count, relevance.length)) {
    const marginal = relevance.map(
      (value, at) => (1 - redundancy) * value - redundancy * maxSimilarity[at],
    );
    for (const at of selected) marginal[at] = -Infinity;
    const next = argmax(marginal);
    selected.push(next);
    const similar = similarity(next);
    for (let at = 0; at < similar.length; at++) {
      maxSimilarity[at] = Math.max(maxSimilarity[at], similar[at]);
    }
  }
  return selected.sort((one, other) => one - other);
}

/** Scales values so that the least is 0 and the largest 1; all are 1 if they are equal. */
function minMax(values) {
  const low = values.reduce((least, value) => Math.min(least, value), Infinity);
  const high = values.reduce((most, value) => Math.max(most, value), -Infinity);
  return values.map((value) => (high > low ? (value - low) / (high - low) : 1));
}

/**
 * Computes which sentences are the most similar to the others.
 *
 * The degree in the graph of the article's sentences, where similarity to a later sentence counts
 * more than to an earlier one (PacSum: Zheng and Lapata 2019, arXiv:1906.03508, sec. 3), and
 * similarity below a threshold not at all. The threshold is relative to the article's cosines: those
 * of an encoder that was never trained to compare are all large.
 *
 * @param {Float64Array[]} vectors An embedding of each sentence, [n, H].
 * @returns The centrality of each sentence, [n], from 0 to 1; and a function that returns the
 *   similarity of a sentence to each, [n], from 0 to 1; 0 to itself.
 */
function centrality(vectors) {
  const unit = vectors.map((vector) => {
    const length = Math.max(Math.sqrt(dot(vector, vector)), EPSILON);
    return vector.map((value) => value / length);
  });
  let [low, high] = [Infinity, -Infinity];
  forEachPair(unit, (_one, _other, cosine) => {
    low = Math.min(low, cosine);
    high = Math.max(high, cosine);
  });
  // One sentence alone makes no pair, and scaling makes its score 1 whatever these are.
  const least = low + THRESHOLD * (high - low);
  const scale = Math.max(high - least, EPSILON);
  const degrees = new Float64Array(unit.length);
  forEachPair(unit, (first, second, cosine) => {
    const similar = Math.max(cosine - least, 0);
    degrees[first] += similar;
    degrees[second] += EARLIER_WEIGHT * similar;
  });
  const similarity = (index) =>
    unit.map((vector, at) =>
      at === index ? 0 : Math.max(dot(vector, unit[index]) - least, 0) / scale,
    );
  return {scores: minMax(degrees.map((degree) => degree / scale)), similarity};
}

function forEachPair(vectors, action) {
  for (let first = 0; first < vectors.length; first++) {
    for (let second = first + 1; second < vectors.length; second++) {
      action(first, second, dot(vectors[first], vectors[second]));
    }
  }
}

/**
 * Returns a function that returns the proportion of token bigrams of the shorter of two sentences
 * that both contain.
 *
 * It replaces the trigram blocking of BERTSUM (Liu 2019, arXiv:1903.10318, sec. 3), which allows no
 * three words twice, by a number.
 *
 * @param {Int32Array[]} sentences The token ids of n sentences, each at least one.
 */
function bigramOverlap(sentences) {
  const bigrams = sentences.map(bigramsOf);
  return (index) =>
    bigrams.map((theirs) => {
      const ours = bigrams[index];
      const shared = [...ours].filter((bigram) => theirs.has(bigram));
      return shared.length / Math.min(ours.size, theirs.size);
    });
}

function bigramsOf(ids) {
  if (ids.length === 1) return new Set([`${ids[0]}`]);
  return new Set(Array.from(ids.subarray(1), (id, at) => `${ids[at]} ${id}`));
}
