package org.albertedge.internal

import org.albertedge.ModelFile

/**
 * What a task's signature returns.
 *
 * @property outputs the outputs by name; `pooler_output` only if the encoder has a pooler.
 * @property perToken those with one row per token.
 * @property hasLabels whether there is one logit per label.
 */
internal class Task(
    val outputs: List<String>,
    val perToken: Set<String> = emptySet(),
    val hasLabels: Boolean = false,
)

internal const val POOLER_OUTPUT = "pooler_output"

/** The eight tasks, as `albert_edge.tasks` has them. */
internal val TASKS: Map<String, Task> =
    linkedMapOf(
        "feature-extraction" to
            Task(listOf("last_hidden_state", POOLER_OUTPUT), setOf("last_hidden_state")),
        "classification" to Task(listOf("logits"), hasLabels = true),
        "token-classification" to Task(listOf("logits"), setOf("logits"), hasLabels = true),
        "question-answering" to
            Task(listOf("start_logits", "end_logits"), setOf("start_logits", "end_logits")),
        "summarization" to Task(listOf("sentence_logits"), setOf("sentence_logits")),
        "fill-mask" to Task(listOf("logits"), setOf("logits")),
        "sentence-order" to Task(listOf("sop_logits")),
        "pretraining" to
            Task(listOf("prediction_logits", "sop_logits"), setOf("prediction_logits")),
    )

/** The number of values of an output: one row, or a row for each token. */
internal fun rowSize(file: ModelFile, output: String): Int =
    when (output) {
        "last_hidden_state",
        POOLER_OUTPUT -> file.hiddenSize
        "sop_logits" -> 2
        "prediction_logits" -> file.vocabSize
        "logits" -> if (file.task == "fill-mask") file.vocabSize else file.labels.size
        else -> 1 // start_logits, end_logits, sentence_logits
    }
