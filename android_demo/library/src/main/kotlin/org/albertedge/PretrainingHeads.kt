package org.albertedge

import android.content.Context
import java.io.File
import org.albertedge.internal.TaskModel
import org.albertedge.internal.checkCandidates
import org.albertedge.internal.fillMasks
import org.albertedge.internal.inputError
import org.albertedge.internal.maskPositions

/**
 * Both heads of pre-training: [MaskFiller] and [SentenceOrderClassifier] in one run of the model.
 *
 * The names of special tokens in the text become those tokens here, so do not pass it untrusted
 * text.
 *
 * ```
 * PretrainingHeads.createFromFile(file).predict("Ada [MASK] it.", "Nobody read it.").order?.label
 * ```
 */
class PretrainingHeads
private constructor(core: TaskModel, private val options: PretrainingHeadsOptions) :
    TextTask(core) {
    init {
        checkCandidates(options.maxResults, model)
    }

    /** Fills the masks of a text. */
    fun predict(text: String): PretrainingHeadsResult = run(text, null)

    /**
     * Fills the masks of two texts, and predicts their order.
     *
     * @throws AlbertEdgeException if there is neither a mask nor a second text, a text is empty or
     *   not Unicode, or the runtime fails.
     */
    fun predict(text: String, pair: String): PretrainingHeadsResult = run(text, pair)

    private fun run(text: String, pair: String?): PretrainingHeadsResult {
        val encoded = core.encode(text, pair, allowSpecial = true)
        val masks = maskPositions(encoded, tokenizer)
        if (masks.isEmpty() && pair == null) {
            val mask = tokenizer.idToPiece(tokenizer.maskId)
            throw inputError(
                "there is nothing to predict: put $mask where a word is missing, or give a " +
                    "second text to predict the order."
            )
        }
        val outputs = model.run(encoded.ids, encoded.types, rows = masks)
        val filled =
            if (masks.isEmpty()) {
                null
            } else {
                val logits = outputs["prediction_logits"]
                val texts = listOfNotNull(text, pair)
                fillMasks(texts, encoded, masks, logits, tokenizer, options.maxResults)
            }
        val order = outputs["sop_logits"].takeIf { pair != null }
        return PretrainingHeadsResult(
            filled,
            order?.let { SentenceOrderResult.of(it, encoded) },
            encoded.tokens,
            encoded.truncated,
        )
    }

    /**
     * The options of [PretrainingHeads].
     *
     * In Java: `PretrainingHeadsOptions.builder().setMaxResults(3).build()`.
     *
     * @property base how the model runs.
     * @property maxResults the number of candidates for each mask, in [1, V].
     */
    class PretrainingHeadsOptions
    @JvmOverloads
    constructor(val base: BaseOptions = BaseOptions(), val maxResults: Int = 5) {
        init {
            if (maxResults < 1) throw inputError("maxResults must be at least 1, not $maxResults.")
        }

        /** Makes [PretrainingHeadsOptions]; what is not set keeps its default. */
        class Builder internal constructor() {
            private var base = BaseOptions()
            private var maxResults = 5

            /** Sets how the model runs. */
            fun setBaseOptions(base: BaseOptions): Builder = apply { this.base = base }

            /** Sets the number of candidates for each mask. */
            fun setMaxResults(count: Int): Builder = apply { maxResults = count }

            /** Makes the options. */
            fun build(): PretrainingHeadsOptions = PretrainingHeadsOptions(base, maxResults)
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
            options: PretrainingHeadsOptions = PretrainingHeadsOptions(),
        ): PretrainingHeads =
            openFile(ModelFile.open(context, asset), options.base) { createFromModel(it, options) }

        /** Opens a file; see [createFromAsset]. */
        @JvmStatic
        @JvmOverloads
        fun createFromFile(
            file: File,
            options: PretrainingHeadsOptions = PretrainingHeadsOptions(),
        ): PretrainingHeads =
            openFile(ModelFile.open(file), options.base) { createFromModel(it, options) }

        /**
         * Uses an open model, to which the base options do not apply.  The task closes it; after an
         * error it stays open.
         */
        @JvmStatic
        @JvmOverloads
        fun createFromModel(
            model: Model,
            options: PretrainingHeadsOptions = PretrainingHeadsOptions(),
        ): PretrainingHeads =
            PretrainingHeads(open(model, "PretrainingHeads", "pretraining"), options)
    }
}

/**
 * What [PretrainingHeads] predict.
 *
 * @property filled the masks and the texts without them; null if there is no mask.
 * @property order the order of the two texts; null if there is one text.
 * @property tokens the number of tokens that the model read.
 * @property truncated whether text was cut off.
 */
data class PretrainingHeadsResult(
    val filled: MaskFillerResult?,
    val order: SentenceOrderResult?,
    val tokens: Int,
    val truncated: Boolean,
)
