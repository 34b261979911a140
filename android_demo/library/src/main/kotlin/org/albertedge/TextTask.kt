package org.albertedge

import java.io.Closeable
import org.albertedge.internal.TaskModel
import org.albertedge.internal.inputError
import org.albertedge.internal.tokenizerOf

/**
 * A model and its tokenizer as one function from text to a result: the base of all tasks.
 *
 * Threads may call it at once: one at a time runs the model.  After [close] it must not be called.
 */
abstract class TextTask
internal constructor(
    internal val core: TaskModel,
    internal val tokenizer: Tokenizer = core.tokenizer,
) : Closeable {
    /** The open model, which [close] closes. */
    val model: Model
        get() = core.model

    /** The number of tokens to which a text is truncated, special ones included. */
    val maxTokens: Int
        get() = core.maxTokens

    /** Frees the model. */
    override fun close() = core.close()

    companion object {
        /**
         * Returns an open model as its own task, with the default options: a [TextClassifier] for a
         * file of `classification`, and so on.
         *
         * The task closes the model; after an error it stays open.
         *
         * @throws AlbertEdgeException if the file carries no tokenizer, or a damaged one.
         */
        @JvmStatic
        fun createFromModel(model: Model): TextTask =
            when (val task = model.file.task) {
                "classification" -> TextClassifier.createFromModel(model)
                "feature-extraction" -> TextEmbedder.createFromModel(model)
                "fill-mask" -> MaskFiller.createFromModel(model)
                "pretraining" -> PretrainingHeads.createFromModel(model)
                "question-answering" -> QuestionAnswerer.createFromModel(model)
                "sentence-order" -> SentenceOrderClassifier.createFromModel(model)
                "summarization" -> TextSummarizer.createFromModel(model)
                "token-classification" -> TokenClassifier.createFromModel(model)
                else -> error("unknown task $task") // `ModelFile` checks it
            }

        /** Joins a model with its tokenizer, if the file is for one of [tasks]. */
        internal fun open(model: Model, name: String, vararg tasks: String): TaskModel {
            val task = model.file.task
            if (task in tasks) return TaskModel(model, tokenizerOf(model.file))
            throw inputError(
                "$name takes a file for ${tasks.joinToString(" or ")}; this file is for $task."
            )
        }

        /** Opens a task's model, and closes the file and the model if that fails. */
        internal inline fun <T> openFile(
            file: ModelFile,
            options: BaseOptions,
            create: (Model) -> T,
        ): T {
            var opened: Closeable? = file
            try {
                val model = Model.open(file, options)
                opened = model
                val task = create(model)
                opened = null
                return task
            } finally {
                opened?.close()
            }
        }
    }
}

/**
 * A label and its probability.
 *
 * @property label the label.
 * @property score its probability, in [0, 1].
 */
data class Category(val label: String, val score: Float)
