package org.albertedge.internal

import java.nio.ByteBuffer
import java.nio.charset.CharacterCodingException
import org.albertedge.AlbertEdgeException
import org.albertedge.EarlyExit
import org.json.JSONArray
import org.json.JSONObject

internal const val MANIFEST = "albert_edge.json"
private const val CONFIG = "config.json"
private const val LABELS = "labels.txt"
private const val FORMAT_VERSION = 3 // of host graphs of the target edgetpu, which no phone runs
private const val ALIGNMENT = 64
private const val MAX_QUOTED = 200
private val RESERVED = setOf(MANIFEST, CONFIG, LABELS)
private val LAYOUTS = listOf("loop", "unrolled", "split")
private val DIGEST = Regex("[0-9a-f]{64}")

/** A file's manifest, configuration and tokenizer, checked. */
internal class Contents(
    val task: String,
    val layout: String,
    val quantize: String,
    val target: String,
    val seqLens: IntArray,
    val labels: List<String>,
    val config: JSONObject,
    val shape: Shape,
    val manifest: JSONObject,
    val earlyExit: EarlyExit?,
    val tokenizerFiles: Map<String, ByteArray>,
)

/**
 * Reads what is in an archive, with the checks of `albert_edge.bundle` in Python.
 *
 * @param front the part of the file before the archive.
 * @param where what to call the file in a message.
 */
internal fun readContents(archive: Archive, front: ByteBuffer, where: String): Contents {
    val members = archive.members
    val manifest = parseJson(member(members, MANIFEST, where), "$where is damaged: $MANIFEST")
    checkVersion(manifest, where)
    val (offset, size) = extent(manifest, where)
    val padded = offset + (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT
    if (archive.frontBytes.toLong() != padded) {
        throw fileError("$where is damaged: its model does not have the size in $MANIFEST.")
    }
    checkDigest(manifest, members, front, where)
    val config = parseJson(member(members, CONFIG, where), "$where is damaged: $CONFIG")
    val names =
        manifest.opt("tokenizer_files") as? JSONArray
            ?: throw fileError("$where is damaged: $MANIFEST does not list the tokenizer's files.")
    val tokenizerFiles =
        (0 until names.length()).associate {
            val name = names.get(it).toString()
            checkTokenizerName(name, where)
            name to member(members, name, where)
        }
    val shape = Shape(config, where)
    val task = requiredText(manifest, "task", where)
    if (task !in TASKS) {
        throw fileError(
            "$where: unknown task ${shown(task)}; choose from ${TASKS.keys.joinToString()}."
        )
    }
    val contents =
        Contents(
            task,
            layout = requiredText(manifest, "layout", where),
            quantize = requiredText(manifest, "quantize", where),
            target = if (manifest.has("target")) requiredText(manifest, "target", where) else "cpu",
            seqLens = seqLens(manifest, shape.maxPositions, where),
            labels = shape.labels,
            config = config,
            shape = shape,
            manifest = manifest,
            earlyExit = earlyExit(manifest, where),
            tokenizerFiles = tokenizerFiles,
        )
    checkAgreement(contents, where)
    if (TASKS.getValue(task).hasLabels) checkLabels(members, shape.labels, where)
    return contents
}

private fun member(members: Map<String, ByteArray>, name: String, where: String): ByteArray =
    members[name]
        ?: throw fileError(
            "$where is incomplete: there is no ${printable(name)} in it. Convert the model with " +
                "albert_edge."
        )

private fun checkVersion(manifest: JSONObject, where: String) {
    val version =
        manifest.opt("format_version") as? Int
            ?: throw fileError(
                "$where is damaged: its format version is ${shown(manifest.opt("format_version"))}."
            )
    if (version > FORMAT_VERSION) {
        val writer = printable(manifest.opt("written_by").toString())
        throw fileError(
            "$where was written by albert_edge $writer, format $version; this version reads " +
                "formats up to $FORMAT_VERSION: upgrade the library org.albertedge:albert-edge " +
                "in this app."
        )
    }
}

private fun extent(manifest: JSONObject, where: String): Pair<Long, Long> {
    val model = manifest.opt("model") as? JSONObject
    val offset = model?.opt("offset")
    val size = model?.opt("size_bytes")
    if (offset is Int && size is Int && offset > 0 && size > 0) {
        return Pair(offset.toLong(), size.toLong())
    }
    throw fileError("$where is damaged: $MANIFEST does not state offset and size of the model.")
}

private fun checkDigest(
    manifest: JSONObject,
    members: Map<String, ByteArray>,
    front: ByteBuffer,
    where: String,
) {
    val model = manifest.getJSONObject("model")
    if (!model.has("sha256")) {
        val writer = printable(manifest.opt("written_by").toString())
        throw fileError(
            "$where was written by albert_edge $writer without a digest, so it cannot be checked " +
                "here. Convert the checkpoint again: albert-edge convert CHECKPOINT --target " +
                "android."
        )
    }
    val stored = model.get("sha256").toString()
    if (!DIGEST.matches(stored) || digest(front, members, MANIFEST, stored) != stored) {
        throw fileError(
            "$where is damaged: it is not as it was written (its SHA-256 differs). Copy or " +
                "convert it again."
        )
    }
}

private fun checkTokenizerName(name: String, where: String) {
    val parts = setOf('/', '\\')
    val isReserved = name in RESERVED || name == ".." || name == "."
    if (name.isEmpty() || isReserved || name.any { it in parts }) {
        throw fileError("$where: a tokenizer file cannot be called '${printable(name)}'.")
    }
}

private fun requiredText(manifest: JSONObject, key: String, where: String): String {
    if (!manifest.has(key)) throw fileError("$where is incomplete: $MANIFEST has no '$key'.")
    val value = manifest.get(key)
    val isEmpty = value == "" && key != "target"
    if (value !is String || isEmpty || printable(value) != value) {
        throw fileError("$where: $key must be a name, not ${shown(value)}.")
    }
    return value
}

private fun seqLens(manifest: JSONObject, most: Int, where: String): IntArray {
    if (!manifest.has("seq_len")) {
        throw fileError("$where is incomplete: $MANIFEST has no 'seq_len'.")
    }
    val longest = manifest.get("seq_len")
    if (longest != JSONObject.NULL && (longest !is Int || longest !in 1..most)) {
        throw fileError("$where: seq_len must be None or in [1, $most], not ${shown(longest)}.")
    }
    val only = if (longest is Int) intArrayOf(longest) else IntArray(0)
    val several = manifest.opt("seq_lens") as? JSONArray ?: return only // not in files of 0.1
    if (several.length() < 2) return only
    val lengths = (0 until several.length()).map { several.get(it) }.filterIsInstance<Int>()
    val ascends =
        lengths.size == several.length() &&
            lengths.zipWithNext().all { (one, next) -> one < next } &&
            lengths.first() >= 1 &&
            lengths.last() == longest
    if (!ascends) {
        throw fileError(
            "$where: seq_lens must ascend to seq_len ${shown(longest)}, not be ${shown(several)}."
        )
    }
    return lengths.toIntArray()
}

private fun earlyExit(manifest: JSONObject, where: String): EarlyExit? {
    val stored = manifest.opt("early_exit") ?: return null
    if (stored == JSONObject.NULL) return null
    val patience = (stored as? JSONObject)?.opt("patience")
    val threshold = (stored as? JSONObject)?.opt("threshold")
    val most = (stored as? JSONObject)?.opt("max_layers")
    val noLimit = most == null || most == JSONObject.NULL
    if (patience !is Int || threshold !is Number || !(noLimit || most is Int)) {
        throw fileError("$where: early_exit cannot be ${shown(stored)}.")
    }
    try {
        return EarlyExit(patience, threshold.toFloat(), if (noLimit) null else most as Int)
    } catch (error: AlbertEdgeException) {
        throw fileError("$where: ${error.message}", error)
    }
}

private fun checkAgreement(contents: Contents, where: String) {
    val layout = contents.layout
    if (layout !in LAYOUTS) {
        throw fileError(
            "$where: unknown layout ${shown(layout)}; choose from ${LAYOUTS.joinToString()}."
        )
    }
    if (contents.seqLens.size > 1 && layout != "unrolled") {
        throw fileError(
            "$where: layout $layout has one length, not ${shown(contents.seqLens.toList())}."
        )
    }
    val exits = contents.shape.earlyExit
    if ((contents.earlyExit != null) != (exits && layout != "unrolled")) {
        throw fileError(
            "$where: in layout $layout with early_exit ${shown(exits)} in the configuration, " +
                "early_exit cannot be ${shown(contents.manifest.opt("early_exit"))}."
        )
    }
}

private fun checkLabels(members: Map<String, ByteArray>, labels: List<String>, where: String) {
    val content = member(members, LABELS, where)
    val expected = labels.map(::printable).joinToString("") { "$it\n" }
    val found =
        try {
            decodeUtf8(content)
        } catch (error: CharacterCodingException) {
            String(content, Charsets.UTF_8)
        }
    if (found != expected && found != labels.joinToString("") { "$it\n" }) {
        val quoted = printable(found.take(MAX_QUOTED))
        throw fileError(
            "$where contradicts itself: $LABELS says b'$quoted', $CONFIG says " +
                "${labels.joinToString(transform = ::printable).take(MAX_QUOTED)}."
        )
    }
}
