package org.albertedge.bench

import java.io.PrintStream
import java.lang.reflect.InvocationTargetException
import org.albertedge.AlbertEdgeException
import org.json.JSONArray
import org.json.JSONObject
import org.json.JSONTokener

/**
 * The process behind `tests/android/jvm.py`: calls functions of this package that a test names.
 *
 * Requests and answers are lines of JSON. `{"call": "Models.open", "arguments": {...}}` calls the
 * function `open` of the object `Models` with the arguments, a [JSONObject]; the answer is
 * `{"result": ...}`, or `{"error": {"kind": "FILE", "message": ...}}` of an [AlbertEdgeException],
 * or `{"exception": ...}` with the trace of any other.
 */
object Bench {
    private val kept = ArrayList<Any?>()

    /** Keeps an object for later calls and returns its number. */
    fun keep(value: Any): Int = synchronized(kept) { kept.add(value).let { kept.size - 1 } }

    /** Returns the object with a number, that of the argument [name]. */
    @Suppress("UNCHECKED_CAST")
    fun <T> kept(arguments: JSONObject, name: String): T =
        synchronized(kept) { kept[arguments.getInt(name)] as T }

    /** Forgets an object, so that its memory can be collected. */
    fun drop(arguments: JSONObject): Any? =
        synchronized(kept) { kept.set(arguments.getInt("handle"), null).let { null } }

    @JvmStatic
    fun main(arguments: Array<String>) {
        val answers = System.out
        System.setOut(System.err) // whatever is printed is no answer
        val lines = System.`in`.bufferedReader(Charsets.UTF_8)
        while (true) {
            val request = JSONTokener(lines.readLine() ?: return).nextValue() as JSONObject
            write(answers, answer(request))
        }
    }

    private fun answer(request: JSONObject): JSONObject =
        try {
            val (type, function) = request.getString("call").split('.')
            val target = Class.forName("org.albertedge.bench.$type")
            val method = target.getMethod(function, JSONObject::class.java)
            val instance = target.getField("INSTANCE").get(null)
            val result = method.invoke(instance, request.getJSONObject("arguments"))
            JSONObject().put("result", toJson(result))
        } catch (error: InvocationTargetException) {
            failure(error.targetException)
        } catch (error: ReflectiveOperationException) {
            failure(error)
        }

    private fun failure(error: Throwable): JSONObject =
        if (error is AlbertEdgeException) {
            val shown = JSONObject().put("kind", error.kind.name).put("message", error.message)
            JSONObject().put("error", shown)
        } else {
            JSONObject().put("exception", error.stackTraceToString())
        }

    private fun toJson(value: Any?): Any =
        when (value) {
            null, Unit -> JSONObject.NULL
            is IntArray -> JSONArray().apply { value.forEach { put(it) } }
            is FloatArray -> JSONArray().apply { value.forEach { put(it.toDouble()) } }
            is DoubleArray -> JSONArray().apply { value.forEach { put(it) } }
            is Float -> value.toDouble()
            is Map<*, *> ->
                JSONObject().apply {
                    value.forEach { (name, one) -> put(name.toString(), toJson(one)) }
                }
            is Iterable<*> -> JSONArray().apply { value.forEach { put(toJson(it)) } }
            is Array<*> -> JSONArray().apply { value.forEach { put(toJson(it)) } }
            else -> value
        }

    /** Writes ASCII only: a half of a surrogate pair has no other form. */
    private fun write(answers: PrintStream, answer: JSONObject) {
        val line = StringBuilder()
        for (character in answer.toString()) {
            if (character.code < 0x7f) line.append(character)
            else line.append("\\u").append(character.code.toString(16).padStart(4, '0'))
        }
        answers.println(line)
        answers.flush()
    }
}
