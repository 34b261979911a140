package org.albertedge

import android.content.Context
import java.io.File
import org.albertedge.internal.TaskModel
import org.albertedge.internal.fileError
import org.albertedge.internal.inputError
import org.albertedge.internal.rank
import org.albertedge.internal.sigmoid
import org.albertedge.internal.softmax

/**
 * Classifies a text, or a pair of texts, or predicts numbers for it.
 *
 * ```
 * TextClassifier.createFromAsset(context, "sentiment.tflite").use { classifier ->
 *     classifier.classify("a quiet, moving film").label // "positive"
 * }
 * ```
 */
class TextClassifier
private constructor(core: TaskModel, private val options: TextClassifierOptions) : TextTask(core) {
    private val labels = model.file.labels
    private val kind = Kind.of(model.file)
    private val earlyExit = options.earlyExitOf(model.file.earlyExit)

    /** Classifies one text. */
    fun classify(text: String): TextClassifierResult = run(text, null)

    /**
     * Classifies a text and a second one, for models that compare two.
     *
     * A text that is longer than the model takes is cut at its end, of two the longer one.
     *
     * @throws AlbertEdgeException if a text is empty or not Unicode, or the runtime fails.
     */
    fun classify(text: String, pair: String): TextClassifierResult = run(text, pair)

    private fun run(text: String, pair: String?): TextClassifierResult {
        val encoded = core.encode(text, pair)
        val outputs = model.run(encoded.ids, encoded.types, earlyExit)
        val logits = outputs["logits"]
        val isRegression = kind == Kind.REGRESSION
        val values = if (isRegression) labels.zip(logits.asList()).toMap() else emptyMap()
        val categories = if (isRegression) emptyList() else rank(labels, scores(logits))
        return TextClassifierResult(
            labels = categories.filterIndexed(::isPredicted).map { it.label },
            categories = categories,
            values = values,
            layersUsed = outputs.layersUsed,
            tokens = encoded.tokens,
            truncated = encoded.truncated,
        )
    }

    private fun scores(logits: FloatArray): DoubleArray =
        // The only label may be wrong, so its probability is not 1.
        if (kind == Kind.MULTI_LABEL || logits.size == 1) {
            DoubleArray(logits.size) { sigmoid(logits[it].toDouble()) }
        } else {
            softmax(logits)
        }

    private fun isPredicted(rank: Int, category: Category): Boolean =
        if (kind == Kind.MULTI_LABEL) category.score >= options.scoreThreshold else rank == 0

    private enum class Kind(val problemType: String) {
        ONE_LABEL("single_label_classification"),
        MULTI_LABEL("multi_label_classification"),
        REGRESSION("regression");

        companion object {
            fun of(file: ModelFile): Kind {
                if (file.config.isNull("problem_type")) {
                    return if (file.labels.size == 1) REGRESSION else ONE_LABEL
                }
                val name = file.config.get("problem_type")
                return values().find { it.problemType == name }
                    ?: throw fileError(
                        "${file.name}: problem_type '$name' is not one of " +
                            "${values().joinToString { it.problemType }}."
                    )
            }
        }
    }

    /**
     * The options of a [TextClassifier].
     *
     * In Java: `TextClassifierOptions.builder().setPatience(3).build()`.
     *
     * @property base how the model runs.
     * @property scoreThreshold of a multi-label model, the least probability of a predicted label,
     *   in [0, 1].
     * @property patience for files with early exit, as in [EarlyExit]; null for the file's own.
     * @property exitThreshold the threshold in [EarlyExit]; null for the file's own.
     * @property maxLayers as in [EarlyExit]; null for the file's own.
     */
    class TextClassifierOptions
    @JvmOverloads
    constructor(
        val base: BaseOptions = BaseOptions(),
        val scoreThreshold: Float = 0.5f,
        val patience: Int? = null,
        val exitThreshold: Float? = null,
        val maxLayers: Int? = null,
    ) {
        init {
            if (scoreThreshold !in 0f..1f) {
                throw inputError("scoreThreshold must be in [0, 1], not $scoreThreshold.")
            }
            EarlyExit(patience ?: 1, exitThreshold ?: 0f, maxLayers) // checks them
        }

        /** Returns the file's rule with those of these options that are not null. */
        internal fun earlyExitOf(own: EarlyExit?): EarlyExit? {
            if (own != null) {
                return EarlyExit(
                    patience ?: own.patience,
                    exitThreshold ?: own.threshold,
                    maxLayers ?: own.maxLayers,
                )
            }
            if (patience == null && exitThreshold == null && maxLayers == null) return null
            throw inputError(
                "this file does not support early exit: it always runs all layers. Convert a " +
                    "checkpoint that was trained with early_exit, in layout loop or split."
            )
        }

        /** Makes [TextClassifierOptions]; what is not set keeps its default. */
        class Builder internal constructor() {
            private var base = BaseOptions()
            private var scoreThreshold = 0.5f
            private var patience: Int? = null
            private var exitThreshold: Float? = null
            private var maxLayers: Int? = null

            /** Sets how the model runs. */
            fun setBaseOptions(base: BaseOptions): Builder = apply { this.base = base }

            /**
             * Sets the least probability of a predicted label, in [0, 1], of a multi-label model.
             */
            fun setScoreThreshold(threshold: Float): Builder = apply { scoreThreshold = threshold }

            /** Sets how many passes must confirm a label to stop early; at least 1. */
            fun setPatience(patience: Int): Builder = apply { this.patience = patience }

            /** Sets the probability of a label at which to stop early; above 1 for never. */
            fun setExitThreshold(threshold: Float): Builder = apply { exitThreshold = threshold }

            /** Sets after how many passes to stop in any case; at least 1. */
            fun setMaxLayers(maxLayers: Int): Builder = apply { this.maxLayers = maxLayers }

            /** Makes the options. */
            fun build(): TextClassifierOptions =
                TextClassifierOptions(base, scoreThreshold, patience, exitThreshold, maxLayers)
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
            options: TextClassifierOptions = TextClassifierOptions(),
        ): TextClassifier =
            openFile(ModelFile.open(context, asset), options.base) { createFromModel(it, options) }

        /** Opens a file; see [createFromAsset]. */
        @JvmStatic
        @JvmOverloads
        fun createFromFile(
            file: File,
            options: TextClassifierOptions = TextClassifierOptions(),
        ): TextClassifier =
            openFile(ModelFile.open(file), options.base) { createFromModel(it, options) }

        /**
         * Uses an open model, to which the base options do not apply.  The task closes it; after an
         * error it stays open.
         */
        @JvmStatic
        @JvmOverloads
        fun createFromModel(
            model: Model,
            options: TextClassifierOptions = TextClassifierOptions(),
        ): TextClassifier = TextClassifier(open(model, "TextClassifier", "classification"), options)
    }
}

/**
 * What a [TextClassifier] predicts.
 *
 * @property labels the predicted labels, the most probable first: one; of a multi-label model those
 *   with at least the threshold; none of a regression.
 * @property categories every label with its probability, the most probable first.  They sum to 1;
 *   of a multi-label model, or of a single label, each is on its own.  None of a regression.
 * @property values of a regression, the number of each label, in the model's order; else empty.
 * @property layersUsed how many passes ran, in files with early exit; else null.
 * @property tokens the number of tokens that the model read.
 * @property truncated whether text was cut off.
 */
data class TextClassifierResult(
    val labels: List<String>,
    val categories: List<Category>,
    val values: Map<String, Float>,
    val layersUsed: Int?,
    val tokens: Int,
    val truncated: Boolean,
) {
    /** The most probable of the predicted labels; null if there is none. */
    val label: String?
        get() = labels.firstOrNull()

    /** The probability of the most probable label; null of a regression. */
    val score: Float?
        get() = categories.firstOrNull()?.score

    /** The number of a regression with one label; null otherwise. */
    val value: Float?
        get() = values.values.singleOrNull()
}
