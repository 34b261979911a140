"""Find the lines of a file that are nearest in meaning to a text.

The vectors of the lines are kept in a file beside it, `FILE.vectors`: one line that says of what
they are, then float32 [N, H].
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from albert_edge.errors import InputError, OutputError
from albert_edge.files import read_input, write_file
from albert_edge.pipelines.feature_extraction import FeatureExtraction

Progress: TypeAlias = Callable[[list[str]], Iterable[str]]
_SUFFIX = ".vectors"


@dataclass(frozen=True, slots=True)
class LineIndex:
    """The lines of a file, and what they mean.

    Attributes:
        lines: The number of each line, from 1, and its text; empty lines are left out.
        vectors: Their vectors, of length 1, float32 [N, H].
        problem: Why the vectors were not kept; empty if they were.
    """

    lines: tuple[tuple[int, str], ...]
    vectors: npt.NDArray[np.float32]
    problem: str = ""

    def nearest(self, vector: npt.NDArray[np.float32], top_k: int = 1) -> list[dict[str, Any]]:
        """Return the lines whose vectors have the largest cosine with one, the largest first.

        Args:
            vector: Float32 [H], of length 1.
            top_k: How many.

        Returns:
            For each the number of the `line`, its `text` and its `score`, the cosine.
        """
        scores = self.vectors @ vector
        return [
            {"line": self.lines[at][0], "text": self.lines[at][1], "score": float(scores[at])}
            for at in np.argsort(-scores, kind="stable")[:top_k].tolist()
        ]


def index_lines(
    pipe: FeatureExtraction,
    path: str | os.PathLike[str],
    *,
    pooling: str = "mean",
    progress: Progress = iter,
) -> LineIndex:
    """Compute the vectors of a file's lines, or read them from `FILE.vectors`.

    Args:
        pipe: The encoder.
        path: A text file, UTF-8.
        pooling: See `FeatureExtraction.embed`.
        progress: Called with the lines to encode; yields them.

    Raises:
        InputError: The file cannot be read, is not UTF-8, or has no lines.
    """
    try:
        content = read_input(path)
        texts = content.decode().splitlines()
    except OSError as error:
        raise InputError(f"cannot read {os.fspath(path)}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{os.fspath(path)} is not UTF-8: {error}.") from error
    lines = tuple((number, text) for number, text in enumerate(texts, 1) if text.strip())
    if not lines:
        raise InputError(f"{os.fspath(path)} has no lines of text.")
    digest = hashlib.sha256(content).hexdigest()
    key = f"albert_edge vectors 1, {pooling}, model {pipe.model.sha256()}, lines {digest}\n"
    kept = Path(f"{os.fspath(path)}{_SUFFIX}")
    vectors, problem = _read(kept, key.encode(), len(lines)), ""
    if vectors is None:
        vectors = pipe.embed(progress([text for _, text in lines]), pooling=pooling)
        try:
            write_file(kept, key.encode() + vectors.tobytes(), force=True)
        except OutputError as error:
            problem = str(error)
    return LineIndex(lines, vectors, problem)


def _read(path: Path, key: bytes, count: int) -> npt.NDArray[np.float32] | None:
    """Return the vectors in a file; None if it has none, or those of other lines."""
    try:
        content = read_input(path)
    except OSError:
        return None
    if not content.startswith(key) or (len(content) - len(key)) % (4 * count):
        return None
    vectors = np.frombuffer(content, np.float32, offset=len(key)).reshape(count, -1)
    return vectors if vectors.size and np.isfinite(vectors).all() else None
