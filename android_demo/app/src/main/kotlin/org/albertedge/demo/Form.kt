package org.albertedge.demo

/**
 * The fields that the screen has for a task.
 *
 * @property task its name in files.
 * @property first the label of the first field.
 * @property second the label of the second field; 0 for none.
 * @property needsSecond whether there is no result without the second text.
 * @property examples texts for the first field.
 * @property secondExamples texts for the second field; the first field then takes the last of
 *   [examples].
 */
enum class Form(
    val task: String,
    val first: Int,
    val second: Int = 0,
    val needsSecond: Boolean = false,
    val examples: Int,
    val secondExamples: Int = 0,
) {
    CLASSIFICATION(
        "classification",
        first = R.string.text,
        examples = R.array.examples_classification,
    ),
    QUESTION_ANSWERING(
        "question-answering",
        first = R.string.passage,
        second = R.string.question,
        needsSecond = true,
        examples = R.array.examples_passage,
        secondExamples = R.array.examples_questions,
    ),
    TOKEN_CLASSIFICATION(
        "token-classification",
        first = R.string.text,
        examples = R.array.examples_token_classification,
    ),
    FILL_MASK(
        "fill-mask",
        first = R.string.masked_text,
        examples = R.array.examples_fill_mask,
    ),
    FEATURE_EXTRACTION(
        "feature-extraction",
        first = R.string.text,
        second = R.string.second_text,
        examples = R.array.examples_text,
        secondExamples = R.array.examples_compared,
    ),
    SUMMARIZATION(
        "summarization",
        first = R.string.article,
        examples = R.array.examples_articles,
    ),
    SENTENCE_ORDER(
        "sentence-order",
        first = R.string.first_sentence,
        second = R.string.second_sentence,
        needsSecond = true,
        examples = R.array.examples_sentence,
        secondExamples = R.array.examples_next_sentence,
    ),
    PRETRAINING(
        "pretraining",
        first = R.string.masked_text,
        second = R.string.second_text,
        examples = R.array.examples_fill_mask,
    );

    companion object {
        /** Returns the form of a task. */
        fun of(task: String): Form = entries.first { it.task == task }
    }
}
