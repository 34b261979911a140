package org.albertedge.internal

import org.albertedge.Tokens

/** A growing list of integers, without boxes. */
internal class IntList(capacity: Int) {
    var items = IntArray(maxOf(capacity, 16))
        private set
    var size = 0
        private set

    fun add(item: Int) {
        if (size == items.size) items = items.copyOf(2 * size)
        items[size++] = item
    }

    fun dropLast() {
        size--
    }

    fun dropTo(count: Int) {
        size = count
    }

    fun clear() {
        size = 0
    }

    fun toArray(): IntArray = items.copyOf(size)
}

/** A growing list of UTF-16 code units. */
internal class CharList(capacity: Int) {
    var items = CharArray(maxOf(capacity, 16))
        private set
    var size = 0

    fun add(item: Char) {
        if (size == items.size) items = items.copyOf(2 * size)
        items[size++] = item
    }

    /** Makes room for so many units more, which whoever fills them counts in [size]. */
    fun reserve(count: Int): CharArray {
        if (size + count > items.size) items = items.copyOf(maxOf(size + count, 2 * items.size))
        return items
    }

    fun addCodePoint(codePoint: Int) {
        if (codePoint < 0x10000) {
            add(codePoint.toChar())
        } else {
            add(((codePoint shr 10) + 0xD7C0).toChar())
            add((codePoint and 0x3FF or 0xDC00).toChar())
        }
    }

    fun dropLast() {
        size--
    }

    fun clear() {
        size = 0
    }

    override fun toString(): String = String(items, 0, size)
}

/** A growing list of tokens. */
internal class TokenList(capacity: Int) {
    private val ids = IntList(capacity)
    private val starts = IntList(capacity)
    private val ends = IntList(capacity)
    val size: Int
        get() = ids.size

    /** Drops all tokens but the first [count]. */
    fun dropTo(count: Int) {
        ids.dropTo(count)
        starts.dropTo(count)
        ends.dropTo(count)
    }

    fun add(id: Int, start: Int, end: Int) {
        ids.add(id)
        starts.add(start)
        ends.add(end)
    }

    fun toTokens(): Tokens = Tokens(ids.toArray(), starts.toArray(), ends.toArray())
}

/** Returns the code point that begins at [at] in valid UTF-16 of [size] units. */
internal fun codePointAt(chars: CharArray, at: Int, size: Int): Int {
    val unit = chars[at]
    return if (unit.isHighSurrogate() && at + 1 < size) {
        (unit.code shl 10) + chars[at + 1].code - 0x35FDC00
    } else {
        unit.code
    }
}

/** The number of UTF-16 code units of a code point. */
internal fun unitsOf(codePoint: Int): Int = if (codePoint < 0x10000) 1 else 2
