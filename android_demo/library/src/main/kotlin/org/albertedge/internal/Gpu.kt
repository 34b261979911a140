package org.albertedge.internal

import java.io.Closeable
import java.nio.FloatBuffer
import java.util.Locale
import java.util.Random
import java.util.concurrent.Callable
import java.util.concurrent.ExecutionException
import java.util.concurrent.Executors
import kotlin.math.abs
import kotlin.math.max
import org.albertedge.AlbertEdgeException
import org.albertedge.BaseOptions
import org.albertedge.ModelFile
import org.albertedge.Outputs
import org.albertedge.Precision
import org.tensorflow.lite.Delegate
import org.tensorflow.lite.gpu.GpuDelegate
import org.tensorflow.lite.gpu.GpuDelegateFactory

/**
 * The largest difference of a right GPU from the CPU, over the largest output; see
 * `compiled_model.py`.
 */
private val LIMITS = mapOf("float32" to 1e-5, "float16" to 2e-5)
/**
 * A float16 value has 11 bits: 0.4% was measured in 12 passes, and a wrong graph is 10% off. With
 * int8 weights the CPU also rounds what they multiply, which the GPU does not.
 */
private const val LOOSE_LIMIT = 0.05

private const val NO_OPENCL = "Can not open OpenCL library"

/**
 * A GPU delegate. Its classes are loaded only here, so that an app that uses the CPU needs no
 * dependency for GPUs.
 */
internal class GpuDelegateHandle(precision: Precision) : Closeable {
    val delegate: Delegate =
        try {
            create(precision)
        } catch (error: LinkageError) {
            throw deviceError(
                "there is no GPU delegate in this app that loads here (${error.line()}); add it " +
                    "to its dependencies: com.google.ai.edge.litert:litert-gpu, or " +
                    "org.tensorflow:tensorflow-lite-gpu and -gpu-api. Or use Accelerator.CPU.",
                error,
            )
        } catch (error: RuntimeException) {
            throw deviceError(
                "this device's GPU cannot be used: ${error.line()}. Use Accelerator.CPU.",
                error,
            )
        }

    private fun create(precision: Precision): Delegate {
        val options = GpuDelegateFactory.Options()
        options.setPrecisionLossAllowed(precision != Precision.FLOAT32)
        return GpuDelegate(options)
    }

    /** The error for a file that the delegate does not start on. */
    fun refused(file: ModelFile, error: RuntimeException): AlbertEdgeException {
        val reason = error.line()
        val advice =
            if (NO_OPENCL in reason) {
                "It needs OpenCL, which this device lacks or does not open to apps. Use"
            } else {
                "Convert the checkpoint again: albert-edge convert CHECKPOINT --target gpu. Or use"
            }
        return deviceError(
            "this device's GPU cannot run ${file.name}: $reason. $advice Accelerator.CPU.",
            error,
        )
    }

    override fun close() = (delegate as GpuDelegate).close()
}

/**
 * Runs every length of a file on the GPU and on the CPU, and compares.
 *
 * @return the largest difference of an output, over the largest value of that output.
 */
internal fun compareWithCpu(file: ModelFile, gpu: Engine, options: BaseOptions): Double {
    // Without XNNPACK the CPU needs no second copy of the weights.
    val reference = InterpreterEngine(file, gpu.name, options.numThreads, xnnpack = false)
    val difference = reference.use {
        val random = Random(0)
        file.seqLens.fold(0.0) { worst, length ->
            val count = max(1, length * 3 / 4)
            val ids = IntArray(count) { random.nextInt(file.vocabSize) }
            val types = IntArray(count) { if (it >= length / 2 && file.typeVocabSize > 1) 1 else 0 }
            val right = reference.run(ids, types, null, ::takeAll)
            max(worst, largestDifference(gpu.run(ids, types, null, ::takeAll), right))
        }
    }
    val limit =
        if (options.precision == Precision.DEFAULT) LOOSE_LIMIT
        else LIMITS[file.quantize] ?: LOOSE_LIMIT
    if (difference <= limit) return difference
    throw deviceError(
        "${file.name} is computed wrong by this device's GPU: an output is off by " +
            "${short(difference)} of its largest value, and at most ${short(limit)} is allowed. " +
            "Convert the checkpoint again: albert-edge convert CHECKPOINT --target gpu. Or use " +
            "Accelerator.CPU."
    )
}

private fun short(number: Double): String =
    String.format(Locale.ROOT, if (number < 0.001) "%.0e" else "%.2f", number)

@Suppress("UNUSED_PARAMETER")
private fun takeAll(name: String, values: FloatBuffer, length: Int): FloatArray =
    FloatArray(values.remaining()).also { values.get(it) }

private fun largestDifference(actual: Outputs, expected: Outputs): Double {
    var worst = 0.0
    for ((name, right) in expected.values) {
        val found = actual[name]
        var largest = java.lang.Float.MIN_NORMAL.toDouble()
        var difference = 0.0
        for (index in right.indices) {
            val one = abs(found[index].toDouble() - right[index])
            if (one.isNaN() || one.isInfinite()) return Double.POSITIVE_INFINITY
            largest = max(largest, abs(right[index].toDouble()))
            difference = max(difference, one)
        }
        worst = max(worst, difference / largest)
    }
    return worst
}

/** A thread that makes calls for others, one at a time. */
internal class OwnThread(name: String) : Closeable {
    private val executor =
        Executors.newSingleThreadExecutor { Thread(it, name).apply { isDaemon = true } }

    /**
     * Makes a call and waits for it, whatever interrupts this thread meanwhile; the interrupt stays
     * pending.
     */
    fun <T> call(block: () -> T): T {
        val future = executor.submit(Callable { block() })
        var isInterrupted = false
        try {
            while (true) {
                try {
                    return future.get()
                } catch (error: InterruptedException) {
                    isInterrupted = true
                } catch (error: ExecutionException) {
                    throw error.cause ?: error
                }
            }
        } finally {
            if (isInterrupted) Thread.currentThread().interrupt()
        }
    }

    override fun close() {
        executor.shutdown()
    }
}
