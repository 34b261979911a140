package org.albertedge

import android.content.Context
import java.io.File
import org.albertedge.internal.TaskModel
import org.albertedge.internal.checkCandidates
import org.albertedge.internal.fillMasks
import org.albertedge.internal.inputError
import org.albertedge.internal.maskPositions

/**
 * Predicts the tokens behind `[MASK]`.
 *
 * The names of special tokens in the text become those tokens here, so do not pass it untrusted
 * text.  The model computes all T times V logits: for 128 tokens and 30,000 pieces they take 15 MB.
 *
 * ```
 * MaskFiller.createFromFile(file).fill("Paris is the [MASK] of France.").text
 * // "Paris is the capital of France."
 * ```
 */
class MaskFiller
private constructor(core: TaskModel, private val options: MaskFillerOptions) : TextTask(core) {
    init {
        checkCandidates(options.maxResults, model)
    }

    /** Fills every mask of a text, each as if the others stayed masks. */
    fun fill(text: String): MaskFillerResult = run(text, null)

    /**
     * Fills every mask of a text and a second one.
     *
     * A text that is longer than the model takes is cut at its end, of two the longer one.
     *
     * @throws AlbertEdgeException if there is no mask, a text is empty or not Unicode, or the
     *   runtime fails.
     */
    fun fill(text: String, pair: String): MaskFillerResult = run(text, pair)

    private fun run(text: String, pair: String?): MaskFillerResult {
        val encoded = core.encode(text, pair, allowSpecial = true)
        val masks = maskPositions(encoded, tokenizer)
        if (masks.isEmpty()) {
            throw inputError(
                "there is no ${tokenizer.idToPiece(tokenizer.maskId)} in the text (or it was cut " +
                    "off): put it where a word is missing."
            )
        }
        val logits = model.run(encoded.ids, encoded.types, rows = masks)["logits"]
        val texts = listOfNotNull(text, pair)
        return fillMasks(texts, encoded, masks, logits, tokenizer, options.maxResults)
    }

    /**
     * The options of a [MaskFiller].
     *
     * In Java: `MaskFillerOptions.builder().setMaxResults(3).build()`.
     *
     * @property base how the model runs.
     * @property maxResults the number of candidates for each mask, in [1, V].
     */
    class MaskFillerOptions
    @JvmOverloads
    constructor(val base: BaseOptions = BaseOptions(), val maxResults: Int = 5) {
        init {
            if (maxResults < 1) throw inputError("maxResults must be at least 1, not $maxResults.")
        }

        /** Makes [MaskFillerOptions]; what is not set keeps its default. */
        class Builder internal constructor() {
            private var base = BaseOptions()
            private var maxResults = 5

            /** Sets how the model runs. */
            fun setBaseOptions(base: BaseOptions): Builder = apply { this.base = base }

            /** Sets the number of candidates for each mask. */
            fun setMaxResults(count: Int): Builder = apply { maxResults = count }

            /** Makes the options. */
            fun build(): MaskFillerOptions = MaskFillerOptions(base, maxResults)
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
            options: MaskFillerOptions = MaskFillerOptions(),
        ): MaskFiller =
            openFile(ModelFile.open(context, asset), options.base) { createFromModel(it, options) }

        /** Opens a file; see [createFromAsset]. */
        @JvmStatic
        @JvmOverloads
        fun createFromFile(
            file: File,
            options: MaskFillerOptions = MaskFillerOptions(),
        ): MaskFiller =
            openFile(ModelFile.open(file), options.base) { createFromModel(it, options) }

        /**
         * Uses an open model, to which the base options do not apply.  The task closes it; after an
         * error it stays open.
         */
        @JvmStatic
        @JvmOverloads
        fun createFromModel(
            model: Model,
            options: MaskFillerOptions = MaskFillerOptions(),
        ): MaskFiller = MaskFiller(open(model, "MaskFiller", "fill-mask"), options)
    }
}

/**
 * A candidate for a mask.
 *
 * @property token its text.
 * @property id its token id.
 * @property score its probability.
 * @property text the whole text with the candidate in place of the mask.
 */
data class Candidate(val token: String, val id: Int, val score: Float, val text: String)

/**
 * A mask.
 *
 * @property start its start in the text, in UTF-16 code units.
 * @property end its end.
 * @property isInPair whether it is in the second text.
 * @property candidates the best candidates, the best first.
 */
data class FilledMask(
    val start: Int,
    val end: Int,
    val isInPair: Boolean,
    val candidates: List<Candidate>,
)

/**
 * What a [MaskFiller] predicts.
 *
 * @property text the text with the best candidate in place of every mask.
 * @property pair the second text likewise; null if there is none.
 * @property masks the masks, in order; at least one.
 * @property tokens the number of tokens that the model read.
 * @property truncated whether text was cut off.
 */
data class MaskFillerResult(
    val text: String,
    val pair: String?,
    val masks: List<FilledMask>,
    val tokens: Int,
    val truncated: Boolean,
)
