package org.albertedge

import android.content.Context
import java.io.File
import org.albertedge.internal.Encoded
import org.albertedge.internal.TaskModel
import org.albertedge.internal.rank
import org.albertedge.internal.softmax

/**
 * Predicts whether the second of two texts follows the first.
 *
 * ```
 * SentenceOrderClassifier.createFromFile(file).classify("It rained.", "So we left.").isInOrder
 * ```
 */
class SentenceOrderClassifier private constructor(core: TaskModel) : TextTask(core) {
    /**
     * Predicts the order of two texts.
     *
     * Texts that are longer than the model takes are cut at the end of the longer one.
     *
     * @throws AlbertEdgeException if a text is empty or not Unicode, or the runtime fails.
     */
    fun classify(first: String, second: String): SentenceOrderResult {
        val encoded = core.encode(first, second)
        val outputs = model.run(encoded.ids, encoded.types)
        return SentenceOrderResult.of(outputs["sop_logits"], encoded)
    }

    /**
     * The options of a [SentenceOrderClassifier].
     *
     * In Java: `SentenceOrderClassifierOptions.builder().setBaseOptions(base).build()`.
     *
     * @property base how the model runs.
     */
    class SentenceOrderClassifierOptions
    @JvmOverloads
    constructor(val base: BaseOptions = BaseOptions()) {
        /** Makes [SentenceOrderClassifierOptions]; what is not set keeps its default. */
        class Builder internal constructor() {
            private var base = BaseOptions()

            /** Sets how the model runs. */
            fun setBaseOptions(base: BaseOptions): Builder = apply { this.base = base }

            /** Makes the options. */
            fun build(): SentenceOrderClassifierOptions = SentenceOrderClassifierOptions(base)
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
            options: SentenceOrderClassifierOptions = SentenceOrderClassifierOptions(),
        ): SentenceOrderClassifier =
            openFile(ModelFile.open(context, asset), options.base) { createFromModel(it, options) }

        /** Opens a file; see [createFromAsset]. */
        @JvmStatic
        @JvmOverloads
        fun createFromFile(
            file: File,
            options: SentenceOrderClassifierOptions = SentenceOrderClassifierOptions(),
        ): SentenceOrderClassifier =
            openFile(ModelFile.open(file), options.base) { createFromModel(it, options) }

        /**
         * Uses an open model, to which the base options do not apply.  The task closes it; after an
         * error it stays open.
         */
        @JvmStatic
        @JvmOverloads
        fun createFromModel(
            model: Model,
            options: SentenceOrderClassifierOptions = SentenceOrderClassifierOptions(),
        ): SentenceOrderClassifier =
            SentenceOrderClassifier(open(model, "SentenceOrderClassifier", "sentence-order"))
    }
}

/**
 * What a [SentenceOrderClassifier] predicts.
 *
 * @property categories "in order" and "swapped" with their probabilities, the more probable first.
 * @property tokens the number of tokens that the model read.
 * @property truncated whether text was cut off.
 */
data class SentenceOrderResult(
    val categories: List<Category>,
    val tokens: Int,
    val truncated: Boolean,
) {
    /** The more probable label: "in order" or "swapped". */
    val label: String
        get() = categories[0].label

    /** Its probability. */
    val score: Float
        get() = categories[0].score

    /** Whether the second text rather follows the first than the other way round. */
    val isInOrder: Boolean
        get() = label == LABELS[0]

    internal companion object {
        private val LABELS = listOf("in order", "swapped") // as ALBERT numbers them in pre-training

        fun of(logits: FloatArray, encoded: Encoded): SentenceOrderResult {
            val categories = rank(LABELS, softmax(logits))
            return SentenceOrderResult(categories, encoded.tokens, encoded.truncated)
        }
    }
}
