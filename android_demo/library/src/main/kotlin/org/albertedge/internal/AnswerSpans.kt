package org.albertedge.internal

import kotlin.math.exp
import org.albertedge.Encoding
import org.albertedge.Tokenizer

/** The windows of a passage, each behind the question; see [planWindows]. */
internal class WindowPlan(
    val windows: List<Encoding>,
    /** The number of tokens between the starts of two neighbours. */
    val step: Int,
    /** Whether the question was cut. */
    val truncated: Boolean,
)

/** A span of the passage, in UTF-16 code units, and the sum of its start and end logits. */
internal class ScoredSpan(val start: Int, val end: Int, val logit: Float)

/** The best spans of all windows, and what their probabilities are computed from. */
internal class BestSpans(
    /** The best first, distinct. */
    val spans: List<ScoredSpan>,
    private val most: Double,
    private val total: Double,
) {
    /** Returns the probability of a logit among all spans (and "no answer", if allowed). */
    fun probability(logit: Double): Double = exp(logit - most) / total
}

private const val MAX_QUESTION = 64 // tokens, run_squad's max_query_length

/**
 * Divides a passage into overlapping windows, each behind the question.
 *
 * The question is cut after 64 tokens, or if it leaves no room for the passage, after as many as
 * leave it half of the window.  Windows overlap by [maxAnswerTokens] where they fit.
 *
 * @param maxLength the most tokens of a window.
 * @param stride the number of tokens of the passage that neighbouring windows should share.
 */
internal fun planWindows(
    tokenizer: Tokenizer,
    question: String,
    context: String,
    maxLength: Int,
    maxAnswerTokens: Int,
    stride: Int,
): WindowPlan {
    val length = tokenizer.tokenize(question).ids.size
    var most = length
    if (length > minOf(MAX_QUESTION, maxLength - 4)) most = minOf(MAX_QUESTION, (maxLength - 3) / 2)
    val room = maxLength - most - 3
    val shared = maxOf(minOf(stride, room / 2), minOf(maxAnswerTokens, room - 1), 0)
    val windows = tokenizer.windows(question, context, maxLength, shared, most)
    checkNotEmpty(windows[0], paired = true)
    return WindowPlan(windows, room - shared, most < length)
}

/**
 * Returns the best spans of at most [maxLength] tokens over all windows of a passage.
 *
 * A span that lies in several windows has the score of the one where its shorter side has the most
 * context, of equal ones the earlier (after run_squad's "max context", Devlin et al. 2018,
 * arXiv:1810.04805, which looks at the span's first token only).  Every span is found if
 * neighbouring windows share at least [maxLength] - 1 tokens.
 *
 * @param starts the start logits [T] of each window.
 * @param ends the end logits [T] of each window.
 * @param nullScore the score of "no answer"; null if every question has an answer.
 */
internal fun findBestSpans(
    plan: WindowPlan,
    starts: List<FloatArray>,
    ends: List<FloatArray>,
    maxLength: Int,
    topK: Int,
    nullScore: Float?,
): BestSpans {
    val contexts = plan.windows.mapIndexed { index, each -> WindowContext(each, index * plan.step) }
    // Of each window, and of "no answer": the largest logit, and the sum of exp(logit - it).
    val sums = ArrayList<Pair<Double, Double>>()
    if (nullScore != null) sums.add(nullScore.toDouble() to 1.0)
    var best = emptyList<ScoredSpan>()
    for (index in contexts.indices) {
        val spans = WindowSpans(contexts, index, starts[index], ends[index], maxLength)
        if (spans.most == Float.NEGATIVE_INFINITY) continue
        sums.add(spans.most.toDouble() to spans.sumOfPowers())
        val top = TopSpans(topK)
        best.forEach(top::add)
        spans.forEach(top::add)
        best = top.spans
    }
    if (best.isEmpty()) throw inputError("the context is empty: it contains no words.")
    val most = sums.maxOf { it.first }
    return BestSpans(best, most, sums.sumOf { exp(it.first - most) * it.second })
}

/** The tokens of the passage in one window. */
private class WindowContext(encoding: Encoding, /** In the passage. */ val firstToken: Int) {
    /** The first of them in the window: all of type 1 but the `[SEP]` at the end. */
    val offset = encoding.tokenTypeIds.indexOf(1)
    val count = encoding.inputIds.size - 1 - offset
    val starts: IntArray = encoding.starts.copyOfRange(offset, offset + count)
    val ends: IntArray = encoding.ends.copyOfRange(offset, offset + count)

    /** Returns the number of tokens beside a span, on its shorter side; negative outside. */
    fun leastContext(first: Int, last: Int): Int =
        minOf(first - firstToken, firstToken + count - 1 - last)
}

/** The spans of one window that can be an answer, and have the most context in it. */
private class WindowSpans(
    private val contexts: List<WindowContext>,
    private val index: Int,
    private val startLogits: FloatArray,
    private val endLogits: FloatArray,
    private val maxLength: Int,
) {
    /** The largest logit; minus infinity if there is no span. */
    val most: Float

    init {
        var largest = Float.NEGATIVE_INFINITY
        forEach { largest = maxOf(largest, it.logit) }
        most = largest
    }

    fun sumOfPowers(): Double {
        var sum = 0.0
        forEach { sum += exp(it.logit - most.toDouble()) }
        return sum
    }

    inline fun forEach(action: (ScoredSpan) -> Unit) {
        val here = contexts[index]
        for (first in 0 until here.count) {
            for (last in first until minOf(first + maxLength, here.count)) {
                // No answer ends in a zero-width token, which marks the beginning of the next word.
                val fits = here.starts[last] < here.ends[last]
                if (!fits || !hasMostContext(first, last)) continue
                val logit = startLogits[here.offset + first] + endLogits[here.offset + last]
                action(ScoredSpan(here.starts[first], here.ends[last], logit))
            }
        }
    }

    /**
     * Returns whether the context of a span is the greatest in this window.
     *
     * From window to window it rises, then falls: so it is if it is greater than in both
     * neighbours.
     */
    private fun hasMostContext(first: Int, last: Int): Boolean {
        val begin = contexts[index].firstToken
        val here = contexts[index].leastContext(begin + first, begin + last)
        val before = contexts.getOrNull(index - 1)?.leastContext(begin + first, begin + last)
        val after = contexts.getOrNull(index + 1)?.leastContext(begin + first, begin + last)
        return (before == null || here > before) && (after == null || here >= after)
    }
}

/** The spans with the largest logits, the earlier of equal ones first; each place once. */
private class TopSpans(private val count: Int) {
    val spans = ArrayList<ScoredSpan>(minOf(count, 64) + 1)

    fun add(span: ScoredSpan) {
        if (spans.size == count && span.logit <= spans.last().logit) return
        // Several spans of tokens may be the same text: with and without a zero-width token before.
        val same = spans.indexOfFirst { it.start == span.start && it.end == span.end }
        if (same >= 0) {
            if (spans[same].logit >= span.logit) return
            spans.removeAt(same)
        }
        var at = spans.size
        while (at > 0 && spans[at - 1].logit < span.logit) at--
        spans.add(at, span)
        if (spans.size > count) spans.removeAt(count)
    }
}
