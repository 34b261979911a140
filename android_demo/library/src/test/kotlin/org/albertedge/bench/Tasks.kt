package org.albertedge.bench

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.Base64
import java.util.concurrent.Callable
import java.util.concurrent.Executors
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.runBlocking
import org.albertedge.AlbertEdgeException
import org.albertedge.Answer
import org.albertedge.Bullet
import org.albertedge.Category
import org.albertedge.LabeledSpan
import org.albertedge.MaskFiller
import org.albertedge.MaskFiller.MaskFillerOptions
import org.albertedge.MaskFillerResult
import org.albertedge.Model
import org.albertedge.ModelFile
import org.albertedge.PretrainingHeads
import org.albertedge.PretrainingHeads.PretrainingHeadsOptions
import org.albertedge.PretrainingHeadsResult
import org.albertedge.QuestionAnswerer
import org.albertedge.QuestionAnswerer.QuestionAnswererOptions
import org.albertedge.QuestionAnswererResult
import org.albertedge.SentenceOrderClassifier
import org.albertedge.SentenceOrderClassifier.SentenceOrderClassifierOptions
import org.albertedge.SentenceOrderResult
import org.albertedge.TextClassifier
import org.albertedge.TextClassifier.TextClassifierOptions
import org.albertedge.TextClassifierResult
import org.albertedge.TextEmbedder
import org.albertedge.TextEmbedder.TextEmbedderOptions
import org.albertedge.TextEmbedderResult
import org.albertedge.TextSummarizer
import org.albertedge.TextSummarizer.TextSummarizerOptions
import org.albertedge.TextSummarizerResult
import org.albertedge.TextTask
import org.albertedge.TokenClassifier
import org.albertedge.TokenClassifier.TokenClassifierOptions
import org.albertedge.TokenClassifierResult
import org.albertedge.answerSuspending
import org.albertedge.classifySuspending
import org.albertedge.embedSuspending
import org.albertedge.fillSuspending
import org.albertedge.predictSuspending
import org.albertedge.summarizeSuspending
import org.json.JSONArray
import org.json.JSONObject

/** Runs the tasks for `tests/android/test_tasks.py`, with results in the form of Python's. */
object Tasks {
    /** Opens the file `path` as its own task with the default options; returns a handle. */
    fun openDefault(arguments: JSONObject): Any {
        val file = ModelFile.open(File(arguments.getString("path")))
        return Bench.keep(TextTask.createFromModel(Model.open(file)))
    }

    /** Opens the file `path` as the class `type` with `options`; returns a handle. */
    fun open(arguments: JSONObject): Any {
        val file = File(arguments.getString("path"))
        val given = Given(arguments.optJSONObject("options") ?: JSONObject())
        return Bench.keep(create(arguments.getString("type"), file, given))
    }

    private fun create(type: String, file: File, given: Given): TextTask =
        when (type) {
            "TextClassifier" -> TextClassifier.createFromFile(file, given.ofTextClassifier())
            "QuestionAnswerer" -> QuestionAnswerer.createFromFile(file, given.ofQuestionAnswerer())
            "TokenClassifier" -> TokenClassifier.createFromFile(file, given.ofTokenClassifier())
            "MaskFiller" -> MaskFiller.createFromFile(file, given.ofMaskFiller())
            "TextEmbedder" -> TextEmbedder.createFromFile(file, given.ofTextEmbedder())
            "TextSummarizer" -> TextSummarizer.createFromFile(file, given.ofTextSummarizer())
            "SentenceOrderClassifier" ->
                SentenceOrderClassifier.createFromFile(file, SentenceOrderClassifierOptions())
            "PretrainingHeads" -> PretrainingHeads.createFromFile(file, given.ofPretrainingHeads())
            else -> error("no class $type")
        }

    /**
     * Runs the task behind `handle` on each of `inputs`; returns results, or messages of errors.
     */
    fun run(arguments: JSONObject): Any {
        val task: TextTask = Bench.kept(arguments, "handle")
        val inputs = arguments.getJSONArray("inputs")
        return List(inputs.length()) {
            try {
                run(task, inputs.getJSONObject(it))
            } catch (error: AlbertEdgeException) {
                mapOf("error" to error.message)
            }
        }
    }

    /** The cosine of the vectors `first` and `second`. */
    fun cosine(arguments: JSONObject): Any =
        TextEmbedder.cosineSimilarity(
            floats(arguments.getJSONArray("first")),
            floats(arguments.getJSONArray("second")),
        )

    private fun floats(values: JSONArray) =
        FloatArray(values.length()) { values.getDouble(it).toFloat() }

    private fun run(task: TextTask, input: JSONObject): Map<String, Any?> {
        val text = input.optString("text")
        val pair = if (input.has("pair")) input.getString("pair") else null
        val sentences = strings(input.optJSONArray("sentences"))
        return when (task) {
            is TextClassifier ->
                of(if (pair == null) task.classify(text) else task.classify(text, pair))
            is QuestionAnswerer -> of(task.answer(input.getString("question"), context(input)))
            is TokenClassifier -> of(task.classify(text))
            is MaskFiller -> of(if (pair == null) task.fill(text) else task.fill(text, pair))
            is TextEmbedder -> of(if (pair == null) task.embed(text) else task.embed(text, pair))
            is TextSummarizer ->
                of(if (sentences == null) task.summarize(text) else task.summarize(sentences))
            is SentenceOrderClassifier -> of(task.classify(text, pair!!))
            is PretrainingHeads ->
                of(if (pair == null) task.predict(text) else task.predict(text, pair))
            else -> error("no such task")
        }
    }

    private fun context(input: JSONObject): String = input.getString("context")

    private fun strings(values: JSONArray?): List<String>? =
        values?.let { List(it.length()) { index -> it.getString(index) } }

    /** Runs the task behind `handle` on `inputs` by its suspending functions, all at once. */
    fun runSuspending(arguments: JSONObject): Any {
        val task: TextTask = Bench.kept(arguments, "handle")
        val inputs = arguments.getJSONArray("inputs")
        return runBlocking {
            List(inputs.length()) { async { suspending(task, inputs.getJSONObject(it)) } }
                .awaitAll()
        }
    }

    private suspend fun suspending(task: TextTask, input: JSONObject): Map<String, Any?> {
        val text = input.optString("text")
        val pair = if (input.has("pair")) input.getString("pair") else null
        val sentences = strings(input.optJSONArray("sentences"))
        return when (task) {
            is TextClassifier -> of(task.classifySuspending(text, pair))
            is QuestionAnswerer ->
                of(task.answerSuspending(input.getString("question"), context(input)))
            is TokenClassifier -> of(task.classifySuspending(text))
            is MaskFiller -> of(task.fillSuspending(text, pair))
            is TextEmbedder -> of(task.embedSuspending(text, pair))
            is TextSummarizer ->
                of(
                    if (sentences == null) task.summarizeSuspending(text)
                    else task.summarizeSuspending(sentences)
                )
            is SentenceOrderClassifier -> of(task.classifySuspending(text, pair!!))
            is PretrainingHeads -> of(task.predictSuspending(text, pair))
            else -> error("no such task")
        }
    }

    /** Runs the task behind `handle` on `inputs` in eight threads; returns the results. */
    fun runAtOnce(arguments: JSONObject): Any {
        val task: TextTask = Bench.kept(arguments, "handle")
        val inputs = arguments.getJSONArray("inputs")
        val pool = Executors.newFixedThreadPool(8)
        val calls =
            List(inputs.length()) {
                pool.submit(Callable { run(task, inputs.getJSONObject(it)) })
            }
        return calls.map { it.get() }.also { pool.shutdown() }
    }

    private fun of(result: TextClassifierResult): Map<String, Any?> {
        check(result.label == result.labels.firstOrNull())
        return mapOf(
            "labels" to result.labels,
            "scores" to scores(result.categories),
            "values" to result.values,
            "layers_used" to result.layersUsed,
            "tokens" to result.tokens,
            "truncated" to result.truncated,
        )
    }

    private fun of(result: QuestionAnswererResult): Map<String, Any?> {
        check(result.text == result.answer.text)
        return mapOf(
            "answers" to result.answers.map { of(it) },
            "null_score" to result.nullScore,
            "windows" to result.windows,
            "truncated" to result.truncated,
        )
    }

    private fun of(answer: Answer): Any =
        mapOf(
            "answer" to answer.text,
            "start" to answer.start,
            "end" to answer.end,
            "score" to answer.score,
        )

    private fun of(result: TokenClassifierResult): Map<String, Any?> =
        mapOf(
            "words" to result.words.map { of(it) },
            "entities" to result.entities.map { of(it) },
            "tokens" to result.tokens,
            "truncated" to result.truncated,
        )

    private fun of(span: LabeledSpan): Any =
        mapOf(
            "text" to span.text,
            "start" to span.start,
            "end" to span.end,
            "label" to span.label,
            "score" to span.score,
        )

    private fun of(result: MaskFillerResult): Map<String, Any?> =
        mapOf(
            "text" to result.text,
            "pair" to result.pair,
            "masks" to
                result.masks.map { mask ->
                    mapOf(
                        "start" to mask.start,
                        "end" to mask.end,
                        "in_pair" to mask.isInPair,
                        "candidates" to
                            mask.candidates.map {
                                mapOf(
                                    "token" to it.token,
                                    "id" to it.id,
                                    "score" to it.score,
                                    "text" to it.text,
                                )
                            },
                    )
                },
            "tokens" to result.tokens,
            "truncated" to result.truncated,
        )

    private fun of(result: TextEmbedderResult): Map<String, Any?> =
        mapOf(
            "embedding" to base64(result.embedding),
            "last_hidden_state" to base64(*result.lastHiddenState),
            "mean" to base64(result.mean),
            "pooler_output" to result.poolerOutput?.let { base64(it) },
            "tokens" to result.tokens,
            "truncated" to result.truncated,
        )

    /** The floats of vectors, which are too many for JSON. */
    private fun base64(vararg vectors: FloatArray): String {
        val bytes = ByteBuffer.allocate(4 * vectors.sumOf { it.size })
        bytes.order(ByteOrder.LITTLE_ENDIAN)
        for (vector in vectors) for (value in vector) bytes.putFloat(value)
        return Base64.getEncoder().encodeToString(bytes.array())
    }

    private fun of(result: TextSummarizerResult): Map<String, Any?> =
        mapOf(
            "bullets" to result.bullets.map { of(it) },
            "sentences" to result.sentences,
            "truncated" to result.truncated,
        )

    private fun of(bullet: Bullet): Any =
        mapOf(
            "text" to bullet.text,
            "start" to bullet.start,
            "end" to bullet.end,
            "score" to bullet.score,
        )

    private fun of(result: SentenceOrderResult): Map<String, Any?> {
        check(result.isInOrder == (result.label == "in order"))
        return mapOf(
            "label" to result.label,
            "score" to result.score,
            "scores" to scores(result.categories),
            "tokens" to result.tokens,
            "truncated" to result.truncated,
        )
    }

    private fun of(result: PretrainingHeadsResult): Map<String, Any?> =
        mapOf(
            "filled" to result.filled?.let { of(it) },
            "order" to result.order?.let { of(it) },
            "tokens" to result.tokens,
            "truncated" to result.truncated,
        )

    private fun scores(categories: List<Category>) = categories.associate { it.label to it.score }

    /** The options that a test gives; the others keep their defaults. */
    private class Given(private val values: JSONObject) {
        private fun <T> set(name: String, read: (String) -> T, setter: (T) -> Unit) {
            if (values.has(name)) setter(read(name))
        }

        private fun float(name: String) = values.getDouble(name).toFloat()

        fun ofTextClassifier(): TextClassifierOptions {
            val builder = TextClassifierOptions.builder()
            set("scoreThreshold", ::float) { builder.setScoreThreshold(it) }
            set("patience", values::getInt) { builder.setPatience(it) }
            set("exitThreshold", ::float) { builder.setExitThreshold(it) }
            set("maxLayers", values::getInt) { builder.setMaxLayers(it) }
            return builder.build()
        }

        fun ofQuestionAnswerer(): QuestionAnswererOptions {
            val builder = QuestionAnswererOptions.builder()
            set("maxResults", values::getInt) { builder.setMaxResults(it) }
            set("maxAnswerTokens", values::getInt) { builder.setMaxAnswerTokens(it) }
            set("stride", values::getInt) { builder.setStride(it) }
            set("allowNoAnswer", values::getBoolean) { builder.setAllowNoAnswer(it) }
            set("noAnswerThreshold", ::float) { builder.setNoAnswerThreshold(it) }
            return builder.build()
        }

        fun ofTokenClassifier(): TokenClassifierOptions {
            val builder = TokenClassifierOptions.builder()
            set("aggregation", values::getString) {
                builder.setAggregation(TokenClassifier.Aggregation.valueOf(it))
            }
            return builder.build()
        }

        fun ofMaskFiller(): MaskFillerOptions {
            val builder = MaskFillerOptions.builder()
            set("maxResults", values::getInt) { builder.setMaxResults(it) }
            return builder.build()
        }

        fun ofPretrainingHeads(): PretrainingHeadsOptions {
            val builder = PretrainingHeadsOptions.builder()
            set("maxResults", values::getInt) { builder.setMaxResults(it) }
            return builder.build()
        }

        fun ofTextEmbedder(): TextEmbedderOptions {
            val builder = TextEmbedderOptions.builder()
            set("pooling", values::getString) {
                builder.setPooling(TextEmbedder.Pooling.valueOf(it))
            }
            set("normalize", values::getBoolean) { builder.setNormalize(it) }
            return builder.build()
        }

        fun ofTextSummarizer(): TextSummarizerOptions {
            val builder = TextSummarizerOptions.builder()
            set("maxBullets", values::getInt) { builder.setMaxBullets(it) }
            set("redundancy", ::float) { builder.setRedundancy(it) }
            return builder.build()
        }
    }
}
