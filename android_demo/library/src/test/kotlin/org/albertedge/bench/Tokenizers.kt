package org.albertedge.bench

import com.sun.management.OperatingSystemMXBean
import java.lang.management.ManagementFactory
import java.nio.ByteBuffer
import java.security.MessageDigest
import java.util.Base64
import org.albertedge.AlbertEdgeException
import org.albertedge.Encoding
import org.albertedge.Tokenizer
import org.albertedge.Tokens
import org.albertedge.Truncation
import org.albertedge.tokenizerFromFiles
import org.json.JSONArray
import org.json.JSONObject

/** Tokenizes for `tests/android`. */
object Tokenizers {
    private val system = ManagementFactory.getOperatingSystemMXBean() as OperatingSystemMXBean

    /** Makes a tokenizer of `files`, in base64 by name; returns a handle and its properties. */
    fun load(arguments: JSONObject): Any {
        val files = files(arguments.getJSONObject("files"))
        val begin = cpuNanos()
        val tokenizer = tokenizerFromFiles(files)
        val nanos = cpuNanos() - begin
        return mapOf(
            "handle" to Bench.keep(tokenizer),
            "milliseconds" to nanos / 1e6,
            "properties" to properties(tokenizer),
        )
    }

    private fun files(encoded: JSONObject): Map<String, ByteArray> =
        encoded.keys().asSequence().associateWith {
            Base64.getDecoder().decode(encoded.getString(it))
        }

    private fun properties(tokenizer: Tokenizer): Any = mapOf(
        "vocab_size" to tokenizer.vocabSize,
        "piece_count" to tokenizer.pieceCount,
        "cls_id" to tokenizer.clsId,
        "sep_id" to tokenizer.sepId,
        "pad_id" to tokenizer.padId,
        "unk_id" to tokenizer.unkId,
        "mask_id" to tokenizer.maskId,
        "do_lower_case" to tokenizer.doLowerCase,
        "truncation_side" to tokenizer.truncationSide.name.lowercase(),
        "model_max_length" to tokenizer.modelMaxLength,
    )

    /**
     * Tries to make a tokenizer of each of `candidates`, files as in [load], and to tokenize
     * `text`; returns the ids, or the message of an [AlbertEdgeException]. Others end it.
     */
    fun tryAll(arguments: JSONObject): Any {
        val candidates = arguments.getJSONArray("candidates")
        return List(candidates.length()) { index ->
            try {
                tokenizerFromFiles(files(candidates.getJSONObject(index)))
                    .tokenize(arguments.getString("text")).ids
            } catch (error: AlbertEdgeException) {
                check(error.kind == AlbertEdgeException.Kind.FILE) { error }
                error.message
            }
        }
    }

    /** Tokenizes each of `texts`; returns for each its ids, starts and ends, or what was wrong. */
    fun tokenize(arguments: JSONObject): Any {
        val tokenizer: Tokenizer = Bench.kept(arguments, "handle")
        return strings(arguments, "texts").map { text ->
            answer { tokens(tokenizer.tokenize(text)) }
        }
    }

    /** Encodes as each of `calls` says: a text, or two, and options. */
    fun encode(arguments: JSONObject): Any {
        val tokenizer: Tokenizer = Bench.kept(arguments, "handle")
        return objects(arguments, "calls").map { call ->
            answer {
                val pair = call.opt("pair") as? String
                val most = call.opt("max_length") as? Int
                val truncate = call.optString("truncate", "longest_first").uppercase()
                val special = call.optBoolean("allow_special")
                encoding(
                    tokenizer.encode(
                        call.getString("text"), pair, most, special, Truncation.valueOf(truncate),
                    ),
                )
            }
        }
    }

    /** Encodes the windows of each of `calls`: a question, a context, and options. */
    fun windows(arguments: JSONObject): Any {
        val tokenizer: Tokenizer = Bench.kept(arguments, "handle")
        return objects(arguments, "calls").map { call ->
            answer {
                tokenizer.windows(
                    call.getString("question"),
                    call.getString("context"),
                    call.getInt("max_length"),
                    call.getInt("stride"),
                    call.opt("max_question") as? Int,
                ).map(::encoding)
            }
        }
    }

    /** Tokenizes as much of each of `texts` as `most` tokens take. */
    fun tokenizePart(arguments: JSONObject): Any {
        val tokenizer: Tokenizer = Bench.kept(arguments, "handle")
        return strings(arguments, "texts").map { text ->
            answer { tokens(tokenizer.tokenizePart(text, arguments.getInt("most"))) }
        }
    }

    /** Decodes each of `lists` of ids. */
    fun decode(arguments: JSONObject): Any {
        val tokenizer: Tokenizer = Bench.kept(arguments, "handle")
        val lists = arguments.getJSONArray("lists")
        return List(lists.length()) { answer { tokenizer.decode(ints(lists.getJSONArray(it))) } }
    }

    /** Returns the pieces of all ids, in order. */
    fun pieces(arguments: JSONObject): Any {
        val tokenizer: Tokenizer = Bench.kept(arguments, "handle")
        return List(tokenizer.vocabSize, tokenizer::idToPiece)
    }

    /**
     * Tokenizes `texts` in so many `rounds` of at least a second; returns the CPU time of this
     * process that each took for the texts, in seconds, how many tokens there are, and the SHA-256
     * of their ids.
     */
    fun time(arguments: JSONObject): Any {
        val tokenizer: Tokenizer = Bench.kept(arguments, "handle")
        val texts = strings(arguments, "texts")
        val rounds = List(arguments.getInt("rounds")) { timeRound(tokenizer, texts) }
        val ids = texts.flatMap { tokenizer.tokenize(it).ids.asList() }
        val bytes = ByteBuffer.allocate(4 * ids.size).apply { ids.forEach { putInt(it) } }
        val digest = MessageDigest.getInstance("SHA-256").digest(bytes.array())
        return mapOf(
            "seconds" to rounds,
            "tokens" to ids.size,
            "sha256" to digest.joinToString("") { "%02x".format(it) },
        )
    }

    private fun timeRound(tokenizer: Tokenizer, texts: List<String>): Double {
        val begin = cpuNanos()
        var passes = 0
        do {
            for (text in texts) tokenizer.tokenize(text)
            passes += 1
        } while (cpuNanos() - begin < 1_000_000_000)
        return (cpuNanos() - begin) / 1e9 / passes
    }

    /** Tokenizes `texts` in several threads at once; returns how many of them got other ids. */
    fun tokenizeAtOnce(arguments: JSONObject): Any {
        val files = files(arguments.getJSONObject("files"))
        val texts = strings(arguments, "texts")
        val alone = tokenizerFromFiles(files)
        val expected = texts.map { alone.tokenize(it).ids.toList() }
        val shared = tokenizerFromFiles(files)
        val different = java.util.concurrent.atomic.AtomicInteger()
        val all = List(arguments.getInt("threads")) {
            Thread {
                val found = texts.map { shared.tokenize(it).ids.toList() }
                if (found != expected) different.incrementAndGet()
            }
        }
        all.forEach(Thread::start)
        all.forEach(Thread::join)
        return different.get()
    }

    /** The time that all threads of this process have used, whatever else runs on this machine. */
    private fun cpuNanos(): Long = system.processCpuTime

    private fun answer(ask: () -> Any): Any = try {
        ask()
    } catch (error: AlbertEdgeException) {
        mapOf("kind" to error.kind.name, "message" to error.message)
    }

    private fun tokens(tokens: Tokens): Any = listOf(tokens.ids, tokens.starts, tokens.ends)

    private fun encoding(encoding: Encoding): Any =
        listOf(encoding.inputIds, encoding.starts, encoding.ends, encoding.tokenTypeIds)

    private fun strings(arguments: JSONObject, name: String): List<String> =
        arguments.getJSONArray(name).let { array -> List(array.length(), array::getString) }

    private fun objects(arguments: JSONObject, name: String): List<JSONObject> =
        arguments.getJSONArray(name).let { array -> List(array.length(), array::getJSONObject) }

    private fun ints(array: JSONArray): IntArray = IntArray(array.length(), array::getInt)
}
