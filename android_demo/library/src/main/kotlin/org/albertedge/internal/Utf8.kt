package org.albertedge.internal

/** What is encoded is damaged; whoever knows the file's name makes a file error of it. */
internal class DamagedException(message: String) : Exception(message)

/**
 * Decodes UTF-8 strictly, but for a byte order mark at its beginning, which is left out.
 *
 * @throws DamagedException it is not UTF-8.
 */
internal fun textOfUtf8(bytes: ByteArray): String {
    val mark = bytes.size >= 3 && bytes[0] == 0xEF.toByte() && bytes[1] == 0xBB.toByte() &&
        bytes[2] == 0xBF.toByte()
    val text = CharList(bytes.size)
    val bad = appendUtf8(bytes, if (mark) 3 else 0, bytes.size, text)
    if (bad >= 0) throw DamagedException("byte $bad is not UTF-8 text")
    return text.toString()
}

/** Appends the decoded `bytes[start, end)` to [text]; returns the first bad byte, or -1. */
internal fun appendUtf8(bytes: ByteArray, start: Int, end: Int, text: CharList): Int {
    val units = text.reserve(end - start)
    var at = start
    while (at < end) {
        val lead = bytes[at].toInt()
        if (lead >= 0) {
            units[text.size++] = lead.toChar()
            at++
            continue
        }
        val length = when {
            lead and 0xE0 == 0xC0 -> 2
            lead and 0xF0 == 0xE0 -> 3
            lead and 0xF8 == 0xF0 -> 4
            else -> return at
        }
        if (at + length > end) return at
        var codePoint = lead and (0x7F shr length)
        for (next in at + 1 until at + length) {
            if (bytes[next].toInt() and 0xC0 != 0x80) return at
            codePoint = codePoint shl 6 or (bytes[next].toInt() and 0x3F)
        }
        if (codePoint < LEAST[length] || codePoint > 0x10FFFF || codePoint in 0xD800..0xDFFF) {
            return at
        }
        text.addCodePoint(codePoint)
        at += length
    }
    return -1
}

/** The least code point of each length in UTF-8; a smaller one has a shorter form. */
private val LEAST = intArrayOf(0, 0, 0x80, 0x800, 0x10000)
