package org.albertedge

import org.albertedge.internal.AddedToken
import org.albertedge.internal.TokenList
import org.albertedge.internal.TokenSplitter
import org.albertedge.internal.inputError

/**
 * The tokens of one text, without special ones.
 *
 * Neither starts nor ends ever decrease. The space before a word is in no span, so a token that is
 * only the mark of a word's start has an empty span. If one character becomes several tokens, they
 * all have its span.
 *
 * @property ids T token ids, in [0, V).
 * @property starts T starts in the text, in UTF-16 code units.
 * @property ends T ends in the text, in UTF-16 code units.
 */
class Tokens(val ids: IntArray, val starts: IntArray, val ends: IntArray) {
    /** The number of tokens, T. */
    val size: Int
        get() = ids.size

    /** Returns the tokens from [start] up to, but without, [stop], as far as there are any. */
    fun slice(start: Int, stop: Int): Tokens {
        val end = stop.coerceIn(0, size)
        val begin = start.coerceIn(0, end)
        if (begin == 0 && end == size) return this
        return Tokens(
            ids.copyOfRange(begin, end),
            starts.copyOfRange(begin, end),
            ends.copyOfRange(begin, end),
        )
    }
}

/**
 * The input of a model: `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]`.
 *
 * @property inputIds T token ids, in [0, V).
 * @property tokenTypeIds T numbers, 0 up to and including the first `[SEP]`, 1 after it.
 * @property starts T starts in UTF-16 code units, in `a` for type 0 and in `b` for type 1; -1 for
 *     the special tokens around them.
 * @property ends T ends likewise.
 */
class Encoding(
    val inputIds: IntArray,
    val tokenTypeIds: IntArray,
    val starts: IntArray,
    val ends: IntArray,
) {
    /** The number of tokens, T. */
    val size: Int
        get() = inputIds.size
}

/** The text to truncate if two are too long. */
enum class Truncation {
    /** One token at a time from the longer text, from the second if they are equal. */
    LONGEST_FIRST,

    /** Only the second text. */
    ONLY_SECOND,
}

/** The end at which a text that is too long is cut. */
enum class TruncationSide { LEFT, RIGHT }

/**
 * Converts text to token ids, those of `albert_edge.load_tokenizer` in Python.
 *
 * [tokenizerFromFiles] makes one. It never changes: threads may use it at once.
 */
abstract class Tokenizer internal constructor() {
    /** V, the number of token ids. */
    abstract val vocabSize: Int

    /** The number of pieces of the vocabulary: the first of these ids. */
    abstract val pieceCount: Int
    abstract val clsId: Int
    abstract val sepId: Int
    abstract val padId: Int
    abstract val unkId: Int
    abstract val maskId: Int

    /** Whether text is converted to lower case. */
    abstract val doLowerCase: Boolean

    /** The end at which a text that is too long is cut. */
    abstract val truncationSide: TruncationSide

    /**
     * The number of tokens, special ones included, to which pipelines truncate a text; null for as
     * many as the model has positions.
     */
    abstract val modelMaxLength: Int?

    /** The tokens beside the pieces of the vocabulary, by id. */
    internal abstract val added: Map<Int, AddedToken>

    /** Those of them that are found in every text: no special tokens. */
    internal abstract val matched: Map<Int, AddedToken>

    /** Tokenizes text in which no added token is looked for. */
    internal abstract fun tokenizePlain(text: String): Tokens

    /** Returns the piece with an id, in [0, V); empty if there is none. */
    internal abstract fun piece(id: Int): String

    /** Returns the text of ids of pieces, without special tokens. */
    internal abstract fun decodePieces(ids: IntArray): String

    private val matchedSplitter by lazy { TokenSplitter(matched, doLowerCase) }

    private val specialSplitter by lazy {
        val named = LinkedHashMap<Int, AddedToken>()
        for (id in intArrayOf(clsId, sepId, padId, unkId, maskId)) {
            // `[MASK]` includes the space before it, because a word begins with its space.
            named[id] = AddedToken(idToPiece(id), named = true, lstrip = id == maskId)
        }
        TokenSplitter(named + matched, doLowerCase)
    }

    /**
     * Tokenizes one text.
     *
     * Added tokens are found in it. The name of a special token is treated as text: no special
     * token is in the result.
     *
     * @throws AlbertEdgeException the text has half of a surrogate pair.
     */
    fun tokenize(text: String): Tokens {
        checkText(text)
        return if (matched.isEmpty()) tokenizePlain(text) else tokenizeAround(text, matchedSplitter)
    }

    /** Returns the piece, or the added token, with an id, in [0, V). */
    fun idToPiece(id: Int): String {
        checkId(id)
        return added[id]?.content ?: piece(id)
    }

    /** Returns the normalized text of ids, each in [0, V), without special tokens. */
    fun decode(ids: IntArray): String {
        ids.forEach(::checkId)
        if (ids.none(added::containsKey)) return decodePieces(ids)
        val parts = ArrayList<String>()
        var begin = 0
        for (at in 0..ids.size) {
            val token = if (at < ids.size) added[ids[at]] ?: continue else null
            parts.add(decodePieces(ids.copyOfRange(begin, at)))
            begin = at + 1
            if (token != null && !token.special && ids[at] in matched) parts.add(token.content)
        }
        return parts.filter(String::isNotEmpty).joinToString(" ")
    }

    private fun checkId(id: Int) {
        if (id !in 0 until vocabSize) {
            throw inputError("token id $id is not in [0, $vocabSize).")
        }
    }

    /**
     * Encodes one text, or two.
     *
     * @param text the first text, `a`.
     * @param pair the second, `b`.
     * @param maxLength the maximum number of tokens, special ones included; null for no limit.
     * @param allowSpecial whether the name of a special token, as in "Paris is the [MASK] of
     *     France.", is converted to that token. Do not use it on untrusted text.
     * @param truncate the text to truncate.
     * @throws AlbertEdgeException a text cannot be encoded, or [maxLength] leaves no room.
     */
    @JvmOverloads
    fun encode(
        text: String,
        pair: String? = null,
        maxLength: Int? = null,
        allowSpecial: Boolean = false,
        truncate: Truncation = Truncation.LONGEST_FIRST,
    ): Encoding {
        val longest = truncate == Truncation.LONGEST_FIRST
        val most = if (longest) maxLength else null
        val first = tokenizePart(text, most, allowSpecial)
        val second = pair?.let { tokenizePart(it, most, allowSpecial) }
        return when {
            maxLength == null -> buildEncoding(first, second)
            longest -> truncateLongestFirst(first, second, maxLength)
            second == null ->
                throw inputError("truncate=ONLY_SECOND needs a second text.")
            first.size + second.size + 3 > maxLength ->
                buildEncoding(first, truncate(second, maxSecondTokens(first, maxLength)))
            else -> buildEncoding(first, second)
        }
    }

    /**
     * Encodes a question with each of the overlapping windows of a passage.
     *
     * Every token of the passage is in at least one window. The last window can be shorter. An
     * empty passage has one window, without tokens of it.
     *
     * @param question the first text, which is in every window.
     * @param context the passage, the second text.
     * @param maxLength the maximum number of tokens of a window, special ones included.
     * @param stride the number of tokens of the passage that neighbouring windows share.
     * @param maxQuestion the number of tokens to which the question is truncated; null for all.
     * @throws AlbertEdgeException a text cannot be encoded, the question leaves no room for the
     *     passage, or the stride is not less than that room.
     */
    @JvmOverloads
    fun windows(
        question: String,
        context: String,
        maxLength: Int,
        stride: Int,
        maxQuestion: Int? = null,
    ): List<Encoding> {
        val all = tokenize(question)
        val second = tokenize(context)
        val first = if (maxQuestion == null) all else truncate(all, maxQuestion)
        val room = maxSecondTokens(first, maxLength)
        if (stride !in 0 until room) {
            throw inputError(
                "stride must be in [0, $room), the tokens of context that fit in a window of " +
                    "$maxLength beside a question of ${first.size}, not $stride.",
            )
        }
        // The last window is the first that includes the end of the passage.
        return (0 until maxOf(second.size - stride, 1) step room - stride).map { start ->
            buildEncoding(first, second.slice(start, start + room))
        }
    }

    /**
     * Tokenizes as much of a text as it takes to truncate it to [most] tokens.
     *
     * A longer text is cut at white space, if there is any, and far behind the tokens that are
     * kept, or before them with [truncationSide] LEFT.
     *
     * @param text the text, of any length.
     * @param most the number of tokens that are kept at most; null to tokenize all.
     * @param allowSpecial as in [encode].
     * @return all tokens, or more than [most] of them: the first, or with LEFT the last.
     */
    @JvmOverloads
    fun tokenizePart(text: String, most: Int?, allowSpecial: Boolean = false): Tokens {
        checkText(text)
        // Counted in characters, as in Python, since where the text is cut can change its tokens.
        val length = if (most == null) 0 else text.codePointCount(0, text.length)
        val least = if (most == null) 0L else most.toLong() + CUT_MARGIN
        var size = CHARS_PER_TOKEN * least
        while (size in 1 until length) {
            val left = truncationSide == TruncationSide.LEFT
            val from = placeOf(if (left) length - size else size / 2, text, length)
            val to = placeOf(if (left) length - size / 2 else size, text, length)
            val cut = lastSpace(text, from, to)
            val begin = if (left) cut else 0
            val end = if (left) text.length else cut
            val tokens = tokenizeAll(text.substring(begin, end), allowSpecial)
            if (tokens.size >= least) return tokens.moved(begin)
            size *= 4
        }
        return tokenizeAll(text, allowSpecial)
    }

    /** Returns the first tokens, or with [truncationSide] LEFT the last, at most [count]. */
    fun truncate(tokens: Tokens, count: Int): Tokens {
        val start = if (truncationSide == TruncationSide.LEFT) maxOf(tokens.size - count, 0) else 0
        return tokens.slice(start, start + count)
    }

    private fun tokenizeAll(text: String, allowSpecial: Boolean): Tokens =
        if (allowSpecial) tokenizeAround(text, specialSplitter) else tokenize(text)

    private fun tokenizeAround(text: String, splitter: TokenSplitter): Tokens {
        val found = TokenList(text.length / 4)
        for (part in splitter.split(text)) {
            val places = part.places
            val stop = places.last() + 1
            if (part.tokenId >= 0) {
                found.add(part.tokenId, places[0], stop)
                continue
            }
            val tokens = tokenizePlain(part.textIn(text))
            for (at in 0 until tokens.size) {
                val start = tokens.starts[at]
                val end = tokens.ends[at]
                val place = if (start < places.size) places[start] else stop
                found.add(tokens.ids[at], place, if (start < end) places[end - 1] + 1 else place)
            }
        }
        return found.toTokens()
    }

    private fun truncateLongestFirst(first: Tokens, second: Tokens?, maxLength: Int): Encoding {
        val special = if (second == null) 2 else 3
        if (maxLength < special) {
            throw inputError("maxLength must be at least $special, not $maxLength.")
        }
        val budget = maxLength - special
        if (second == null) return buildEncoding(truncate(first, budget), null)
        if (first.size + second.size <= budget) return buildEncoding(first, second)
        // Both texts get half (an odd token goes to the first), unless one of them needs less.
        val keep = minOf(first.size, maxOf(budget - second.size, (budget + 1) / 2))
        return buildEncoding(truncate(first, keep), truncate(second, budget - keep))
    }

    private fun maxSecondTokens(question: Tokens, maxLength: Int): Int {
        val room = maxLength - question.size - 3
        if (room < 1) {
            throw inputError(
                "the first text has ${question.size} tokens; with three special ones it leaves " +
                    "no room for the second in $maxLength. Shorten it or increase maxLength.",
            )
        }
        return room
    }

    private fun buildEncoding(first: Tokens, second: Tokens?): Encoding {
        val firstSize = first.size + 2
        val size = firstSize + if (second == null) 0 else second.size + 1
        val ids = IntArray(size)
        val starts = IntArray(size) { -1 }
        val ends = IntArray(size) { -1 }
        ids[0] = clsId
        place(first, 1, ids, starts, ends)
        if (second != null) place(second, firstSize, ids, starts, ends)
        return Encoding(ids, IntArray(size) { if (it < firstSize) 0 else 1 }, starts, ends)
    }

    private fun place(
        tokens: Tokens,
        at: Int,
        ids: IntArray,
        starts: IntArray,
        ends: IntArray,
    ) {
        tokens.ids.copyInto(ids, at)
        tokens.starts.copyInto(starts, at)
        tokens.ends.copyInto(ends, at)
        ids[at + tokens.size] = sepId
    }

    private companion object {
        // How a text is cut before it is tokenized: so many tokens, or more, are between the cut
        // and those that are kept. A word may have up to 100 characters, and so tokens.
        const val CUT_MARGIN = 256
        const val CHARS_PER_TOKEN = 8L
    }
}

/**
 * Checks that a text is valid Unicode.
 *
 * @throws AlbertEdgeException it has half of a surrogate pair.
 */
internal fun checkText(text: String) {
    var at = 0
    while (at < text.length) {
        if (text[at].isSurrogate()) {
            val pair = text[at].isHighSurrogate() && at + 1 < text.length
            if (!pair || !text[at + 1].isLowSurrogate()) {
                throw inputError(
                    "the text is not Unicode: character $at is half of a surrogate pair. " +
                        "Read the text with CodingErrorAction.REPLACE.",
                )
            }
            at++
        }
        at++
    }
}

/** The last space or line end in `text[start, stop)`; without one, [stop]. */
private fun lastSpace(text: String, start: Int, stop: Int): Int {
    for (at in stop - 1 downTo start) {
        if (text[at] == ' ' || text[at] == '\n') return at
    }
    return stop
}

/** Returns where character number [index] of a text of [length] characters begins. */
private fun placeOf(index: Long, text: String, length: Int): Int =
    if (length == text.length) index.toInt() else text.offsetByCodePoints(0, index.toInt())

private fun Tokens.moved(by: Int): Tokens =
    if (by == 0) this else Tokens(ids, starts.moved(by), ends.moved(by))

private fun IntArray.moved(by: Int): IntArray = IntArray(size) { this[it] + by }
