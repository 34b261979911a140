package org.albertedge

import android.content.Context
import java.io.File
import org.albertedge.internal.TaskModel
import org.albertedge.internal.findBestSpans
import org.albertedge.internal.inputError
import org.albertedge.internal.planWindows

/**
 * Answers a question by a part of a passage of any length.
 *
 * A long passage is read in windows that overlap by at least the longest answer, so every part that
 * may be the answer lies whole in at least one window; its score is that of the window where it has
 * the most context.
 *
 * ```
 * QuestionAnswerer.createFromFile(file).answer("Who wrote it?", "It was Ada.").text // "Ada"
 * ```
 */
class QuestionAnswerer
private constructor(core: TaskModel, private val options: QuestionAnswererOptions) :
    TextTask(core) {

    /**
     * Answers a question from a passage.
     *
     * @param question the question, of which at most 64 tokens are read.
     * @param context the passage that contains the answer, of any length.
     * @throws AlbertEdgeException if a text is empty or not Unicode, or the runtime fails.
     */
    fun answer(question: String, context: String): QuestionAnswererResult {
        val length = minOf(model.file.seqLens.lastOrNull() ?: WINDOW, maxTokens)
        val plan =
            planWindows(
                tokenizer,
                question,
                context,
                length,
                options.maxAnswerTokens,
                options.stride,
            )
        val outputs = plan.windows.map { model.run(it.inputIds, it.tokenTypeIds) }
        val starts = outputs.map { it["start_logits"] }
        val ends = outputs.map { it["end_logits"] }
        val nullScore = starts.indices.minOf { starts[it][0] + ends[it][0] }
        val best =
            findBestSpans(
                plan,
                starts,
                ends,
                options.maxAnswerTokens,
                options.maxResults,
                nullScore.takeIf { options.allowNoAnswer },
            )
        val answers = best.spans.mapTo(ArrayList()) {
            val score = best.probability(it.logit.toDouble())
            Answer(context.substring(it.start, it.end), it.start, it.end, score.toFloat())
        }
        val lead = nullScore.toDouble() - best.spans[0].logit
        if (options.allowNoAnswer && lead > options.noAnswerThreshold) {
            answers.add(0, Answer("", 0, 0, best.probability(nullScore.toDouble()).toFloat()))
        }
        val kept = answers.take(options.maxResults)
        return QuestionAnswererResult(kept, nullScore, plan.windows.size, plan.truncated)
    }

    /**
     * The options of a [QuestionAnswerer].
     *
     * In Java: `QuestionAnswererOptions.builder().setAllowNoAnswer(true).build()`.
     *
     * @property base how the model runs.
     * @property maxResults the most answers, at least 1.
     * @property maxAnswerTokens the most tokens of an answer, at least 1.
     * @property stride the number of tokens of the passage that neighbouring windows share.  Raised
     *   to [maxAnswerTokens] if it is less, and lowered where windows are short.
     * @property allowNoAnswer whether "no answer" is allowed: for models trained on SQuAD 2.0.
     * @property noAnswerThreshold by how much "no answer" must exceed the best answer's logits to
     *   win.
     */
    class QuestionAnswererOptions
    @JvmOverloads
    constructor(
        val base: BaseOptions = BaseOptions(),
        val maxResults: Int = 1,
        val maxAnswerTokens: Int = 30,
        val stride: Int = 128,
        val allowNoAnswer: Boolean = false,
        val noAnswerThreshold: Float = 0f,
    ) {
        init {
            if (minOf(maxAnswerTokens, maxResults) < 1 || stride < 0) {
                throw inputError(
                    "maxAnswerTokens and maxResults must be at least 1, stride at least 0."
                )
            }
            if (noAnswerThreshold.isNaN()) throw inputError("noAnswerThreshold must be a number.")
        }

        /** Makes [QuestionAnswererOptions]; what is not set keeps its default. */
        class Builder internal constructor() {
            private var base = BaseOptions()
            private var maxResults = 1
            private var maxAnswerTokens = 30
            private var stride = 128
            private var allowNoAnswer = false
            private var noAnswerThreshold = 0f

            /** Sets how the model runs. */
            fun setBaseOptions(base: BaseOptions): Builder = apply { this.base = base }

            /** Sets the most answers, at least 1. */
            fun setMaxResults(count: Int): Builder = apply { maxResults = count }

            /** Sets the most tokens of an answer, at least 1. */
            fun setMaxAnswerTokens(count: Int): Builder = apply { maxAnswerTokens = count }

            /** Sets the number of tokens that neighbouring windows share. */
            fun setStride(stride: Int): Builder = apply { this.stride = stride }

            /** Sets whether "no answer" is allowed. */
            fun setAllowNoAnswer(allow: Boolean): Builder = apply { allowNoAnswer = allow }

            /** Sets by how much "no answer" must exceed the best answer's logits to win. */
            fun setNoAnswerThreshold(threshold: Float): Builder = apply {
                noAnswerThreshold = threshold
            }

            /** Makes the options. */
            fun build(): QuestionAnswererOptions =
                QuestionAnswererOptions(
                    base,
                    maxResults,
                    maxAnswerTokens,
                    stride,
                    allowNoAnswer,
                    noAnswerThreshold,
                )
        }

        companion object {
            /** Begins options with the defaults. */
            @JvmStatic fun builder(): Builder = Builder()
        }
    }

    companion object {
        /**
         * Opens an asset, which must be stored without compression.
         *
         * @throws AlbertEdgeException if it is missing, damaged or for another task or target.
         */
        @JvmStatic
        @JvmOverloads
        fun createFromAsset(
            context: Context,
            asset: String,
            options: QuestionAnswererOptions = QuestionAnswererOptions(),
        ): QuestionAnswerer =
            openFile(ModelFile.open(context, asset), options.base) { createFromModel(it, options) }

        /** Opens a file; see [createFromAsset]. */
        @JvmStatic
        @JvmOverloads
        fun createFromFile(
            file: File,
            options: QuestionAnswererOptions = QuestionAnswererOptions(),
        ): QuestionAnswerer =
            openFile(ModelFile.open(file), options.base) { createFromModel(it, options) }

        /**
         * Uses an open model, to which the base options do not apply.  The task closes it; after an
         * error it stays open.
         */
        @JvmStatic
        @JvmOverloads
        fun createFromModel(
            model: Model,
            options: QuestionAnswererOptions = QuestionAnswererOptions(),
        ): QuestionAnswerer =
            QuestionAnswerer(open(model, "QuestionAnswerer", "question-answering"), options)
    }
}

// ALBERT is fine-tuned on SQuAD at this length (Google's run_squad); longer windows gain nothing.
private const val WINDOW = 384

/**
 * An answer, exactly as in the passage, or "no answer".
 *
 * @property text the text in `[start, end)` of the passage; empty for "no answer".
 * @property start its start, in UTF-16 code units; 0 for "no answer".
 * @property end its end; 0 for "no answer".
 * @property score its probability among all parts of the passage (and "no answer", if allowed).
 */
data class Answer(val text: String, val start: Int, val end: Int, val score: Float) {
    /** Whether it is "no answer". */
    val isNoAnswer: Boolean
        get() = start == end
}

/**
 * What a [QuestionAnswerer] finds.
 *
 * @property answers the best answers, the best first; at least one.
 * @property nullScore the least sum of the logits of `[CLS]` over all windows.
 * @property windows the number of windows.
 * @property truncated whether the question was cut at its end.
 */
data class QuestionAnswererResult(
    val answers: List<Answer>,
    val nullScore: Float,
    val windows: Int,
    val truncated: Boolean,
) {
    /** The best answer. */
    val answer: Answer
        get() = answers[0]

    /** The text of the best answer; empty for "no answer". */
    val text: String
        get() = answers[0].text
}
