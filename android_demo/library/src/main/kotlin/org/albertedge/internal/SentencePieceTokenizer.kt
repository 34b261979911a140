package org.albertedge.internal

import java.util.concurrent.atomic.AtomicReferenceArray
import org.albertedge.Tokenizer
import org.albertedge.Tokens

/**
 * The tokenizer of the original ALBERT: `spiece.model`, with the ids of Hugging Face's slow
 * `AlbertTokenizer`, but that the name of a special token in the text is treated as text.
 *
 * The original (google-research/albert, `tokenization.preprocess_text`) normalizes whole strings:
 * fold white space, replace doubled ` and ' by ", decompose (NFKD), remove combining marks, convert
 * to lower case. Here [preprocess] does this character by character, to keep the span of every
 * character.
 *
 * @param model the content of the file.
 * @param config the normalization, and the names of the special tokens.
 * @param where the name of the file, for error messages.
 */
internal class SentencePieceTokenizer(
    model: ByteArray,
    private val config: TokenizerConfig,
    private val where: String,
) : Tokenizer() {
    private val unicode = Unicode.instance
    private val pieces = SentencePieceModel(model, where)
    private val addedIds: Map<String, Int>
    private val hidden: Set<Int>

    // The token of each piece; -1 for pieces such as `9,`, which become several.
    private val tokenOfPiece: IntArray
    private val splitPieces: AtomicReferenceArray<PieceTokens>
    override val pieceCount = pieces.size
    override val vocabSize: Int
    override val clsId: Int
    override val sepId: Int
    override val padId: Int
    override val unkId = pieces.unkId
    override val maskId: Int
    override val doLowerCase = config.doLowerCase
    override val truncationSide = config.truncationSide
    override val modelMaxLength = config.modelMaxLength
    override val added: Map<Int, AddedToken>
    override val matched: Map<Int, AddedToken>

    init {
        val ends = listOf(config.name("bos_token"), config.name("eos_token"))
        // In transformers, a token in the place of a piece hides the piece.
        val hides = config.addedTokens.count {
            it.id != null && it.id < pieceCount && findPiece(it.content) != it.id
        }
        added = resolveAddedTokens(config.addedTokens, ::findPiece, pieceCount - hides, ends, where)
        addedIds = added.entries.associate { (id, token) -> token.content to id }
        vocabSize = maxOf(pieceCount, 1 + (added.keys.maxOrNull() ?: 0))
        clsId = specialId(config.name("cls_token"))
        sepId = specialId(config.name("sep_token"))
        padId = specialId(config.name("pad_token"), "[PAD]")
        maskId = specialId(config.name("mask_token"))
        hidden = setOf(clsId, sepId, padId, maskId)
        val unmatched = hidden + unkId +
            ends.mapNotNull { name -> name?.let { addedIds[it] ?: findPiece(it) } }
        matched = added.filterKeys { it !in unmatched }
        tokenOfPiece = tokensOfPieces()
        splitPieces = AtomicReferenceArray(pieceCount)
    }

    private fun findPiece(name: String): Int? {
        val id = pieces.find(name)
        return id.takeIf { it != unkId || pieces.text(it) == name }
    }

    private fun specialId(vararg names: String?): Int {
        for (name in names.filterNotNull()) {
            val id = addedIds[name] ?: findPiece(name)
            if (id != null && id != unkId) return id
        }
        throw fileError(
            "$where: the vocabulary has no piece '${names[0]}', one of ALBERT's special tokens. " +
                "If it has another name, give it in a tokenizer_config.json next to the file.",
        )
    }

    private fun tokensOfPieces(): IntArray {
        val tokens = IntArray(pieceCount) { if (pieces.isControl(it)) unkId else it }
        for (id in hidden) if (id < pieceCount) tokens[id] = unkId
        // Where an added or a reserved token has the text of a piece, it takes its place.
        for (name in addedIds.keys + pieces.reservedPieces().keys) {
            val id = pieces.findInTexts(name)
            if (id >= 0) tokens[id] = tokenOf(name)
        }
        for (id in 0 until pieceCount) {
            if (pieces.endsInComma(id) && isNumber(pieces.text(id))) tokens[id] = -1
        }
        return tokens
    }

    /** Whether a piece ends in a digit and a comma. */
    private fun isNumber(piece: String): Boolean = piece.length > 1 && piece.last() == ',' &&
        unicode.isDigit(piece.codePointBefore(piece.length - 1))

    private fun tokenOf(piece: String): Int {
        val id = addedIds[piece]
            ?: pieces.find(piece).let { if (pieces.isControl(it)) unkId else it }
        return if (id in hidden) unkId else id
    }

    override fun tokenizePlain(text: String): Tokens {
        val source = preprocess(text)
        val normal = pieces.normalize(source.chars, source.size)
        // In most texts SentencePiece only adds a mark at the start.
        val isPlain = isOnlyMarked(normal, source)
        val aligned = if (isPlain) source else align(normal, source)
        return locate(normal, aligned, if (isPlain) -1 else 0)
    }

    private fun isOnlyMarked(normal: NormalizedText, source: AlignedText): Boolean {
        if (normal.size != source.size + 1 || normal.chars[0] != SPACE_MARK) return false
        for (at in 0 until source.size) {
            val unit = source.chars[at]
            if (normal.chars[at + 1] != (if (unit == ' ') SPACE_MARK else unit)) return false
        }
        return true
    }

    /**
     * Aligns a text that SentencePiece has normalized with the original.
     *
     * Characters that SentencePiece removes (control characters, ...) are in no span.
     */
    private fun align(normal: NormalizedText, source: AlignedText): AlignedText {
        val starts = IntArray(normal.size)
        val ends = IntArray(normal.size)
        var stop = source.size
        var after = normal.places[normal.size]
        // One character of the original may have become several units, which have the same place.
        for (at in normal.size - 1 downTo 0) {
            val place = normal.places[at]
            if (after > place) {
                stop = after
                while (true) {
                    val last = stop - if (source.chars[stop - 1].isLowSurrogate()) 2 else 1
                    if (last <= place || !pieces.removes(source.chars, last, stop)) break
                    stop = last
                }
            }
            starts[at] = source.starts[minOf(place, source.size - 1)]
            ends[at] = source.ends[stop - 1]
            after = place
        }
        return AlignedText(normal.chars, normal.size, starts, ends)
    }

    /** Returns the tokens of a text with their spans; it begins at `source.chars[offset]`. */
    private fun locate(normal: NormalizedText, source: AlignedText, offset: Int): Tokens {
        val segments = pieces.segment(normal)
        val found = TokenList(segments.size + segments.size / 8)
        val spans = Spans(source, offset, found)
        for (at in 0 until segments.size) {
            val id = segments.ids[at]
            val start = segments.starts[at]
            val width = segments.end(at) - start
            if (id != unkId && tokenOfPiece[id] >= 0) {
                spans.add(tokenOfPiece[id], normal.chars[start] == SPACE_MARK, width)
                continue
            }
            val tokens = if (id == unkId) {
                convert(String(normal.chars, start, width))
            } else {
                splitPieces[id] ?: convert(pieces.text(id)).also { splitPieces[id] = it }
            }
            for (index in tokens.ids.indices) {
                spans.add(tokens.ids[index], tokens.isMarked[index], tokens.widths[index])
            }
        }
        return found.toTokens()
    }

    /** Converts a piece to tokens: one, or several for a piece such as `9,`. */
    private fun convert(piece: String): PieceTokens {
        if (!isNumber(piece)) return PieceTokens(listOf(piece), intArrayOf(piece.length))
        // As in the original tokenizer: encode `9` again, then append `,`.
        val number = piece.dropLast(1)
        val chars = number.replace(SPACE_MARK.toString(), "").toCharArray()
        val normal = pieces.normalize(chars, chars.size)
        val segments = pieces.segment(normal)
        var parts = List(segments.size) {
            String(normal.chars, segments.starts[it], segments.end(it) - segments.starts[it])
        }
        if (piece[0] != SPACE_MARK && parts.isNotEmpty() && parts[0][0] == SPACE_MARK) {
            parts = listOf(parts[0].substring(1)).filter(String::isNotEmpty) + parts.drop(1)
        }
        val widths = IntArray(parts.size + 1) { if (it < parts.size) parts[it].length else 1 }
        if (parts.joinToString("") != number) {
            // There was a mark inside: the parts cannot be located.
            for (at in parts.indices) widths[at] = if (at == 0) number.length else 0
        }
        return PieceTokens(parts + ",", widths)
    }

    /** The tokens of a piece: their ids, whether each begins with a mark, and their widths. */
    private inner class PieceTokens(parts: List<String>, val widths: IntArray) {
        val ids = IntArray(parts.size) { tokenOf(parts[it]) }
        val isMarked = BooleanArray(parts.size) { widths[it] > 0 && parts[it][0] == SPACE_MARK }
    }

    /** Gives each token of [source] its span in the original, from left to right. */
    private class Spans(
        private val source: AlignedText,
        private var at: Int,
        private val found: TokenList,
    ) {
        private var end = 0

        fun add(id: Int, isMarked: Boolean, width: Int) {
            val begin = if (isMarked) at + 1 else at
            at += width
            val start = if (begin < source.size) source.starts[begin] else end
            // A mark alone has an empty span, unless it is one of several tokens of a character.
            end = if (begin < at) source.ends[at - 1] else maxOf(start, end)
            found.add(id, start, end)
        }
    }

    override fun piece(id: Int): String = if (id < pieceCount) pieces.text(id) else ""

    override fun decodePieces(ids: IntArray): String =
        pieces.decode(ids.filter { it < pieceCount }.toIntArray())

    /** Normalizes text for SentencePiece. */
    internal fun preprocess(text: String): AlignedText = Preprocessing(text).run()

    /** The normalization of one text. */
    private inner class Preprocessing(private val text: String) {
        private val found = CharList(text.length + 16)
        private val starts = IntList(text.length + 16)
        private val ends = IntList(text.length + 16)
        private val scratch = CharList(16)
        private val lowered = CharList(2)
        private val folds = config.removeSpace
        private val lowers = config.doLowerCase
        private val keepsAccents = config.keepAccents
        private var at = 0

        fun run(): AlignedText {
            while (at < text.length) {
                val unit = text[at]
                val isQuote = unit == '`' || unit == '\''
                when {
                    isQuote && at + 1 < text.length && text[at + 1] == unit -> add('"', at, 2)
                    folds && unicode.isSpace(unit.code) -> foldSpace()
                    unit < '\u0080' -> add(unit, at, 1)
                    else -> fold()
                }
            }
            if (lowers) unicode.lowerInPlace(found.items, found.size)
            return AlignedText(found.items, found.size, starts.items, ends.items)
        }

        private fun add(unit: Char, start: Int, units: Int) {
            found.add(unit)
            starts.add(start)
            ends.add(start + units)
            at = start + units
        }

        private fun foldSpace() {
            val start = at
            while (at < text.length && unicode.isSpace(text[at].code)) at++
            if (start > 0 && at < text.length) add(' ', start, at - start)
        }

        private fun fold() {
            val codePoint = text.codePointAt(at)
            val start = at
            val units = unitsOf(codePoint)
            at = start + units
            if (!unicode.changes(codePoint) && (keepsAccents || !isCombining(codePoint))) {
                for (index in start until at) addUnit(text[index], start)
                return
            }
            val before = found.size
            foldCharacter(codePoint)
            for (index in 0 until scratch.size) addUnit(scratch.items[index], start)
            if (found.size == before && before > 0) ends.items[before - 1] = at
        }

        private fun addUnit(unit: Char, start: Int) {
            found.add(unit)
            starts.add(start)
            ends.add(at)
        }

        private fun isCombining(codePoint: Int) = unicode.combiningClass(codePoint) != 0

        /** Hugging Face first converts each character by itself to lower case. */
        private fun foldCharacter(codePoint: Int) {
            lowered.clear()
            if (lowers) unicode.appendLower(codePoint, lowered) else lowered.addCodePoint(codePoint)
            scratch.clear()
            if (keepsAccents) {
                for (index in 0 until lowered.size) scratch.add(lowered.items[index])
                return
            }
            decomposed.clear()
            forEachCodePoint(lowered) { unicode.appendDecomposed(it, true, decomposed) }
            forEachCodePoint(decomposed) { if (!isCombining(it)) scratch.addCodePoint(it) }
        }

        private val decomposed = CharList(32)
    }
}

/**
 * A normalized text, with the span of every character in the original.
 *
 * @property chars its UTF-16 code units, the first [size] of the array.
 * @property starts for each of them, where its character begins in the original.
 * @property ends where it ends. A removed mark belongs to the character before it.
 */
internal class AlignedText(
    val chars: CharArray,
    val size: Int,
    val starts: IntArray,
    val ends: IntArray,
)

internal inline fun forEachCodePoint(chars: CharList, action: (Int) -> Unit) {
    var at = 0
    while (at < chars.size) {
        val codePoint = codePointAt(chars.items, at, chars.size)
        action(codePoint)
        at += unitsOf(codePoint)
    }
}
