package org.albertedge.internal

import org.json.JSONArray
import org.json.JSONObject

private val REQUIRED =
    listOf(
        "vocab_size",
        "embedding_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
    )
private const val MAX_LABELS = 1_000_000

/**
 * The sizes in a `config.json`, checked; the defaults are those of albert-base-v2.
 *
 * @param where what to call the file in a message.
 */
internal class Shape(private val config: JSONObject, private val where: String) {
    init {
        val kind = value("model_type")
        if (kind != null && kind != "albert") {
            fail("model_type is ${shown(kind)}, expected 'albert'.")
        }
        val positions = value("position_embedding_type")
        if (positions != null && positions != "absolute") {
            fail("position_embedding_type ${shown(positions)} is not supported.")
        }
        val missing = REQUIRED.filterNot(config::has)
        if (missing.isNotEmpty()) {
            fail("no ${missing.joinToString()}; is it an ALBERT's config.json?")
        }
    }

    val vocabSize: Int = number("vocab_size", 30000)
    val hiddenSize: Int = number("hidden_size", 768)
    val layers: Int = number("num_hidden_layers", 12)
    val maxPositions: Int = number("max_position_embeddings", 512)
    val typeVocabSize: Int = number("type_vocab_size", 2)
    val padTokenId: Int =
        if (value("pad_token_id") == -1) 0 else number("pad_token_id", 0, least = 0)
    val earlyExit: Boolean =
        when (val stored = value("early_exit")) {
            null -> false
            is Boolean -> stored
            else -> fail("early_exit must be true or false, not ${shown(stored)}.")
        }
    val labels: List<String> = readLabels()

    private fun readLabels(): List<String> {
        val names =
            when (val stored = value("id2label")) {
                // of transformers 2
                is JSONArray -> List(stored.length()) { stored.get(it).toString() }
                is JSONObject -> numbered(stored)
                null -> emptyList()
                else -> fail("id2label must number the labels 0, 1, 2, ...")
            }
        if (names.isEmpty()) {
            val count = number("num_labels", 2)
            if (count > MAX_LABELS) fail("num_labels must be in [1, $MAX_LABELS], not $count.")
            return List(count) { "LABEL_$it" }
        }
        if (names.toSet().size < names.size) {
            fail("labels must be distinct and at least one: ${shown(names)}.")
        }
        for (label in names) {
            if (label.isEmpty() || label.any { it in LINE_ENDS }) {
                fail("the label ${shown(label)} must be one line of text.")
            }
        }
        return names
    }

    private fun numbered(names: JSONObject): List<String> {
        val byIndex = HashMap<Int, String>()
        for (key in names.keys()) {
            val index = key.toIntOrNull() ?: -1
            byIndex[index] = names.get(key).toString()
        }
        return List(names.length()) {
            byIndex[it] ?: fail("id2label must number the labels 0, 1, 2, ...")
        }
    }

    private fun number(name: String, default: Int, least: Int = 1): Int {
        val stored = value(name) ?: return default
        if (stored !is Int || stored < least) {
            fail(
                "$name must be a whole number in [$least, ${Int.MAX_VALUE}], not ${shown(stored)}."
            )
        }
        return stored
    }

    private fun value(name: String): Any? = config.opt(name).takeIf { it != JSONObject.NULL }

    private fun fail(problem: String): Nothing = throw fileError("$where: $problem")

    private companion object {
        // At which Python's splitlines splits.
        val LINE_ENDS = "\n\r\u000b\u000c\u001c\u001d\u001e\u0085\u2028\u2029".toSet()
    }
}
