package org.albertedge

import android.content.Context
import java.io.File
import kotlin.math.sqrt
import org.albertedge.internal.TaskModel
import org.albertedge.internal.inputError

/**
 * Turns a text into vectors: one for the whole text, and one for each token.
 *
 * ```
 * TextEmbedder.createFromFile(file).use { embedder ->
 *     val film = embedder.embed("a quiet film").embedding
 *     val movie = embedder.embed("a silent movie").embedding
 *     TextEmbedder.cosineSimilarity(film, movie)
 * }
 * ```
 */
class TextEmbedder
private constructor(core: TaskModel, private val options: TextEmbedderOptions) : TextTask(core) {

    /** Embeds one text. */
    fun embed(text: String): TextEmbedderResult = run(text, null)

    /**
     * Embeds a text and a second one as one input.
     *
     * A text that is longer than the model takes is cut at its end, of two the longer one.
     *
     * @throws AlbertEdgeException if a text is empty or not Unicode, the model has no pooler and
     *   the options ask for it, or the runtime fails.
     */
    fun embed(text: String, pair: String): TextEmbedderResult = run(text, pair)

    private fun run(text: String, pair: String?): TextEmbedderResult {
        val encoded = core.encode(text, pair)
        val outputs = model.run(encoded.ids, encoded.types)
        val states = outputs["last_hidden_state"] // [T, H]
        val width = states.size / encoded.tokens
        val rows = Array(encoded.tokens) { states.copyOfRange(it * width, (it + 1) * width) }
        val mean = FloatArray(width) { column ->
            (rows.sumOf { it[column].toDouble() } / rows.size).toFloat()
        }
        val pooled = outputs.values["pooler_output"]
        val embedding =
            when (options.pooling) {
                Pooling.MEAN -> mean.copyOf()
                Pooling.CLS -> rows[0].copyOf()
                Pooling.POOLER ->
                    pooled?.copyOf()
                        ?: throw inputError(
                            "this model has no pooler; choose the pooling mean or cls."
                        )
            }
        if (options.normalize) normalize(embedding)
        val pieces = encoded.ids.map(tokenizer::idToPiece)
        return TextEmbedderResult(embedding, rows, mean, pooled, pieces, encoded.truncated)
    }

    private fun normalize(vector: FloatArray) {
        val length = sqrt(dot(vector, vector))
        for (index in vector.indices) vector[index] = (vector[index] / length).toFloat()
    }

    /** How to make one vector of a whole text. */
    enum class Pooling {
        /** The mean over all tokens, as most sentence embeddings are trained. */
        MEAN,

        /** The first token's vector. */
        CLS,

        /** The pooler's output. */
        POOLER,
    }

    /**
     * The options of a [TextEmbedder].
     *
     * In Java: `TextEmbedderOptions.builder().setPooling(Pooling.CLS).build()`.
     *
     * @property base how the model runs.
     * @property pooling how to make one vector of a whole text.
     * @property normalize whether to scale that vector to length 1, so that the dot product of two
     *   is their cosine.
     */
    class TextEmbedderOptions
    @JvmOverloads
    constructor(
        val base: BaseOptions = BaseOptions(),
        val pooling: Pooling = Pooling.MEAN,
        val normalize: Boolean = false,
    ) {
        /** Makes [TextEmbedderOptions]; what is not set keeps its default. */
        class Builder internal constructor() {
            private var base = BaseOptions()
            private var pooling = Pooling.MEAN
            private var normalize = false

            /** Sets how the model runs. */
            fun setBaseOptions(base: BaseOptions): Builder = apply { this.base = base }

            /** Sets how to make one vector of a whole text. */
            fun setPooling(pooling: Pooling): Builder = apply { this.pooling = pooling }

            /** Sets whether to scale that vector to length 1. */
            fun setNormalize(normalize: Boolean): Builder = apply { this.normalize = normalize }

            /** Makes the options. */
            fun build(): TextEmbedderOptions = TextEmbedderOptions(base, pooling, normalize)
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
            options: TextEmbedderOptions = TextEmbedderOptions(),
        ): TextEmbedder =
            openFile(ModelFile.open(context, asset), options.base) { createFromModel(it, options) }

        /** Opens a file; see [createFromAsset]. */
        @JvmStatic
        @JvmOverloads
        fun createFromFile(
            file: File,
            options: TextEmbedderOptions = TextEmbedderOptions(),
        ): TextEmbedder =
            openFile(ModelFile.open(file), options.base) { createFromModel(it, options) }

        /**
         * Uses an open model, to which the base options do not apply.  The task closes it; after an
         * error it stays open.
         */
        @JvmStatic
        @JvmOverloads
        fun createFromModel(
            model: Model,
            options: TextEmbedderOptions = TextEmbedderOptions(),
        ): TextEmbedder = TextEmbedder(open(model, "TextEmbedder", "feature-extraction"), options)

        /**
         * Returns the cosine of two vectors of the same size, in [-1, 1]; 0 if one is all zeros.
         *
         * @throws AlbertEdgeException if their sizes differ.
         */
        @JvmStatic
        fun cosineSimilarity(first: FloatArray, second: FloatArray): Double {
            if (first.size != second.size) {
                throw inputError("vectors of ${first.size} and ${second.size} have no cosine.")
            }
            val lengths = sqrt(dot(first, first)) * sqrt(dot(second, second))
            return if (lengths > 0) dot(first, second) / lengths else 0.0
        }
    }
}

/**
 * What a [TextEmbedder] computes, for T tokens and vectors of H numbers.
 *
 * @property embedding one vector of the whole text, [H], by the options' pooling.
 * @property lastHiddenState a vector for each token, [T][H], special tokens included.
 * @property mean the mean of these vectors, [H].
 * @property poolerOutput the pooler's output, [H], in (-1, 1); null if the model has no pooler.
 * @property tokens the T pieces, such as `[CLS]`.
 * @property truncated whether text was cut off.
 */
class TextEmbedderResult(
    val embedding: FloatArray,
    val lastHiddenState: Array<FloatArray>,
    val mean: FloatArray,
    val poolerOutput: FloatArray?,
    val tokens: List<String>,
    val truncated: Boolean,
)

private fun dot(first: FloatArray, second: FloatArray): Double {
    var sum = 0.0
    for (index in first.indices) sum += first[index].toDouble() * second[index]
    return sum
}
