package org.albertedge.demo

import android.content.ContentResolver
import android.content.Context
import android.net.Uri
import android.provider.OpenableColumns
import java.io.Closeable
import java.io.FileNotFoundException
import java.util.Locale
import org.albertedge.AlbertEdgeException
import org.albertedge.BaseOptions
import org.albertedge.Model
import org.albertedge.ModelFile
import org.albertedge.QuestionAnswerer
import org.albertedge.TextTask

/**
 * What the screen says of an open file.
 *
 * @property task one of the eight tasks.
 * @property text its task, the type of its weights, its size, and how far the GPU is off.
 */
class About(val task: String, val text: String)

/** An open file of any task: texts in, what the screen shows out. */
internal class OpenModel
private constructor(private val context: Context, private val task: TextTask, val about: About) :
    Closeable {

    /** Runs the model on texts. */
    fun run(texts: Texts): Outcome = task.run(texts, context.resources)

    override fun close() = task.close()

    companion object {
        private const val ASSETS = "file:///android_asset/"
        private const val ANSWERS = 3

        /** Returns what the user knows a file as. */
        fun fileName(context: Context, file: Uri): String {
            val fallback = file.lastPathSegment ?: file.toString()
            if (file.scheme != ContentResolver.SCHEME_CONTENT) return fallback
            val columns = arrayOf(OpenableColumns.DISPLAY_NAME)
            return try {
                context.contentResolver.query(file, columns, null, null, null)?.use { rows ->
                    if (rows.moveToFirst()) rows.getString(0) else null
                } ?: fallback
            } catch (_: SecurityException) { // the permission has ended: opening it will say so
                fallback
            }
        }

        /**
         * Opens a file, and checks it.
         *
         * @param name what to call it in messages.
         * @throws AlbertEdgeException if it cannot be read, is damaged, or cannot run here.
         */
        fun open(context: Context, name: String, setting: Setting): OpenModel {
            val options = BaseOptions(setting.threads, setting.accelerator)
            val asset = setting.file.toString().substringAfter(ASSETS, "")
            var opened: Closeable? = null
            try {
                val file =
                    if (asset.isEmpty()) openDocument(context, name, setting.file)
                    else ModelFile.open(context, asset)
                opened = file
                val model = Model.open(file, options)
                opened = model
                val task = createTask(model, setting.file == Embedded.QUESTIONS.file)
                val about = About(file.task, describe(context, file, model.gpuDifference))
                opened = null
                return OpenModel(context, task, about)
            } finally {
                opened?.close()
            }
        }

        /**
         * The task with its default options, but for the next best answers to a question, and "no
         * answer" of a model that was trained to say it.
         */
        private fun createTask(model: Model, allowNoAnswer: Boolean): TextTask {
            if (model.file.task != "question-answering") return TextTask.createFromModel(model)
            val options =
                QuestionAnswerer.QuestionAnswererOptions(
                    maxResults = ANSWERS,
                    allowNoAnswer = allowNoAnswer,
                )
            return QuestionAnswerer.createFromModel(model, options)
        }

        private fun openDocument(context: Context, name: String, file: Uri): ModelFile =
            try {
                context.contentResolver.openFileDescriptor(file, "r")?.use {
                    ModelFile.open(it, name)
                } ?: throw cannotOpen(context, name, null)
            } catch (error: FileNotFoundException) {
                throw cannotOpen(context, name, error)
            } catch (error: SecurityException) {
                throw cannotOpen(context, name, error)
            }

        private fun cannotOpen(context: Context, name: String, error: Exception?) =
            AlbertEdgeException(
                AlbertEdgeException.Kind.FILE,
                context.getString(R.string.cannot_open, name),
                error,
            )

        private fun describe(context: Context, file: ModelFile, difference: Double?): String {
            val size = file.sizeBytes / 1e6
            val about = context.getString(R.string.about, file.task, file.quantize, size)
            if (difference == null) return about
            val scientific = String.format(Locale.ROOT, "%.0e", difference)
            return about + "\n" + context.getString(R.string.gpu_difference, scientific)
        }
    }
}
