package org.albertedge.internal

import java.util.TreeSet
import kotlin.math.abs
import org.albertedge.Tokenizer

/** A place in a text, in UTF-16 code units. */
internal data class Span(val start: Int, val end: Int)

/**
 * One sentence of an article.
 *
 * @property ids its token ids, at least one, without special ones.
 * @property start its start, in UTF-16 code units of the article.
 * @property end its end.
 * @property truncated whether it has more tokens than these.
 */
internal class SentenceTokens(
    val ids: IntArray,
    val start: Int,
    val end: Int,
    val truncated: Boolean,
)

/**
 * Sentences as one input: `[CLS] a [SEP] b [SEP] c [SEP]`.
 *
 * @property inputIds T token ids, in [0, V).
 * @property tokenTypeIds T types, alternating 0 and 1 from sentence to sentence; 0 for `[CLS]`.
 * @property starts where each sentence begins, in [1, T); it ends where the next begins, or at T.
 */
internal class JoinedSentences(
    val inputIds: IntArray,
    val tokenTypeIds: IntArray,
    val starts: IntArray,
)

/** The sentences of one input, from [start] up to [stop], and the first that no earlier one has. */
internal data class SentenceWindow(val start: Int, val firstNew: Int, val stop: Int)

/**
 * Returns the place of every sentence, without the space around it.
 *
 * A sentence ends at a full stop, a question or exclamation mark with space behind it, or at the
 * end of a line.  A full stop behind an initial or a known abbreviation ends none, nor does a
 * single one before a lower-case letter.
 */
internal fun splitSentences(text: String): List<Span> {
    val spans = ArrayList<Span>()
    var start = 0
    for (mark in sentenceEnds(text) + text.length) {
        val end = includeClosingQuote(text, start, mark)
        val first = trimmedStart(text, start, end)
        val stop = trimmedEnd(text, first, end)
        if (first < stop) {
            if (spans.isNotEmpty() && !hasAlphanumeric(text, first, stop)) {
                // ` . . . "` belongs to the last one
                spans[spans.lastIndex] = spans.last().copy(end = stop)
            } else {
                spans.add(Span(first, stop))
            }
        }
        start = end
    }
    return spans
}

/**
 * Tokenizes the sentences at [spans], each on its own; those without tokens are left out.
 *
 * @param most the number of tokens of a sentence that the model takes; a longer one is truncated.
 */
internal fun tokenizeSentences(
    text: String,
    spans: List<Span>,
    tokenizer: Tokenizer,
    most: Int,
): List<SentenceTokens> =
    spans.mapNotNull { (start, end) ->
        val tokens = tokenizer.tokenizePart(text.substring(start, end), most)
        val kept = tokenizer.truncate(tokens, most).ids
        if (kept.isEmpty()) null else SentenceTokens(kept, start, end, tokens.ids.size > most)
    }

/**
 * Joins the token ids of sentences, each closed by its own `[SEP]`.
 *
 * Token types alternate from sentence to sentence (Liu 2019, arXiv:1903.10318, sec. 2.1).
 *
 * @param types the model's `type_vocab_size`.
 */
internal fun joinSentences(
    sentences: List<IntArray>,
    clsId: Int,
    sepId: Int,
    types: Int,
): JoinedSentences {
    val size = 1 + sentences.sumOf { it.size + 1 }
    val joined = JoinedSentences(IntArray(size), IntArray(size), IntArray(sentences.size))
    joined.inputIds[0] = clsId
    var at = 1
    for ((index, ids) in sentences.withIndex()) {
        val end = at + ids.size
        joined.starts[index] = at
        ids.copyInto(joined.inputIds, at)
        joined.inputIds[end] = sepId
        joined.tokenTypeIds.fill(index % minOf(types, 2), at, end + 1)
        at = end + 1
    }
    return joined
}

/**
 * Divides sentences into windows of whole sentences.
 *
 * A window that does not begin at the article's beginning begins with sentences of the window
 * before, as many as fit in half of it: new sentences then have context before them, as in the
 * article, and do not look like the beginning of one.
 *
 * @param sizes the number of tokens of each sentence, at most [maxTokens] - 2.
 * @param maxTokens the longest input, special tokens included.
 */
internal fun splitIntoWindows(sizes: List<Int>, maxTokens: Int): List<SentenceWindow> {
    val lengths = IntArray(sizes.size) { sizes[it] + 1 } // with [SEP]
    val room = maxTokens - 1
    val windows = ArrayList<SentenceWindow>()
    var stop = 0
    while (stop < lengths.size) {
        val firstNew = stop
        var start = firstNew
        var used = lengths[firstNew]
        var free = minOf(room - used, room / 2)
        while (start > 0 && lengths[start - 1] <= free) {
            start--
            free -= lengths[start]
            used += lengths[start]
        }
        stop = firstNew + 1
        while (stop < lengths.size && lengths[stop] <= room - used) {
            used += lengths[stop]
            stop++
        }
        windows.add(SentenceWindow(start, firstNew, stop))
    }
    return windows
}

/** Returns where sentences may end, ascending and distinct; not the end of the text. */
private fun sentenceEnds(text: String): List<Int> {
    val ends = TreeSet<Int>()
    var at = 0
    while (at < text.length) {
        val marks = if (at > 0 && isMark(text[at - 1])) null else Marks.find(text, at)
        if (marks != null) {
            if (isSentenceEnd(text, marks)) ends.add(marks.end)
            at = marks.end
        } else {
            if (text[at] == '\n') ends.add(at)
            at++
        }
    }
    addCjkEnds(text, ends)
    return ends.toList()
}

private fun addCjkEnds(text: String, ends: MutableSet<Int>) {
    var at = 0
    while (at < text.length) {
        if (text[at++] !in "。！？") continue
        while (at < text.length && text[at] in "。！？") at++
        while (at < text.length && text[at] in "”’」』）") at++
        ends.add(at)
    }
}

/**
 * A run of closing marks, what closes after it, and white space behind.
 *
 * @property start the first mark.
 * @property markEnd the end of the marks, which may have single spaces between them, as in `. . .`.
 * @property end the end of what closes: quotation marks and brackets.
 */
private class Marks(val start: Int, val markEnd: Int, val end: Int) {
    companion object {
        /** Returns the run that begins at [start], or null. */
        fun find(text: String, start: Int): Marks? {
            var before = -1 // the end of the marks before the last space between them
            var markEnd = skipMarks(text, start)
            if (markEnd == start) return null
            while (markEnd < text.length && isSpace(text[markEnd])) {
                val next = skipMarks(text, markEnd + 1)
                if (next == markEnd + 1) break
                before = markEnd
                markEnd = next
            }
            var end = markEnd
            while (end < text.length && text[end] in "\"'”’»)]") end++
            return when {
                end < text.length && isSpace(text[end]) -> Marks(start, markEnd, end)
                before >= 0 -> Marks(start, before, before) // as in `. . .b`
                else -> null
            }
        }

        private fun skipMarks(text: String, start: Int): Int {
            var end = start
            while (end < text.length && isMark(text[end])) end++
            return end
        }
    }
}

private fun isMark(char: Char): Boolean = char in ".!?…"

private fun isSentenceEnd(text: String, marks: Marks): Boolean {
    if (marks.markEnd - marks.start > 1 || text[marks.start] != '.') return true
    if (isAbbreviation(lastWord(text, marks.start))) return false
    val limit = moveBy(text, marks.end, LOOK)
    var next = marks.end
    while (next < limit && (text[next] == ' ' || text[next] == '\t')) next++
    // In a text with capitals, sentences begin with one.
    val isInside = next < limit && Unicode.instance.isLower(text.codePointAt(next))
    return !(isInside && marks.markEnd == marks.end && hasCapitals(text))
}

/** Returns the end of the word before [end], of at most [LOOK] characters. */
private fun lastWord(text: String, end: Int): String {
    val limit = moveBy(text, end, -LOOK)
    val stop = if (end > limit && text[end - 1] == '\n') end - 1 else end
    var start = stop
    while (start > limit && !isSpace(text[start - 1]) && text[start - 1] !in "([\"'“‘") start--
    return text.substring(start, stop)
}

// A full stop behind these, or behind an initial, does not end a sentence.
private val ABBREVIATIONS =
    (
        "mr mrs ms dr prof sr jr st rev gen col lt sgt capt hon messrs vs etc al eq eqs fig figs " +
            "sec no nos vol vols pp ca cf eg e.g ie i.e viz resp approx dept inc ltd co corp jan " +
            "feb mar apr jun jul aug sep sept oct nov dec mt ft u.s u.k a.m p.m"
    ).split(" ").toSet()

private fun isAbbreviation(word: String): Boolean {
    val lower = buildString { word.forEach { append(foldCase(it)) } }
    if (lower in ABBREVIATIONS) return true
    val isOne = lower.isNotEmpty() && lower.codePointCount(0, lower.length) == 1
    if (!isOne || lower == "i") return false
    val initial = lower.codePointAt(0)
    return Unicode.instance.isAlphanumeric(initial) && !isDecimal(initial)
}

/** Folds the letters of the abbreviations as Python's regular expressions do. */
private fun foldCase(char: Char): Char =
    when (char) {
        in 'A'..'Z' -> char + ('a' - 'A')
        'İ', 'ı' -> 'i'
        'ſ' -> 's'
        '\u212a' -> 'k' // the sign of Kelvin
        else -> char
    }

private const val LOOK = 20 // characters around a full stop
private const val HEAD = 2000 // characters in which to look for a capital

/** Returns whether converting the beginning of a text to lower case would change it. */
private fun hasCapitals(text: String): Boolean {
    val end = moveBy(text, 0, HEAD)
    var at = 0
    while (at < end) {
        val codePoint = text.codePointAt(at)
        if (codePoint == DOTTED_I || Unicode.instance.lower(codePoint) != codePoint) return true
        at += Character.charCount(codePoint)
    }
    return false
}

private const val DOTTED_I = 0x130 // its lower case are two characters

/** Returns the place [count] characters behind [start], or before it, within the text. */
private fun moveBy(text: String, start: Int, count: Int): Int {
    var at = start
    repeat(abs(count)) {
        if (count > 0 && at < text.length) at += Character.charCount(text.codePointAt(at))
        if (count < 0 && at > 0) at -= Character.charCount(text.codePointBefore(at))
    }
    return at
}

private fun hasAlphanumeric(text: String, start: Int, end: Int): Boolean {
    var at = start
    while (at < end) {
        val codePoint = text.codePointAt(at)
        if (Unicode.instance.isAlphanumeric(codePoint)) return true
        at += Character.charCount(codePoint)
    }
    return false
}

/** Moves the sentence's end behind a detached quotation mark that closes one inside it. */
private fun includeClosingQuote(text: String, start: Int, end: Int): Int {
    var quotes = 0
    for (index in start until end) if (text[index] == '"') quotes++
    if (quotes % 2 == 0) return end
    var at = end
    while (at < text.length && isSpace(text[at]) && text[at] != '\n') at++
    val isDetached = at > end && at < text.length && text[at] == '"'
    val closes = isDetached && (at + 1 == text.length || isSpace(text[at + 1]))
    return if (closes) at + 1 else end
}
