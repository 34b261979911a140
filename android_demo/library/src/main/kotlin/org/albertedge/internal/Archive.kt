package org.albertedge.internal

import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.charset.CharacterCodingException
import java.security.MessageDigest
import java.util.zip.CRC32

/**
 * The uncompressed zip archive behind a model, read as strictly as it is written.
 *
 * TFLite Metadata's own reader, `MetadataExtractor`, adds 600 kB to an app and checks less: no CRC,
 * no name that occurs twice, no size, no digest; on a damaged file it throws whatever its
 * flatbuffer reader does. What it reads of our files is the same, which a test holds.
 *
 * @property members the files in the archive by name, in the order of their UTF-8 bytes.
 * @property frontBytes how many bytes stand before the archive: the model and its TFLite Metadata.
 */
internal class Archive(val members: Map<String, ByteArray>, val frontBytes: Int)

/** 64 MiB, as in Python: what an archive may hold. */
private const val MAX_ARCHIVE_BYTES = 1L shl 26
/** Contains everything that the writer puts before the model. */
private const val HEAD_BYTES = 1 shl 16

private const val END_SIGNATURE = 0x06054b50
private const val ENTRY_SIGNATURE = 0x02014b50
private const val LOCAL_SIGNATURE = 0x04034b50
private const val END_BYTES = 22
private const val ENTRY_BYTES = 46
private const val LOCAL_BYTES = 30
private const val UTF8_NAMES = 0x800

/** An entry of the central directory: its name as stored, and where its bytes are. */
private class Entry(
    val name: String,
    val rawName: ByteArray,
    val crc: Int,
    val size: Int,
    val at: Int,
)

/**
 * Reads the archive of a whole file.
 *
 * @param content the file.
 * @param where what to call it in a message.
 */
internal fun readArchive(content: ByteBuffer, where: String): Archive {
    val data = content.duplicate().order(ByteOrder.LITTLE_ENDIAN)
    checkHead(data, where)
    try {
        return readMembers(data, where)
    } catch (error: IndexOutOfBoundsException) {
        throw fileError("$where is damaged: its archive points beyond the file.", error)
    } catch (error: CharacterCodingException) {
        throw fileError("$where is damaged: a name in its archive is not UTF-8.", error)
    }
}

private fun checkHead(data: ByteBuffer, where: String) {
    val size = data.limit()
    val begins = ByteArray(minOf(8, size)) { data.get(it) }
    if (size < 8 || String(begins, 4, 4, Charsets.ISO_8859_1) != "TFL3") {
        throw fileError("$where is not a .tflite file: it begins with ${shown(begins)}.")
    }
    val zipped = size >= END_BYTES && data.getInt(size - END_BYTES) == END_SIGNATURE
    if (zipped) return
    val head = ByteArray(minOf(HEAD_BYTES, size)) { data.get(it) }
    if ("TFLITE_METADATA" in String(head, Charsets.ISO_8859_1)) {
        throw fileError("$where is cut short: the files behind its model are missing.")
    }
    throw fileError(
        "$where has no configuration in it (no TFLite Metadata archive): it is cut short or was " +
            "not made by albert_edge. Convert the checkpoint with albert_edge."
    )
}

private fun readMembers(data: ByteBuffer, where: String): Archive {
    val end = data.limit() - END_BYTES
    val count = data.unsigned16(end + 10)
    val directory = data.getInt(end + 16)
    val whole =
        data.getInt(end + 4) == 0 && // of one disk
            data.unsigned16(end + 8) == count &&
            data.unsigned16(end + 20) == 0 && // no comment
            directory in 0..end &&
            directory.toLong() + data.getInt(end + 12) == end.toLong()
    if (!whole) throw fileError("$where is damaged: the directory of its archive is.")
    val entries = ArrayList<Entry>()
    var at = directory
    repeat(count) {
        val entry = readEntry(data, at, where)
        entries += entry
        at += ENTRY_BYTES + entry.rawName.size
    }
    if (at != end) throw fileError("$where is damaged: the directory of its archive is.")
    checkMembers(entries, where)
    var next = entries.firstOrNull()?.at ?: directory
    val front = next
    val members = LinkedHashMap<String, ByteArray>()
    for (entry in entries) { // one behind the other, as they are written
        if (entry.at != next) throw fileError("$where is damaged: its archive has a gap.")
        members[entry.name] = readMember(data, entry, where)
        next += LOCAL_BYTES + entry.rawName.size + entry.size
    }
    if (next != directory) throw fileError("$where is damaged: its archive has a gap.")
    return Archive(sorted(members), front)
}

private fun readEntry(data: ByteBuffer, at: Int, where: String): Entry {
    val nameBytes = data.unsigned16(at + 28)
    val size = data.getInt(at + 24)
    val rawName = data.bytes(at + ENTRY_BYTES, nameBytes)
    val plain =
        data.getInt(at) == ENTRY_SIGNATURE &&
            data.unsigned16(at + 8) and UTF8_NAMES.inv() == 0 && // not encrypted
            data.unsigned16(at + 30) == 0 && // no extra fields
            data.unsigned16(at + 32) == 0 && // no comment
            data.unsigned16(at + 34) == 0
    if (!plain) throw fileError("$where is damaged: the directory of its archive is.")
    val name = decodeUtf8(rawName)
    if (data.unsigned16(at + 10) != 0 || data.getInt(at + 20) != size || size < 0) {
        throw fileError(
            "$where: ${printable(name)} is compressed; TFLite Metadata files are stored plain."
        )
    }
    return Entry(name, rawName, data.getInt(at + 16), size, data.getInt(at + 42))
}

private fun checkMembers(entries: List<Entry>, where: String) {
    val twice = entries.groupBy { it.name }.filterValues { it.size > 1 }.keys.sorted()
    if (twice.isNotEmpty()) {
        val names = twice.joinToString(transform = ::printable)
        throw fileError("$where is damaged: it holds $names twice.")
    }
    val total = entries.fold(0L) { sum, entry -> sum + entry.size }
    if (total > MAX_ARCHIVE_BYTES) {
        throw fileError("$where holds $total bytes of files; at most $MAX_ARCHIVE_BYTES are read.")
    }
}

private fun readMember(data: ByteBuffer, entry: Entry, where: String): ByteArray {
    val at = entry.at
    val same =
        data.getInt(at) == LOCAL_SIGNATURE &&
            data.unsigned16(at + 6) and UTF8_NAMES.inv() == 0 &&
            data.unsigned16(at + 8) == 0 &&
            data.getInt(at + 14) == entry.crc &&
            data.getInt(at + 18) == entry.size &&
            data.getInt(at + 22) == entry.size &&
            data.unsigned16(at + 26) == entry.rawName.size &&
            data.unsigned16(at + 28) == 0 &&
            data.bytes(at + LOCAL_BYTES, entry.rawName.size).contentEquals(entry.rawName)
    if (!same) {
        throw fileError(
            "$where is damaged: its archive contradicts itself on ${printable(entry.name)}."
        )
    }
    val content = data.bytes(at + LOCAL_BYTES + entry.rawName.size, entry.size)
    val crc = CRC32().apply { update(content) }
    if (crc.value.toInt() != entry.crc) {
        throw fileError("$where is damaged: Bad CRC-32 for file '${printable(entry.name)}'.")
    }
    return content
}

/** In the order of Python's strings, by code points, which is that of UTF-8 bytes. */
private fun sorted(members: Map<String, ByteArray>): Map<String, ByteArray> {
    val order = Comparator<String> { one, other ->
        val (a, b) = one.toByteArray() to other.toByteArray()
        val differs = (0 until minOf(a.size, b.size)).firstOrNull { a[it] != b[it] }
        if (differs == null) a.size - b.size
        else (a[differs].toInt() and 0xff) - (b[differs].toInt() and 0xff)
    }
    return members.toSortedMap(order)
}

/**
 * Returns the SHA-256 of a model and its archive as the writer computes it: zeros stand for the
 * manifest's own digest.
 *
 * @param front the part before the archive.
 * @param members the files in the archive, sorted.
 * @param manifest the name of the manifest.
 * @param stored the digest in the manifest.
 */
internal fun digest(
    front: ByteBuffer,
    members: Map<String, ByteArray>,
    manifest: String,
    stored: String,
): String {
    val sha256 = MessageDigest.getInstance("SHA-256")
    sha256.update(front.duplicate())
    for ((name, content) in members) {
        val hashed = if (name == manifest) unseal(content, stored) else content
        sha256.update("$name\u0000${hashed.size}\u0000".toByteArray())
        sha256.update(hashed)
    }
    return sha256.digest().joinToString("") {
        (it.toInt() and 0xff).toString(16).padStart(2, '0')
    }
}

private fun unseal(manifest: ByteArray, stored: String): ByteArray {
    val text = String(manifest, Charsets.ISO_8859_1)
    return text.replaceFirst(stored, "0".repeat(stored.length)).toByteArray(Charsets.ISO_8859_1)
}

private fun ByteBuffer.unsigned16(at: Int): Int = getShort(at).toInt() and 0xffff

private fun ByteBuffer.bytes(at: Int, size: Int): ByteArray {
    if (at < 0 || size < 0 || size > limit() - at) throw IndexOutOfBoundsException()
    val copy = ByteArray(size)
    part(at, at + size).get(copy)
    return copy
}

/**
 * Returns the bytes in [begin, end), as a buffer of their own over the same memory, in native
 * order.
 */
internal fun ByteBuffer.part(begin: Int, end: Int): ByteBuffer {
    val view = duplicate()
    view.moveTo(begin, end)
    return view.slice().order(ByteOrder.nativeOrder())
}

/** Sets position and limit by the functions that Android 6 has: a ByteBuffer's own are newer. */
internal fun Buffer.moveTo(position: Int, limit: Int = limit()) {
    limit(limit)
    position(position)
}
