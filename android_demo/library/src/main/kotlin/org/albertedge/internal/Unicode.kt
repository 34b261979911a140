package org.albertedge.internal

import java.util.Arrays

/**
 * What the library needs of Unicode, the same on every phone; see `unicode_table.py`.
 *
 * Code points may be any in [0, 0x10FFFF].
 */
internal class Unicode(table: ByteArray) {
    private val reader = TableReader(table)

    /** The version, such as "14.0.0". */
    val version = reader.ascii()
    private val flags: ByteArray
    private val combiningClasses: ByteArray
    private val blocks: ByteArray
    private val index: ByteArray
    private val capitals: IntArray
    private val lowers: IntArray
    private val canonical: Decompositions
    private val compatible: Decompositions
    private val pairs: LongArray // the first code point in the upper half, the second in the lower
    private val composed: IntArray
    private val alphanumeric: IntArray
    private val wordCharacters: IntArray
    private val lowerCase: IntArray

    init {
        val records = reader.bytes(2 * reader.number())
        flags = ByteArray(records.size / 2) { records[2 * it] }
        combiningClasses = ByteArray(records.size / 2) { records[2 * it + 1] }
        blocks = reader.bytes(BLOCK * reader.number())
        index = reader.bytes(0x110000 / BLOCK)
        capitals = IntArray(reader.number())
        lowers = IntArray(capitals.size)
        var before = 0
        for (at in capitals.indices) {
            before += reader.number()
            val zigzag = reader.number()
            capitals[at] = before
            lowers[at] = before + (zigzag ushr 1 xor -(zigzag and 1))
        }
        canonical = Decompositions(reader)
        compatible = Decompositions(reader)
        pairs = LongArray(reader.number())
        composed = IntArray(pairs.size)
        before = 0
        for (at in pairs.indices) {
            before += reader.number()
            pairs[at] = before.toLong() shl 32 or reader.number().toLong()
            composed[at] = reader.number()
        }
        alphanumeric = reader.boundaries()
        wordCharacters = reader.boundaries()
        lowerCase = reader.boundaries()
    }

    private fun record(codePoint: Int): Int {
        val block = index[codePoint ushr 7].toInt() and 255
        return blocks[block shl 7 or (codePoint and 127)].toInt() and 255
    }

    private fun has(codePoint: Int, flag: Int): Boolean =
        flags[record(codePoint)].toInt() and flag != 0

    /** Whether Python's `str.isprintable` holds: no separator but the space, no other character. */
    fun isPrintable(codePoint: Int): Boolean = has(codePoint, PRINTABLE)

    /** Whether Python's `str.isspace` holds. */
    fun isSpace(codePoint: Int): Boolean = has(codePoint, SPACE)

    /** Whether the category is Mn. */
    fun isMark(codePoint: Int): Boolean = has(codePoint, MARK)

    /** Whether the category begins with P. */
    fun isPunctuation(codePoint: Int): Boolean = has(codePoint, PUNCTUATION)

    /** Whether Python's `str.isdigit` holds. */
    fun isDigit(codePoint: Int): Boolean = has(codePoint, DIGIT)

    /** Whether Python's `str.isalnum` holds: a letter or a number. */
    fun isAlphanumeric(codePoint: Int): Boolean = isInside(codePoint, alphanumeric)

    /** Whether it is a letter, a number or a mark: the category begins with L, N or M. */
    fun isWordCharacter(codePoint: Int): Boolean = isInside(codePoint, wordCharacters)

    /** Whether Python's `str.islower` holds of one character. */
    fun isLower(codePoint: Int): Boolean = isInside(codePoint, lowerCase)

    private fun isInside(codePoint: Int, boundaries: IntArray): Boolean {
        val at = Arrays.binarySearch(boundaries, codePoint)
        val before = if (at < 0) -at - 1 else at + 1 // boundaries at the code point or before it
        return before % 2 == 1
    }

    /** The canonical combining class; 0 for a starter. */
    fun combiningClass(codePoint: Int): Int =
        combiningClasses[record(codePoint)].toInt() and 255

    /** Whether lower case or a decomposition changes a character. */
    fun changes(codePoint: Int): Boolean = has(codePoint, CHANGES) || isHangul(codePoint)

    /** The lower case of one character; U+0130, the only one with two, stays. */
    fun lower(codePoint: Int): Int {
        if (codePoint in 'A'.code..'Z'.code) return codePoint + 32
        if (codePoint < 128 || !has(codePoint, CHANGES)) return codePoint
        val at = Arrays.binarySearch(capitals, codePoint)
        return if (at < 0) codePoint else lowers[at]
    }

    /** Appends the lower case of one character, one or two characters. */
    fun appendLower(codePoint: Int, text: CharList) {
        text.addCodePoint(if (codePoint == DOTTED_I) 'i'.code else lower(codePoint))
        if (codePoint == DOTTED_I) text.add('\u0307')
    }

    /**
     * Converts UTF-16 to lower case in place; U+0130, which would need more room, stays.
     *
     * A capital sigma at the end of a word becomes a final one, as in Python's `str.lower`.
     */
    fun lowerInPlace(chars: CharArray, size: Int) {
        var at = 0
        while (at < size) {
            val codePoint = codePointAt(chars, at, size)
            val units = unitsOf(codePoint)
            val lower = if (codePoint == SIGMA) lowerSigma(chars, at, size) else lower(codePoint)
            if (lower != codePoint) Character.toChars(lower, chars, at)
            at += units
        }
    }

    private fun lowerSigma(chars: CharArray, at: Int, size: Int): Int {
        var before = at
        var codePoint: Int
        do {
            if (before == 0) return SMALL_SIGMA
            before -= if (chars[before - 1].isLowSurrogate()) 2 else 1
            codePoint = codePointAt(chars, before, size)
        } while (has(codePoint, IGNORABLE))
        if (!has(codePoint, CASED)) return SMALL_SIGMA
        var after = at + 1
        while (after < size) {
            codePoint = codePointAt(chars, after, size)
            if (!has(codePoint, IGNORABLE)) {
                return if (has(codePoint, CASED)) SMALL_SIGMA else FINAL_SIGMA
            }
            after += unitsOf(codePoint)
        }
        return FINAL_SIGMA
    }

    /** Appends the decomposition of one character, canonical or also compatible. */
    fun appendDecomposed(codePoint: Int, isCompatible: Boolean, text: CharList) {
        when {
            isHangul(codePoint) -> appendHangul(codePoint - HANGUL, text)
            !has(codePoint, CHANGES) -> text.addCodePoint(codePoint)
            isCompatible && compatible.append(codePoint, text) -> return
            !canonical.append(codePoint, text) -> text.addCodePoint(codePoint)
        }
    }

    private fun appendHangul(syllable: Int, text: CharList) {
        text.add((LEADING + syllable / (VOWELS * TRAILINGS)).toChar())
        text.add((VOWEL + syllable / TRAILINGS % VOWELS).toChar())
        if (syllable % TRAILINGS > 0) text.add((TRAILING + syllable % TRAILINGS).toChar())
    }

    /** Returns NFD, or with [isCompatible] NFKD, of valid UTF-16. */
    fun decompose(text: String, isCompatible: Boolean = false): String {
        if (text.all { it < FIRST_DECOMPOSED }) return text
        return codePointsToString(decomposed(text, isCompatible))
    }

    /** Returns NFC of valid UTF-16. */
    fun compose(text: String): String {
        if (text.all { it < FIRST_COMBINING }) return text
        return codePointsToString(composeCodePoints(decomposed(text, isCompatible = false)))
    }

    private fun decomposed(text: String, isCompatible: Boolean): IntArray {
        val chars = CharList(text.length + 16)
        var at = 0
        while (at < text.length) {
            val codePoint = text.codePointAt(at)
            appendDecomposed(codePoint, isCompatible, chars)
            at += unitsOf(codePoint)
        }
        val codePoints = IntList(chars.size)
        at = 0
        while (at < chars.size) {
            codePoints.add(codePointAt(chars.items, at, chars.size))
            at += unitsOf(codePoints.items[codePoints.size - 1])
        }
        return codePoints.toArray().also(::reorder)
    }

    /** Sorts each run of characters that are not starters by their class; equal ones stay. */
    private fun reorder(codePoints: IntArray) {
        var at = 0
        while (at < codePoints.size) {
            val begin = at
            while (at < codePoints.size && combiningClass(codePoints[at]) != 0) at++
            if (at - begin > 1) {
                val sorted = codePoints.copyOfRange(begin, at).sortedBy(::combiningClass)
                for (place in sorted.indices) codePoints[begin + place] = sorted[place]
            }
            if (at == begin) at++
        }
    }

    /** Composes canonically decomposed characters (Unicode Standard, section 3.11). */
    private fun composeCodePoints(codePoints: IntArray): IntArray {
        val found = IntList(codePoints.size)
        var starter = -1 // where in `found` the last starter is
        var lastClass = 0 // of the last character that was kept behind it; 0 if there is none
        for (codePoint in codePoints) {
            val combining = combiningClass(codePoint)
            val isNext = starter == found.size - 1
            if (starter >= 0 && (isNext || combining > lastClass)) {
                val both = composition(found.items[starter], codePoint, isNext)
                if (both >= 0) {
                    found.items[starter] = both
                    continue
                }
            }
            if (combining == 0) starter = found.size
            lastClass = combining
            found.add(codePoint)
        }
        return found.toArray()
    }

    private fun composition(first: Int, second: Int, isNext: Boolean): Int {
        val vowel = second - VOWEL
        if (isNext && first - LEADING in 0 until LEADINGS && vowel in 0 until VOWELS) {
            return HANGUL + ((first - LEADING) * VOWELS + vowel) * TRAILINGS
        }
        val trailing = second - TRAILING
        if (isNext && isHangul(first) && (first - HANGUL) % TRAILINGS == 0 &&
            trailing in 1 until TRAILINGS
        ) {
            return first + trailing
        }
        val at = Arrays.binarySearch(pairs, first.toLong() shl 32 or second.toLong())
        return if (at < 0) -1 else composed[at]
    }

    private fun isHangul(codePoint: Int): Boolean =
        codePoint in HANGUL until HANGUL + LEADINGS * VOWELS * TRAILINGS

    private fun codePointsToString(codePoints: IntArray): String =
        String(codePoints, 0, codePoints.size)

    /** The decompositions of some characters. */
    private class Decompositions(reader: TableReader) {
        private val codePoints = IntArray(reader.number())
        private val ends = IntArray(codePoints.size)
        private val units: CharArray

        init {
            val all = CharList(4 * codePoints.size)
            var before = 0
            for (at in codePoints.indices) {
                before += reader.number()
                codePoints[at] = before
                repeat(reader.number()) { all.add(reader.number().toChar()) }
                ends[at] = all.size
            }
            units = all.items.copyOf(all.size)
        }

        /** Appends a character's decomposition; returns whether it has one here. */
        fun append(codePoint: Int, text: CharList): Boolean {
            val at = Arrays.binarySearch(codePoints, codePoint)
            if (at < 0) return false
            for (place in (if (at == 0) 0 else ends[at - 1]) until ends[at]) text.add(units[place])
            return true
        }
    }

    /** Reads the numbers of the table. */
    private class TableReader(private val table: ByteArray) {
        private var at = 0

        fun number(): Int {
            var found = 0
            var shift = 0
            while (table[at] < 0) {
                found = found or (table[at++].toInt() and 127 shl shift)
                shift += 7
            }
            return found or (table[at++].toInt() shl shift)
        }

        fun bytes(size: Int): ByteArray {
            at += size
            return table.copyOfRange(at - size, at)
        }

        fun boundaries(): IntArray {
            var before = 0
            return IntArray(number()) {
                before += number()
                before
            }
        }

        fun ascii(): String = String(bytes(number()), Charsets.US_ASCII)
    }

    companion object {
        // The flags of `unicode_table.py`.
        private const val PRINTABLE = 1
        private const val SPACE = 2
        private const val MARK = 4
        private const val PUNCTUATION = 8
        private const val DIGIT = 16
        private const val CASED = 32
        private const val IGNORABLE = 64
        private const val CHANGES = 128

        private const val BLOCK = 128
        private const val DOTTED_I = 0x130
        private const val SIGMA = 0x3A3
        private const val SMALL_SIGMA = 0x3C3
        private const val FINAL_SIGMA = 0x3C2
        private const val FIRST_DECOMPOSED = '\u00a0'
        private const val FIRST_COMBINING = '\u0300'

        // Hangul (Unicode Standard, section 3.12): the first of each kind, and their numbers.
        private const val HANGUL = 0xAC00
        private const val LEADING = 0x1100
        private const val LEADINGS = 19
        private const val VOWEL = 0x1161
        private const val VOWELS = 21
        private const val TRAILING = 0x11A7
        private const val TRAILINGS = 28
        private const val TABLE = "org/albertedge/unicode.bin"

        /** The table of this library. */
        val instance: Unicode by lazy {
            // By its whole name: R8 may move this class to another package.
            val loader = Unicode::class.java.classLoader ?: ClassLoader.getSystemClassLoader()
            val stream = loader.getResourceAsStream(TABLE)
                ?: throw deviceError(
                    "$TABLE is missing: keep the library's Java resources when you package it.",
                )
            Unicode(stream.use { it.readBytes() })
        }
    }
}
