package org.albertedge.internal

import kotlin.math.exp
import kotlin.math.tanh

/** Returns the probabilities of logits [C], which sum to 1: those of [values] from [start] on. */
internal fun softmax(
    values: FloatArray,
    start: Int = 0,
    count: Int = values.size - start,
): DoubleArray {
    var most = Double.NEGATIVE_INFINITY
    for (index in start until start + count) most = maxOf(most, values[index].toDouble())
    val powers = DoubleArray(count) { exp(values[start + it] - most) }
    val total = powers.sum()
    for (index in powers.indices) powers[index] /= total
    return powers
}

/** Returns the probability of a logit on its own, in [0, 1]. */
internal fun sigmoid(logit: Double): Double = 0.5 + 0.5 * tanh(0.5 * logit)

/** Returns the index of the largest value, the first of equal ones; at least one value. */
internal fun argmax(values: DoubleArray): Int {
    var best = 0
    for (index in values.indices) if (values[index] > values[best]) best = index
    return best
}
