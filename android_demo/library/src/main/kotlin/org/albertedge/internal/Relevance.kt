package org.albertedge.internal

import kotlin.math.sqrt

// Both chosen on SciTLDR's dev abstracts.
private const val THRESHOLD = 0.3 // its position between the least and the largest cosine
private const val EARLIER_WEIGHT = 0.5 // of the similarity to an earlier sentence
private const val EPSILON = 1e-12

/** How similar one sentence is to each of n, in [0, 1]. */
internal fun interface Similarity {
    /** Returns the similarity of sentence [index] to each, [n]. */
    fun of(index: Int): DoubleArray
}

/**
 * Selects sentences one by one, by relevance less similarity to those already selected.
 *
 * Maximal marginal relevance (Carbonell and Goldstein 1998, doi:10.1145/290941.291025), where
 * lambda is 1 - [redundancy].
 *
 * @param relevance the relevance of each sentence on its own, [n], in [0, 1].
 * @param count the number of sentences to select, at most n.
 * @param redundancy the weight of the similarity to a selected sentence, in [0, 1].
 * @return the selected sentences, in the order of the article.
 */
internal fun selectByMarginalRelevance(
    relevance: DoubleArray,
    similarity: Similarity,
    count: Int,
    redundancy: Double,
): List<Int> {
    val selected = ArrayList<Int>()
    val maxSimilarity = DoubleArray(relevance.size) // to any selected sentence
    while (selected.size < minOf(count, relevance.size)) {
        val marginal =
            DoubleArray(relevance.size) {
                (1 - redundancy) * relevance[it] - redundancy * maxSimilarity[it]
            }
        for (index in selected) marginal[index] = Double.NEGATIVE_INFINITY
        val next = argmax(marginal)
        selected.add(next)
        val similar = similarity.of(next)
        for (index in similar.indices) {
            maxSimilarity[index] = maxOf(maxSimilarity[index], similar[index])
        }
    }
    return selected.sorted()
}

/** Scales values so that the least is 0 and the largest 1; all are 1 if they are equal. */
internal fun scaleMinMax(values: DoubleArray): DoubleArray {
    val low = values.minOrNull() ?: 0.0
    val high = values.maxOrNull() ?: 0.0
    return DoubleArray(values.size) { if (high > low) (values[it] - low) / (high - low) else 1.0 }
}

/**
 * Which sentences are the most similar to the others.
 *
 * The degree in the graph of the article's sentences, where similarity to a later sentence counts
 * more than to an earlier one (PacSum: Zheng and Lapata 2019, arXiv:1906.03508, sec. 3), and
 * similarity below a threshold not at all.  The threshold is relative to the article's cosines:
 * those of an encoder that was never trained to compare are all large.
 *
 * @param vectors an embedding of each sentence, [n, H]; scaled to length 1 in place.
 */
internal class Centrality(private val vectors: List<DoubleArray>) : Similarity {
    private val least: Double
    private val scale: Double

    /** The centrality of each sentence, [n], from 0 to 1. */
    val scores: DoubleArray

    init {
        for (vector in vectors) {
            val length = maxOf(sqrt(dot(vector, vector)), EPSILON)
            for (index in vector.indices) vector[index] /= length
        }
        var low = Double.POSITIVE_INFINITY
        var high = Double.NEGATIVE_INFINITY
        forEachPair { _, _, cosine ->
            low = minOf(low, cosine)
            high = maxOf(high, cosine)
        }
        // One sentence alone makes no pair, and scaling makes its score 1 whatever these are.
        least = low + THRESHOLD * (high - low)
        scale = maxOf(high - least, EPSILON)
        val degrees = DoubleArray(vectors.size)
        forEachPair { first, second, cosine ->
            val similar = maxOf(cosine - least, 0.0)
            degrees[first] += similar
            degrees[second] += EARLIER_WEIGHT * similar
        }
        for (index in degrees.indices) degrees[index] /= scale
        scores = scaleMinMax(degrees)
    }

    override fun of(index: Int): DoubleArray =
        DoubleArray(vectors.size) {
            if (it == index) 0.0 else maxOf(dot(vectors[it], vectors[index]) - least, 0.0) / scale
        }

    private inline fun forEachPair(action: (Int, Int, Double) -> Unit) {
        for (first in vectors.indices) {
            for (second in first + 1 until vectors.size) {
                action(first, second, dot(vectors[first], vectors[second]))
            }
        }
    }
}

/**
 * The proportion of token bigrams of the shorter of two sentences that both contain.
 *
 * It replaces the trigram blocking of BERTSUM (Liu 2019, arXiv:1903.10318, sec. 3), which allows no
 * three words twice, by a number.
 *
 * @param sentences the token ids of n sentences, each at least one.
 */
internal class BigramOverlap(sentences: List<IntArray>) : Similarity {
    private val bigrams = sentences.map(::bigramsOf)

    override fun of(index: Int): DoubleArray =
        DoubleArray(bigrams.size) {
            val ours = bigrams[index]
            val theirs = bigrams[it]
            ours.count(theirs::contains).toDouble() / minOf(ours.size, theirs.size)
        }

    private fun bigramsOf(ids: IntArray): Set<Long> {
        if (ids.size == 1) return setOf(join(NO_TOKEN, ids[0]))
        return (1 until ids.size).mapTo(HashSet()) { join(ids[it - 1], ids[it]) }
    }

    private fun join(first: Int, second: Int): Long = first.toLong().shl(32) or second.toLong()

    private companion object {
        const val NO_TOKEN = -1
    }
}

private fun dot(first: DoubleArray, second: DoubleArray): Double {
    var sum = 0.0
    for (index in first.indices) sum += first[index] * second[index]
    return sum
}
