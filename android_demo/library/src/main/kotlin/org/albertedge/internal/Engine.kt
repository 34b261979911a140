package org.albertedge.internal

import java.io.Closeable
import java.nio.ByteBuffer
import java.nio.FloatBuffer
import org.albertedge.Accelerator
import org.albertedge.AlbertEdgeException
import org.albertedge.BaseOptions
import org.albertedge.EarlyExit
import org.albertedge.ModelFile
import org.albertedge.Outputs
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.TensorFlowLite

private const val DEFAULT_SIGNATURE = "serving_default"
private const val LAYERS_USED = "layers_used"

/**
 * Copies what is wanted of an output: its name, its values and the length in tokens that was
 * computed.
 */
internal typealias TakeRows = (name: String, values: FloatBuffer, length: Int) -> FloatArray

/**
 * A file in TensorFlow Lite's `Interpreter`, for one thread at a time.
 *
 * @property name the runtime and its version.
 * @property difference see [org.albertedge.Model.gpuDifference].
 */
internal interface Engine : Closeable {
    val name: String
    val difference: Double?

    /**
     * Runs one sequence.
     *
     * @param ids T token ids that are in range.
     * @param types T token type ids likewise.
     * @param rule when to stop, for a file with early exit.
     * @param take called for each output.
     */
    fun run(ids: IntArray, types: IntArray, rule: EarlyExit?, take: TakeRows): Outputs
}

/** Opens a file as the options ask. */
internal fun openEngine(file: ModelFile, options: BaseOptions): Engine {
    checkForm(file, options.accelerator)
    val runtime = runtimeName()
    return when (options.accelerator) {
        Accelerator.CPU -> InterpreterEngine(file, runtime, options.numThreads)
        Accelerator.GPU -> GpuEngine(file, runtime, options)
    }
}

private fun checkForm(file: ModelFile, accelerator: Accelerator) {
    if (file.layout == "split") {
        throw fileError(
            "${file.name} is for a host that runs its passes: its layout is split. Convert the " +
                "checkpoint again: albert-edge convert CHECKPOINT --target android."
        )
    }
    if (file.target == "mediapipe") {
        throw fileError(
            "${file.name} was made with --target mediapipe, for MediaPipe Tasks and Task " +
                "Library, which read other outputs. Convert the checkpoint again: albert-edge " +
                "convert CHECKPOINT --target android."
        )
    }
    if (accelerator == Accelerator.CPU) return
    val form =
        when {
            file.layout != "unrolled" -> "its layout is ${file.layout}"
            file.seqLens.isEmpty() -> "it takes inputs of any length"
            else -> return
        }
    throw fileError(
        "${file.name} cannot run on a GPU: $form, and GPUs run files of fixed lengths without " +
            "loops. Convert the checkpoint again: albert-edge convert CHECKPOINT --target gpu."
    )
}

private fun runtimeName(): String {
    val missing =
        try {
            return "TensorFlow Lite ${TensorFlowLite.runtimeVersion()}"
        } catch (error: LinkageError) {
            error
        } catch (error: IllegalStateException) { // the classes are there, and no native library
            error
        }
    throw deviceError(
        "there is no TensorFlow Lite runtime in this app that loads here (${missing.line()}); " +
            "add one to its dependencies: com.google.ai.edge.litert:litert, or " +
            "org.tensorflow:tensorflow-lite.",
        missing,
    )
}

/**
 * An interpreter with or without a delegate.
 *
 * With XNNPACK, TFLite 2.16.1 takes no second length of a graph that has a loop: it refuses it, and
 * then returns the outputs of the length before. So files of any length run without it; on arm64 it
 * would save 2 to 8% of their instructions.
 */
internal class InterpreterEngine(
    private val file: ModelFile,
    override val name: String,
    threads: Int,
    delegate: GpuDelegateHandle? = null,
    xnnpack: Boolean? = null,
) : Engine {
    override val difference: Double? = null

    private val lengths = file.seqLens
    private val interpreter: Interpreter = openInterpreter(threads, delegate, xnnpack)
    private var failure: AlbertEdgeException? = null

    init {
        var isWhole = false
        try {
            checkSignatures()
            isWhole = true
        } finally {
            if (!isWhole) interpreter.close()
        }
    }

    private fun openInterpreter(
        threads: Int,
        delegate: GpuDelegateHandle?,
        xnnpack: Boolean?,
    ): Interpreter {
        val options = Interpreter.Options().setNumThreads(threads)
        options.setUseXNNPACK(xnnpack ?: lengths.isNotEmpty())
        if (delegate != null) options.addDelegate(delegate.delegate)
        try {
            return Interpreter(file.model(), options)
        } catch (error: RuntimeException) {
            if (delegate != null) throw delegate.refused(file, error)
            throw fileError(
                "$name cannot load ${file.name}: ${error.line()}. It needs a newer runtime, or " +
                    "the operators of this one: albert-edge convert CHECKPOINT --target android.",
                error,
            )
        }
    }

    private fun checkSignatures() {
        val found = interpreter.signatureKeys.toList()
        val missing = expectedSignatures().filter { it !in found }
        if (missing.isNotEmpty()) {
            throw fileError(
                "the model contradicts its layout '${file.layout}': it has no signature " +
                    "${missing.joinToString()}, only ${found.joinToString().ifEmpty { "none" }}."
            )
        }
    }

    private fun expectedSignatures() =
        if (lengths.size > 1) lengths.map { "serving_$it" } else listOf(DEFAULT_SIGNATURE)

    override fun run(ids: IntArray, types: IntArray, rule: EarlyExit?, take: TakeRows): Outputs {
        val length = lengths.firstOrNull { it >= ids.size } ?: ids.size
        val signature = if (lengths.size > 1) "serving_$length" else DEFAULT_SIGNATURE
        runSignature(signature, inputs(ids, types, rule, length), ids.size)
        val values = LinkedHashMap<String, FloatArray>()
        val names = interpreter.getSignatureOutputs(signature)
        for (output in TASKS.getValue(file.task).outputs) {
            if (output !in names) {
                if (output == POOLER_OUTPUT) continue
                throw fileError(
                    "the model contradicts its task '${file.task}': its output $output is missing."
                )
            }
            values[output] = take(output, output(output, signature).asFloatBuffer(), length)
        }
        val layers = if (rule == null) null else output(LAYERS_USED, signature).getInt(0)
        return Outputs(values, layers)
    }

    /**
     * Runs a signature. After an error of the runtime every later call is refused: TFLite 2.16.1
     * then may return the outputs of an earlier call without another error.
     */
    private fun runSignature(signature: String, inputs: Map<String, Any>, tokens: Int) {
        failure?.let {
            throw deviceError(
                "this model of ${file.name} cannot be used since an inference failed; close it " +
                    "and open it again. It was: ${it.message}",
                it,
            )
        }
        try {
            interpreter.runSignature(inputs, HashMap(), signature)
        } catch (error: RuntimeException) {
            val failed = deviceError("$name failed on $tokens tokens: ${error.line()}.", error)
            failure = failed
            throw failed
        }
    }

    private fun inputs(
        ids: IntArray,
        types: IntArray,
        rule: EarlyExit?,
        length: Int,
    ): MutableMap<String, Any> {
        val inputs = HashMap<String, Any>()
        val padded = ids.copyOf(length).also { it.fill(file.padTokenId, ids.size) }
        inputs["input_ids"] = arrayOf(padded)
        inputs["token_type_ids"] = arrayOf(types.copyOf(length))
        if (lengths.isNotEmpty()) {
            inputs["attention_mask"] = arrayOf(IntArray(length).also { it.fill(1, 0, ids.size) })
        }
        if (rule != null) {
            inputs["patience"] = intArrayOf(rule.patience)
            inputs["threshold"] = floatArrayOf(rule.threshold)
            inputs["max_layers"] = intArrayOf(rule.maxLayers ?: Int.MAX_VALUE)
        }
        return inputs
    }

    /** The values of an output where the runtime has them: they are copied before the next run. */
    private fun output(output: String, signature: String): ByteBuffer =
        interpreter.getOutputTensorFromSignature(output, signature).asReadOnlyBuffer()

    override fun close() = interpreter.close()
}

/** An interpreter with the GPU delegate, which must be used by the thread that made it. */
internal class GpuEngine(file: ModelFile, override val name: String, options: BaseOptions) :
    Engine {
    private val thread = OwnThread("albert-edge-gpu")
    private lateinit var delegate: GpuDelegateHandle
    private lateinit var engine: InterpreterEngine
    override val difference: Double?

    init {
        var isWhole = false
        try {
            difference = thread.call { open(file, options) }
            isWhole = true
        } finally {
            if (!isWhole) close()
        }
    }

    private fun open(file: ModelFile, options: BaseOptions): Double? {
        delegate = GpuDelegateHandle(options.precision)
        engine = InterpreterEngine(file, name, options.numThreads, delegate)
        return if (options.comparesGpu) compareWithCpu(file, engine, options) else null
    }

    override fun run(ids: IntArray, types: IntArray, rule: EarlyExit?, take: TakeRows): Outputs =
        thread.call { engine.run(ids, types, rule, take) }

    override fun close() {
        thread.call {
            if (::engine.isInitialized) engine.close()
            if (::delegate.isInitialized) delegate.close()
        }
        thread.close()
    }
}
