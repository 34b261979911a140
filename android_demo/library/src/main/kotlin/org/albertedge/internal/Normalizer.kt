package org.albertedge.internal

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** The settings of a [Normalizer]. */
internal class NormalizerSpec {
    var charsmap = ByteArray(0)
        private set
    var addsPrefix = true
        private set
    var removesSpaces = true
        private set
    var marksSpaces = true
        private set

    /** @throws DamagedException it is not a message. */
    fun parse(reader: ProtobufReader) {
        while (reader.next()) {
            when (reader.number) {
                2 -> if (reader.isBytes) {
                    charsmap = reader.bytes.copyOfRange(reader.start, reader.end)
                }
                3 -> if (reader.isVarint) addsPrefix = reader.value != 0L
                4 -> if (reader.isVarint) removesSpaces = reader.value != 0L
                5 -> if (reader.isVarint) marksSpaces = reader.value != 0L
            }
        }
    }
}

/**
 * A normalized text.
 *
 * @property chars its UTF-16 code units, the first [size] of the array.
 * @property places for each of them, where in the original text the character begins that it comes
 *     from; and where the text ends.
 */
internal class NormalizedText(val chars: CharArray, val size: Int, val places: IntArray) {
    override fun toString(): String = String(chars, 0, size)
}

/**
 * SentencePiece's normalizer: rules that replace strings, the longest first, and white space.
 *
 * @param spec its settings; the rules are a trie of darts-clone, and the strings that it leads to.
 * @param spaceIsSuffix whether the mark of a space is behind a word.
 * @param symbols the strings that no rule changes.
 * @throws DamagedException the rules are damaged.
 */
internal class Normalizer(
    spec: NormalizerSpec,
    private val spaceIsSuffix: Boolean,
    private val symbols: Trie,
) {
    private val addsPrefix = spec.addsPrefix
    val removesSpaces = spec.removesSpaces
    private val mark = if (spec.marksSpaces) SPACE_MARK else ' '
    private val rules = if (spec.charsmap.isEmpty()) null else Rules(spec.charsmap)

    // Whether nothing but itself comes of each ASCII character that an ASCII character follows.
    private val isPlain = BooleanArray(128) { code ->
        val unit = code.toChar()
        unit != ' ' && symbols.next(Trie.ROOT, unit) == Trie.NONE &&
            (rules == null || !rules.hasAscii(code))
    }

    /** Whether `decode` removes the mark at the start. */
    val startsWithSpace: Boolean
        get() = addsPrefix || removesSpaces

    /** Normalizes `chars[0, size)`, valid UTF-16. */
    fun normalize(chars: CharArray, size: Int): NormalizedText {
        val run = Run(chars, size)
        run.normalize()
        return NormalizedText(run.found.items, run.found.size, run.places.items)
    }

    /** Whether nothing remains of `chars[start, end)`, normalized as a text of its own. */
    fun removes(chars: CharArray, start: Int, end: Int): Boolean =
        Run(chars.copyOfRange(start, end), end - start).apply { normalize() }.found.size == 0

    /** The normalization of one text. */
    private inner class Run(private val chars: CharArray, private val size: Int) {
        val found = CharList(size + size / 4)
        val places = IntList(size + size / 4)
        private var at = 0

        // The replacement of the prefix at `at`: bytes of `source`, or else the prefix itself.
        private var prefixUnits = 0
        private var ruleStart = 0
        private var ruleEnd = 0
        private var isRule = false

        fun normalize() {
            if (removesSpaces) skipSpaces()
            if (at == size) {
                places.add(at)
                return
            }
            if (!spaceIsSuffix && addsPrefix) add(mark)
            var isAfterSpace = removesSpaces
            while (at < size) {
                if (isPlainAt()) {
                    add(chars[at])
                    at++
                    isAfterSpace = false
                    continue
                }
                findPrefix()
                isAfterSpace = addReplacement(isAfterSpace) && removesSpaces
                at += prefixUnits
            }
            if (removesSpaces) {
                while (found.size > 0 && found.items[found.size - 1] == mark) {
                    at = places.items[found.size - 1]
                    found.dropLast()
                    places.dropLast()
                }
            }
            if (spaceIsSuffix && addsPrefix) add(mark)
            places.add(at)
        }

        private fun isPlainAt(): Boolean {
            val unit = chars[at]
            if (unit >= '\u0080' || !isPlain[unit.code]) return false
            return at + 1 == size || chars[at + 1] < '\u0080'
        }

        private fun skipSpaces() {
            while (at < size) {
                findPrefix()
                val isSpace = if (isRule) {
                    ruleEnd == ruleStart + 1 && rules!!.bytes[ruleStart] == SPACE_BYTE
                } else {
                    prefixUnits == 1 && chars[at] == ' '
                }
                if (!isSpace) return
                at += prefixUnits
            }
        }

        private fun add(unit: Char) {
            found.add(if (unit == ' ') mark else unit)
            places.add(at)
        }

        /** Finds what begins at `at`: a symbol, what a rule replaces, or one character. */
        private fun findPrefix() {
            isRule = false
            prefixUnits = symbolUnits()
            if (prefixUnits > 0) return
            val rule = rules?.findLongest(chars, at, size) ?: -1
            if (rules != null && rule >= 0) {
                isRule = true
                prefixUnits = (rule ushr 32).toInt()
                ruleStart = rule.toInt()
                ruleEnd = rules.end(ruleStart)
            } else {
                prefixUnits = if (chars[at].isHighSurrogate()) 2 else 1
            }
        }

        private fun symbolUnits(): Int {
            var units = 0
            var node = Trie.ROOT
            for (end in at until size) {
                node = symbols.next(node, chars[end])
                if (node == Trie.NONE) break
                if (symbols.value(node) != Trie.NONE) units = end + 1 - at
            }
            return units
        }

        /** Adds the replacement; returns whether a space is now the last. */
        private fun addReplacement(isAfterSpace: Boolean): Boolean {
            var start = if (isRule) ruleStart else at
            val end = if (isRule) ruleEnd else at + prefixUnits
            if (isAfterSpace) while (start < end && isSpace(start)) start++
            if (start == end) return isAfterSpace
            if (isRule) {
                val before = found.size
                appendUtf8(rules!!.bytes, start, end, found)
                for (index in before until found.size) {
                    if (found.items[index] == ' ') found.items[index] = mark
                    places.add(at)
                }
            } else {
                for (index in start until end) add(chars[index])
            }
            return isSpace(end - 1)
        }

        private fun isSpace(index: Int): Boolean =
            if (isRule) rules!!.bytes[index] == SPACE_BYTE else chars[index] == ' '
    }
}

/**
 * The rules of a normalizer: a trie over UTF-8, and the strings to which it leads, each with a 0
 * behind it.
 *
 * The trie is a double array of darts-clone. A unit of it has a label (8 bits), or with the highest
 * bit set a value; whether a value follows (bit 8); and the distance to what follows (from bit 10,
 * times 256 with bit 9).
 */
private class Rules(charsmap: ByteArray) {
    private val units: IntArray

    /** The strings. */
    val bytes: ByteArray

    init {
        val buffer = ByteBuffer.wrap(charsmap).order(ByteOrder.LITTLE_ENDIAN)
        val size = if (charsmap.size < 4) 0 else buffer.getInt()
        val isCut = size < UNIT_BLOCK || size % UNIT_BLOCK != 0 || size >= charsmap.size - 4
        if (isCut || charsmap.last() != 0.toByte()) {
            throw DamagedException("the normalization rules are cut short")
        }
        units = IntArray(size / 4)
        buffer.asIntBuffer().get(units)
        bytes = charsmap.copyOfRange(4 + size, charsmap.size)
        if (appendUtf8(bytes, 0, bytes.size, CharList(bytes.size)) >= 0) {
            throw DamagedException("a normalization rule is not UTF-8")
        }
        check()
    }

    /** Checks that no text leads out of the array. */
    private fun check() {
        val root = units[0]
        var isValid = label(root) == 0 && !hasValue(root) && offset(root) != 0
        for (at in units.indices) {
            val unit = units[at]
            if (unit >= 0) {
                val next = at xor offset(unit)
                isValid = isValid && next or 255 in units.indices
                isValid = isValid && (at == 0 || !hasValue(unit) || units[next] < 0)
            } else {
                val value = unit and Int.MAX_VALUE
                isValid = isValid && value < bytes.size && bytes[value].toInt() and 0xC0 != 0x80
            }
        }
        if (!isValid) throw DamagedException("the normalization rules are invalid")
    }

    private fun label(unit: Int): Int = unit and (Int.MIN_VALUE or 255)

    private fun hasValue(unit: Int): Boolean = unit and 256 != 0

    private fun offset(unit: Int): Int = unit ushr 10 shl (unit and 512 ushr 6)

    /** Whether a rule replaces an ASCII character, or it and another ASCII character, or more. */
    fun hasAscii(code: Int): Boolean {
        val first = next(offset(units[0]), code)
        if (first < 0) return false
        return hasValue(units[first]) ||
            (0 until 128).any { next(first xor offset(units[first]), it) >= 0 }
    }

    /** Returns the place behind [base] by [byte], or -1. */
    private fun next(base: Int, byte: Int): Int {
        val at = base xor byte
        return if (label(units[at]) == byte) at else -1
    }

    /**
     * Finds the longest rule for a prefix of `chars[start, size)`.
     *
     * @return the number of units that it replaces, in the upper half, and where its string begins;
     *     or -1.
     */
    fun findLongest(chars: CharArray, start: Int, size: Int): Long {
        var longest = -1L
        var at = start
        var base = offset(units[0])
        while (at < size) {
            val codePoint = codePointAt(chars, at, size)
            at += unitsOf(codePoint)
            val length = bytesOf(codePoint)
            var place = 0
            for (index in 0 until length) {
                place = next(base, byteOf(codePoint, index, length))
                if (place < 0) return longest
                base = place xor offset(units[place])
            }
            if (hasValue(units[place])) {
                val value = units[base] and Int.MAX_VALUE
                longest = (at - start).toLong() shl 32 or value.toLong()
            }
        }
        return longest
    }

    /** Returns where the string that begins at [start] ends. */
    fun end(start: Int): Int {
        var at = start
        while (bytes[at] != 0.toByte()) at++
        return at
    }

    private fun bytesOf(codePoint: Int): Int = when {
        codePoint < 0x80 -> 1
        codePoint < 0x800 -> 2
        codePoint < 0x10000 -> 3
        else -> 4
    }

    private fun byteOf(codePoint: Int, index: Int, length: Int): Int {
        if (length == 1) return codePoint
        val bits = codePoint ushr 6 * (length - 1 - index)
        return if (index > 0) bits and 63 or 128 else (0xF00 ushr length and 255) or bits
    }

    private companion object {
        const val UNIT_BLOCK = 1024 // bytes
    }
}

private const val SPACE_BYTE = ' '.code.toByte()
