@file:JvmName("Suspending")

package org.albertedge

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext

/*
 * The tasks for coroutines, off the main thread: an app that calls these needs
 * org.jetbrains.kotlinx:kotlinx-coroutines-core, and no other app does.
 *
 * An inference is not interrupted when its coroutine is cancelled; its result is then dropped.
 */

/** Classifies a text, or two, on [Dispatchers.Default]; see [TextClassifier.classify]. */
suspend fun TextClassifier.classifySuspending(
    text: String,
    pair: String? = null,
): TextClassifierResult = offMain { if (pair == null) classify(text) else classify(text, pair) }

/** Answers a question on [Dispatchers.Default]; see [QuestionAnswerer.answer]. */
suspend fun QuestionAnswerer.answerSuspending(
    question: String,
    context: String,
): QuestionAnswererResult = offMain { answer(question, context) }

/** Labels the words of a text on [Dispatchers.Default]; see [TokenClassifier.classify]. */
suspend fun TokenClassifier.classifySuspending(text: String): TokenClassifierResult = offMain {
    classify(text)
}

/** Fills the masks of a text, or two, on [Dispatchers.Default]; see [MaskFiller.fill]. */
suspend fun MaskFiller.fillSuspending(text: String, pair: String? = null): MaskFillerResult =
    offMain { if (pair == null) fill(text) else fill(text, pair) }

/** Embeds a text, or two, on [Dispatchers.Default]; see [TextEmbedder.embed]. */
suspend fun TextEmbedder.embedSuspending(text: String, pair: String? = null): TextEmbedderResult =
    offMain { if (pair == null) embed(text) else embed(text, pair) }

/** Summarizes an article on [Dispatchers.Default]; see [TextSummarizer.summarize]. */
suspend fun TextSummarizer.summarizeSuspending(article: String): TextSummarizerResult = offMain {
    summarize(article)
}

/** Summarizes sentences on [Dispatchers.Default]; see [TextSummarizer.summarize]. */
suspend fun TextSummarizer.summarizeSuspending(sentences: List<String>): TextSummarizerResult =
    offMain { summarize(sentences) }

/**
 * Predicts the order of two texts on [Dispatchers.Default]; see [SentenceOrderClassifier.classify].
 */
suspend fun SentenceOrderClassifier.classifySuspending(
    first: String,
    second: String,
): SentenceOrderResult = offMain { classify(first, second) }

/** Runs both heads of pre-training on [Dispatchers.Default]; see [PretrainingHeads.predict]. */
suspend fun PretrainingHeads.predictSuspending(
    text: String,
    pair: String? = null,
): PretrainingHeadsResult = offMain { if (pair == null) predict(text) else predict(text, pair) }

private suspend inline fun <T> offMain(crossinline block: () -> T): T =
    withContext(Dispatchers.Default) { block() }
