package org.albertedge.internal

import android.util.JsonReader
import android.util.JsonToken
import java.io.IOException
import java.io.StringReader
import java.nio.ByteBuffer
import java.nio.charset.CharacterCodingException
import org.json.JSONArray
import org.json.JSONException
import org.json.JSONObject

private const val MAX_DEPTH = 100

/**
 * Parses a JSON object as strictly as Python does; `JSONObject` itself takes comments, unquoted
 * strings and keys that occur twice.
 *
 * @param where what to call the document in a message.
 */
internal fun parseJson(content: ByteArray, where: String): JSONObject {
    try {
        val text = decodeUtf8(content)
        val reader = JsonReader(StringReader(text))
        if (reader.peek() != JsonToken.BEGIN_OBJECT) {
            throw fileError("$where: expected a JSON object, got ${pythonType(reader)}.")
        }
        val values = readObject(reader, depth = 0)
        if (reader.peek() != JsonToken.END_DOCUMENT) throw IOException("more follows its end")
        return values
    } catch (error: IOException) {
        throw fileError("$where is not JSON: ${error.line()}.", error)
    } catch (error: IllegalStateException) { // of JsonReader
        throw fileError("$where is not JSON: ${error.line()}.", error)
    } catch (error: NumberFormatException) {
        throw fileError("$where is not JSON: ${error.line()}.", error)
    } catch (error: JSONException) { // of a number beyond a Double
        throw fileError("$where is not JSON: ${error.line()}.", error)
    }
}

/** Decodes UTF-8; throws a [CharacterCodingException] where it is none. */
internal fun decodeUtf8(content: ByteArray): String =
    Charsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(content)).toString()

private fun pythonType(reader: JsonReader): String =
    when (reader.peek()) {
        JsonToken.BEGIN_ARRAY -> "list"
        JsonToken.BOOLEAN -> "bool"
        JsonToken.NULL -> "NoneType"
        JsonToken.NUMBER -> if (readNumber(reader.nextString()) is Double) "float" else "int"
        else -> "str"
    }

private fun readObject(reader: JsonReader, depth: Int): JSONObject {
    if (depth > MAX_DEPTH) throw IOException("it nests deeper than $MAX_DEPTH")
    val values = JSONObject()
    reader.beginObject()
    while (reader.hasNext()) {
        val name = checkCharacters(reader.nextName())
        if (values.has(name)) throw IOException("the key '$name' occurs twice")
        values.put(name, readValue(reader, depth + 1))
    }
    reader.endObject()
    return values
}

private fun readArray(reader: JsonReader, depth: Int): JSONArray {
    if (depth > MAX_DEPTH) throw IOException("it nests deeper than $MAX_DEPTH")
    val values = JSONArray()
    reader.beginArray()
    while (reader.hasNext()) values.put(readValue(reader, depth + 1))
    reader.endArray()
    return values
}

private fun readValue(reader: JsonReader, depth: Int): Any =
    when (reader.peek()) {
        JsonToken.BEGIN_OBJECT -> readObject(reader, depth)
        JsonToken.BEGIN_ARRAY -> readArray(reader, depth)
        JsonToken.STRING -> checkCharacters(reader.nextString())
        JsonToken.BOOLEAN -> reader.nextBoolean()
        JsonToken.NUMBER -> readNumber(reader.nextString())
        JsonToken.NULL -> {
            reader.nextNull()
            JSONObject.NULL
        }
        else -> throw IOException("a value is missing")
    }

/**
 * Returns an Int or a Long of a whole number, as Python tells them from others, and else a Double.
 */
private fun readNumber(text: String): Any {
    if (text.any { it == '.' || it == 'e' || it == 'E' }) return text.toDouble()
    return text.toIntOrNull() ?: text.toLongOrNull() ?: text.toDouble()
}

private fun checkCharacters(text: String): String {
    for (index in text.indices) {
        val here = text[index]
        val paired =
            when {
                here.isHighSurrogate() -> text.getOrNull(index + 1)?.isLowSurrogate() == true
                here.isLowSurrogate() -> text.getOrNull(index - 1)?.isHighSurrogate() == true
                else -> true
            }
        if (!paired) {
            val code = here.code.toString(16)
            throw IOException("it contains \\u$code, a lone surrogate, which is not a character")
        }
    }
    return text
}
