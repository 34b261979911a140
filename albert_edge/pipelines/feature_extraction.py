"""Turn a text into vectors: one for each token, and one for the whole text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from albert_edge.errors import InputError
from albert_edge.pipelines.base import Pipeline

POOLINGS = ("mean", "cls", "pooler")


@final
class FeatureExtraction(Pipeline):
    """An encoder without a task head.

    Example:
        >>> pipe("a quiet, moving film")["pooler_output"].shape          # doctest: +SKIP
        (768,)
    """

    def __call__(
        self,
        text: str | None = None,
        pair: str | None = None,
        *,
        pooling: str | None = None,
        normalize: bool = False,
        input_ids: Sequence[int] | None = None,
        token_type_ids: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Encode a text, or a text and a second one.

        A text that is longer than the model takes is cut at its end (of two, the longer one), and
        `truncated` is true.

        Args:
            text: The text to encode; or give `input_ids`.
            pair: A second text.
            pooling: How to make one vector of the whole text: `mean`, the mean over all T tokens,
                as most sentence embeddings are trained; `cls`, the first token's; `pooler`, the
                pooler's output.  None for no such vector.
            normalize: Whether to scale that vector to length 1, so that the dot product of two is
                their cosine.
            input_ids: T token ids in [0, V), special ones included, instead of text.
            token_type_ids: T types, 0 or 1; all 0 if left out.

        Returns:
            `last_hidden_state`, float32 [T, H]; `mean`, its mean over all T tokens, float32 [H];
            `pooler_output`, float32 [H], in (-1, 1), unless the model has no pooler; of a file
            converted with `sentence_embedding` also that, the mean scaled to length 1, float32 [H];
            of the target `mediapipe` only that.  With `pooling` also `embedding`, float32 [H];
            `tokens`, the T pieces, or the ids if the file carries no tokenizer; `truncated`,
            whether text was cut off.

        Raises:
            InputError: The text is empty, the ids are invalid, or there is no such pooling.
        """
        if normalize and pooling is None:
            raise InputError(f"normalize needs a pooling: {', '.join(POOLINGS)}.")
        encoding, truncated = self.encode(text, pair, input_ids, token_type_ids)
        ids = encoding.input_ids
        outputs = self.model.run(ids, encoding.token_type_ids)
        if "last_hidden_state" in outputs:
            outputs["mean"] = outputs["last_hidden_state"].mean(axis=1)  # [1, H]
        if pooling is not None:
            outputs["embedding"] = _pool(outputs, pooling, normalize)
        to_piece = self.tokenizer.id_to_piece if self.tokenizer else int
        return {
            **{key: values[0] for key, values in outputs.items()},
            "tokens": [to_piece(token) for token in ids],
            "truncated": truncated,
        }

    def embed(self, texts: Iterable[str], *, pooling: str = "mean") -> npt.NDArray[np.float32]:
        """Encode texts as vectors of length 1: the dot product of two is their similarity.

        Args:
            texts: N texts, at least one.
            pooling: See `__call__`.

        Returns:
            Float32 [N, H].

        Raises:
            InputError: There is no text, a text is empty, or there is no such pooling.

        Example:
            >>> vectors = pipe.embed(["a film", "a movie", "a bill"])    # doctest: +SKIP
            >>> (vectors @ vectors.T).round(2)                           # doctest: +SKIP
        """
        vectors = [self(text, pooling=pooling, normalize=True)["embedding"] for text in texts]
        if not vectors:
            raise InputError("there is no text to encode.")
        return np.stack(vectors)


def _pool(
    outputs: Mapping[str, npt.NDArray[np.float32]], pooling: str, normalize: bool
) -> npt.NDArray[np.float32]:
    """Return one vector of the text, float32 [1, H], from the outputs and their `mean`."""
    if pooling not in POOLINGS:
        raise InputError(f"pooling is {pooling!r}; choose from {', '.join(POOLINGS)}.")
    if "sentence_embedding" in outputs and pooling == "mean" and normalize:
        return outputs["sentence_embedding"]
    if "last_hidden_state" not in outputs:
        raise InputError(
            "this file was made with --target mediapipe: its vectors are means, scaled to length "
            "1. Choose pooling mean with normalize, or convert the checkpoint with --target cpu."
        )
    if pooling == "cls":
        pooled = outputs["last_hidden_state"][:, 0]
    elif pooling == "pooler" and "pooler_output" not in outputs:
        raise InputError("this model has no pooler; choose the pooling mean or cls.")
    else:
        pooled = outputs["mean" if pooling == "mean" else "pooler_output"]
    return pooled / np.linalg.norm(pooled) if normalize else pooled
