"""A plain text file, one text a line, that may be larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from albert_edge.errors import InputError

__all__ = ["Corpus"]


def _open(path: Path) -> AbstractContextManager[IO[bytes]]:
    return path.open("rb")


@dataclass(frozen=True, slots=True)
class Corpus:
    """The texts of a UTF-8 file, read anew each time that it is iterated; blank lines are none.

    Attributes:
        path: The file.
        opener: What opens it; one that shows progress, say.

    Raises:
        InputError: On iteration: it cannot be read, or is no UTF-8.
    """

    path: Path
    opener: Callable[[Path], AbstractContextManager[Any]] = _open

    def __iter__(self) -> Iterator[str]:
        try:
            with self.opener(self.path) as file:
                for line, content in enumerate(file, 1):
                    text = self._decode(line, content).rstrip("\r\n")
                    if text and not text.isspace():
                        yield text
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror}.") from error

    def _decode(self, line: int, content: bytes) -> str:
        try:
            return content.decode("utf-8-sig" if line == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{self.path}, line {line}: not UTF-8; save the file as UTF-8."
            ) from error
