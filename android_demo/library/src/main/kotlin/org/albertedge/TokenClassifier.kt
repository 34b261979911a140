package org.albertedge

import android.content.Context
import java.io.File
import org.albertedge.internal.TaskModel
import org.albertedge.internal.alignWords
import org.albertedge.internal.argmax
import org.albertedge.internal.bioToEntities
import org.albertedge.internal.softmax

/**
 * Labels every word of a text: named entities, parts of speech.
 *
 * ```
 * TokenClassifier.createFromFile(file).classify("Ada met Charles.").entities[0].label // "PER"
 * ```
 */
class TokenClassifier
private constructor(core: TaskModel, private val options: TokenClassifierOptions) :
    TextTask(core) {
    private val labels = model.file.labels

    /**
     * Labels every word of a text.  A text that is longer than the model takes is cut at its end.
     *
     * @throws AlbertEdgeException if the text is empty or not Unicode, or the runtime fails.
     */
    fun classify(text: String): TokenClassifierResult {
        val encoded = core.encode(text, null)
        val logits = model.run(encoded.ids, encoded.types)["logits"] // [T, C]
        val starts = encoded.encoding.starts
        val places = starts.indices.filter { starts[it] >= 0 }
        val first = places.first() // behind [CLS]
        val rows = places.map { softmax(logits, it * labels.size, labels.size) }
        val ends = encoded.encoding.ends.copyOfRange(first, first + places.size)
        val words =
            alignWords(text, starts.copyOfRange(first, first + places.size), ends).map { word ->
                val scores = options.aggregation.combine(word.tokens.map(rows::get))
                val best = argmax(scores)
                val label = labels[best]
                span(text, word.start, word.end, label, scores[best])
            }
        val entities = entities(text, words)
        return TokenClassifierResult(words, entities, encoded.tokens, encoded.truncated)
    }

    private fun entities(text: String, words: List<LabeledSpan>): List<LabeledSpan> =
        bioToEntities(words.map { it.label }).map { (type, first, stop) ->
            val score = words.subList(first, stop).sumOf { it.score.toDouble() } / (stop - first)
            span(text, words[first].start, words[stop - 1].end, type, score)
        }

    private fun span(text: String, start: Int, end: Int, label: String, score: Double) =
        LabeledSpan(text.substring(start, end), start, end, label, score.toFloat())

    /** How a word of several tokens is labeled. */
    enum class Aggregation {
        /** By its first token, as models are trained. */
        FIRST,

        /** By the mean of the probabilities of its tokens. */
        AVERAGE,

        /** By the token with the highest probability. */
        MAX;

        /** Returns the probabilities of a word's labels, from those of its tokens. */
        internal fun combine(rows: List<DoubleArray>): DoubleArray =
            when (this) {
                FIRST -> rows[0]
                AVERAGE ->
                    DoubleArray(rows[0].size) { label -> rows.sumOf { it[label] } / rows.size }
                MAX -> {
                    val most = DoubleArray(rows.size) { row -> rows[row][argmax(rows[row])] }
                    rows[argmax(most)]
                }
            }
    }

    /**
     * The options of a [TokenClassifier].
     *
     * In Java: `TokenClassifierOptions.builder().setAggregation(Aggregation.MAX).build()`.
     *
     * @property base how the model runs.
     * @property aggregation how a word of several tokens is labeled.
     */
    class TokenClassifierOptions
    @JvmOverloads
    constructor(
        val base: BaseOptions = BaseOptions(),
        val aggregation: Aggregation = Aggregation.FIRST,
    ) {
        /** Makes [TokenClassifierOptions]; what is not set keeps its default. */
        class Builder internal constructor() {
            private var base = BaseOptions()
            private var aggregation = Aggregation.FIRST

            /** Sets how the model runs. */
            fun setBaseOptions(base: BaseOptions): Builder = apply { this.base = base }

            /** Sets how a word of several tokens is labeled. */
            fun setAggregation(aggregation: Aggregation): Builder = apply {
                this.aggregation = aggregation
            }

            /** Makes the options. */
            fun build(): TokenClassifierOptions = TokenClassifierOptions(base, aggregation)
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
            options: TokenClassifierOptions = TokenClassifierOptions(),
        ): TokenClassifier =
            openFile(ModelFile.open(context, asset), options.base) { createFromModel(it, options) }

        /** Opens a file; see [createFromAsset]. */
        @JvmStatic
        @JvmOverloads
        fun createFromFile(
            file: File,
            options: TokenClassifierOptions = TokenClassifierOptions(),
        ): TokenClassifier =
            openFile(ModelFile.open(file), options.base) { createFromModel(it, options) }

        /**
         * Uses an open model, to which the base options do not apply.  The task closes it; after an
         * error it stays open.
         */
        @JvmStatic
        @JvmOverloads
        fun createFromModel(
            model: Model,
            options: TokenClassifierOptions = TokenClassifierOptions(),
        ): TokenClassifier =
            TokenClassifier(open(model, "TokenClassifier", "token-classification"), options)
    }
}

/**
 * A word or an entity of a text.
 *
 * @property text exactly as in the text, in `[start, end)`.
 * @property start its start, in UTF-16 code units.
 * @property end its end.
 * @property label its label, such as `B-PER`; of an entity its type, such as `PER`.
 * @property score the label's probability; of an entity the mean of its words'.
 */
data class LabeledSpan(
    val text: String,
    val start: Int,
    val end: Int,
    val label: String,
    val score: Float,
)

/**
 * What a [TokenClassifier] predicts.
 *
 * @property words every word with its label.
 * @property entities the words grouped by their labels, such as `B-PER` and `I-PER`, without those
 *   labeled `O`.
 * @property tokens the number of tokens that the model read.
 * @property truncated whether text was cut off.
 */
data class TokenClassifierResult(
    val words: List<LabeledSpan>,
    val entities: List<LabeledSpan>,
    val tokens: Int,
    val truncated: Boolean,
)
