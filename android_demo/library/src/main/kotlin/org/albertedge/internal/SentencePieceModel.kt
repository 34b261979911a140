package org.albertedge.internal


/** The mark for the space before a word. */
internal const val SPACE_MARK = '\u2581'

/**
 * A unigram model of SentencePiece: `spiece.model`.
 *
 * It does what version 0.2.3 of SentencePiece's C++ does, in UTF-16 instead of UTF-8: normalize
 * text, and find the segmentation with the highest sum of scores (Viterbi), in single precision and
 * with the same choice among equal sums.
 *
 * @param bytes the content of the file.
 * @param where the name of the file, for error messages.
 * @throws AlbertEdgeException the file is damaged, or not supported.
 */
internal class SentencePieceModel(bytes: ByteArray, private val where: String) {
    private val texts = CharList(bytes.size / 4)
    private val textEnds = IntList(1024)
    private val typeList = IntList(1024)
    private val scoreBits = IntList(1024)
    private var hasBytes = false
    private val reserved = HashMap<String, Int>()
    private val trie: Trie
    private val types: ByteArray
    private val scores: FloatArray
    private val unknownScore: Float
    private val normalizer: Normalizer
    private val denormalizer: Normalizer?
    private val unknownSurface: String

    /** The number of pieces. */
    val size: Int

    /** The id of the unknown piece. */
    val unkId: Int

    init {
        val trainer = TrainerSpec()
        val spec = NormalizerSpec()
        val reverse = NormalizerSpec()
        try {
            checkWhole(parse(ProtobufReader(bytes, 0, bytes.size), trainer, spec, reverse))
            checkKind(trainer)
            size = textEnds.size
            types = ByteArray(size) { typeList.items[it].toByte() }
            scores = FloatArray(size) { Float.fromBits(scoreBits.items[it]) }
            trie = Trie(texts.size)
            unkId = addPieces()
            if (types[find(trainer.unknownPiece)].toInt() != UNKNOWN) {
                throw DamagedException("the unknown piece is of another type")
            }
            normalizer = Normalizer(spec, trainer.spaceIsSuffix, symbols())
            denormalizer =
                if (reverse.charsmap.isEmpty()) null else Normalizer(reverse, false, Trie(0))
        } catch (error: DamagedException) {
            throw fileError(
                "$where is not a SentencePiece model, or is damaged: ${error.message}.",
                error,
            )
        }
        unknownScore = lowestScore() - UNKNOWN_PENALTY
        unknownSurface = trainer.unknownSurface
    }

    private fun lowestScore(): Float {
        var lowest = Float.MAX_VALUE
        for (id in 0 until size) {
            if (types[id].toInt() == NORMAL) lowest = minOf(lowest, scores[id])
        }
        return lowest
    }

    private fun parse(
        reader: ProtobufReader,
        trainer: TrainerSpec,
        spec: NormalizerSpec,
        reverse: NormalizerSpec,
    ): Set<Int> {
        val fields = HashSet<Int>()
        while (reader.next()) {
            if (!reader.isBytes) continue
            fields.add(reader.number)
            when (reader.number) {
                1 -> parsePiece(reader.message())
                2 -> trainer.parse(reader.message())
                3 -> spec.parse(reader.message())
                5 -> reverse.parse(reader.message())
            }
        }
        return fields
    }

    private fun parsePiece(reader: ProtobufReader) {
        var start = 0
        var end = 0
        var score = 0f
        var type = NORMAL
        while (reader.next()) {
            if (reader.number == 1 && reader.isBytes) {
                start = reader.start
                end = reader.end
            } else if (reader.number == 2 && reader.isFixed32) {
                score = Float.fromBits(reader.value.toInt())
            } else if (reader.number == 3 && reader.isVarint && reader.value in NORMAL..BYTE) {
                type = reader.value.toInt()
            }
        }
        val before = texts.size
        if (end - start >= MAX_PIECE_BYTES) throw DamagedException("a piece is too long")
        if (appendUtf8(reader.bytes, start, end, texts) >= 0) {
            throw DamagedException("the piece ${textEnds.size} is not UTF-8")
        }
        if (texts.size == before) throw DamagedException("the piece ${textEnds.size} is empty")
        for (at in before until texts.size) {
            if (texts.items[at] == '\u0000') {
                throw DamagedException("the piece ${textEnds.size} contains a null character")
            }
        }
        hasBytes = hasBytes || type == BYTE
        if (score.isNaN() || score.isInfinite()) {
            throw DamagedException("the score of the piece ${textEnds.size} is not a number")
        }
        textEnds.add(texts.size)
        scoreBits.add(score.toRawBits())
        typeList.add(type)
    }

    private fun checkWhole(fields: Set<Int>) {
        if (2 !in fields || 3 !in fields) {
            throw fileError(
                "$where is cut short: it ends before the settings of trainer and normalizer.",
            )
        }
    }

    private fun checkKind(trainer: TrainerSpec) {
        if (trainer.modelType != UNIGRAM) {
            throw fileError(
                "$where is not a unigram model, the only kind that is supported.",
            )
        }
        if (hasBytes) {
            throw fileError(
                "$where encodes unknown characters as bytes, which is not supported; ALBERT's do " +
                    "not.",
            )
        }
        if (trainer.byteFallback) throw DamagedException("there are not 256 byte pieces")
    }

    /** Adds all pieces to where they are found; returns the id of the unknown one. */
    private fun addPieces(): Int {
        var unknown = -1
        for (id in 0 until size) {
            val start = textStart(id)
            val end = textEnds.items[id]
            val isReserved = types[id].toInt() == UNKNOWN || types[id].toInt() == CONTROL
            val before = if (isReserved) {
                reserved.put(text(id), id) ?: Trie.NONE
            } else {
                trie.put(texts.items, start, end, id)
            }
            if (before != Trie.NONE) throw DamagedException("${text(id)} is already defined")
            if (types[id].toInt() == UNKNOWN) {
                if (unknown >= 0) throw DamagedException("the unknown piece is already defined")
                unknown = id
            }
        }
        if (unknown < 0) throw DamagedException("there is no unknown piece")
        if (reserved.size == size) throw DamagedException("there are no pieces")
        return unknown
    }

    private fun symbols(): Trie {
        val symbols = Trie(64)
        for (id in 0 until size) {
            if (types[id].toInt() != USER_DEFINED) continue
            symbols.put(texts.items, textStart(id), textEnds.items[id], id)
        }
        return symbols
    }

    private fun textStart(id: Int): Int = if (id == 0) 0 else textEnds.items[id - 1]

    /** Returns the text of the piece with an id. */
    fun text(id: Int): String {
        val start = textStart(id)
        return String(texts.items, start, textEnds.items[id] - start)
    }

    /** Whether the last character of a piece is a comma, and not its only one. */
    fun endsInComma(id: Int): Boolean =
        textEnds.items[id] - textStart(id) > 1 && texts.items[textEnds.items[id] - 1] == ','

    /** Returns the id of a piece, that of the unknown one if there is no such piece. */
    fun find(piece: String): Int {
        reserved[piece]?.let { return it }
        val id = trie[piece]
        return if (id == Trie.NONE) unkId else id
    }

    /** Returns the id of a piece that is neither unknown nor a control piece, or -1. */
    fun findInTexts(piece: String): Int = trie[piece]

    /** Returns the ids of the pieces that no text contains: unknown and control pieces. */
    fun reservedPieces(): Map<String, Int> = reserved

    fun isControl(id: Int): Boolean = types[id].toInt() == CONTROL

    /** Normalizes `chars[0, size)`. */
    fun normalize(chars: CharArray, size: Int): NormalizedText = normalizer.normalize(chars, size)

    /** Whether nothing remains of `chars[start, end)`, normalized as a text of its own. */
    fun removes(chars: CharArray, start: Int, end: Int): Boolean =
        normalizer.removes(chars, start, end)

    /** Splits normalized text into pieces; a run of unknown characters is one piece. */
    fun segment(text: NormalizedText): Segments = Viterbi(text).segment()

    /** The search for the best segmentation of one text (Kudo 2018, arXiv:1804.10959). */
    private inner class Viterbi(text: NormalizedText) {
        private val chars = text.chars
        private val size = text.size

        // Of the best segmentation that ends at each place: its score, and its last piece.
        private val best = FloatArray(size + 1)
        private val starts = IntArray(size + 1) { -1 }
        private val ids = IntArray(size + 1)
        private var frontier = 0 // the last place that has one

        fun segment(): Segments {
            var start = 0
            while (start < size) {
                if (best[start] < -SCORE_LIMIT || best[start] > SCORE_LIMIT) subtractFrom(start)
                val end = start + if (chars[start].isHighSurrogate()) 2 else 1
                if (!addPieces(start, end)) add(unkId, unknownScore, start, end)
                start = end
            }
            return backtrack()
        }

        /** Adds all pieces that begin at [start]; returns whether one of them ends at [single]. */
        private fun addPieces(start: Int, single: Int): Boolean {
            var isKnown = false
            var node = Trie.ROOT
            var end = start
            while (end < size) {
                node = trie.next(node, chars[end++])
                if (node == Trie.NONE) break
                val id = trie.value(node)
                if (id == Trie.NONE || types[id].toInt() == UNUSED) continue
                val isSymbol = types[id].toInt() == USER_DEFINED
                add(id, if (isSymbol) bonus(start, end) else scores[id], start, end)
                if (end == single) isKnown = true
            }
            return isKnown
        }

        private fun add(id: Int, score: Float, start: Int, end: Int) {
            val candidate = best[start] + score
            if (starts[end] < 0 || candidate > best[end]) {
                best[end] = candidate
                starts[end] = start
                ids[end] = id
            }
            if (end > frontier) frontier = end
        }

        /** The score of a symbol of the user: the longest wins.  Its length is in bytes. */
        private fun bonus(start: Int, end: Int): Float {
            var bytes = 0
            for (at in start until end) {
                val unit = chars[at]
                bytes +=
                    if (unit < '\u0080') 1 else if (unit < '\u0800' || unit.isSurrogate()) 2 else 3
            }
            return (0.1 * (bytes - 1)).toFloat()
        }

        /** Keeps the scores small, as those of a long text would lose precision. */
        private fun subtractFrom(start: Int) {
            val offset = best[start]
            for (at in start..frontier) if (at == start || starts[at] >= 0) best[at] -= offset
            best[start] = 0f
        }

        private fun backtrack(): Segments {
            val pieceIds = IntList(size / 4)
            val pieceStarts = IntList(size / 4)
            var end = size
            while (end > 0) {
                val isRun = pieceIds.size > 0 && ids[end] == unkId &&
                    pieceIds.items[pieceIds.size - 1] == unkId
                if (isRun) pieceStarts.dropLast() else pieceIds.add(ids[end])
                end = starts[end]
                pieceStarts.add(end)
            }
            return Segments(
                pieceIds.toArray().apply { reverse() },
                pieceStarts.toArray().apply { reverse() },
                size,
            )
        }
    }

    /** Returns the text of pieces. */
    fun decode(ids: IntArray): String {
        val text = StringBuilder()
        var isStart = true
        for (id in ids) {
            if (text.isNotEmpty()) isStart = false
            if (isControl(id)) continue
            if (id == unkId) {
                text.append(unknownSurface)
            } else {
                val piece = text(id)
                val dropsMark = isStart && normalizer.startsWithSpace && piece[0] == SPACE_MARK
                text.append((if (dropsMark) piece.substring(1) else piece).replace(SPACE_MARK, ' '))
                if (dropsMark && !normalizer.removesSpaces) isStart = false
            }
        }
        val chars = text.toString().toCharArray()
        return denormalizer?.normalize(chars, chars.size)?.toString() ?: text.toString()
    }

    private companion object {
        const val UNIGRAM = 1
        const val NORMAL = 1
        const val UNKNOWN = 2
        const val CONTROL = 3
        const val USER_DEFINED = 4
        const val UNUSED = 5
        const val BYTE = 6
        const val MAX_PIECE_BYTES = 8000
        const val UNKNOWN_PENALTY = 10f
        const val SCORE_LIMIT = 100000f
    }
}

/**
 * The pieces of a normalized text.
 *
 * @property ids P ids.
 * @property starts P starts in the text; each piece ends where the next one starts.
 * @property end where the last one ends.
 */
internal class Segments(val ids: IntArray, val starts: IntArray, private val end: Int) {
    val size: Int
        get() = ids.size

    fun end(at: Int): Int = if (at + 1 < starts.size) starts[at + 1] else end
}

/** What a model says of its training that matters for its use. */
private class TrainerSpec {
    var modelType = 1
        private set
    var byteFallback = false
        private set
    var spaceIsSuffix = false
        private set
    var unknownPiece = "<unk>"
        private set
    var unknownSurface = " \u2047 "
        private set

    fun parse(reader: ProtobufReader) {
        while (reader.next()) {
            when (reader.number) {
                3 -> if (reader.isVarint && reader.value in 1..4) modelType = reader.value.toInt()
                24 -> if (reader.isVarint) spaceIsSuffix = reader.value != 0L
                35 -> if (reader.isVarint) byteFallback = reader.value != 0L
                44 -> if (reader.isBytes) unknownSurface = string(reader)
                45 -> if (reader.isBytes) unknownPiece = string(reader).ifEmpty { "<unk>" }
            }
        }
    }

    private fun string(reader: ProtobufReader): String {
        val text = CharList(16)
        if (appendUtf8(reader.bytes, reader.start, reader.end, text) >= 0) {
            throw DamagedException("the unknown piece is not UTF-8")
        }
        return text.toString()
    }
}
