package org.albertedge.demo

import android.content.res.Resources
import java.util.Locale
import org.albertedge.Answer
import org.albertedge.Category
import org.albertedge.FilledMask
import org.albertedge.MaskFiller
import org.albertedge.MaskFillerResult
import org.albertedge.PretrainingHeads
import org.albertedge.QuestionAnswerer
import org.albertedge.SentenceOrderClassifier
import org.albertedge.TextClassifier
import org.albertedge.TextEmbedder
import org.albertedge.TextSummarizer
import org.albertedge.TextTask
import org.albertedge.TokenClassifier

/** The most bars on the screen. */
private const val MOST_BARS = 12
/** How many candidates each mask has, where there are several masks. */
private const val FEW = 3
/** How many numbers of an embedding are shown. */
private const val FIRST_NUMBERS = 4

/** Runs a task of any kind on texts. */
internal fun TextTask.run(texts: Texts, resources: Resources): Outcome =
    when (this) {
        is TextClassifier -> classify(texts, resources)
        is QuestionAnswerer -> answer(texts, resources)
        is TokenClassifier -> label(texts, resources)
        is MaskFiller -> fill(texts, resources)
        is TextEmbedder -> embed(texts, resources)
        is TextSummarizer -> summarize(texts, resources)
        is SentenceOrderClassifier -> order(texts, resources)
        is PretrainingHeads -> predict(texts, resources)
        else -> error("no screen for ${model.file.task}")
    }

private fun TextClassifier.classify(texts: Texts, resources: Resources): Outcome {
    val result = classify(texts.first)
    val numbers = result.values.map { (label, value) -> number(label, value, result.values.size) }
    return Outcome(
        headline = (numbers + result.labels).joinToString().ifEmpty {
            resources.getString(R.string.no_label)
        },
        bars = bars(result.categories),
        notes = truncated(result.truncated, resources),
        tokens = result.tokens,
        layersUsed = result.layersUsed,
    )
}

private fun number(label: String, value: Float, count: Int): String =
    String.format(Locale.getDefault(), "%.3f", value).let { if (count == 1) it else "$label $it" }

private fun QuestionAnswerer.answer(texts: Texts, resources: Resources): Outcome {
    val result = answer(texts.second, texts.first)
    val best = result.answer
    val windows = result.windows
    val notes =
        if (windows == 1) emptyList()
        else listOf(resources.getQuantityString(R.plurals.windows, windows, windows))
    fun name(answer: Answer) =
        if (answer.isNoAnswer) resources.getString(R.string.no_answer) else answer.text
    return Outcome(
        headline = name(best),
        bars = result.answers.map { Bar(name(it), it.score.toDouble()) },
        marks = if (best.isNoAnswer) emptyList() else listOf(Mark(best.start, best.end)),
        notes = notes + truncated(result.truncated, resources),
    )
}

private fun TokenClassifier.label(texts: Texts, resources: Resources): Outcome {
    val result = classify(texts.first)
    val count = result.entities.size
    return Outcome(
        headline =
            if (count == 0) resources.getString(R.string.no_entities)
            else resources.getQuantityString(R.plurals.entities, count, count),
        bars = result.entities.map { Bar("${it.text} · ${it.label}", it.score.toDouble()) }
            .take(MOST_BARS),
        marks = result.entities.map { Mark(it.start, it.end) },
        notes = truncated(result.truncated, resources),
        tokens = result.tokens,
    )
}

private fun MaskFiller.fill(texts: Texts, resources: Resources): Outcome {
    val result = fill(texts.first)
    return Outcome(
        headline = result.text,
        bars = candidates(result.masks),
        marks = result.masks.map { Mark(it.start, it.end) },
        notes = truncated(result.truncated, resources),
        tokens = result.tokens,
    )
}

private fun candidates(masks: List<FilledMask>): List<Bar> {
    if (masks.size == 1) return masks[0].candidates.map { Bar(it.token, it.score.toDouble()) }
    val bars = masks.flatMapIndexed { index, mask ->
        mask.candidates.take(FEW).map { Bar("${index + 1}: ${it.token}", it.score.toDouble()) }
    }
    return bars.take(MOST_BARS)
}

private fun TextEmbedder.embed(texts: Texts, resources: Resources): Outcome {
    val first = embed(texts.first)
    if (texts.second.isBlank()) {
        val numbers = first.embedding.take(FIRST_NUMBERS).joinToString { "%.3f".format(it) }
        val count = first.embedding.size
        return Outcome(
            headline = resources.getQuantityString(R.plurals.numbers, count, count),
            notes = listOf("$numbers, …") + truncated(first.truncated, resources),
            tokens = first.tokens.size,
        )
    }
    val second = embed(texts.second)
    val cosine = TextEmbedder.cosineSimilarity(first.embedding, second.embedding)
    return Outcome(
        headline = resources.getString(R.string.cosine, cosine),
        bars = listOf(Bar(resources.getString(R.string.similarity), cosine.coerceAtLeast(0.0))),
        notes = truncated(first.truncated || second.truncated, resources),
        tokens = first.tokens.size + second.tokens.size,
    )
}

private fun TextSummarizer.summarize(texts: Texts, resources: Resources): Outcome {
    val result = summarize(texts.first)
    val count = result.bullets.size
    val sentences = result.sentences
    return Outcome(
        headline = resources.getQuantityString(R.plurals.bullets, sentences, count, sentences),
        bars = result.bullets.map { Bar(it.text, it.score.toDouble()) },
        marks = result.bullets.map { Mark(it.start, it.end) },
        notes = truncated(result.truncated, resources),
    )
}

private fun SentenceOrderClassifier.order(texts: Texts, resources: Resources): Outcome {
    val result = classify(texts.first, texts.second)
    return Outcome(
        headline = result.label,
        bars = bars(result.categories),
        notes = truncated(result.truncated, resources),
        tokens = result.tokens,
    )
}

private fun PretrainingHeads.predict(texts: Texts, resources: Resources): Outcome {
    val result =
        if (texts.second.isBlank()) predict(texts.first) else predict(texts.first, texts.second)
    val masks = result.filled?.masks.orEmpty()
    val order = result.order
    return Outcome(
        headline = listOfNotNull(result.filled?.let(::both), order?.label).joinToString("\n"),
        bars = candidates(masks) + bars(order?.categories.orEmpty()),
        marks = masks.filter { !it.isInPair }.map { Mark(it.start, it.end) },
        notes = truncated(result.truncated, resources),
        tokens = result.tokens,
    )
}

private fun both(filled: MaskFillerResult): String =
    listOfNotNull(filled.text, filled.pair).joinToString(" ")

private fun bars(categories: List<Category>): List<Bar> =
    categories.take(MOST_BARS).map { Bar(it.label, it.score.toDouble()) }

private fun truncated(truncated: Boolean, resources: Resources): List<String> =
    if (truncated) listOf(resources.getString(R.string.truncated)) else emptyList()
