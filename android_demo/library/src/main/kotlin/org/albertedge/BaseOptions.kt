package org.albertedge

/** What runs a model. */
enum class Accelerator {
    CPU,

    /** A GPU, by TensorFlow Lite's `GpuDelegate`: for files of `--target gpu`. */
    GPU,
}

/** The arithmetic of a GPU. */
enum class Precision {
    /** float32: the CPU's outputs but for rounding. */
    FLOAT32,

    /** What the driver prefers, on most phones float16: faster, and less exact. */
    DEFAULT,
}

/**
 * How a model runs: the options that all tasks have.
 *
 * In Java: `BaseOptions.builder().setNumThreads(2).setAccelerator(Accelerator.GPU).build()`.
 *
 * @property numThreads how many CPU threads one inference uses, at least 1. More than the fast
 *   cores of a phone, mostly two to four, make it slower.
 * @property accelerator what runs the model.
 * @property precision the arithmetic of a GPU.
 * @property comparesGpu whether a GPU's outputs are compared with the CPU's when a model is opened.
 *   Without it a GPU that computes wrong goes unnoticed; whoever measures a GPU compares by itself.
 */
class BaseOptions
@JvmOverloads
constructor(
    val numThreads: Int = 1,
    val accelerator: Accelerator = Accelerator.CPU,
    val precision: Precision = Precision.FLOAT32,
    val comparesGpu: Boolean = true,
) {
    init {
        if (numThreads < 1) {
            throw AlbertEdgeException(
                AlbertEdgeException.Kind.INPUT,
                "threads must be a whole number of at least 1, not $numThreads.",
            )
        }
    }

    /** Makes [BaseOptions]; what is not set keeps its default. */
    class Builder internal constructor() {
        private var numThreads = 1
        private var accelerator = Accelerator.CPU
        private var precision = Precision.FLOAT32
        private var comparesGpu = true

        /** Sets how many CPU threads one inference uses. */
        fun setNumThreads(numThreads: Int): Builder = apply { this.numThreads = numThreads }

        /** Sets what runs the model. */
        fun setAccelerator(accelerator: Accelerator): Builder = apply {
            this.accelerator = accelerator
        }

        /** Sets the arithmetic of a GPU. */
        fun setPrecision(precision: Precision): Builder = apply { this.precision = precision }

        /** Sets whether a GPU's outputs are compared with the CPU's when a model is opened. */
        fun setComparesGpu(comparesGpu: Boolean): Builder = apply { this.comparesGpu = comparesGpu }

        /** Makes the options. */
        fun build(): BaseOptions = BaseOptions(numThreads, accelerator, precision, comparesGpu)
    }

    companion object {
        /** Begins options with the defaults. */
        @JvmStatic fun builder(): Builder = Builder()
    }
}
