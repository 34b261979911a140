package org.albertedge

/**
 * When a classifier with early exit stops: after the first pass that meets one of three conditions.
 *
 * @property patience stop when this many passes in a row have predicted the same label as the pass
 *   before them; at least 1.
 * @property threshold stop when the most likely label has at least this probability; above 1 for
 *   never.
 * @property maxLayers stop after this many passes in any case; null for no limit.
 */
class EarlyExit
@JvmOverloads
constructor(val patience: Int, val threshold: Float, val maxLayers: Int? = null) {
    init {
        atLeastOne("patience", patience)
        if (maxLayers != null) atLeastOne("max_layers", maxLayers)
        if (!(threshold >= 0f) || threshold.isInfinite()) {
            throw AlbertEdgeException(
                AlbertEdgeException.Kind.INPUT,
                "threshold must be a probability, or above 1 for none, not $threshold.",
            )
        }
    }

    companion object {
        /** The rule that never stops early. */
        @JvmField val NEVER: EarlyExit = EarlyExit(Int.MAX_VALUE, 2f)

        private fun atLeastOne(name: String, value: Int) {
            if (value < 1) {
                throw AlbertEdgeException(
                    AlbertEdgeException.Kind.INPUT,
                    "$name must be a whole number of at least 1, not $value.",
                )
            }
        }
    }
}
