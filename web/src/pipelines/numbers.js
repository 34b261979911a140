/** Returns the probabilities of logits, which sum to 1: those of `values[start, start + count)`. */
export function softmax(values, start = 0, count = values.length - start) {
  let most = -Infinity;
  for (let at = start; at < start + count; at++) most = Math.max(most, values[at]);
  const powers = new Float64Array(count);
  let total = 0;
  for (let at = 0; at < count; at++) total += powers[at] = Math.exp(values[start + at] - most);
  for (let at = 0; at < count; at++) powers[at] /= total;
  return powers;
}

/** Returns the probability of a logit on its own, in [0, 1]. */
export const sigmoid = (logit) => 0.5 + 0.5 * Math.tanh(0.5 * logit);

/** Returns the index of the largest value, the first of equal ones; at least one value. */
export function argmax(values) {
  let best = 0;
  for (let at = 1; at < values.length; at++) if (values[at] > values[best]) best = at;
  return best;
}

/** Returns the sum of the products of two vectors of the same size. */
export function dot(first, second) {
  let sum = 0;
  for (let at = 0; at < first.length; at++) sum += first[at] * second[at];
  return sum;
}
