@file:JvmName("Worker")

package org.albertedge.worker

import java.io.File
import java.io.FileDescriptor
import java.io.FileOutputStream
import java.io.InputStream
import java.io.OutputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest
import kotlin.concurrent.thread
import org.albertedge.Accelerator
import org.albertedge.AlbertEdgeException
import org.albertedge.AlbertEdgeException.Kind
import org.albertedge.BaseOptions
import org.albertedge.EarlyExit
import org.albertedge.MaskFiller
import org.albertedge.Model
import org.albertedge.ModelFile
import org.albertedge.Outputs
import org.albertedge.Precision
import org.albertedge.PretrainingHeads
import org.albertedge.QuestionAnswerer
import org.albertedge.SentenceOrderClassifier
import org.albertedge.TextClassifier
import org.albertedge.TextEmbedder
import org.albertedge.TextSummarizer
import org.albertedge.TextTask
import org.albertedge.TokenClassifier
import org.json.JSONArray
import org.json.JSONObject
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.TensorFlowLite
import org.tensorflow.lite.gpu.GpuDelegate
import org.tensorflow.lite.gpu.GpuDelegateFactory

// The measured process of `albert-edge benchmark --device adb://...`: it opens one model by the
// library, runs it, and reports time, memory and outputs, as `albert_edge/benchmark/worker.py`
// does. The shell's `app_process` starts it, so that no app needs to be installed.
//
// It reads one line of JSON, the job, from standard input, whose end ends this process. It writes a
// line `albert_edge N M`, N bytes of JSON and M bytes of float32 numbers, little-endian: the
// outputs. What the system reports of itself it returns as text; the host interprets it.

/**
 * What a job returns.
 *
 * @property json the result, or `error` and `message`.
 * @property values the values that `json` describes by name and size, in order.
 */
private class Reply(val json: JSONObject, val values: List<FloatArray> = emptyList())

/** Runs the job on standard input. */
fun main() {
    val job = readLine(System.`in`)
    thread(isDaemon = true) {
        while (System.`in`.read() >= 0) Unit
        Runtime.getRuntime().halt(1) // the host has gone
    }
    val isDone =
        try {
            write(runOrExplain(JSONObject(job)), FileOutputStream(FileDescriptor.out))
            true
        } catch (error: Throwable) { // the host shows it; Android would write it to its log
            error.printStackTrace()
            System.err.println(error) // last, where a long trace does not hide it
            false
        }
    System.err.flush()
    Runtime.getRuntime().halt(if (isDone) 0 else 1) // a driver may crash when it is unloaded
}

private fun readLine(input: InputStream): String {
    val line = java.io.ByteArrayOutputStream()
    while (true) {
        val byte = input.read()
        if (byte < 0 || byte == '\n'.code) return line.toString("UTF-8")
        line.write(byte)
    }
}

private fun write(reply: Reply, output: OutputStream) {
    val json = reply.json.toString().toByteArray()
    val size = reply.values.sumOf { 4L * it.size }
    output.write("\nalbert_edge ${json.size} $size\n".toByteArray())
    output.write(json)
    for (values in reply.values) output.write(bytes(values))
    output.flush()
}

private fun bytes(values: FloatArray): ByteArray {
    val bytes = ByteBuffer.allocate(4 * values.size).order(ByteOrder.LITTLE_ENDIAN)
    bytes.asFloatBuffer().put(values)
    return bytes.array()
}

private fun runOrExplain(job: JSONObject): Reply =
    try {
        when (val kind = job.getString("do")) {
            "describe" -> describe(job)
            "check_gpu" -> checkGpu(job)
            "digest" -> Reply(JSONObject().put("sha256", sha256(File(job.getString("path")))))
            "predict" -> predict(job)
            "measure" -> measure(job)
            else -> throw AlbertEdgeException(Kind.INPUT, "unknown job '$kind'.")
        }
    } catch (error: AlbertEdgeException) {
        val name =
            when (error.kind) {
                Kind.FILE -> "BundleError"
                Kind.INPUT -> "InputError"
                Kind.DEVICE -> "DeviceError"
            }
        Reply(JSONObject().put("error", name).put("message", error.message))
    }

private fun describe(job: JSONObject): Reply =
    Reply(
        JSONObject()
            .put("texts", readTexts(job))
            .put("runtime", TensorFlowLite.runtimeVersion())
            .put("cores", Runtime.getRuntime().availableProcessors())
            .put("architecture", System.getProperty("os.arch"))
            .put("kernel", System.getProperty("os.version"))
    )

/** Runs a file of one operator, `y` = 2 `x`, on the GPU, and returns y of 0, 1, 2, 3. */
private fun checkGpu(job: JSONObject): Reply {
    val result = FloatArray(4)
    try {
        GpuDelegate(GpuDelegateFactory.Options().setPrecisionLossAllowed(false)).use { delegate ->
            val options = Interpreter.Options().addDelegate(delegate)
            Interpreter(File(job.getString("path")), options).use {
                it.run(arrayOf(floatArrayOf(0f, 1f, 2f, 3f)), arrayOf(result))
            }
        }
    } catch (error: RuntimeException) {
        val message = "the delegate does not start: ${error.message}"
        throw AlbertEdgeException(Kind.DEVICE, message, error)
    } catch (error: LinkageError) {
        val message = "the delegate does not load: ${error.message}"
        throw AlbertEdgeException(Kind.DEVICE, message, error)
    }
    return Reply(JSONObject(), listOf(result))
}

private fun predict(job: JSONObject): Reply {
    val model = open(job)
    val results = job.getJSONArray("inputs").rows().map { runAllLayers(model, it) }
    val values = results.flatMap { it.values.values }
    return Reply(JSONObject().put("outputs", describe(results)), values)
}

private fun measure(job: JSONObject): Reply {
    val ids = job.getJSONArray("input_ids").ints()
    val before = readTexts(job)
    val result = JSONObject()
    val memory = JSONObject()
    result.put("import_ns", time { TensorFlowLite.init() })
    memory.put("empty", readMemory())
    val hasPeak = resetPeak()

    lateinit var model: Model
    result.put("load_ns", time { model = open(job) })
    memory.put("loaded", readMemory())
    lateinit var first: Outputs
    result.put("first_ns", time { first = model.run(ids) })
    memory.put("running", readMemory())
    repeat(job.getInt("warmup")) { model.run(ids) }
    memory.put("warm", readMemory())

    val clock = CpuClock(isAlone = job.getInt("threads") == 1 && isCpu(job))
    val (samples, cpuSamples) = timeWarm(job, clock) { model.run(ids) }
    result.put("samples_ns", samples).put("cpu_samples_ns", cpuSamples)
    val status = if (hasPeak) readText(File("/proc/self/status")) else null
    result.put("status", status ?: JSONObject.NULL)
    result.put("texts", JSONObject().put("before", before).put("after", readTexts(job)))

    // Nothing that needs more memory than the model may come before this.
    val results = (listOf(ids) + job.getJSONArray("probes").rows()).map { runAllLayers(model, it) }
    result.put("memory", memory)
    result.put("layers_used", first.layersUsed ?: JSONObject.NULL)
    result.put("outputs_sha256", JSONObject(first.values.mapValues { sha256(bytes(it.value)) }))
    result.put("outputs", describe(results))
    result.put("text_samples_ns", timeFromText(job, model))
    result.put("runtime", model.runtime)
    result.put("size_bytes", File(job.getString("path")).length())
    result.put("sha256", sha256(File(job.getString("path"))))
    return Reply(result, results.flatMap { it.values.values })
}

/** Times the whole task: tokenizer, model, and what makes a result of its outputs. */
private fun timeFromText(job: JSONObject, model: Model): JSONArray {
    val text = job.optJSONObject("text") ?: return JSONArray()
    val call = callTask(TextTask.createFromModel(model), text)
    repeat(job.getInt("warmup")) { call() }
    return timeWarm(job, CpuClock(isAlone = true), call).first
}

private fun callTask(task: TextTask, arguments: JSONObject): () -> Unit {
    val text = arguments.optString("text")
    return when (task) {
        is TextClassifier -> ({ task.classify(text) })
        is TokenClassifier -> ({ task.classify(text) })
        is MaskFiller -> ({ task.fill(text) })
        is TextEmbedder -> ({ task.embed(text) })
        is TextSummarizer -> ({ task.summarize(text) })
        is PretrainingHeads -> ({ task.predict(text) })
        is SentenceOrderClassifier -> {
            val pair = arguments.getString("pair")
            ({ task.classify(text, pair) })
        }
        is QuestionAnswerer -> {
            val question = arguments.getString("question")
            val context = arguments.getString("context")
            ({ task.answer(question, context) })
        }
        else -> throw AlbertEdgeException(Kind.FILE, "unknown task ${task.model.file.task}.")
    }
}

/** Returns the wall time and the CPU time of every warm run, in order. */
private fun timeWarm(
    job: JSONObject,
    clock: CpuClock,
    infer: () -> Unit,
): Pair<JSONArray, JSONArray> {
    val samples = JSONArray()
    val cpuSamples = JSONArray()
    val deadline = System.nanoTime() + (job.getDouble("min_time_s") * 1e9).toLong()
    while (samples.length() < job.getInt("runs") || System.nanoTime() < deadline) {
        val cpuStart = clock.readNs()
        samples.put(time(infer)) // returns arrays of its own: the outputs have been read back
        cpuSamples.put(clock.readNs() - cpuStart)
    }
    return Pair(samples, cpuSamples)
}

private inline fun time(block: () -> Unit): Long {
    val start = System.nanoTime()
    block()
    return System.nanoTime() - start
}

private fun isCpu(job: JSONObject) = job.getString("accelerator") == "cpu"

private fun open(job: JSONObject): Model {
    val isFloat32 = job.getString("accelerator") != "gpu:default"
    val options =
        BaseOptions.builder()
            .setNumThreads(job.getInt("threads"))
            .setAccelerator(if (isCpu(job)) Accelerator.CPU else Accelerator.GPU)
            .setPrecision(if (isFloat32) Precision.FLOAT32 else Precision.DEFAULT)
            .setComparesGpu(false) // the host compares
            .build()
    return Model.open(ModelFile.open(File(job.getString("path"))), options)
}

/** Runs a sequence through all layers: outputs are compared after the last one. */
private fun runAllLayers(model: Model, ids: IntArray): Outputs =
    model.run(ids, earlyExit = model.file.earlyExit?.let { EarlyExit.NEVER })

private fun describe(results: List<Outputs>): JSONArray =
    JSONArray(
        results.map { result ->
            JSONArray(result.values.map { JSONArray(listOf(it.key, it.value.size)) })
        }
    )

private fun sha256(file: File): String {
    val digest = MessageDigest.getInstance("SHA-256")
    file.inputStream().use { input ->
        val chunk = ByteArray(1 shl 20)
        while (true) {
            val count = input.read(chunk)
            if (count < 0) return hex(digest.digest())
            digest.update(chunk, 0, count)
        }
    }
}

private fun sha256(bytes: ByteArray): String =
    hex(MessageDigest.getInstance("SHA-256").digest(bytes))

private fun hex(bytes: ByteArray): String =
    bytes.joinToString("") { (it.toInt() and 0xff).toString(16).padStart(2, '0') }

private fun JSONArray.ints(): IntArray = IntArray(length()) { getInt(it) }

private fun JSONArray.rows(): List<IntArray> = List(length()) { getJSONArray(it).ints() }
