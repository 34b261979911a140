"""Text with `[MASK]` in it to the words that may stand there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from albert_edge.errors import InputError
from albert_edge.pipelines.base import Pipeline
from albert_edge.pipelines.classification import softmax
from albert_edge.pipelines.sentence_order import judge_order
from albert_edge.tokenizer import Encoding, Tokenizer
from albert_edge.tokenizer.wordpiece import WordPieceTokenizer

__all__ = ["FillMask", "Pretraining", "check_top_k", "fill", "fill_masks"]


@final
class FillMask(Pipeline):
    """What pre-training predicts: the token behind each mask.

    The names of special tokens in the text are those tokens here, so do not pass it text that
    strangers wrote.  The model computes all T times V logits: a text of 128 tokens and 30,000
    pieces fill 15 MB.

    Example:
        >>> pipe("Paris is the [MASK] of France.")["text"]          # doctest: +SKIP
        'Paris is the capital of France.'
    """

    def __call__(
        self,
        text: str | None = None,
        pair: str | None = None,
        *,
        top_k: int = 5,
        input_ids: Sequence[int] | None = None,
        token_type_ids: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Fill every `[MASK]` of a text, each as if the others stayed masks.

        A text that is longer than the model takes is cut at its end (of two, the longer one), and
        the result says so.

        Args:
            text: A text with the tokenizer's mask in it, `[MASK]`; or give `input_ids`.
            pair: A second text, which may hold masks too.
            top_k: How many candidates to give.
            input_ids: T token ids in [0, V), special ones included, instead of text.
            token_type_ids: T numbers; all 0 if left out.

        Returns:
            `text`, with the best candidate in every mask's place (and `pair`, if there is one);
            `masks`, for each its place `start`, `end` in the text (in the second one if
            `in_pair`), and its `candidates`, the best first: `token`, `id`, `score` (its
            probability) and `text`, the text with it in this place; `tokens`, how many the model
            read; `truncated`, whether text was cut off.  Of `input_ids`, `masks` are the places of
            the mask's id, or all if the file carries no tokenizer, and candidates have no `text`.

        Raises:
            InputError: There is no mask, `top_k` is out of range, or the ids cannot be.
        """
        check_top_k(top_k, self.model.bundle.config.vocab_size)
        encoding, truncated = self.encode(text, pair, input_ids, token_type_ids, allow_special=True)
        logits = self.model.run(encoding.input_ids, encoding.token_type_ids)["logits"][0]  # [T, V]
        filled = fill(text, pair, encoding, logits, self.tokenizer, top_k=top_k)
        return {**filled, "tokens": len(encoding.input_ids), "truncated": truncated}


def check_top_k(top_k: int, most: int) -> None:
    """Check a number of candidates.

    Raises:
        InputError: It is not in [1, most].
    """
    if not 1 <= top_k <= most:
        raise InputError(f"top_k must be in [1, {most}], not {top_k}.")


def fill(
    text: str | None,
    pair: str | None,
    encoding: Encoding,
    logits: npt.NDArray[np.float32],
    tokenizer: Tokenizer | None,
    *,
    top_k: int,
) -> dict[str, Any]:
    """Fill the masks of a text, or of two, or of the ids that were given instead.

    Raises:
        InputError: There is no mask.
    """
    if text is None or tokenizer is None:
        return _fill_places(encoding, logits, tokenizer, top_k=top_k)
    texts = [text] if pair is None else [text, pair]
    return fill_masks(texts, encoding, logits, tokenizer, top_k=top_k)


def fill_masks(
    texts: Sequence[str],
    encoding: Encoding,
    logits: npt.NDArray[np.float32],
    tokenizer: Tokenizer,
    *,
    top_k: int,
) -> dict[str, Any]:
    """Fill the masks of a text, or of two.

    Args:
        texts: One or two.
        encoding: What they were encoded to.
        logits: float32 [T, V].
        tokenizer: What encoded them.
        top_k: How many candidates to give.

    Returns:
        `text`, `pair` (if there is one) and `masks` as `FillMask` gives them.

    Raises:
        InputError: There is no mask.
    """
    masks = []
    whole = list(texts)
    # From the end: what is filled moves only what is behind it.
    for place in reversed(range(len(logits))):
        span, which = encoding.offsets[place], encoding.token_type_ids[place]
        if span is None or encoding.input_ids[place] != tokenizer.mask_id:
            continue
        candidates = [
            {**candidate, "text": _filled(texts[which], *span, candidate["id"], tokenizer)}
            for candidate in _candidates(logits[place], tokenizer, top_k)
        ]
        whole[which] = _filled(whole[which], *span, candidates[0]["id"], tokenizer)
        pair = {"in_pair": bool(which)} if len(texts) > 1 else {}
        masks.append({"start": span[0], "end": span[1], **pair, "candidates": candidates})
    if not masks:
        raise InputError(
            f"there is no {tokenizer.id_to_piece(tokenizer.mask_id)} in the text (or it was cut "
            "off): put it where a word is to be found."
        )
    return {**dict(zip(("text", "pair"), whole, strict=False)), "masks": masks[::-1]}


def _fill_places(
    encoding: Encoding,
    logits: npt.NDArray[np.float32],
    tokenizer: Tokenizer | None,
    *,
    top_k: int,
) -> dict[str, Any]:
    """Predict the masked ids, or every id if no tokenizer says which id is the mask.

    Returns:
        `masks`, as `FillMask` gives them for ids.

    Raises:
        InputError: There is no mask.
    """
    places = [
        place
        for place, token in enumerate(encoding.input_ids)
        if tokenizer is None or token == tokenizer.mask_id
    ]
    if not places and tokenizer is not None:
        raise InputError(f"there is no mask, {tokenizer.mask_id}, in input_ids.")
    return {
        "masks": [
            {
                "start": place,
                "end": place + 1,
                "candidates": _candidates(logits[place], tokenizer, top_k),
            }
            for place in places
        ]
    }


def _candidates(
    logits: npt.NDArray[np.float32], tokenizer: Tokenizer | None, top_k: int
) -> list[dict[str, Any]]:
    chances = softmax(logits)  # [V]
    # A model may have more rows than its tokenizer has pieces.
    known = chances if tokenizer is None else chances[: tokenizer.vocab_size]
    best = np.argsort(-known, kind="stable")[:top_k].tolist()
    return [
        {
            "token": token if tokenizer is None else _surface(tokenizer, token)[0],
            "id": token,
            "score": float(chances[token]),
        }
        for token in best
    ]


def _filled(text: str, start: int, end: int, token: int, tokenizer: Tokenizer) -> str:
    piece, joined = _surface(tokenizer, token)
    before = text[:start].rstrip() if joined else text[:start]
    return before + piece + text[end:]


def _surface(tokenizer: Tokenizer, token: int) -> tuple[str, bool]:
    """Return what a token shows, and whether it goes on with the word before it."""
    piece = tokenizer.id_to_piece(token)
    if isinstance(tokenizer, WordPieceTokenizer):
        return piece.removeprefix("##"), piece.startswith("##")
    return piece.replace("▁", " ").strip(), not piece.startswith("▁")


# Text, or two, to what pre-training tells of it: the masked words, and the order.


@final
class Pretraining(Pipeline):
    """Both heads of pre-training: `FillMask` and `SentenceOrder` in one pass.

    Example:
        >>> pipe("Ada [MASK] it.", "Nobody read it.")["order"]["label"]          # doctest: +SKIP
        'in order'
    """

    def __call__(
        self,
        text: str | None = None,
        pair: str | None = None,
        *,
        top_k: int = 5,
        input_ids: Sequence[int] | None = None,
        token_type_ids: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Fill the masks of a text or two, and judge the order of two.

        Args:
            text: The first text; or give `input_ids`.
            pair: The second one.
            top_k: How many candidates to give for a mask.
            input_ids: T token ids in [0, V), special ones included, instead of text.
            token_type_ids: T numbers, 1 for the second text; all 0 if left out.

        Returns:
            If there are masks, `text`, `pair` and `masks` as `FillMask` gives them; if there are
            two texts, `order`: `label`, `score` and `scores` as `SentenceOrder` gives them;
            `tokens`, how many the model read; `truncated`, whether text was cut off.

        Raises:
            InputError: There is neither a mask nor a second text, or the ids cannot be.
        """
        check_top_k(top_k, self.model.bundle.config.vocab_size)
        encoding, truncated = self.encode(text, pair, input_ids, token_type_ids, allow_special=True)
        ids, types, tokenizer = encoding.input_ids, encoding.token_type_ids, self.tokenizer
        masked, paired = tokenizer is None or tokenizer.mask_id in ids, 1 in types
        if not masked and not paired:
            raise InputError(
                "there is nothing to answer: put [MASK] where a word is to be found, or give a "
                "second text (--pair) to judge the order."
            )
        outputs = self.model.run(ids, types)
        logits = outputs["prediction_logits"][0]  # [T, V]
        answer: dict[str, Any] = {}
        if masked:
            answer = fill(text, pair, encoding, logits, tokenizer, top_k=top_k)
        if paired:
            answer["order"] = judge_order(outputs["sop_logits"][0])
        return {**answer, "tokens": len(ids), "truncated": truncated}
