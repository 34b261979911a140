package org.albertedge

import android.content.Context
import android.content.res.AssetFileDescriptor
import android.content.res.AssetManager
import android.os.ParcelFileDescriptor
import java.io.Closeable
import java.io.File
import java.io.FileInputStream
import java.io.FileNotFoundException
import java.io.IOException
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import org.albertedge.internal.Archive
import org.albertedge.internal.Contents
import org.albertedge.internal.fileError
import org.albertedge.internal.inputError
import org.albertedge.internal.line
import org.albertedge.internal.part
import org.albertedge.internal.readArchive
import org.albertedge.internal.readContents
import org.json.JSONObject

/**
 * An open `.tflite` file of `albert-edge convert`: its weights, mapped into memory and never
 * copied, and all that is in it beside them.
 *
 * It is checked when it is opened: the archive behind the model, the manifest, and the SHA-256 of
 * all of it. So a damaged file, one of another program, or one of a newer version is refused before
 * the runtime reads it. Close it, which also is done by the [Model] that runs it.
 *
 * @property name what it is called in messages.
 * @property task one of the eight tasks, such as `classification`.
 * @property labels the label of each class; in files of tasks without labels they mean nothing.
 * @property target where it is to run: `cpu`, `android`, `gpu`, or a target of a later version.
 * @property layout how it runs the passes: `loop`, `unrolled` or `split`.
 * @property quantize the recipe's name, such as `int8`.
 * @property config `config.json`, in Hugging Face's form.
 * @property manifest `albert_edge.json`: how the file was made.
 * @property earlyExit the file's own rule; null if it always runs all passes.
 * @property tokenizerFiles the tokenizer's files by name; empty if there is none.
 * @property vocabSize V, the number of token ids.
 * @property typeVocabSize the number of token type ids.
 * @property padTokenId the id of padding.
 * @property maxTokens the longest input in tokens, special tokens included.
 */
class ModelFile
private constructor(
    val name: String,
    content: ByteBuffer,
    private val handle: RandomAccessFile?,
    archive: Archive,
    contents: Contents,
) : Closeable {
    val task: String = contents.task
    val labels: List<String> = contents.labels
    val target: String = contents.target
    val layout: String = contents.layout
    val quantize: String = contents.quantize
    val config: JSONObject = contents.config
    val manifest: JSONObject = contents.manifest
    val earlyExit: EarlyExit? = contents.earlyExit
    val tokenizerFiles: Map<String, ByteArray> = contents.tokenizerFiles
    val vocabSize: Int = contents.shape.vocabSize
    val typeVocabSize: Int = contents.shape.typeVocabSize
    val padTokenId: Int = contents.shape.padTokenId
    val maxTokens: Int = contents.seqLens.lastOrNull() ?: contents.shape.maxPositions

    /** H, the width of the hidden states. */
    internal val hiddenSize: Int = contents.shape.hiddenSize
    private val lengths = contents.seqLens

    /** The size of the file. */
    val sizeBytes: Int = content.limit()
    private val files = archive.members
    @Volatile private var front: ByteBuffer? = content.part(0, archive.frontBytes)

    /**
     * The fixed lengths in tokens, ascending; empty if the file takes any length up to [maxTokens].
     */
    val seqLens: IntArray
        get() = lengths.copyOf()

    /**
     * The content of a file in the archive, such as `config.json`; null if there is none of this
     * name.
     */
    fun member(name: String): ByteArray? = files[name]?.copyOf()

    /** The names of the files in the archive. */
    val memberNames: Set<String>
        get() = files.keys.toSet()

    /** The model with its TFLite Metadata, without the archive: direct, in native order. */
    internal fun model(): ByteBuffer =
        front ?: throw inputError("$name is closed; open it again to run it.")

    /**
     * Checks that the file is as long as when it was opened: what was cut off would end the process
     * when it is read.
     */
    internal fun checkUnchanged() {
        if (handle == null || front == null) return // closed: nobody can tell
        // A FileChannel would be closed by an interrupt of this thread.
        if (handle.length() < sizeBytes) {
            throw fileError(
                "$name was changed while it was open; load it again. Put a new file in its place " +
                    "by renaming it: who has the old one open keeps it."
            )
        }
    }

    /** Lets go of the file; it stays in memory until no [Model] runs it any more. */
    override fun close() {
        front = null
        handle?.close()
    }

    companion object {
        /** Opens an asset, as in `ModelFile.open(context, "sentiment.tflite")`. */
        @JvmStatic
        fun open(context: Context, asset: String): ModelFile = open(context.assets, asset)

        /** Opens an asset, which must be stored without compression. */
        @JvmStatic
        fun open(assets: AssetManager, name: String): ModelFile {
            val descriptor =
                try {
                    assets.openFd(name)
                } catch (error: FileNotFoundException) {
                    throw assetError(assets, name, error)
                } catch (error: IOException) {
                    throw fileError("cannot read the asset $name: ${error.line()}.", error)
                }
            return descriptor.use { open(it, name) }
        }

        /** Opens a file. */
        @JvmStatic
        fun open(file: File): ModelFile {
            if (file.isDirectory) throw fileError("cannot read $file: Is a directory.")
            if (file.exists() && !file.isFile) {
                throw fileError("cannot read $file: it is not a regular file.")
            }
            val handle =
                try {
                    RandomAccessFile(file, "r")
                } catch (error: FileNotFoundException) {
                    val reason =
                        if (file.exists()) "Permission denied" else "No such file or directory"
                    throw fileError("cannot read $file: $reason.", error)
                }
            var opened: ModelFile? = null
            try {
                opened = map(handle.channel, 0, null, file.path, handle)
                return opened
            } finally {
                if (opened == null) handle.close()
            }
        }

        /**
         * Opens what a descriptor holds, as `AssetManager.openFd` and
         * `ContentResolver.openAssetFileDescriptor` return it. The caller closes the descriptor, at
         * any time.
         */
        @JvmStatic
        @JvmOverloads
        fun open(descriptor: AssetFileDescriptor, name: String = THE_MODEL): ModelFile {
            val length = descriptor.declaredLength.takeIf { it >= 0 }
            return FileInputStream(descriptor.fileDescriptor)
                .channel // not closed: the descriptor is the caller's
                .let { map(it, descriptor.startOffset, length, name) }
        }

        /**
         * Opens what a descriptor holds, from its beginning. The caller closes the descriptor, at
         * any time.
         */
        @JvmStatic
        @JvmOverloads
        fun open(descriptor: ParcelFileDescriptor, name: String = THE_MODEL): ModelFile =
            map(FileInputStream(descriptor.fileDescriptor).channel, 0, null, name)

        /**
         * Opens the content of a file, from the buffer's position to its limit.
         *
         * @param content a direct buffer, such as `FileChannel.map` returns. It must not be changed
         *   afterwards.
         */
        @JvmStatic
        @JvmOverloads
        fun open(content: ByteBuffer, name: String = THE_MODEL): ModelFile {
            if (!content.isDirect) {
                throw inputError(
                    "the runtime reads a model where it is in memory: give a direct ByteBuffer, " +
                        "such as FileChannel.map or ByteBuffer.allocateDirect returns, not one " +
                        "of an array."
                )
            }
            return read(content.part(content.position(), content.limit()), null, name)
        }

        private fun map(
            channel: FileChannel,
            start: Long,
            length: Long?,
            name: String,
            handle: RandomAccessFile? = null,
        ): ModelFile {
            val content =
                try {
                    val size = length ?: (channel.size() - start)
                    if (size > Int.MAX_VALUE) {
                        throw fileError("cannot read $name: it is larger than 2 GiB.")
                    }
                    channel.map(FileChannel.MapMode.READ_ONLY, start, size)
                } catch (error: IOException) {
                    throw fileError("cannot read $name: ${error.line()}.", error)
                } catch (error: IllegalArgumentException) { // of a range that is not in the file
                    throw fileError("cannot read $name: ${error.line()}.", error)
                }
            return read(content.part(0, content.limit()), handle, name)
        }

        private fun read(content: ByteBuffer, handle: RandomAccessFile?, name: String): ModelFile {
            val archive = readArchive(content, name)
            val contents = readContents(archive, content.part(0, archive.frontBytes), name)
            return ModelFile(name, content, handle, archive, contents)
        }

        private fun assetError(assets: AssetManager, name: String, error: IOException) =
            try {
                assets.open(name).close()
                fileError(
                    "the asset $name is compressed, so it cannot be mapped into memory. Store it " +
                        "as it is: androidResources { noCompress += \"tflite\" } in the android " +
                        "block of build.gradle.kts, or aapt's -0 tflite.",
                    error,
                )
            } catch (missing: IOException) {
                fileError("there is no asset $name in this app.", missing)
            }
    }
}

private const val THE_MODEL = "the model"
