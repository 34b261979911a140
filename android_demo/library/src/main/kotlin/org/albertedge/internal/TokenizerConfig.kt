package org.albertedge.internal

import org.albertedge.TruncationSide
import org.json.JSONArray
import org.json.JSONObject


internal const val SPIECE_FILE = "spiece.model"
internal const val VOCAB_FILE = "vocab.txt"
internal const val CONFIG_FILE = "tokenizer_config.json"
private const val ADDED_FILE = "added_tokens.json"
private const val SPECIAL_FILE = "special_tokens_map.json"
private const val EXTRA = "additional_special_tokens"
private const val LEAST_LENGTH = 5 // of two texts, with three special tokens
private const val MAX_ADDED_ID = Int.MAX_VALUE - 1
private val ALBERT_CLASSES =
    listOf("AlbertTokenizer", "AlbertTokenizerFast", "PreTrainedTokenizerFast")

/** What a kind of tokenizer has: SentencePiece or WordPiece. */
private class Kind(
    val flags: List<String>,
    val names: List<String>,
    val classes: List<String>,
    val fixed: Map<String, Any>,
)

private val SENTENCE_PIECE = Kind(
    listOf("do_lower_case", "remove_space", "keep_accents"),
    listOf("cls_token", "sep_token", "pad_token", "mask_token", "bos_token", "eos_token"),
    ALBERT_CLASSES,
    mapOf("sp_model_kwargs" to emptyMap<String, Any>()),
)

// The configuration of an ALBERT with a WordPiece vocabulary can name ALBERT's tokenizer.
private val WORD_PIECE = Kind(
    listOf("do_lower_case", "tokenize_chinese_chars", "strip_accents"),
    SENTENCE_PIECE.names + "unk_token",
    listOf("BertTokenizer", "BertTokenizerFast") + ALBERT_CLASSES,
    mapOf("do_basic_tokenize" to true, "never_split" to emptyList<Any>()),
)

// Keys that change the ids in transformers, and the values with which they do not.
private val FIXED = mapOf(
    "split_special_tokens" to listOf(false),
    "truncation_side" to listOf("right", "left"),
    "padding_side" to listOf("right"), // otherwise padding moves the positions of the tokens
)

/**
 * The options of a tokenizer: the entries of a `tokenizer_config.json` that change how text becomes
 * ids.
 *
 * They are read with the other files that can add or rename tokens, `special_tokens_map.json` and
 * `added_tokens.json`, in the order of the slow tokenizers of transformers 4:
 * `added_tokens_decoder`, if there is one, replaces both.
 *
 * @property flags options that are true or false, by Hugging Face's names.
 * @property names the names of special tokens by role, such as `cls_token`.
 * @property truncationSide the end at which a text that is too long is cut.
 * @property modelMaxLength the number of tokens to which a text is truncated, special ones
 *     included; null for as many as the model has positions.
 * @property addedTokens the tokens that are found in text.
 */
internal class TokenizerConfig private constructor(
    private val flags: Map<String, Boolean>,
    private val names: Map<String, String>,
    val truncationSide: TruncationSide,
    val modelMaxLength: Int?,
    val addedTokens: List<AddedToken>,
) {
    val doLowerCase: Boolean
        get() = flags["do_lower_case"] ?: true

    /** Whether to replace runs of white space by one space, and to strip both ends. */
    val removeSpace: Boolean
        get() = flags["remove_space"] ?: true

    /** Whether to keep compatibility characters (NFKD) and combining marks. */
    val keepAccents: Boolean
        get() = flags["keep_accents"] ?: false

    /** Whether to treat every Chinese character as a word. */
    val tokenizeChineseChars: Boolean
        get() = flags["tokenize_chinese_chars"] ?: true

    /** Whether WordPiece removes combining marks. */
    val stripAccents: Boolean
        get() = flags["strip_accents"] ?: doLowerCase

    /** Returns the name of a special token, such as `cls_token`; null if there is none. */
    fun name(role: String): String? = names[role]

    companion object {
        /**
         * Reads the options of SentencePiece.
         *
         * @param files contents by name; only those of JSON files are read.
         * @throws AlbertEdgeException a file is invalid, or has an option that is not supported.
         */
        fun ofSentencePiece(files: Map<String, ByteArray>, where: String): TokenizerConfig {
            val names = mapOf(
                "cls_token" to "[CLS]",
                "sep_token" to "[SEP]",
                "pad_token" to "<pad>",
                "mask_token" to "[MASK]",
                "bos_token" to "[CLS]",
                "eos_token" to "[SEP]",
            )
            return read(files, where, SENTENCE_PIECE, names)
        }

        /** Reads the options of WordPiece; see [ofSentencePiece]. */
        fun ofWordPiece(files: Map<String, ByteArray>, where: String): TokenizerConfig {
            val names = mapOf(
                "cls_token" to "[CLS]",
                "sep_token" to "[SEP]",
                "pad_token" to "[PAD]",
                "mask_token" to "[MASK]",
                "unk_token" to "[UNK]",
            )
            return read(files, where, WORD_PIECE, names)
        }

        private fun read(
            files: Map<String, ByteArray>,
            where: String,
            kind: Kind,
            defaults: Map<String, String>,
        ): TokenizerConfig {
            val stated = LinkedHashMap(readFile(files, CONFIG_FILE, where))
            val place = "$CONFIG_FILE in $where"
            checkSupported(stated, kind, place)
            checkSpelling(stated, kind, place)
            val decoder = stated["added_tokens_decoder"]
            if (decoder == null) mergeSpecial(stated, readFile(files, SPECIAL_FILE, where))
            val extra = additionalTokens(stated, place)
            val flags = checkedAll<Boolean>(kind.flags, stated, "true or false", place)
            val named = checkedAll<String>(kind.names, stated, "a string", place)
            val special = named.values.toSet() + extra.keys
            val found = if (decoder == null) {
                legacyAdded(files, where, special)
            } else {
                addedById(decoder, place)
            }
            return TokenizerConfig(
                flags,
                defaults + named,
                sideOf(stated["truncation_side"]),
                maxLength(stated["model_max_length"] ?: stated["max_len"], place),
                allAdded(extra, found, where),
            )
        }
    }
}

private fun readFile(
    files: Map<String, ByteArray>,
    name: String,
    where: String,
): Map<String, Any?> =
    files[name]?.let { entries(parseJson(it, "$name in $where")) } ?: emptyMap()

private fun entries(json: JSONObject): Map<String, Any?> =
    json.keys().asSequence().associateWith { value(json.get(it)) }

private fun value(json: Any): Any? = when (json) {
    JSONObject.NULL -> null
    is JSONObject -> entries(json)
    is JSONArray -> List(json.length()) { value(json.get(it)) }
    is Int -> json.toLong()
    else -> json
}

private fun checkSupported(stated: Map<String, Any?>, kind: Kind, place: String) {
    val name = stated["tokenizer_class"]
    if (name != null && name != "" && name !in kind.classes) {
        throw fileError(
            "$place: tokenizer_class is ${quoted(name)}, expected one of " +
                "${kind.classes.joinToString()}.",
        )
    }
    val fixed = kind.fixed.mapValues { listOf(it.value) } + FIXED
    for ((key, values) in fixed) {
        val value = stated[key]
        if (value != null && value !in values) {
            throw fileError(
                "$place: $key ${quoted(value)} is not supported, only " +
                    "${values.joinToString(" or ", transform = ::quoted)}.",
            )
        }
    }
    val inputs = stated["model_input_names"]
    if (inputs is List<*> && "token_type_ids" !in inputs) {
        throw fileError(
            "$place: model_input_names without token_type_ids is not supported: ALBERT's second " +
                "text is of type 1.",
        )
    }
}

private fun checkSpelling(stated: Map<String, Any?>, kind: Kind, place: String) {
    val known =
        kind.flags + kind.names + listOf("truncation_side", "model_max_length", "added_tokens")
    for (key in stated.keys - known.toSet()) {
        val near = (known - stated.keys).firstOrNull { similarity(key, it) >= 0.9 } ?: continue
        throw fileError("$place: unknown key '$key'; did you mean '$near'?")
    }
}

/** How similar two keys are, in [0, 1], as `difflib.SequenceMatcher.ratio` measures it. */
private fun similarity(one: String, two: String): Double =
    2.0 * matching(one, two) / (one.length + two.length)

/** The number of characters in common: the longest common part, and those around it. */
private fun matching(one: String, two: String): Int {
    var best = 0
    var first = 0
    var second = 0
    for (a in one.indices) {
        for (b in two.indices) {
            val most = minOf(one.length - a, two.length - b)
            val size = (0 until most).firstOrNull { one[a + it] != two[b + it] } ?: most
            if (size > best) {
                best = size
                first = a
                second = b
            }
        }
    }
    if (best == 0) return 0
    return best + matching(one.take(first), two.take(second)) +
        matching(one.drop(first + best), two.drop(second + best))
}

/** Lets the tokens of a `special_tokens_map.json` replace those of `tokenizer_config.json`. */
private fun mergeSpecial(stated: MutableMap<String, Any?>, special: Map<String, Any?>) {
    for ((key, value) in special) {
        val before = stated[EXTRA] as? List<*> ?: emptyList<Any>()
        stated[key] =
            if (key == EXTRA && value is List<*>) before + (value - before.toSet()) else value
    }
}

private fun additionalTokens(stated: Map<String, Any?>, place: String): Map<String, AddedToken> {
    val names = stated[EXTRA] ?: emptyList<Any>()
    val extra = stated["extra_special_tokens"] ?: emptyMap<String, Any>()
    if (names !is List<*> || extra !is Map<*, *>) {
        val wrong = if (names is List<*>) extra else names
        throw fileError("$place: $EXTRA must be a list: ${quoted(wrong)}.")
    }
    return (names + extra.values).map { addedToken(it, null, place, isSpecial = true) }
        .associate { it.content to it.copy(named = true) }
}

/** Returns all added tokens; an entry with an id determines how a token matches. */
private fun allAdded(
    extra: Map<String, AddedToken>,
    found: List<AddedToken>,
    where: String,
): List<AddedToken> {
    val byName = found.associate { it.content to it.copy(named = it.content in extra) }
    if (byName.size < found.size) {
        throw fileError("$where: two added tokens have the same name.")
    }
    return (extra + byName).values.toList()
}

private fun addedById(decoder: Any, place: String): List<AddedToken> {
    if (decoder !is Map<*, *>) {
        throw fileError(
            "$place: added_tokens_decoder must be an object: ${quoted(decoder)}.",
        )
    }
    val found = LinkedHashMap<Int, AddedToken>()
    for ((key, value) in decoder) {
        val id = tokenId(key, place)
        found[id] = addedToken(value, id, place, isSpecial = false)
    }
    return found.values.toList()
}

/** Returns the tokens of `added_tokens.json`. */
private fun legacyAdded(
    files: Map<String, ByteArray>,
    where: String,
    special: Set<String>,
): List<AddedToken> {
    val place = "$ADDED_FILE in $where"
    val found = LinkedHashMap<Int, AddedToken>()
    for ((name, value) in readFile(files, ADDED_FILE, where)) {
        val id = tokenId(value, place)
        if (id in found) {
            throw fileError("$place: two tokens have the id $id.")
        }
        found[id] = addedToken(name, id, place, isSpecial = name in special)
    }
    return found.values.toList()
}

private fun addedToken(value: Any?, id: Int?, place: String, isSpecial: Boolean): AddedToken {
    val values = value as? Map<*, *> ?: mapOf("content" to value)
    val name =
        checked<String>("the name of an added token", values["content"], "a string", place)
    if (name.isEmpty()) throw fileError("$place: an added token has an empty name.")
    val special = isSpecial || isTrue(values["special"])
    return AddedToken(
        content = name,
        id = id,
        special = special,
        normalized = values["normalized"]?.let(::isTrue) ?: !special,
        lstrip = isTrue(values["lstrip"]),
        rstrip = isTrue(values["rstrip"]),
        singleWord = isTrue(values["single_word"]),
    )
}

private fun tokenId(value: Any?, place: String): Int {
    val isName = value is String && value.length < 11 && value.isNotEmpty() &&
        value.all { it in '0'..'9' }
    val id = if (isName) (value as String).toLong() else value as? Long
    if (id == null || id !in 0..MAX_ADDED_ID) {
        throw fileError("$place: ${quoted(value)} is not the id of an added token.")
    }
    return id.toInt()
}

/** Returns a `model_max_length`; null for one without a limit, 1e30 in transformers. */
private fun maxLength(value: Any?, place: String): Int? {
    if (value == null) return null
    val length = (value as? Number)?.toDouble() ?: Double.NaN
    if (!(length >= LEAST_LENGTH)) {
        throw fileError(
            "$place: model_max_length must be a number of at least $LEAST_LENGTH, the special " +
                "tokens included: ${quoted(value)}.",
        )
    }
    return if (length < Int.MAX_VALUE) length.toInt() else null
}

/** The value of a token is its name, or an object with its name and how it matches text. */
private fun tokenName(value: Any?): Any? = if (value is Map<*, *>) value["content"] else value

private fun sideOf(value: Any?): TruncationSide =
    if (value == "left") TruncationSide.LEFT else TruncationSide.RIGHT

/** Returns the values of those [keys] that are stated. */
private inline fun <reified T : Any> checkedAll(
    keys: List<String>,
    stated: Map<String, Any?>,
    kind: String,
    place: String,
): Map<String, T> = keys.mapNotNull { key ->
    tokenName(stated[key])?.let { key to checked<T>(key, it, kind, place) }
}.toMap()

private inline fun <reified T> checked(key: String, value: Any?, kind: String, place: String): T =
    value as? T ?: throw fileError("$place: $key must be $kind: ${quoted(value)}.")

/** Whether a JSON value is true in Python. */
private fun isTrue(value: Any?): Boolean = when (value) {
    null, false, "", 0L, 0.0 -> false
    is Collection<*> -> value.isNotEmpty()
    is Map<*, *> -> value.isNotEmpty()
    else -> true
}

private fun quoted(value: Any?): String = if (value is String) "'$value'" else "$value"
