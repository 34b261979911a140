package org.albertedge

import android.content.Context
import java.io.Closeable
import java.nio.FloatBuffer
import java.util.concurrent.locks.ReentrantLock
import kotlin.concurrent.withLock
import org.albertedge.internal.Engine
import org.albertedge.internal.TASKS
import org.albertedge.internal.fileError
import org.albertedge.internal.inputError
import org.albertedge.internal.moveTo
import org.albertedge.internal.openEngine
import org.albertedge.internal.rowSize

/**
 * The outputs of one inference, by name.
 *
 * @property values the outputs, row-major, for the T tokens of the input: `logits` C, T·C or T·V
 *   (`classification`, `token-classification`, `fill-mask`); `start_logits`, `end_logits` T;
 *   `sentence_logits` T; `last_hidden_state` T·H and `pooler_output` H; `prediction_logits` T·V and
 *   `sop_logits` 2.
 * @property layersUsed how many passes ran, in files with early exit; else null.
 */
class Outputs internal constructor(val values: Map<String, FloatArray>, val layersUsed: Int?) {
    /** Returns the output called [name], which the file's task has. */
    operator fun get(name: String): FloatArray =
        values[name]
            ?: throw inputError(
                "there is no output $name, only ${values.keys.joinToString()}."
            )
}

/**
 * An open model: takes token ids and returns its head's outputs. The classes of the eight tasks are
 * built on it.
 *
 * Threads may call it at once: one at a time is in the runtime.
 *
 * @property file everything in the file but the weights; closed with this.
 * @property options how it runs.
 * @property runtime the runtime and its version, such as `TensorFlow Lite 2.16.1`.
 * @property gpuDifference how far the GPU's outputs were from the CPU's when the model was opened,
 *   over the largest output; null on the CPU, and if they were not compared.
 */
class Model
private constructor(
    val file: ModelFile,
    val options: BaseOptions,
    private val engine: Engine,
) : Closeable {
    val runtime: String
        get() = engine.name

    val gpuDifference: Double?
        get() = engine.difference

    /** The longest input in tokens, special tokens included. */
    val maxTokens: Int
        get() = file.maxTokens

    private val task = TASKS.getValue(file.task)
    private val oneAtATime = ReentrantLock()
    private var isClosed = false

    /**
     * Runs one sequence. Where the file has fixed lengths, it is padded to the shortest that it
     * fits in, and the outputs of padding are cut off.
     *
     * @param inputIds T token ids, in [0, V), with 1 <= T <= [maxTokens].
     * @param tokenTypeIds T numbers, 0 in the first text and 1 in the second; all 0 if left out.
     * @param earlyExit when to stop, for a file with early exit; its own rule if left out.
     * @param rows the tokens whose rows of the outputs per token are returned, in this order; all
     *   if left out. The rows of masked words have as many numbers as the vocabulary.
     */
    @JvmOverloads
    fun run(
        inputIds: IntArray,
        tokenTypeIds: IntArray? = null,
        earlyExit: EarlyExit? = null,
        rows: IntArray? = null,
    ): Outputs {
        checkIds(inputIds, tokenTypeIds)
        if (earlyExit != null) requireEarlyExit()
        val count = inputIds.size
        rows?.firstOrNull { it !in 0 until count }?.let {
            throw inputError("rows must be in [0, $count); there is $it.")
        }
        val rule = earlyExit ?: file.earlyExit
        return oneAtATime.withLock {
            if (isClosed) throw inputError("this model of ${file.name} is closed; open it again.")
            file.checkUnchanged() // before the runtime reads what may no longer be there
            val types = tokenTypeIds ?: IntArray(count)
            val outputs =
                engine.run(inputIds, types, rule) { name, values, length ->
                    val perToken = name in task.perToken
                    val chosen = if (perToken) rows ?: IntArray(count) { it } else intArrayOf(0)
                    takeRows(name, values, if (perToken) length else 1, chosen)
                }
            file.checkUnchanged() // what was cut off reads as zeros up to a page's end
            outputs
        }
    }

    /** Checks that the file supports early exit. */
    fun requireEarlyExit() {
        if (file.earlyExit == null) {
            throw inputError(
                "this file does not support early exit: it always runs all layers. Convert a " +
                    "checkpoint that was trained with early_exit, in layout loop or split."
            )
        }
    }

    private fun takeRows(
        name: String,
        values: FloatBuffer,
        rows: Int,
        chosen: IntArray,
    ): FloatArray {
        val size = rowSize(file, name)
        if (values.remaining() != rows * size) {
            throw fileError(
                "the model contradicts its task '${file.task}': its output $name has " +
                    "${values.remaining()} values, expected $rows x $size."
            )
        }
        val taken = FloatArray(chosen.size * size)
        chosen.forEachIndexed { index, row ->
            values.moveTo(row * size)
            values.get(taken, index * size, size)
        }
        if (taken.any { it.isNaN() || it.isInfinite() }) {
            throw fileError(
                "the model returns NaN or infinity in $name: its weights are damaged, or too " +
                    "large for its recipe. Convert the checkpoint again, or with --quantize " +
                    "float32."
            )
        }
        return taken
    }

    private fun checkIds(inputIds: IntArray, tokenTypeIds: IntArray?) {
        if (inputIds.isEmpty()) throw inputError("input_ids must have at least one token.")
        checkRange("input_ids", inputIds, file.vocabSize)
        if (inputIds.size > maxTokens) {
            throw inputError(
                "${inputIds.size} tokens are too many; this model supports at most $maxTokens."
            )
        }
        if (tokenTypeIds == null) return
        checkRange("token_type_ids", tokenTypeIds, file.typeVocabSize)
        if (tokenTypeIds.size != inputIds.size) {
            throw inputError(
                "token_type_ids has ${tokenTypeIds.size} entries for ${inputIds.size} input_ids."
            )
        }
    }

    private fun checkRange(name: String, ids: IntArray, below: Int) {
        ids.firstOrNull { it !in 0 until below }?.let {
            throw inputError("$name must be in [0, $below); there is $it.")
        }
    }

    /**
     * Waits for a call that is in the runtime, then frees the model's memory; a second call does
     * nothing.
     */
    override fun close() {
        oneAtATime.withLock {
            if (isClosed) return
            isClosed = true
            engine.close()
            file.close()
        }
    }

    companion object {
        /**
         * Opens a file to run it; takes it over, to close it with the model. After an error the
         * file stays open.
         *
         * On a GPU every length of the file is also run once on the CPU and compared, since drivers
         * may compute a graph wrong without an error; so this takes a while there, mostly for
         * compiling.
         */
        @JvmStatic
        @JvmOverloads
        fun open(file: ModelFile, options: BaseOptions = BaseOptions()): Model =
            Model(file, options, openEngine(file, options))

        /** Opens an asset to run it, as in `Model.open(context, "sentiment.tflite")`. */
        @JvmStatic
        @JvmOverloads
        fun open(context: Context, asset: String, options: BaseOptions = BaseOptions()): Model {
            val file = ModelFile.open(context, asset)
            var opened: Model? = null
            try {
                opened = open(file, options)
                return opened
            } finally {
                if (opened == null) file.close()
            }
        }
    }
}
