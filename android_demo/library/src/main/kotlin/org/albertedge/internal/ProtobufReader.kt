package org.albertedge.internal

/**
 * Reads the fields of a protocol buffer message, in the order of the file.
 *
 * After [next], [number] is the field's number in the schema; [value] a whole number, or the bits
 * of a number of 4 or 8 bytes; [start] and [end] are where the bytes of a string or a message are.
 */
internal class ProtobufReader(val bytes: ByteArray, private var at: Int, private val stop: Int) {
    var number = 0
        private set
    var value = 0L
        private set
    var start = 0
        private set
    var end = 0
        private set
    private var wireType = 0

    val isVarint: Boolean
        get() = wireType == 0
    val isFixed32: Boolean
        get() = wireType == 5
    val isBytes: Boolean
        get() = wireType == 2

    /**
     * Goes to the next field, if there is one.
     *
     * @throws DamagedException the bytes are not a message.
     */
    fun next(): Boolean {
        if (at == stop) return false
        val tag = varint()
        number = (tag ushr 3).toInt()
        wireType = (tag and 7).toInt()
        if (number == 0 || tag ushr 32 != 0L) throw DamagedException("a field has no number")
        when (wireType) {
            0 -> value = varint()
            1 -> value = fixed(8)
            5 -> value = fixed(4)
            2 -> {
                val length = varint()
                if (length < 0 || length > stop - at) throw DamagedException("a field is cut short")
                start = at
                end = at + length.toInt()
                at = end
            }
            else -> throw DamagedException("there is no valid field at byte $at")
        }
        return true
    }

    /** Returns a reader of the message in this field. */
    fun message(): ProtobufReader = ProtobufReader(bytes, start, end)

    private fun varint(): Long {
        var found = 0L
        for (shift in 0 until 70 step 7) {
            if (at == stop) break
            val byte = bytes[at++].toLong()
            found = found or ((byte and 127) shl shift)
            if (byte >= 0) return found
        }
        throw DamagedException("a number is cut short")
    }

    private fun fixed(size: Int): Long {
        if (size > stop - at) throw DamagedException("a field is cut short")
        var found = 0L
        for (index in 0 until size) found = found or ((bytes[at++].toLong() and 255) shl 8 * index)
        return found
    }
}
