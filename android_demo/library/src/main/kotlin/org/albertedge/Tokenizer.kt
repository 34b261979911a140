package org.albertedge

/**
 * The tokens of one text, without special ones.
 *
 * @property ids T token ids, in [0, V).
 * @property starts T starts in the text, in UTF-16 code units.
 * @property ends T ends in the text, in UTF-16 code units.
 */
class Tokens(val ids: IntArray, val starts: IntArray, val ends: IntArray)

/**
 * The input of a model: `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]`.
 *
 * @property inputIds T token ids, in [0, V).
 * @property tokenTypeIds T numbers, 0 up to and including the first `[SEP]`, 1 after it.
 * @property starts T starts in UTF-16 code units, in `a` for type 0 and in `b` for type 1; -1 for special tokens.
 * @property ends T ends likewise.
 */
class Encoding(
    val inputIds: IntArray,
    val tokenTypeIds: IntArray,
    val starts: IntArray,
    val ends: IntArray,
)

/** Converts text to token ids, those of `albert_edge.load_tokenizer` in Python. */
interface Tokenizer {
    val vocabSize: Int
    val clsId: Int
    val sepId: Int
    val padId: Int
    val unkId: Int
    val maskId: Int

    /** The number of tokens to which a text is truncated, special ones included; null for as many as the model has positions. */
    val modelMaxLength: Int?

    /** Tokenizes one text; the name of a special token in it is text. */
    fun tokenize(text: String): Tokens

    /**
     * Tokenizes as much of a text as it takes to truncate it to [most] tokens: all of it, or more than
     * [most] of its tokens; see `Tokenizer.tokenize_part` in Python.
     */
    fun tokenizePart(text: String, most: Int): Tokens

    /** Returns at most [count] tokens: the first, or the last if the tokenizer truncates at the left. */
    fun truncate(tokens: Tokens, count: Int): Tokens

    /**
     * Encodes one text, or two, truncated to [maxLength] tokens as "longest_first" does in Python.
     *
     * @param allowSpecial whether the name of a special token, as in "Paris is the [MASK] of France.", is that token.
     */
    fun encode(
        text: String,
        pair: String? = null,
        maxLength: Int? = null,
        allowSpecial: Boolean = false,
    ): Encoding

    /** Encodes a question with each of the overlapping windows of a passage; see `Tokenizer.windows` in Python. */
    fun windows(
        question: String,
        context: String,
        maxLength: Int,
        stride: Int,
        maxQuestion: Int? = null,
    ): List<Encoding>

    /** Returns the piece with an id, in [0, V). */
    fun idToPiece(id: Int): String

    /** Returns whether the token continues the word before it: `##ing`, or a piece without the mark of a space. */
    fun continuesWord(id: Int): Boolean

    /** Returns the text of one token, without the mark of its word's start or of its continuing a word. */
    fun surface(id: Int): String

    /** Returns the normalized text of ids, without special tokens. */
    fun decode(ids: IntArray): String
}
