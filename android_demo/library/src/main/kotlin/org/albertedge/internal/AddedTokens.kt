package org.albertedge.internal


/**
 * A token that is found in text before the text is split into pieces.
 *
 * @property content its name in text.
 * @property id its id, or null for the id of the piece of this name, or else the next free one.
 * @property special whether `decode` omits it.
 * @property named whether `additional_special_tokens` has it.
 * @property normalized as in transformers; see [keepsCase].
 * @property lstrip whether it includes the white space before it.
 * @property rstrip whether it includes the white space behind it.
 * @property singleWord whether it matches only between spaces.
 */
internal data class AddedToken(
    val content: String,
    val id: Int? = null,
    val special: Boolean = false,
    val named: Boolean = false,
    val normalized: Boolean = true,
    val lstrip: Boolean = false,
    val rstrip: Boolean = false,
    val singleWord: Boolean = false,
) {
    /**
     * Whether the name in text is not converted to lower case. If it is, a name with capitals is
     * never found by a tokenizer that converts text to lower case.
     */
    val keepsCase: Boolean
        get() = named || (normalized && !special)
}

/**
 * Gives an id to each added token that has none, as transformers' slow tokenizers do.
 *
 * @param find returns the id of a piece, or null if there is no such piece.
 * @param distinct the number of distinct pieces.
 * @param unlisted the names of special tokens, for which transformers takes a new id if they are
 *     neither pieces nor added tokens.
 * @return the tokens by id, in their order.
 */
internal fun resolveAddedTokens(
    tokens: List<AddedToken>,
    find: (String) -> Int?,
    distinct: Int,
    unlisted: List<String?>,
    where: String,
): Map<Int, AddedToken> {
    val taken = tokens.filter { it.id != null }.map { it.content }
    val free = (taken + unlisted.filterNotNull()).filter { it.isNotEmpty() && find(it) == null }
    var next = distinct + free.toSet().size
    val resolved = LinkedHashMap<Int, AddedToken>()
    for (token in tokens) {
        val id = token.id ?: find(token.content) ?: next++
        if (resolved.put(id, token.copy(id = id)) != null) {
            val names = tokens.take(8).joinToString { it.content }
            throw fileError(
                "$where: of the added tokens $names two have the same id.",
            )
        }
    }
    return resolved
}

/**
 * A part of a text.
 *
 * @property places the index in the text of each of its UTF-16 code units, at least one.
 * @property tokenId its id if it is a token, else -1.
 */
internal class TextPart(val places: IntArray, val tokenId: Int) {
    fun textIn(text: String): String = take(text, places)
}

/**
 * Splits text at tokens, as `PreTrainedTokenizer.tokenize` of transformers does.
 *
 * @param tokens the tokens by id.
 * @param doLowerCase whether the tokenizer converts text to lower case. Then a name in lower case,
 *     such as `<pad>`, matches `<PAD>` too; a name that keeps its case does not.
 */
internal class TokenSplitter(tokens: Map<Int, AddedToken>, private val doLowerCase: Boolean) {
    private val unicode = Unicode.instance
    private val ids = tokens.entries.associate { (id, token) -> token.content to id }
    private val byName = tokens.values.associateBy { it.content }
    private val cased = NameMatcher(tokens.values.filter { it.keepsCase }.map { it.content })
    private val all = NameMatcher(ids.keys.sortedByDescending { it.length })
    private val longest = ids.keys.maxOfOrNull { it.length } ?: 0

    /** Returns the parts of a text in order, tokens and what is between them. */
    fun split(text: String): List<TextPart> {
        val lowered = if (doLowerCase) lowerAround(text) else text
        val parts = ArrayList<IntArray>()
        var begin = 0
        var at = 0
        while (at < lowered.length) {
            val length = all.matchAt(lowered, at)
            if (length > 0) {
                parts.add(IntArray(at - begin) { begin + it })
                parts.add(IntArray(length) { at + it })
                at += length
                begin = at
            } else {
                at += unitsOf(lowered.codePointAt(at))
            }
        }
        parts.add(IntArray(text.length - begin) { begin + it })
        parts.removeAll { it.isEmpty() }
        applyOptions(parts, lowered)
        return parts.filter { it.isNotEmpty() }
            .map { TextPart(it, nameOf(it, lowered)?.let(ids::get) ?: -1) }
    }

    /** Converts all of a text but some names to lower case; the length stays. */
    private fun lowerAround(text: String): String {
        val lowered = text.toCharArray()
        var at = 0
        while (at < text.length) {
            val length = cased.matchAt(text, at)
            if (length > 0) {
                at += length
                continue
            }
            val codePoint = text.codePointAt(at)
            val lower = unicode.lower(codePoint)
            if (lower != codePoint) Character.toChars(lower, lowered, at)
            at += unitsOf(codePoint)
        }
        return String(lowered)
    }

    /** Moves white space, and tokens that are no single word, to the neighbours of tokens. */
    private fun applyOptions(parts: MutableList<IntArray>, text: String) {
        for (at in parts.indices) {
            val part = parts[at]
            val token = nameOf(part, text)?.let(byName::get) ?: continue
            val left = if (at > 0) parts[at - 1] else IntArray(0)
            val right = if (at + 1 < parts.size) parts[at + 1] else IntArray(0)
            if (token.rstrip && right.isNotEmpty()) {
                val kept = right.indexOfFirst { !unicode.isSpace(text[it].code) }
                parts[at + 1] = right.copyOfRange(if (kept < 0) right.size else kept, right.size)
            }
            if (token.lstrip && left.isNotEmpty()) {
                val last = left.indexOfLast { !unicode.isSpace(text[it].code) }
                parts[at - 1] = left.copyOf(last + 1)
            }
            if (token.singleWord && left.isNotEmpty() && text[left.last()] != ' ') {
                parts[at - 1] = parts[at - 1] + part
                parts[at] = IntArray(0)
            } else if (token.singleWord && right.isNotEmpty() && text[right[0]] != ' ') {
                parts[at + 1] = part + parts[at + 1]
                parts[at] = IntArray(0)
            }
        }
    }

    /** The text of a part that is short enough to be a token's name. */
    private fun nameOf(part: IntArray, text: String): String? =
        if (part.size <= longest) take(text, part) else null
}

/** Finds names in text; of several that match, the first in the list. */
private class NameMatcher(names: List<String>) {
    private val byFirst = names.groupBy { it[0] }

    /** Returns the length of the name at [at], 0 if there is none. */
    fun matchAt(text: String, at: Int): Int {
        val candidates = byFirst[text[at]] ?: return 0
        return candidates.firstOrNull { text.startsWith(it, at) }?.length ?: 0
    }
}

private fun take(text: String, places: IntArray): String =
    String(CharArray(places.size) { text[places[it]] })
