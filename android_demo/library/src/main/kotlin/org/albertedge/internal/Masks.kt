package org.albertedge.internal

import java.util.PriorityQueue
import org.albertedge.Candidate
import org.albertedge.FilledMask
import org.albertedge.MaskFillerResult
import org.albertedge.Model
import org.albertedge.Tokenizer

/** Checks the number of candidates for each mask. */
internal fun checkCandidates(count: Int, model: Model) {
    val size = model.file.vocabSize
    if (count > size) throw inputError("maxResults must be in [1, $size], not $count.")
}

/** Returns the positions of the masks among the tokens. */
internal fun maskPositions(encoded: Encoded, tokenizer: Tokenizer): IntArray =
    encoded.ids.indices
        .filter { encoded.ids[it] == tokenizer.maskId && encoded.encoding.starts[it] >= 0 }
        .toIntArray()

/**
 * Fills every mask of one text or two, each as if the others stayed masks.
 *
 * @param positions the positions of n masks among the tokens, ascending; at least one.
 * @param logits float [n, V].
 * @param count the number of candidates for each mask.
 */
internal fun fillMasks(
    texts: List<String>,
    encoded: Encoded,
    positions: IntArray,
    logits: FloatArray,
    tokenizer: Tokenizer,
    count: Int,
): MaskFillerResult {
    val filled = texts.toMutableList()
    val masks = ArrayList<FilledMask>()
    val size = logits.size / positions.size
    // From the end: filling a mask moves only the text behind it.
    for ((row, position) in positions.withIndex().reversed()) {
        val start = encoded.encoding.starts[position]
        val end = encoded.encoding.ends[position]
        val which = encoded.types[position]
        val scores = softmax(logits, row * size, size)
        val candidates =
            // A model may have more rows than its tokenizer has pieces.
            best(scores, minOf(size, tokenizer.vocabSize), count).map {
                val replaced = replace(texts[which], start, end, it, tokenizer)
                Candidate(surface(it, tokenizer), it, scores[it].toFloat(), replaced)
            }
        filled[which] = replace(filled[which], start, end, candidates[0].id, tokenizer)
        masks.add(FilledMask(start, end, which == 1, candidates))
    }
    val pair = filled.getOrNull(1)
    return MaskFillerResult(filled[0], pair, masks.asReversed(), encoded.tokens, encoded.truncated)
}

/** Returns the ids in `[0, size)` with the best scores, the first of equal ones first. */
private fun best(scores: DoubleArray, size: Int, count: Int): List<Int> {
    val worstFirst = Comparator<Int> { one, other ->
        val byScore = scores[one].compareTo(scores[other])
        if (byScore != 0) byScore else other.compareTo(one)
    }
    val queue = PriorityQueue(minOf(count, size) + 1, worstFirst)
    for (id in 0 until size) {
        if (queue.size == count && scores[id] <= scores[queue.element()]) continue
        queue.add(id)
        if (queue.size > count) queue.remove()
    }
    return generateSequence { queue.poll() }.toList().asReversed()
}

/** Returns the text with a token in place of `[start, end)`. */
private fun replace(text: String, start: Int, end: Int, id: Int, tokenizer: Tokenizer): String {
    val stop = if (continuesWord(id, tokenizer)) trimmedEnd(text, 0, start) else start
    return text.substring(0, stop) + surface(id, tokenizer) + text.substring(end)
}

/** Returns the text of a token, without the mark of its word's start or of its continuing one. */
private fun surface(id: Int, tokenizer: Tokenizer): String {
    val piece = tokenizer.idToPiece(id)
    if (tokenizer is WordPieceTokenizer) return piece.removePrefix(INNER)
    val text = piece.replace(WORD_START, ' ')
    val start = trimmedStart(text, 0, text.length)
    return text.substring(start, trimmedEnd(text, start, text.length))
}

/** Returns whether a token continues the word before it. */
private fun continuesWord(id: Int, tokenizer: Tokenizer): Boolean {
    val piece = tokenizer.idToPiece(id)
    if (tokenizer is WordPieceTokenizer) return piece.startsWith(INNER)
    return !piece.startsWith(WORD_START)
}

private const val INNER = "##"
private const val WORD_START = '\u2581'
