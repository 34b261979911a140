package org.albertedge.internal

import org.albertedge.Tokenizer
import org.albertedge.Tokens

private const val INNER = "##" // the mark of a piece that does not begin a word
private const val MAX_WORD_CHARS = 100 // longer words are unknown, as in the original

/**
 * The tokenizer of BERT, which Chinese and some other ALBERTs use: `vocab.txt`, with the ids of
 * Hugging Face's slow `BertTokenizer`, but that the name of a special token in the text is treated
 * as text.
 *
 * The original (google-research/bert, `tokenization.BasicTokenizer`) normalizes whole strings:
 * convert to lower case, remove control characters, put spaces around Chinese characters, compose
 * (NFC), split at white space, decompose (NFD), remove combining marks, split at punctuation. Here
 * the text is first split into units that all these steps treat separately.
 *
 * @param vocab the content of the file: one piece per line, in the order of the ids.
 * @param config the normalization, and the names of the special tokens.
 * @param where the name of the file, for error messages.
 */
internal class WordPieceTokenizer(
    vocab: ByteArray,
    private val config: TokenizerConfig,
    where: String,
) : Tokenizer() {
    private val unicode = Unicode.instance
    private val lines = readLines(vocab, where)

    // The pieces that text can contain; those inside of words are behind the mark `##`.
    private val trie = Trie(lines.sumOf { it.length })
    private val innerRoot: Int
    override val pieceCount = lines.size
    override val vocabSize: Int
    override val clsId: Int
    override val sepId: Int
    override val padId: Int
    override val unkId: Int
    override val maskId: Int
    override val doLowerCase = config.doLowerCase
    override val truncationSide = config.truncationSide
    override val modelMaxLength = config.modelMaxLength
    override val added: Map<Int, AddedToken>
    override val matched: Map<Int, AddedToken>

    init {
        val distinct = putLines(where)
        val ends = listOf(config.name("bos_token"), config.name("eos_token"))
        added = resolveAddedTokens(config.addedTokens, ::findPiece, distinct, ends, where)
        val addedIds = added.entries.associate { (id, token) -> token.content to id }
        vocabSize = maxOf(pieceCount, 1 + (added.keys.maxOrNull() ?: 0))
        val find = { name: String -> addedIds[name] ?: findPiece(name) }
        unkId = specialId(config.name("unk_token"), find, where)
        clsId = specialId(config.name("cls_token"), find, where)
        sepId = specialId(config.name("sep_token"), find, where)
        padId = specialId(config.name("pad_token"), find, where)
        maskId = specialId(config.name("mask_token"), find, where)
        val special = setOf(unkId, clsId, sepId, padId, maskId)
        val unmatched = special + ends.mapNotNull { name -> name?.let(find) }
        matched = added.filterKeys { it !in unmatched }
        replaceLines(addedIds, special)
        innerRoot = trie.find(INNER.toCharArray(), 0, INNER.length)
    }

    private fun findPiece(name: String): Int? = trie[name].takeIf { it != Trie.NONE }

    /** Adds all lines to the trie; returns how many are distinct. */
    private fun putLines(where: String): Int {
        var distinct = if (lines.any(String::isEmpty)) 1 else 0 // an empty line is not a piece
        try {
            for ((id, line) in lines.withIndex()) {
                // The last of equal lines counts, as in the original.
                if (line.isNotEmpty() && put(line, id) == Trie.NONE) distinct++
            }
        } catch (error: DamagedException) {
            throw fileError("$where is not a vocabulary: ${error.message}.", error)
        }
        return distinct
    }

    private fun put(line: String, id: Int): Int = trie.put(line.toCharArray(), 0, line.length, id)

    /** Lets added tokens take the place of pieces with their names; special ones are in no text. */
    private fun replaceLines(addedIds: Map<String, Int>, special: Set<Int>) {
        for ((name, id) in addedIds) {
            if (findPiece(name) != null) put(name, if (id in special) Trie.NONE else id)
        }
        for (id in special) {
            val line = lines.getOrNull(id) ?: continue
            if (line.isNotEmpty() && trie[line] == id) put(line, Trie.NONE)
        }
    }

    private fun specialId(name: String?, find: (String) -> Int?, where: String): Int =
        name?.let(find) ?: throw fileError(
            "$where: the vocabulary has no piece '$name', one of BERT's special tokens. " +
                "If it has another name, give it in a tokenizer_config.json next to the file.",
        )

    override fun piece(id: Int): String = if (id < pieceCount) lines[id] else ""

    override fun decodePieces(ids: IntArray): String {
        val hidden = intArrayOf(clsId, sepId, padId, maskId)
        val text = ids.filter { it !in hidden }.joinToString(" ") { piece(it) }
        return text.replace(" $INNER", "").trim { unicode.isSpace(it.code) }
    }

    override fun tokenizePlain(text: String): Tokens = Run(text).tokenize()

    /** The tokenization of one text. */
    private inner class Run(text: String) {
        private val lowers = config.doLowerCase
        private val strips = config.stripAccents
        private val splitsChinese = config.tokenizeChineseChars
        private val found = TokenList(text.length / 4)

        // The text without control characters, and where each of its units was.
        private val chars = CharList(text.length)
        private val indices = IntList(text.length)

        // What is split into pieces, with the span in `chars` of each of its units.
        private val folded = CharList(64)
        private val starts = IntList(64)
        private val ends = IntList(64)

        init {
            var at = 0
            while (at < text.length) {
                val codePoint = text.codePointAt(at)
                val units = unitsOf(codePoint)
                if (isKept(codePoint)) {
                    for (index in at until at + units) {
                        chars.add(text[index])
                        indices.add(index)
                    }
                }
                at += units
            }
        }

        private fun isKept(codePoint: Int): Boolean {
            if (codePoint in 0x20..0x7E) return true
            return codePoint != 0xFFFD && (unicode.isPrintable(codePoint) || isSpace(codePoint))
        }

        fun tokenize(): Tokens {
            var at = 0
            while (at < chars.size) {
                val unit = chars.items[at]
                val codePoint = codePointAt(chars.items, at, chars.size)
                val end = when {
                    isSpace(unit.code) -> at + 1
                    splitsChinese && isChinese(codePoint) -> unitAt(at, at + unitsOf(codePoint))
                    isAsciiWord(unit) -> asciiWordAt(at)
                    isMark(at) -> asciiAt(at, at + 1)
                    else -> unitAt(at, unitEnd(at))
                }
                at = end
            }
            return found.toTokens()
        }

        // A mark may compose with the next character, unless that is ASCII.
        private fun isMark(at: Int): Boolean = isAsciiPunctuation(chars.items[at].code) &&
            (at + 1 == chars.size || chars.items[at + 1] < '\u0080')

        private fun asciiWordAt(at: Int): Int {
            var end = at + 1
            while (end < chars.size && isAsciiWord(chars.items[end])) end++
            val isWhole = end == chars.size || isSpace(chars.items[end].code) || isMark(end)
            return if (isWhole) asciiAt(at, end) else unitAt(at, unitEnd(at))
        }

        private fun unitEnd(at: Int): Int {
            var end = at
            while (end < chars.size) {
                val codePoint = codePointAt(chars.items, end, chars.size)
                if (isSpace(codePoint) || (splitsChinese && isChinese(codePoint))) break
                end += unitsOf(codePoint)
            }
            return end
        }

        /** Tokenizes an ASCII word or punctuation mark; returns where it ends. */
        private fun asciiAt(start: Int, end: Int): Int {
            clear()
            for (at in start until end) {
                val code = chars.items[at].code
                addFolded((if (lowers) unicode.lower(code) else code).toChar(), at, at + 1)
            }
            splitWord(0, folded.size)
            return end
        }

        /** Tokenizes any unit; returns where it ends. */
        private fun unitAt(start: Int, end: Int): Int {
            foldUnit(start, end)
            var begin = 0
            var at = 0
            while (at < folded.size) {
                val codePoint = codePointAt(folded.items, at, folded.size)
                val units = unitsOf(codePoint)
                if (isPunctuation(codePoint)) {
                    splitWord(begin, at)
                    splitWord(at, at + units)
                    begin = at + units
                }
                at += units
            }
            splitWord(begin, folded.size)
            return end
        }

        private fun clear() {
            folded.clear()
            starts.clear()
            ends.clear()
        }

        private fun addFolded(unit: Char, start: Int, end: Int) {
            folded.add(unit)
            starts.add(start)
            ends.add(end)
        }

        /** Normalizes the characters of a unit. */
        private fun foldUnit(start: Int, end: Int) {
            clear()
            var at = start
            while (at < end) {
                val units = unitsOf(codePointAt(chars.items, at, end))
                addSource(at, at + units)
                at += units
            }
            val unit = String(chars.items, start, end - start)
            if (unit.all { it < FIRST_COMBINING }) return
            val whole = fold(unit)
            if (whole == folded.toString()) return
            // Characters compose with their neighbours, or are reordered.
            clear()
            addClusters(start, end)
            for (index in whole.indices) folded.items[index] = whole[index]
        }

        /** Adds what becomes of `chars[start, end)`. */
        private fun addSource(start: Int, end: Int) {
            val before = folded.size
            if (end == start + 1 && chars.items[start] < '\u0080') {
                val code = chars.items[start].code
                addFolded((if (lowers) unicode.lower(code) else code).toChar(), start, end)
            } else {
                for (unit in fold(String(chars.items, start, end - start))) {
                    addFolded(unit, start, end)
                }
            }
            if (folded.size == before && before > 0) ends.items[before - 1] = end
        }

        /** Adds the shortest parts of a unit whose results do not depend on their neighbours. */
        private fun addClusters(start: Int, end: Int) {
            var begin = start
            var at = start
            while (at < end) {
                val codePoint = codePointAt(chars.items, at, end)
                val next = at + unitsOf(codePoint)
                if (at > begin && isStarter(codePoint) && isSeparable(begin, at, next)) {
                    addCluster(begin, at)
                    begin = at
                }
                at = next
            }
            if (begin < end) addCluster(begin, end)
        }

        private fun isStarter(codePoint: Int): Boolean {
            val decomposed = CharList(8)
            unicode.appendDecomposed(codePoint, false, decomposed)
            return unicode.combiningClass(codePointAt(decomposed.items, 0, decomposed.size)) == 0
        }

        private fun isSeparable(start: Int, middle: Int, end: Int): Boolean {
            val cluster = String(chars.items, start, middle - start)
            val char = String(chars.items, middle, end - middle)
            return fold(cluster + char) == fold(cluster) + fold(char)
        }

        private fun addCluster(start: Int, end: Int) {
            val cluster = String(chars.items, start, end - start)
            val each = StringBuilder()
            forEachPart(start, end) { from, to ->
                each.append(fold(String(chars.items, from, to - from)))
            }
            if (each.toString() == fold(cluster)) {
                forEachPart(start, end, ::addSource)
            } else {
                addSource(start, end)
            }
        }

        private inline fun forEachPart(start: Int, end: Int, action: (Int, Int) -> Unit) {
            var at = start
            while (at < end) {
                val next = at + unitsOf(codePointAt(chars.items, at, end))
                action(at, next)
                at = next
            }
        }

        private fun fold(text: String): String {
            var lowered = text
            if (lowers) { // each character by itself, so that a capital sigma has one lower case
                val lower = CharList(text.length + 1)
                var at = 0
                while (at < text.length) {
                    val codePoint = text.codePointAt(at)
                    unicode.appendLower(codePoint, lower)
                    at += unitsOf(codePoint)
                }
                lowered = lower.toString()
            }
            if (!strips) return unicode.compose(lowered)
            val decomposed = unicode.decompose(lowered)
            val kept = CharList(decomposed.length)
            var at = 0
            while (at < decomposed.length) {
                val codePoint = decomposed.codePointAt(at)
                if (!unicode.isMark(codePoint)) kept.addCodePoint(codePoint)
                at += unitsOf(codePoint)
            }
            return kept.toString()
        }

        private fun isPunctuation(codePoint: Int): Boolean =
            isAsciiPunctuation(codePoint) || unicode.isPunctuation(codePoint)

        /** Splits a word greedily into the longest pieces; without a match the word is unknown. */
        private fun splitWord(start: Int, end: Int) {
            if (start == end) return
            val isLong = end - start > MAX_WORD_CHARS &&
                Character.codePointCount(folded.items, start, end - start) > MAX_WORD_CHARS
            val before = found.size
            var begin = start
            var root = Trie.ROOT
            while (begin < end && !isLong) {
                var node = root
                var id = Trie.NONE
                var stop = begin
                var at = begin
                while (at < end && node != Trie.NONE) {
                    node = trie.next(node, folded.items[at++])
                    if (node != Trie.NONE && trie.value(node) != Trie.NONE) {
                        id = trie.value(node)
                        stop = at
                    }
                }
                if (id == Trie.NONE) break
                add(id, starts.items[begin], ends.items[stop - 1])
                begin = stop
                root = innerRoot
            }
            if (begin == end) return
            found.dropTo(before)
            add(unkId, starts.items[start], ends.items[end - 1])
        }

        private fun add(id: Int, start: Int, end: Int) {
            found.add(id, indices.items[start], indices.items[end - 1] + 1)
        }
    }

    private companion object {
        const val FIRST_COMBINING = '\u0300'

        fun readLines(vocab: ByteArray, where: String): List<String> {
            val text = try {
                textOfUtf8(vocab)
            } catch (error: DamagedException) {
                throw fileError("$where is not a vocabulary: ${error.message}.", error)
            }
            // Some vocabularies have pieces that are the end of a line elsewhere.
            val lines = text.replace("\r\n", "\n").replace('\r', '\n').split('\n')
            return lines.dropLastWhile(String::isEmpty)
        }

        fun isAsciiWord(unit: Char): Boolean =
            unit in 'a'..'z' || unit in 'A'..'Z' || unit in '0'..'9'

        fun isAsciiPunctuation(code: Int): Boolean =
            code in 33..47 || code in 58..64 || code in 91..96 || code in 123..126

        /** Whether it is white space of Python, except control characters, which are removed. */
        fun isSpace(code: Int): Boolean = when {
            code < 0x80 -> code == 32 || code == 9 || code == 10 || code == 13
            else ->
                code == 0xA0 || code == 0x1680 || code in 0x2000..0x200A || code == 0x2028 ||
                    code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000
        }

        fun isChinese(code: Int): Boolean = code >= 0x3400 && (
            code in 0x3400..0x4DBF || code in 0x4E00..0x9FFF || code in 0xF900..0xFAFF ||
                code in 0x20000..0x2A6DF || code in 0x2A700..0x2CEAF || code in 0x2F800..0x2FA1F
            )
    }
}
