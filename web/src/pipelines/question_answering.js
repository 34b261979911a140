import {inputError} from '../errors.js';
import {Pipeline, checkNotEmpty} from './pipeline.js';

// ALBERT is fine-tuned on SQuAD at this length (Google's run_squad); longer windows gain nothing.
const WINDOW = 384;
const MAX_QUESTION = 64; // tokens, run_squad's max_query_length

/**
 * Answers a question by a part of a passage of any length.
 *
 * A long passage is read in windows that overlap by at least the longest answer, so every part that
 * may be the answer lies whole in at least one window; its score is that of the window where it has
 * the most context.
 */
export class QuestionAnswering extends Pipeline {
  /**
   * Answers a question from a passage.
   *
   * @param {object} options
   * @param {string} options.question The question, of which at most 64 tokens are read.
   * @param {string} options.context The passage that contains the answer, of any length.
   * @param {number} [options.max_answer_length] The most tokens of an answer.
   * @param {number} [options.stride] The number of tokens of the passage that neighbouring windows
   *   share. Raised to `max_answer_length` if it is less, and lowered where windows are short.
   * @param {number} [options.top_k] The number of answers under `answers`, the best first.
   * @param {boolean} [options.allow_null] Whether "no answer" is allowed: for models trained on SQuAD
   *   2.0.
   * @param {number} [options.null_threshold] By how much `null_score` must exceed the best span's
   *   logits to win.
   * @returns `answer`, exactly as in `context`, `context.slice(start, end)`, or "" for no answer (then
   *   `start` and `end` are 0); `score`, its probability among all spans (and no answer, if allowed);
   *   `null_score`, the least sum of logits of `[CLS]` over all windows; `windows`, their number;
   *   `truncated`, whether the question was cut; with early exit `layers_used`, of several windows
   *   the mean; and with `top_k` above 1, `answers`.
   */
  async call(options) {
    const {question, context, max_answer_length = 30, stride = 128, top_k = 1} = options;
    const {allow_null = false, null_threshold = 0} = options;
    if (!(Math.min(max_answer_length, top_k) >= 1 && stride >= 0)) {
      throw inputError('max_answer_length and top_k must be at least 1, stride at least 0.');
    }
    const longest = Math.min(this.model.file.seq_lens.at(-1) ?? WINDOW, this.max_tokens);
    const sizes = {max_length: longest, max_answer_length, stride};
    const plan = planWindows(this.text_tokenizer, question, context, sizes);
    const outputs = [];
    for (const window of plan.windows) outputs.push(await this.run(window));
    const nullScore = Math.min(
      ...outputs.map((one) => Math.fround(one.start_logits[0] + one.end_logits[0])),
    );
    const found = bestSpans(plan, outputs, max_answer_length, top_k, allow_null ? nullScore : null);
    const answers = found.spans.map((span) => ({
      answer: context.slice(span.start, span.end),
      score: found.probability(span.logit),
      start: span.start,
      end: span.end,
    }));
    if (allow_null && nullScore - found.spans[0].logit > null_threshold) {
      answers.unshift({answer: '', score: found.probability(nullScore), start: 0, end: 0});
      answers.length = Math.min(answers.length, top_k);
    }
    const {windows, truncated} = plan;
    const best = {...answers[0], null_score: nullScore, windows: windows.length, truncated};
    if (outputs[0].layers_used !== undefined) {
      best.layers_used = outputs.reduce((sum, one) => sum + one.layers_used[0], 0) / outputs.length;
    }
    return top_k > 1 ? {...best, answers} : best;
  }
}

/**
 * Divides a passage into overlapping windows, each behind the question.
 *
 * The question is cut after 64 tokens, or if it leaves no room for the passage, after as many as
 * leave it half of the window. Windows overlap by `max_answer_length` where they fit.
 *
 * @returns The windows; `step`, the number of tokens between the starts of two neighbours; and
 *   whether the question was cut.
 */
function planWindows(tokenizer, question, context, {max_length, max_answer_length, stride}) {
  const {length} = tokenizer.tokenize(question);
  let most = length;
  if (length > Math.min(MAX_QUESTION, max_length - 4)) {
    most = Math.min(MAX_QUESTION, Math.floor((max_length - 3) / 2));
  }
  const room = max_length - most - 3;
  const usual = Math.min(stride, Math.floor(room / 2));
  const shared = Math.max(usual, Math.min(max_answer_length, room - 1), 0);
  const options = {max_length, stride: shared, max_question: most};
  const windows = tokenizer.windows(question, context, options);
  checkNotEmpty(windows[0], true);
  return {windows, step: room - shared, truncated: most < length};
}

/**
 * Returns the best spans of at most `maxLength` tokens over all windows of a passage.
 *
 * A span that lies in several windows has the score of the one where its shorter side has the most
 * context, of equal ones the earlier (after run_squad's "max context", Devlin et al. 2018,
 * arXiv:1810.04805, which looks at the span's first token only). Every span is found if neighbouring
 * windows share at least `maxLength` - 1 tokens.
 *
 * @param plan The windows; see `planWindows`.
 * @param outputs `start_logits` and `end_logits` of each window, [T].
 * @param {number} maxLength
 * @param {number} count How many spans.
 * @param {number | null} nullScore The score of "no answer"; null if every question has an answer.
 * @returns `spans`, the best first, each with `start` and `end` in the passage and its `logit`; and
 *   `probability`, a function from a logit to its probability among all spans (and "no answer").
 */
function bestSpans(plan, outputs, maxLength, count, nullScore) {
  const contexts = plan.windows.map((window, at) => contextOf(window, at * plan.step));
  // Of each window, and of "no answer": the largest logit, and the sum of exp(logit - it).
  const sums = nullScore === null ? [] : [{most: nullScore, share: 1}];
  const top = new TopSpans(count);
  contexts.forEach((_, at) => {
    const spans = spansOf(contexts, at, outputs[at], maxLength);
    if (spans.length === 0) return;
    const most = spans.reduce((largest, span) => Math.max(largest, span.logit), -Infinity);
    const share = spans.reduce((sum, span) => sum + Math.exp(span.logit - most), 0);
    sums.push({most, share});
    for (const span of spans) top.add(span);
  });
  if (top.spans.length === 0) throw inputError('the context is empty: it contains no words.');
  const most = Math.max(...sums.map((sum) => sum.most));
  const total = sums.reduce((sum, one) => sum + Math.exp(one.most - most) * one.share, 0);
  return {spans: top.spans, probability: (logit) => Math.exp(logit - most) / total};
}

/** Returns the tokens of the passage in one window: all of type 1 but the `[SEP]` at the end. */
function contextOf({input_ids, token_type_ids, starts, ends}, firstToken) {
  const offset = token_type_ids.indexOf(1);
  const count = input_ids.length - 1 - offset;
  return {
    firstToken,
    offset,
    count,
    starts: starts.subarray(offset, offset + count),
    ends: ends.subarray(offset, offset + count),
  };
}

/** Returns the number of tokens beside a span, on its shorter side; negative outside. */
function leastContext({firstToken, count}, first, last) {
  return Math.min(first - firstToken, firstToken + count - 1 - last);
}

/** Returns the spans of one window that can be an answer, and have the most context in it. */
function spansOf(contexts, at, {start_logits, end_logits}, maxLength) {
  const {offset, count, starts, ends} = contexts[at];
  const found = [];
  for (let first = 0; first < count; first++) {
    for (let last = first; last < Math.min(first + maxLength, count); last++) {
      // No answer ends in a zero-width token, which marks the beginning of the next word.
      if (starts[last] >= ends[last] || !hasMostContext(contexts, at, first, last)) continue;
      const logit = Math.fround(start_logits[offset + first] + end_logits[offset + last]);
      found.push({start: starts[first], end: ends[last], logit});
    }
  }
  return found;
}

/**
 * Returns whether the context of a span is the greatest in this window.
 *
 * From window to window it rises, then falls: so it is if it is greater than in both neighbours.
 */
function hasMostContext(contexts, at, first, last) {
  const {firstToken} = contexts[at];
  const [one, other] = [firstToken + first, firstToken + last];
  const here = leastContext(contexts[at], one, other);
  if (at > 0 && here <= leastContext(contexts[at - 1], one, other)) return false;
  return at + 1 === contexts.length || here >= leastContext(contexts[at + 1], one, other);
}

/** The spans with the largest logits, the earlier of equal ones first; each place once. */
class TopSpans {
  spans = [];

  /** @param {number} count */
  constructor(count) {
    this.count = count;
  }

  add(span) {
    const {spans, count} = this;
    if (spans.length === count && span.logit <= spans[count - 1].logit) return;
    // Several spans of tokens may be the same text: with and without a zero-width token before.
    const same = spans.findIndex((one) => one.start === span.start && one.end === span.end);
    if (same >= 0) {
      if (spans[same].logit >= span.logit) return;
      spans.splice(same, 1);
    }
    let at = spans.length;
    while (at > 0 && spans[at - 1].logit < span.logit) at--;
    spans.splice(at, 0, span);
    if (spans.length > count) spans.pop();
  }
}
