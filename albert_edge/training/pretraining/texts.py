"""Plain text becomes documents of sentences of token ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from albert_edge.errors import InputError, TrainingError
from albert_edge.sentences import split_sentences
from albert_edge.tables import read_text
from albert_edge.tokenizer import Tokenizer

__all__ = ["Document", "encode_documents", "read_documents"]

# The sentences of a document, in order: int32 [T] each, without special tokens.
Document = list[np.ndarray]


def read_documents(paths: Sequence[Path]) -> list[list[str]]:
    """Read text files into documents of sentences.

    Documents are apart by a blank line; within one, a line ends a sentence.

    Args:
        paths: UTF-8 files.

    Raises:
        TrainingError: A file cannot be read, or holds no document of two sentences.
    """
    documents: list[list[str]] = []
    for path in paths:
        try:
            found = [_sentences(part) for part in _paragraphs(read_text(path))]
        except InputError as error:
            raise TrainingError(str(error)) from error
        found = [sentences for sentences in found if len(sentences) > 1]
        if not found:
            raise TrainingError(
                f"{path} holds no document of two sentences or more; documents are apart by a "
                "blank line."
            )
        documents += found
    return documents


def encode_documents(documents: Sequence[Sequence[str]], tokenizer: Tokenizer) -> list[Document]:
    """Encode the sentences of documents; a document without two that hold a token is left out."""
    encoded = []
    for sentences in documents:
        ids = (tokenizer.encode(sentence).input_ids[1:-1] for sentence in sentences)
        document = [np.array(one, np.int32) for one in ids if one]
        if len(document) > 1:
            encoded.append(document)
    return encoded


def _paragraphs(text: str) -> Iterator[str]:
    part: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.strip():
            part.append(line)
        elif part:
            yield "\n".join(part)
            part = []


def _sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text)]
