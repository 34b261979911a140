package org.albertedge.internal

import org.albertedge.AlbertEdgeException
import org.albertedge.AlbertEdgeException.Kind
import org.json.JSONArray
import org.json.JSONObject

internal fun fileError(message: String, cause: Throwable? = null) =
    AlbertEdgeException(Kind.FILE, message, cause)

internal fun inputError(message: String, cause: Throwable? = null) =
    AlbertEdgeException(Kind.INPUT, message, cause)

internal fun deviceError(message: String, cause: Throwable? = null) =
    AlbertEdgeException(Kind.DEVICE, message, cause)

/** A message of another program: on one line, without its full stop. */
internal fun Throwable.line(): String =
    (message ?: toString()).split(WHITE_SPACE).filter(String::isNotEmpty).joinToString(" ")
        .removeSuffix(".")

private val WHITE_SPACE = Regex("\\s+")

/**
 * Escapes what a screen or a terminal would obey instead of show: control characters, line ends.
 */
internal fun printable(text: String): String = buildString {
    for (character in text) {
        when (character) {
            '\n' -> append("\\n")
            '\r' -> append("\\r")
            '\t' -> append("\\t")
            in '\u0000'..'\u001f', in '\u007f'..'\u009f' -> append(escape("\\x", 2, character))
            in '\u2028'..'\u202e', in '\u2066'..'\u2069' -> append(escape("\\u", 4, character))
            else -> append(character)
        }
    }
}

private fun escape(prefix: String, digits: Int, character: Char): String =
    prefix + character.code.toString(16).padStart(digits, '0')

/** A value of a JSON document as Python writes it, for messages that are the same there. */
internal fun shown(value: Any?): String =
    when (value) {
        null,
        JSONObject.NULL -> "None"
        is Boolean -> if (value) "True" else "False"
        is String -> "'${printable(value)}'"
        is List<*> -> value.joinToString(prefix = "[", postfix = "]", transform = ::shown)
        is JSONArray -> shown(List(value.length()) { value.get(it) })
        is JSONObject -> {
            val entries = value.keys().asSequence().map { "${shown(it)}: ${shown(value.get(it))}" }
            entries.joinToString(prefix = "{", postfix = "}")
        }
        else -> value.toString()
    }

/** Bytes likewise. */
internal fun shown(bytes: ByteArray): String =
    bytes.joinToString("", prefix = "b'", postfix = "'") {
        when (val code = it.toInt() and 0xff) {
            '\''.code,
            '\\'.code -> "\\${code.toChar()}"
            in ' '.code..'~'.code -> code.toChar().toString()
            else -> printable(code.toChar().toString()).takeIf { text -> text.length > 1 }
                ?: escape("\\x", 2, code.toChar())
        }
    }
