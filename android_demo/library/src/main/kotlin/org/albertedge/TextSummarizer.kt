package org.albertedge

import android.content.Context
import java.io.File
import org.albertedge.internal.BigramOverlap
import org.albertedge.internal.Centrality
import org.albertedge.internal.SentenceTokens
import org.albertedge.internal.Span
import org.albertedge.internal.TaskModel
import org.albertedge.internal.inputError
import org.albertedge.internal.joinSentences
import org.albertedge.internal.scaleMinMax
import org.albertedge.internal.selectByMarginalRelevance
import org.albertedge.internal.sigmoid
import org.albertedge.internal.splitIntoWindows
import org.albertedge.internal.splitSentences
import org.albertedge.internal.tokenizeSentences

/**
 * Summarizes an article by its own sentences: central ones that do not repeat each other.
 *
 * A model with a summarization head scores every sentence in its context.  An encoder without a
 * head (`feature-extraction`) is not trained for that; then the sentences most similar to the
 * others are selected.
 *
 * ```
 * TextSummarizer.createFromFile(file).summarize(article).bullets.map { it.text }
 * ```
 */
class TextSummarizer
private constructor(core: TaskModel, private val options: TextSummarizerOptions) :
    TextTask(core) {
    // Training's default: a model may be untrained at positions beyond it.
    private val window = minOf(maxTokens, 384)

    /**
     * Selects the sentences that summarize an article of any length.
     *
     * An article that is longer than the model takes is read in windows of whole sentences.
     *
     * @throws AlbertEdgeException if the article is empty or not Unicode, or the runtime fails.
     */
    fun summarize(article: String): TextSummarizerResult = run(article, splitSentences(article))

    /** Selects from the sentences of an article, which are joined by spaces. */
    fun summarize(sentences: List<String>): TextSummarizerResult {
        var end = -1
        val spans = sentences.map { sentence ->
            val start = end + 1
            end = start + sentence.length
            Span(start, end)
        }
        return run(sentences.joinToString(" "), spans)
    }

    private fun run(article: String, spans: List<Span>): TextSummarizerResult {
        val sentences = tokenizeSentences(article, spans, tokenizer, window - 2)
        if (sentences.isEmpty()) throw inputError("the text is empty: it contains no sentences.")
        val ids = sentences.map { it.ids }
        val hasHead = model.file.task == "summarization"
        val centrality = if (hasHead) null else Centrality(embedSentences(ids))
        val scores = centrality?.scores ?: scoreSentences(ids)
        val selected =
            selectByMarginalRelevance(
                scaleMinMax(scores),
                centrality ?: BigramOverlap(ids),
                options.maxBullets,
                options.redundancy.toDouble(),
            )
        return TextSummarizerResult(
            bullets = selected.map { bullet(article, sentences[it], scores[it]) },
            sentences = sentences.size,
            truncated = sentences.any { it.truncated },
        )
    }

    private fun bullet(article: String, sentence: SentenceTokens, score: Double): Bullet {
        val text = article.substring(sentence.start, sentence.end)
        return Bullet(text, sentence.start, sentence.end, score.toFloat())
    }

    /** Returns the head's score of every sentence, [n], from the first window that contains it. */
    private fun scoreSentences(sentences: List<IntArray>): DoubleArray {
        val scores = DoubleArray(sentences.size)
        val types = model.file.typeVocabSize
        for (part in splitIntoWindows(sentences.map { it.size }, window)) {
            val inner = sentences.subList(part.start, part.stop)
            val joined = joinSentences(inner, tokenizer.clsId, tokenizer.sepId, types)
            val outputs = model.run(joined.inputIds, joined.tokenTypeIds)
            val logits = outputs["sentence_logits"] // [T]
            for (index in part.firstNew until part.stop) {
                val start = joined.starts[index - part.start]
                val size = sentences[index].size + 1
                val sum = (start until start + size).sumOf { logits[it].toDouble() }
                scores[index] = sigmoid(sum / size)
            }
        }
        return scores
    }

    /** Returns the mean hidden state of every sentence on its own, [n, H]. */
    private fun embedSentences(sentences: List<IntArray>): List<DoubleArray> {
        val known = HashMap<List<Int>, DoubleArray>() // equal sentences are embedded once
        return sentences.map { ids ->
            known.getOrPut(ids.asList()) { embed(ids) }.copyOf()
        }
    }

    private fun embed(ids: IntArray): DoubleArray {
        val joined = joinSentences(listOf(ids), tokenizer.clsId, tokenizer.sepId, types = 1)
        val tokens = joined.inputIds.size
        val outputs = model.run(joined.inputIds, joined.tokenTypeIds)
        val states = outputs["last_hidden_state"] // [T, H]
        val width = states.size / tokens
        return DoubleArray(width) { column ->
            (0 until tokens).sumOf { states[it * width + column].toDouble() } / tokens
        }
    }

    /**
     * The options of a [TextSummarizer].
     *
     * In Java: `TextSummarizerOptions.builder().setMaxBullets(2).build()`.
     *
     * @property base how the model runs.
     * @property maxBullets the number of sentences to select, at least 1.
     * @property redundancy the weight of a sentence's similarity to the selected ones against its
     *   score, in [0, 1].
     */
    class TextSummarizerOptions
    @JvmOverloads
    constructor(
        val base: BaseOptions = BaseOptions(),
        val maxBullets: Int = 3,
        val redundancy: Float = 0.3f,
    ) {
        init {
            if (maxBullets < 1 || redundancy !in 0f..1f) {
                throw inputError("maxBullets must be at least 1, redundancy in [0, 1].")
            }
        }

        /** Makes [TextSummarizerOptions]; what is not set keeps its default. */
        class Builder internal constructor() {
            private var base = BaseOptions()
            private var maxBullets = 3
            private var redundancy = 0.3f

            /** Sets how the model runs. */
            fun setBaseOptions(base: BaseOptions): Builder = apply { this.base = base }

            /** Sets the number of sentences to select, at least 1. */
            fun setMaxBullets(count: Int): Builder = apply { maxBullets = count }

            /** Sets the weight of a sentence's similarity to the selected ones, in [0, 1]. */
            fun setRedundancy(weight: Float): Builder = apply { redundancy = weight }

            /** Makes the options. */
            fun build(): TextSummarizerOptions = TextSummarizerOptions(base, maxBullets, redundancy)
        }

        companion object {
            /** Begins options with the defaults. */
            @JvmStatic fun builder(): Builder = Builder()
        }
    }

    companion object {
        /**
         * Opens an asset, which must be stored without compression.
         *
         * @throws AlbertEdgeException if it is missing, damaged or for another task or target.
         */
        @JvmStatic
        @JvmOverloads
        fun createFromAsset(
            context: Context,
            asset: String,
            options: TextSummarizerOptions = TextSummarizerOptions(),
        ): TextSummarizer =
            openFile(ModelFile.open(context, asset), options.base) { createFromModel(it, options) }

        /** Opens a file; see [createFromAsset]. */
        @JvmStatic
        @JvmOverloads
        fun createFromFile(
            file: File,
            options: TextSummarizerOptions = TextSummarizerOptions(),
        ): TextSummarizer =
            openFile(ModelFile.open(file), options.base) { createFromModel(it, options) }

        /**
         * Uses an open model, to which the base options do not apply.  The task closes it; after an
         * error it stays open.
         */
        @JvmStatic
        @JvmOverloads
        fun createFromModel(
            model: Model,
            options: TextSummarizerOptions = TextSummarizerOptions(),
        ): TextSummarizer =
            TextSummarizer(
                open(model, "TextSummarizer", "summarization", "feature-extraction"),
                options,
            )
    }
}

/**
 * A sentence of a summary.
 *
 * @property text exactly as in the article, in `[start, end)`.
 * @property start its start, in UTF-16 code units.
 * @property end its end.
 * @property score its score without regard to the others, in [0, 1]: of a head, how good a summary
 *   the sentence is; otherwise its centrality, from the least (0) to the most (1) central sentence.
 */
data class Bullet(val text: String, val start: Int, val end: Int, val score: Float)

/**
 * What a [TextSummarizer] selects.
 *
 * @property bullets the sentences of the summary, in the order of the article.
 * @property sentences the number of sentences of the article.
 * @property truncated whether one was cut because the model takes no sentence that long.
 */
data class TextSummarizerResult(
    val bullets: List<Bullet>,
    val sentences: Int,
    val truncated: Boolean,
)
