package org.albertedge.demo

import android.content.Context
import android.net.Uri
import android.os.Handler
import android.os.Looper
import java.util.concurrent.Executors
import java.util.concurrent.atomic.AtomicInteger
import org.albertedge.Accelerator
import org.albertedge.AlbertEdgeException

/** Which file runs, and how. */
data class Setting(val file: Uri, val accelerator: Accelerator, val threads: Int)

/** What the user entered; [second] is empty where the task has one text. */
data class Texts(val first: String = "", val second: String = "")

/**
 * The model and its results, from the first activity to the last: a rotation makes a new activity
 * and keeps the session.
 *
 * The model lives on a thread of its own. Everything else belongs to the main thread.
 */
class Session(context: Context, setting: Setting) {
    private val context = context.applicationContext
    private val main = Handler(Looper.getMainLooper())
    private val worker = Executors.newSingleThreadExecutor()
    private val newestOpening = AtomicInteger()
    private val newestQuestion = AtomicInteger()

    /** The open model, which only the worker touches. */
    private var model: OpenModel? = null

    /** Is called on the main thread after each change; null while no activity listens. */
    var listener: (() -> Unit)? = null

    var setting: Setting = setting
        private set

    var texts: Texts = Texts()
        private set

    /** What to call the file. */
    var fileName: String = ""
        private set

    /** What is known of the open file; null while it is being opened, or if it could not be. */
    var about: About? = null
        private set

    /** The newest result; null while there is none. */
    var outcome: Outcome? = null
        private set

    /** Why there is no model or no result. */
    var error: String? = null
        private set

    /** The last runs, the oldest first. */
    var runs: List<Run> = emptyList()
        private set

    init {
        open(setting)
    }

    /**
     * Opens another file, or the same one with other options; its results replace the present ones.
     */
    fun open(setting: Setting) {
        this.setting = setting
        fileName = setting.file.lastPathSegment.orEmpty()
        about = null
        outcome = null
        error = null
        runs = runs.map { Run(it.milliseconds, current = false) }
        val number = newestOpening.incrementAndGet()
        newestQuestion.incrementAndGet()
        worker.execute {
            if (number != newestOpening.get()) return@execute
            model?.close()
            model = null
            val name = OpenModel.fileName(context, setting.file)
            val opened = attempt { OpenModel.open(context, name, setting) }
            model = opened.getOrNull()
            post({ number == newestOpening.get() }) {
                fileName = name
                about = opened.getOrNull()?.about
                error = opened.exceptionOrNull()?.message
                ask(texts)
            }
        }
        listener?.invoke()
    }

    /**
     * Answers texts, [times] times over; what was asked before and is not answered yet is dropped.
     */
    fun ask(texts: Texts, times: Int = 1) {
        val isKnown = texts == this.texts && (outcome != null || error != null)
        if (isKnown && times == 1) {
            listener?.invoke()
            return
        }
        this.texts = texts
        val number = newestQuestion.incrementAndGet()
        val form = about?.let { Form.of(it.task) }
        if (form == null) {
            listener?.invoke()
        } else if (texts.first.isBlank() || form.needsSecond && texts.second.isBlank()) {
            outcome = null
            error = null
            listener?.invoke()
        } else {
            worker.execute { run(texts, times) { number == newestQuestion.get() } }
        }
    }

    private fun run(texts: Texts, times: Int, isNewest: () -> Boolean) {
        repeat(times) {
            val model = model
            if (model == null || !isNewest()) return
            val start = System.nanoTime()
            val result = attempt { model.run(texts) }
            val milliseconds = (System.nanoTime() - start) / 1e6
            post(isNewest) {
                outcome = result.getOrNull()
                error = result.exceptionOrNull()?.message
                if (result.isSuccess) {
                    runs = (runs + Run(milliseconds, current = true)).takeLast(LatencyPlot.CAPACITY)
                }
            }
            if (result.isFailure) return
        }
    }

    /** Closes the model; the session is of no use afterwards. */
    fun close() {
        listener = null
        newestOpening.incrementAndGet()
        newestQuestion.incrementAndGet()
        worker.execute { model?.close() }
        worker.shutdown()
    }

    private fun post(isNewest: () -> Boolean, change: () -> Unit) {
        main.post {
            if (isNewest()) {
                change()
                listener?.invoke()
            }
        }
    }

    /** Keeps the errors that a file or a text can cause, and no others. */
    private fun <T> attempt(action: () -> T): Result<T> =
        try {
            Result.success(action())
        } catch (error: AlbertEdgeException) {
            Result.failure(error)
        }
}
