@file:JvmName("Tokenizers")

package org.albertedge

import org.albertedge.internal.SPIECE_FILE
import org.albertedge.internal.SentencePieceTokenizer
import org.albertedge.internal.TokenizerConfig
import org.albertedge.internal.VOCAB_FILE
import org.albertedge.internal.WordPieceTokenizer
import org.albertedge.internal.fileError

/**
 * Makes a tokenizer from the content of its files, such as [ModelFile.tokenizerFiles].
 *
 * @param files contents by name: `spiece.model` or `vocab.txt`, of which the first in this order is
 *     used, and optionally `tokenizer_config.json`. Others are ignored.
 * @param where the source of the files, for error messages.
 * @throws AlbertEdgeException there is no tokenizer, or it is damaged or not supported.
 */
@JvmOverloads
fun tokenizerFromFiles(files: Map<String, ByteArray>, where: String = "these files"): Tokenizer {
    val pieces = files[SPIECE_FILE]
    val vocabulary = files[VOCAB_FILE]
    return when {
        pieces != null -> SentencePieceTokenizer(
            pieces,
            TokenizerConfig.ofSentencePiece(files, where),
            fileIn(SPIECE_FILE, where),
        )
        vocabulary != null -> WordPieceTokenizer(
            vocabulary,
            TokenizerConfig.ofWordPiece(files, where),
            fileIn(VOCAB_FILE, where),
        )
        else -> throw fileError(
            "no tokenizer in $where: expected one of $SPIECE_FILE, $VOCAB_FILE.",
        )
    }
}

private fun fileIn(name: String, where: String): String =
    if (where.endsWith(name)) where else "$name in $where"
