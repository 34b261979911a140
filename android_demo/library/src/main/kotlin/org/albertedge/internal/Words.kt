package org.albertedge.internal

/**
 * A word of a text.
 *
 * @property start its start, in UTF-16 code units of the text.
 * @property end its end.
 * @property tokens the indices of its tokens; at least one, consecutive.
 */
internal class AlignedWord(val start: Int, val end: Int, val tokens: List<Int>)

/** An entity: its type, its first word and the one behind its last. */
internal data class EntityWords(val type: String, val first: Int, val stop: Int)

/**
 * Groups tokens into words.
 *
 * A word ends at white space and at punctuation, which is a word of its own.  An apostrophe or a
 * hyphen between two letters, and a full stop or a comma between two digits, are part of their
 * word. In scripts without spaces between words (ideographs, kana, Thai, Lao, Khmer, ...) every
 * token is a word.  A zero-width token, which only marks the beginning of a word, belongs to that
 * word.
 *
 * @param starts the starts of the text's tokens, which do not decrease, in UTF-16 code units.
 * @param ends their ends.
 * @return the words, in order; they do not overlap.
 */
internal fun alignWords(text: String, starts: IntArray, ends: IntArray): List<AlignedWord> {
    val words = ArrayList<AlignedWord>()
    var zeroWidth = ArrayList<Int>()
    for (index in starts.indices) {
        val start = starts[index]
        val end = ends[index]
        if (start == end) {
            zeroWidth.add(index)
            continue
        }
        val last = words.lastOrNull()
        val isNew =
            last == null ||
                (start >= last.end && (zeroWidth.isNotEmpty() || isBoundary(text, last.end, start)))
        if (isNew || last == null) {
            words.add(AlignedWord(start, end, zeroWidth + index))
        } else {
            val tokens = last.tokens + zeroWidth + index
            words[words.lastIndex] = AlignedWord(last.start, maxOf(end, last.end), tokens)
        }
        zeroWidth = ArrayList()
    }
    return words
}

/**
 * Finds the entities in the labels of consecutive words.
 *
 * A word continues the entity before it if its label is of the same type and is not marked as a
 * beginning (`B-`), and the label before is not marked as an end (`E-`).  `O` is of no type, and
 * `B`, `I`, `E` and `S` alone are of one type, `_`.
 */
internal fun bioToEntities(labels: List<String>): List<EntityWords> {
    val entities = ArrayList<EntityWords>()
    for ((index, label) in labels.withIndex()) {
        val tag = BioTag.parse(label)
        val type = tag.type ?: continue
        val begins = tag.begins || (index > 0 && BioTag.parse(labels[index - 1]).ends)
        val last = entities.lastOrNull()
        if (last != null && !begins && last.type == type && last.stop == index) {
            entities[entities.lastIndex] = last.copy(stop = index + 1)
        } else {
            entities.add(EntityWords(type, index, index + 1))
        }
    }
    return entities
}

/** A label of the schemes IOB, IOBES, BILOU or BMES, where M is I, L is E, and U and W are S. */
private class BioTag(val type: String?, val begins: Boolean, val ends: Boolean) {
    companion object {
        private const val NAMELESS = "_" // the type of tags without one, as seqeval calls it

        fun parse(label: String): BioTag {
            if (label == "O") return BioTag(null, begins = false, ends = false)
            val marked = label.isNotEmpty() && label[0] in "BIESLUMW"
            val isTag = marked && (label.length == 1 || label[1] == '-')
            if (!isTag) return BioTag(label, begins = false, ends = false)
            val name = if (label.length > 2) label.substring(2) else NAMELESS
            return BioTag(name, begins = label[0] in "BSUW", ends = label[0] in "ELSUW")
        }
    }
}

/** Returns whether a word ends between a token that ends at [end] and the next, at [start]. */
private fun isBoundary(text: String, end: Int, start: Int): Boolean {
    for (index in end until start) if (isSpace(text[index])) return true
    val left = text.codePointBefore(start)
    val right = text.codePointAt(start)
    if (isWordLetter(left) && isWordLetter(right)) return false
    val before: Int
    val mark: Int
    val after: Int
    if (isWordLetter(right)) {
        before = codePointBefore(text, start - Character.charCount(left))
        mark = left
        after = right
    } else {
        before = left
        mark = right
        after = codePointAt(text, start + Character.charCount(right))
    }
    if (mark == '\''.code || mark == '’'.code || mark == '-'.code) {
        return !(isWordLetter(before) && isWordLetter(after))
    }
    val isPoint = mark == '.'.code || mark == ','.code
    return !(isPoint && isDigit(before) && isDigit(after))
}

private const val NONE = -1

private fun codePointBefore(text: String, at: Int): Int =
    if (at > 0) text.codePointBefore(at) else NONE

private fun codePointAt(text: String, at: Int): Int =
    if (at < text.length) text.codePointAt(at) else NONE

/** Returns whether it is a letter, digit or mark of a script with spaces between words. */
private fun isWordLetter(codePoint: Int): Boolean =
    codePoint != NONE &&
        !isInRanges(codePoint, SPACELESS) &&
        Unicode.instance.isWordCharacter(codePoint)

private fun isDigit(codePoint: Int): Boolean =
    codePoint != NONE && Unicode.instance.isDigit(codePoint)

// The scripts that are written without spaces between words: those of line-breaking class SA
// (Unicode, UAX #14), ideographs, kana and bopomofo with their marks, Yi, and Tibetan.
private val SPACELESS =
    intArrayOf(
        0xe00, 0x109f, 0x1780, 0x17ff, 0x1950, 0x19ff, 0x1a20, 0x1aaf, 0x2e80, 0x2fdf,
        0x3005, 0x3007, 0x3021, 0x3029, 0x3031, 0x3035, 0x3038, 0x303b, 0x3040, 0x312f,
        0x31a0, 0x31ff, 0x3400, 0x4dbf, 0x4e00, 0xa4cf, 0xa9e0, 0xa9ff, 0xaa60, 0xaadf,
        0xf900, 0xfaff, 0xff66, 0xff9f, 0x11700, 0x1174f, 0x16fe0, 0x18cff, 0x1aff0, 0x1b2ff,
        0x20000, 0x3ffff,
    )
