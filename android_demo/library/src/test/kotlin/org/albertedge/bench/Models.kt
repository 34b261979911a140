package org.albertedge.bench

import android.content.res.AssetFileDescriptor
import android.os.ParcelFileDescriptor
import java.io.File
import java.io.FileDescriptor
import java.io.FileInputStream
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import java.security.MessageDigest
import java.util.concurrent.Callable
import java.util.concurrent.Executors
import org.albertedge.Accelerator
import org.albertedge.BaseOptions
import org.albertedge.EarlyExit
import org.albertedge.Model
import org.albertedge.ModelFile
import org.albertedge.Outputs
import org.albertedge.Precision
import org.json.JSONArray
import org.json.JSONObject
import org.tensorflow.lite.support.metadata.MetadataExtractor

/** A descriptor without what only Android's own `java.io` has. */
private class Descriptor(private val fd: FileDescriptor) :
    ParcelFileDescriptor(null as ParcelFileDescriptor?) {
    override fun getFileDescriptor(): FileDescriptor = fd
}

/** Opens and runs files for `tests/android`. */
object Models {
    /** Opens the file `path`; returns a handle. */
    fun openFile(arguments: JSONObject): Any =
        Bench.keep(ModelFile.open(File(arguments.getString("path"))))

    /**
     * Opens `path` as a buffer that begins `shift` bytes after an address that is aligned to a
     * page.
     */
    fun openBuffer(arguments: JSONObject): Any {
        val content = File(arguments.getString("path")).readBytes()
        val shift = arguments.getInt("shift")
        if (arguments.optBoolean("onHeap")) {
            return Bench.keep(ModelFile.open(ByteBuffer.wrap(content)))
        }
        val copy = File.createTempFile("shifted", ".bin")
        try {
            copy.writeBytes(ByteArray(shift) + content + ByteArray(shift))
            val mapped = RandomAccessFile(copy, "r").use {
                it.channel.map(FileChannel.MapMode.READ_ONLY, 0, copy.length())
            }
            mapped.position(shift)
            mapped.limit(shift + content.size)
            return Bench.keep(ModelFile.open(mapped, "a buffer"))
        } finally {
            copy.delete()
        }
    }

    /** Opens `path` by an asset's descriptor, whose file has `shift` bytes before and behind it. */
    fun openDescriptor(arguments: JSONObject): Any {
        val content = File(arguments.getString("path")).readBytes()
        val shift = arguments.getInt("shift")
        val apk = File.createTempFile("shifted", ".apk")
        try {
            apk.writeBytes(ByteArray(shift) + content + ByteArray(shift))
            FileInputStream(apk).use {
                val length =
                    if (shift == 0) AssetFileDescriptor.UNKNOWN_LENGTH else content.size.toLong()
                val descriptor = Descriptor(it.fd)
                if (arguments.optBoolean("isParcel")) return Bench.keep(ModelFile.open(descriptor))
                val opened = AssetFileDescriptor(descriptor, shift.toLong(), length)
                return Bench.keep(ModelFile.open(opened))
            }
        } finally {
            apk.delete()
        }
    }

    /** The files in `path` as TFLite's own `MetadataExtractor` reads them: name to SHA-256. */
    fun metadata(arguments: JSONObject): Any {
        val content = ByteBuffer.wrap(File(arguments.getString("path")).readBytes())
        val extractor = MetadataExtractor(content)
        return extractor.associatedFileNames.associateWith {
            sha256(extractor.getAssociatedFile(it).readBytes())
        }
    }

    /** The files in the file behind a handle likewise. */
    fun members(arguments: JSONObject): Any {
        val file: ModelFile = Bench.kept(arguments, "file")
        return file.memberNames.associateWith { sha256(file.member(it)!!) }
    }

    private fun sha256(content: ByteArray): String =
        MessageDigest.getInstance("SHA-256").digest(content).joinToString("") { "%02x".format(it) }

    /**
     * Tries to open every file of `paths`; returns for each an error or null, and any other
     * exception as it is.
     */
    fun openErrors(arguments: JSONObject): Any {
        val paths = arguments.getJSONArray("paths")
        return List(paths.length()) { index ->
            try {
                ModelFile.open(File(paths.getString(index))).close()
                null
            } catch (error: Throwable) {
                mapOf("type" to error.javaClass.name, "message" to error.message)
            }
        }
    }

    /** What is in the file behind a handle. */
    fun describe(arguments: JSONObject): Any = describe(Bench.kept<ModelFile>(arguments, "file"))

    private fun describe(file: ModelFile): Any =
        mapOf(
            "task" to file.task,
            "labels" to file.labels,
            "target" to file.target,
            "layout" to file.layout,
            "quantize" to file.quantize,
            "seqLens" to file.seqLens,
            "maxTokens" to file.maxTokens,
            "vocabSize" to file.vocabSize,
            "typeVocabSize" to file.typeVocabSize,
            "padTokenId" to file.padTokenId,
            "config" to file.config,
            "manifest" to file.manifest,
            "members" to file.memberNames,
            "tokenizerFiles" to file.tokenizerFiles.mapValues { it.value.size },
            "earlyExit" to
                file.earlyExit?.let {
                    mapOf("patience" to it.patience, "threshold" to it.threshold)
                },
        )

    /**
     * Opens a model of the file behind a handle, or of `path`; returns a handle and how it runs.
     */
    fun open(arguments: JSONObject): Any {
        val file: ModelFile =
            if (arguments.has("path")) ModelFile.open(File(arguments.getString("path")))
            else Bench.kept(arguments, "file")
        val options =
            BaseOptions.builder()
                .setNumThreads(arguments.optInt("threads", 1))
                .setAccelerator(Accelerator.valueOf(arguments.optString("accelerator", "CPU")))
                .setPrecision(Precision.valueOf(arguments.optString("precision", "FLOAT32")))
                .build()
        val model = Model.open(file, options)
        return mapOf(
            "handle" to Bench.keep(model),
            "runtime" to model.runtime,
            "difference" to model.gpuDifference,
        )
    }

    /** Runs `ids` [T], `types` [T], and a rule of early exit; returns the outputs by name. */
    fun run(arguments: JSONObject): Any = outputs(run(Bench.kept(arguments, "handle"), arguments))

    /** Runs in a thread that has been interrupted; returns the outputs, and whether it still is. */
    fun runInterrupted(arguments: JSONObject): Any {
        Thread.currentThread().interrupt()
        val values = run(Bench.kept(arguments, "handle"), arguments).values
        return mapOf("values" to values, "isInterrupted" to Thread.interrupted())
    }

    private fun run(model: Model, arguments: JSONObject): Outputs {
        val rule = arguments.optJSONObject("earlyExit")
        return model.run(
            ints(arguments.getJSONArray("ids")),
            arguments.optJSONArray("types")?.let(::ints),
            rule?.let {
                val most = if (it.isNull("maxLayers")) null else it.getInt("maxLayers")
                EarlyExit(it.getInt("patience"), it.getDouble("threshold").toFloat(), most)
            },
            arguments.optJSONArray("rows")?.let(::ints),
        )
    }

    private fun outputs(outputs: Outputs): Any =
        mapOf("values" to outputs.values, "layersUsed" to outputs.layersUsed)

    private fun ints(values: JSONArray) = IntArray(values.length()) { values.getInt(it) }

    /**
     * Runs each of `inputs` in `threads` threads at once, `times` times; returns how many outputs
     * differ from alone.
     */
    fun runAtOnce(arguments: JSONObject): Any {
        val model: Model = Bench.kept(arguments, "handle")
        val inputs = arguments.getJSONArray("inputs")
        val alone = List(inputs.length()) { run(model, inputs.getJSONObject(it)) }
        val pool = Executors.newFixedThreadPool(arguments.getInt("threads"))
        val calls =
            List(arguments.getInt("times") * alone.size) { it % alone.size }.map { index ->
                pool.submit(Callable {
                    val found = run(model, inputs.getJSONObject(index))
                    found.values.all { (name, values) -> values.contentEquals(alone[index][name]) }
                })
            }
        val different = calls.count { !it.get() }
        pool.shutdown()
        return different
    }

    /**
     * Closes a model while other threads run it; returns the messages of those that came too late.
     */
    fun closeWhileRunning(arguments: JSONObject): Any {
        val model: Model = Bench.kept(arguments, "handle")
        val messages = java.util.Collections.synchronizedSet(HashSet<String>())
        val threads = List(arguments.getInt("threads")) {
            Thread {
                try {
                    while (true) run(model, arguments)
                } catch (error: Throwable) {
                    messages.add("${error.javaClass.simpleName}: ${error.message}")
                }
            }
        }
        threads.forEach(Thread::start)
        Thread.sleep(100)
        model.close()
        threads.forEach(Thread::join)
        return messages
    }

    /** Closes a model or a file. */
    fun close(arguments: JSONObject): Any? =
        Bench.kept<java.io.Closeable>(arguments, "handle").close()

    /**
     * The bytes of Java's heap and direct buffers that `path` takes when it is opened as a file.
     */
    fun heapOf(arguments: JSONObject): Any {
        val before = direct()
        val file = ModelFile.open(File(arguments.getString("path")))
        val members = file.memberNames.sumOf { file.member(it)!!.size }
        return mapOf("direct" to direct() - before, "members" to members).also { file.close() }
    }

    private fun direct(): Long =
        java.lang.management.ManagementFactory.getPlatformMXBeans(
                java.lang.management.BufferPoolMXBean::class.java
            )
            .first { it.name == "direct" }
            .memoryUsed

    /** Makes a rule of early exit. */
    fun rule(arguments: JSONObject): Any =
        EarlyExit(arguments.getInt("patience"), arguments.getDouble("threshold").toFloat()).patience

    /** Makes options. */
    fun options(arguments: JSONObject): Any = BaseOptions(arguments.getInt("threads")).numThreads
}
