"""Predict the tokens behind `[MASK]`, alone or together with the order of two texts.

`FillMask` runs the masked-language-model head, `Pretraining` both heads of pre-training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from albert_edge.errors import InputError
from albert_edge.pipelines.base import Pipeline
from albert_edge.pipelines.classification import ORDER_LABELS, softmax, top_label
from albert_edge.tokenizer import Encoding, Tokenizer, WordPieceTokenizer


@final
class FillMask(Pipeline):
    """The masked-language-model head of pre-training.

    The names of special tokens in the text become those tokens here, so do not pass it untrusted
    text.  The model computes all T times V logits: for 128 tokens and 30,000 pieces they take
    15 MB.

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
        `truncated` is true.

        Args:
            text: A text that contains the tokenizer's mask, `[MASK]`; or give `input_ids`.
            pair: A second text, which may contain masks too.
            top_k: The number of candidates for each mask.
            input_ids: T token ids in [0, V), special ones included, instead of text.
            token_type_ids: T types, 0 or 1; all 0 if left out.

        Returns:
            `text`, with the best candidate in place of every mask (and `pair`, if there is one);
            `masks`, each with its place `start`, `end` in the text (in the second one if
            `in_pair`), and its `candidates`, the best first: `token`, `id`, `score` (its
            probability) and `text`, the text with the candidate in this place; `tokens`, the number
            of tokens that the model read; `truncated`, whether text was cut off.  For `input_ids`,
            `masks` are the positions of the mask's id, or all if the file carries no tokenizer, and
            candidates have no `text`.

        Raises:
            InputError: There is no mask, `top_k` is out of range, or the ids are invalid.
        """
        _check_top_k(top_k, self.model.bundle.config.vocab_size)
        encoding, truncated = self.encode(text, pair, input_ids, token_type_ids, allow_special=True)
        logits = self.model.run(encoding.input_ids, encoding.token_type_ids)["logits"][0]  # [T, V]
        filled = _fill(text, pair, encoding, logits, self.tokenizer, top_k=top_k)
        return {**filled, "tokens": len(encoding.input_ids), "truncated": truncated}


@final
class Pretraining(Pipeline):
    """Both heads of pre-training: `FillMask` and `SentenceOrder` in one run of the model.

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
        """Fill the masks of one text or two, and predict the order of two.

        Args:
            text: The first text; or give `input_ids`.
            pair: The second text.
            top_k: The number of candidates for each mask.
            input_ids: T token ids in [0, V), special ones included, instead of text.
            token_type_ids: T types, 1 for the second text; all 0 if left out.

        Returns:
            If there are masks, `text`, `pair` and `masks` as `FillMask` returns them; if there are
            two texts, `order`: `label`, `score` and `scores` as `SentenceOrder` returns them;
            `tokens`, the number of tokens that the model read; `truncated`, whether text was cut
            off.

        Raises:
            InputError: There is neither a mask nor a second text, or the ids are invalid.
        """
        _check_top_k(top_k, self.model.bundle.config.vocab_size)
        encoding, truncated = self.encode(text, pair, input_ids, token_type_ids, allow_special=True)
        ids, types, tokenizer = encoding.input_ids, encoding.token_type_ids, self.tokenizer
        masked, paired = tokenizer is None or tokenizer.mask_id in ids, 1 in types
        if not masked and not paired:
            raise InputError(
                "there is nothing to predict: put [MASK] where a word is missing, or give a "
                "second text (--pair) to predict the order."
            )
        outputs = self.model.run(ids, types)
        logits = outputs["prediction_logits"][0]  # [T, V]
        result: dict[str, Any] = {}
        if masked:
            result = _fill(text, pair, encoding, logits, tokenizer, top_k=top_k)
        if paired:
            result["order"] = top_label(softmax(outputs["sop_logits"][0]), ORDER_LABELS)
        return {**result, "tokens": len(ids), "truncated": truncated}


def fill_masks(
    texts: Sequence[str],
    encoding: Encoding,
    logits: npt.NDArray[np.float32],
    tokenizer: Tokenizer,
    *,
    top_k: int,
) -> dict[str, Any]:
    """Fill the masks of one text or two.

    Args:
        texts: One or two texts.
        encoding: The tokens of the texts.
        logits: float32 [T, V].
        tokenizer: The tokenizer that encoded the texts.
        top_k: The number of candidates for each mask.

    Returns:
        `text`, `pair` (if there is one) and `masks` as `FillMask` returns them.

    Raises:
        InputError: There is no mask.
    """
    masks = []
    filled = list(texts)
    # From the end: filling a mask moves only the text behind it.
    for position in reversed(range(len(logits))):
        span, which = encoding.offsets[position], encoding.token_type_ids[position]
        if span is None or encoding.input_ids[position] != tokenizer.mask_id:
            continue
        candidates = [
            {**candidate, "text": _replace(texts[which], *span, candidate["id"], tokenizer)}
            for candidate in _candidates(logits[position], tokenizer, top_k)
        ]
        filled[which] = _replace(filled[which], *span, candidates[0]["id"], tokenizer)
        in_pair = {"in_pair": bool(which)} if len(texts) > 1 else {}
        masks.append({"start": span[0], "end": span[1], **in_pair, "candidates": candidates})
    if not masks:
        raise InputError(
            f"there is no {tokenizer.id_to_piece(tokenizer.mask_id)} in the text (or it was cut "
            "off): put it where a word is missing."
        )
    return {**dict(zip(("text", "pair"), filled, strict=False)), "masks": masks[::-1]}


def _check_top_k(top_k: int, vocab_size: int) -> None:
    if not 1 <= top_k <= vocab_size:
        raise InputError(f"top_k must be in [1, {vocab_size}], not {top_k}.")


def _fill(
    text: str | None,
    pair: str | None,
    encoding: Encoding,
    logits: npt.NDArray[np.float32],
    tokenizer: Tokenizer | None,
    *,
    top_k: int,
) -> dict[str, Any]:
    """Fill the masks of texts, or of the ids that were given instead.

    Of ids, every one is predicted if no tokenizer says which id is the mask.
    """
    if text is not None and tokenizer is not None:
        texts = [text] if pair is None else [text, pair]
        return fill_masks(texts, encoding, logits, tokenizer, top_k=top_k)
    masks = [
        {"start": at, "end": at + 1, "candidates": _candidates(logits[at], tokenizer, top_k)}
        for at, token in enumerate(encoding.input_ids)
        if tokenizer is None or token == tokenizer.mask_id
    ]
    if not masks and tokenizer is not None:
        raise InputError(f"there is no mask, {tokenizer.mask_id}, in input_ids.")
    return {"masks": masks}


def _candidates(
    logits: npt.NDArray[np.float32], tokenizer: Tokenizer | None, top_k: int
) -> list[dict[str, Any]]:
    probabilities = softmax(logits)  # [V]
    # A model may have more rows than its tokenizer has pieces.
    pieces = probabilities if tokenizer is None else probabilities[: tokenizer.vocab_size]
    best = np.argsort(-pieces, kind="stable")[:top_k].tolist()
    return [
        {
            "token": token if tokenizer is None else _surface(tokenizer, token)[0],
            "id": token,
            "score": float(probabilities[token]),
        }
        for token in best
    ]


def _replace(text: str, start: int, end: int, token: int, tokenizer: Tokenizer) -> str:
    """Return the text with the token in place of `text[start:end]`."""
    surface, continues_word = _surface(tokenizer, token)
    before = text[:start].rstrip() if continues_word else text[:start]
    return before + surface + text[end:]


def _surface(tokenizer: Tokenizer, token: int) -> tuple[str, bool]:
    """Return the text of a token, and whether it continues the word before it."""
    piece = tokenizer.id_to_piece(token)
    if isinstance(tokenizer, WordPieceTokenizer):
        return piece.removeprefix("##"), piece.startswith("##")
    return piece.replace("▁", " ").strip(), not piece.startswith("▁")
