package org.albertedge.internal

/**
 * A trie over UTF-16 code units, in which texts have values of at least 0.
 *
 * Its edges are in one hash table with open addressing, so that a text is found with one look at
 * memory a unit, and 30,000 pieces are added in milliseconds.
 *
 * @param units about how many units all texts have.
 */
internal class Trie(units: Int) {
    // An edge: its node (24 bits), its unit (16 bits), and the node behind it (24 bits), never 0.
    private var edges = LongArray(maxOf(64, Integer.highestOneBit(units + 1) * 4))
    private var values = IntArray(maxOf(16, units / 4)) { NONE }
    private var nodes = 1

    /**
     * Gives a value to `chars[start, end)`; returns the one that it had, or [NONE].
     *
     * @throws DamagedException the texts are too many.
     */
    fun put(chars: CharArray, start: Int, end: Int, value: Int): Int {
        reserve(end - start)
        val edges = edges
        var node = ROOT
        for (at in start until end) {
            val key = key(node, chars[at])
            var slot = slot(key)
            while (edges[slot] != 0L && edges[slot] ushr NODE_BITS != key) {
                slot = slot + 1 and edges.size - 1
            }
            if (edges[slot] == 0L) edges[slot] = key shl NODE_BITS or nodes++.toLong()
            node = (edges[slot] and NODE_MASK).toInt()
        }
        return values[node].also { values[node] = value }
    }

    /** Returns the node behind [node] by [unit], or [NONE]. */
    fun next(node: Int, unit: Char): Int {
        val key = key(node, unit)
        var slot = slot(key)
        while (true) {
            val edge = edges[slot]
            if (edge == 0L) return NONE
            if (edge ushr NODE_BITS == key) return (edge and NODE_MASK).toInt()
            slot = slot + 1 and edges.size - 1
        }
    }

    /** Returns the value of the text that leads to [node], or [NONE]. */
    fun value(node: Int): Int = values[node]

    /** Returns the node to which `chars[start, end)` leads, or [NONE]. */
    fun find(chars: CharArray, start: Int, end: Int): Int {
        var node = ROOT
        for (at in start until end) {
            node = next(node, chars[at])
            if (node == NONE) return NONE
        }
        return node
    }

    /** Returns the value of a text, or [NONE]. */
    operator fun get(text: String): Int {
        val node = find(text.toCharArray(), 0, text.length)
        return if (node == NONE) NONE else values[node]
    }

    /** Makes room for so many nodes more; at least half of the edges stay empty. */
    private fun reserve(count: Int) {
        val most = nodes + count
        if (most > NODE_MASK) throw DamagedException("it has too many pieces")
        if (most > values.size) {
            val size = values.size
            values = values.copyOf(maxOf(most, 2 * size))
            values.fill(NONE, size)
        }
        if (2 * most <= edges.size) return
        val old = edges
        edges = LongArray(Integer.highestOneBit(most) * 4)
        for (edge in old) {
            if (edge == 0L) continue
            var slot = slot(edge ushr NODE_BITS)
            while (edges[slot] != 0L) slot = slot + 1 and edges.size - 1
            edges[slot] = edge
        }
    }

    private fun key(node: Int, unit: Char): Long = node.toLong() shl 16 or unit.code.toLong()

    private fun slot(key: Long): Int = (key * HASH ushr 36).toInt() and edges.size - 1

    companion object {
        const val ROOT = 0
        const val NONE = -1
        private const val NODE_BITS = 24
        private const val NODE_MASK = (1L shl NODE_BITS) - 1
        private const val HASH = -0x61c8864680b583ebL // 2^64 divided by the golden ratio
    }
}
