package org.albertedge.internal

import java.io.Closeable
import org.albertedge.Category
import org.albertedge.Encoding
import org.albertedge.Model
import org.albertedge.ModelFile
import org.albertedge.Tokenizer
import org.albertedge.tokenizerFromFiles

/** An encoding, and whether text was cut off because it is longer than the model takes. */
internal class Encoded(val encoding: Encoding, val truncated: Boolean) {
    val ids: IntArray
        get() = encoding.inputIds

    val types: IntArray
        get() = encoding.tokenTypeIds

    val tokens: Int
        get() = encoding.inputIds.size
}

/** A model and its tokenizer. */
internal class TaskModel(val model: Model, val tokenizer: Tokenizer) : Closeable {
    /** The number of tokens to which a text is truncated, special ones included. */
    val maxTokens: Int = minOf(model.maxTokens, tokenizer.modelMaxLength ?: model.maxTokens)

    /** Encodes one text, or two, cut at the end of the longer one where they are too long. */
    fun encode(text: String, pair: String?, allowSpecial: Boolean = false): Encoded {
        val longer = tokenizer.encode(text, pair, maxTokens + 1, allowSpecial)
        checkNotEmpty(longer, paired = pair != null)
        if (longer.inputIds.size <= maxTokens) return Encoded(longer, false)
        return Encoded(tokenizer.encode(text, pair, maxTokens, allowSpecial), true)
    }

    override fun close() = model.close()
}

/** Reads the tokenizer in a file. */
internal fun tokenizerOf(file: ModelFile): Tokenizer {
    if (file.tokenizerFiles.isEmpty()) {
        throw inputError(
            "this file carries no tokenizer, so it does not accept text; convert the checkpoint " +
                "together with its spiece.model."
        )
    }
    val tokenizer = tokenizerFromFiles(file.tokenizerFiles, file.name)
    if (tokenizer.vocabSize > file.vocabSize) {
        throw fileError(
            "${file.name} contradicts itself: its tokenizer has ${tokenizer.vocabSize} tokens, " +
                "its model ${file.vocabSize}."
        )
    }
    return tokenizer
}

/** Checks that the first text of an encoding, and the second if there are two, has tokens. */
internal fun checkNotEmpty(encoding: Encoding, paired: Boolean) {
    val starts = encoding.starts
    val isFirstEmpty = starts[1] < 0
    if (!isFirstEmpty && !(paired && starts[starts.size - 2] < 0)) return
    val which = if (!paired) "" else if (isFirstEmpty) "first " else "second "
    throw inputError("the ${which}text is empty: it contains no tokens.")
}

/** Returns labels with their probabilities, the most probable first, of equal ones the first. */
internal fun rank(labels: List<String>, scores: DoubleArray): List<Category> =
    labels.indices
        .sortedByDescending { scores[it] }
        .map { Category(labels[it], scores[it].toFloat()) }
