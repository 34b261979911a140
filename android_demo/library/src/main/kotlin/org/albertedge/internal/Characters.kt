package org.albertedge.internal

/*
 * The properties of characters by which texts are divided, beside those in [Unicode], as Python's
 * `str` defines them: those of java.lang.Character and of regular expressions differ from it, and
 * from one Android to another.
 */

/** Returns whether a code unit is white space: `str.isspace`.  All white space is in the BMP. */
internal fun isSpace(char: Char): Boolean = Unicode.instance.isSpace(char.code)

/** Returns the end of the text in `[start, end)` without the white space at its end. */
internal fun trimmedEnd(text: CharSequence, start: Int, end: Int): Int {
    var stop = end
    while (stop > start && isSpace(text[stop - 1])) stop--
    return stop
}

/** Returns the start of the text in `[start, end)` without the white space at its start. */
internal fun trimmedStart(text: CharSequence, start: Int, end: Int): Int {
    var begin = start
    while (begin < end && isSpace(text[begin])) begin++
    return begin
}

/** Returns whether a code point is a digit of a decimal system: category Nd. */
internal fun isDecimal(codePoint: Int): Boolean =
    Unicode.instance.isDigit(codePoint) && !isInRanges(codePoint, OTHER_DIGITS)

/** Returns whether a code point is in one of [ranges]: first, last, first, last, ..., ascending. */
internal fun isInRanges(codePoint: Int, ranges: IntArray): Boolean {
    var low = 0
    var high = ranges.size / 2
    while (low < high) {
        val middle = (low + high) / 2
        if (codePoint > ranges[2 * middle + 1]) low = middle + 1 else high = middle
    }
    return 2 * low < ranges.size && codePoint >= ranges[2 * low]
}

// What has the numeric type Digit, but is not decimal.
private val OTHER_DIGITS =
    intArrayOf(
        0xb2, 0xb3, 0xb9, 0xb9, 0x1369, 0x1371, 0x19da, 0x19da, 0x2070, 0x2070, 0x2074, 0x2079,
        0x2080, 0x2089, 0x2460, 0x2468, 0x2474, 0x247c, 0x2488, 0x2490, 0x24ea, 0x24ea,
        0x24f5, 0x24fd, 0x24ff, 0x24ff, 0x2776, 0x277e, 0x2780, 0x2788, 0x278a, 0x2792,
        0x10a40, 0x10a43, 0x10e60, 0x10e68, 0x11052, 0x1105a, 0x1f100, 0x1f10a,
    )
