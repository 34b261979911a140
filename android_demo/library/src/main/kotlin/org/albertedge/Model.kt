package org.albertedge

import java.io.Closeable

/** When a file with early exit stops; see `albert_edge.EarlyExit`. */
class EarlyExit(val patience: Int, val threshold: Float, val maxLayers: Int?)

/**
 * The outputs of one inference by name.
 *
 * @property values the outputs that are floats, row-major, for the T tokens of the input: `logits` [C], [T, C] or [T, V]; ...
 * @property layersUsed how many passes ran, in files with early exit; else null.
 */
class Outputs(val values: Map<String, FloatArray>, val layersUsed: Int?)

/** An open model: threads may call it at once. */
interface Model : Closeable {
    val file: ModelFile

    /** The longest input in tokens, special tokens included. */
    val maxTokens: Int

    /** Runs one sequence; pads to a length of the file where it has fixed ones, and cuts the outputs of padding. */
    fun run(inputIds: IntArray, tokenTypeIds: IntArray, earlyExit: EarlyExit? = null): Outputs
}
