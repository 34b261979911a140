"""Load a tokenizer from a file, a directory, or a converted model."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from albert_edge.errors import TokenizerError
from albert_edge.files import (
    EMBEDDED_MODELS,
    MAX_ARCHIVE_BYTES,
    check_members,
    embedded_model,
    open_input,
    read_input,
)
from albert_edge.tokenizer.base import Tokenizer
from albert_edge.tokenizer.config import (
    CONFIG_FILES,
    JSON_FILE,
    SPIECE_FILE,
    TOKENIZER_FILES,
    VOCAB_FILE,
    VOCABULARY_FILES,
    SentencePieceConfig,
    WordPieceConfig,
)
from albert_edge.tokenizer.huggingface_json import from_tokenizer_json
from albert_edge.tokenizer.sentencepiece import SentencePieceTokenizer
from albert_edge.tokenizer.wordpiece import WordPieceTokenizer

# Exceptions that `zipfile` raises on a damaged archive, besides OSError.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError)
_SUFFIXES = {".json": JSON_FILE, ".txt": VOCAB_FILE}


def load_tokenizer(source: str | os.PathLike[str]) -> Tokenizer:
    """Load a tokenizer.

    A `tokenizer_config.json` next to the file, or in the same model, is applied.

    Args:
        source: A SentencePiece model of any name, a `.txt` file with a WordPiece vocabulary, a
            `tokenizer.json`, a directory with one of these, a `.tflite` file with a tokenizer
            inside, or the name of an embedded model, such as "default".  Of several vocabularies
            the first in this order is used.

    Raises:
        TokenizerError: There is no tokenizer, or it is damaged or not supported.

    Example:
        >>> tokenizer = load_tokenizer("default")  # doctest: +SKIP
        >>> tokenizer.encode("Who?", "Ada did.").offsets[1]  # doctest: +SKIP
        (0, 3)
    """
    path = Path(source)
    if source in EMBEDDED_MODELS:
        path = embedded_model(str(source)) / "model.tflite"
    try:
        if path.is_dir():
            found = [name for name in TOKENIZER_FILES if (path / name).is_file()]
            files = {name: _read(path / name) for name in found}
        elif path.suffix == ".tflite" or _is_zip(path):
            files = _from_bundle(path)
        else:
            name = _SUFFIXES.get(path.suffix, SPIECE_FILE)
            files = {name: _read(path)}
            beside = [path.with_name(name) for name in CONFIG_FILES]
            files.update((each.name, _read(each)) for each in beside if each.is_file())
    except OSError as error:
        raise TokenizerError(f"cannot read {error.filename or path}: {error.strerror}.") from error
    return tokenizer_from_files(files, where=str(path))


def tokenizer_from_files(files: Mapping[str, bytes], *, where: str = "these files") -> Tokenizer:
    """Make a tokenizer from the content of its files; the inverse of `Tokenizer.files`.

    Args:
        files: Contents by name: `spiece.model`, `vocab.txt` or `tokenizer.json`, of which the first
            in this order is used, and optionally `tokenizer_config.json`.  Others are ignored.
        where: The source of the files, for error messages.

    Raises:
        TokenizerError: There is no tokenizer, or it is damaged or not supported.
    """
    kind = next((name for name in VOCABULARY_FILES if name in files), None)
    if kind is None:
        raise TokenizerError(
            f"no tokenizer in {where}: expected one of {', '.join(VOCABULARY_FILES)}."
        )
    model = files[kind]
    config: SentencePieceConfig | WordPieceConfig
    if kind == JSON_FILE:
        model, config = from_tokenizer_json(model, where=_file_in(kind, where))
    else:
        config = WordPieceConfig() if kind == VOCAB_FILE else SentencePieceConfig()
    stated = config.updated_from_files(files, where=where)
    if kind == JSON_FILE and stated.normalizer != config.normalizer:
        raise TokenizerError(
            f"{where}: {CONFIG_FILES[0]} contradicts the normalizer of tokenizer.json: {stated} "
            f"against {config}. Remove the wrong one."
        )
    if isinstance(stated, WordPieceConfig):
        return WordPieceTokenizer(model, stated, where=_file_in(kind, where))
    return SentencePieceTokenizer(model, stated, where=_file_in(kind, where))


def _file_in(name: str, where: str) -> str:
    return where if where.endswith(name) else f"{name} in {where}"


def _read(path: Path) -> bytes:
    return read_input(path, max_bytes=MAX_ARCHIVE_BYTES)


def _is_zip(path: Path) -> bool:
    with open_input(path) as file:
        return zipfile.is_zipfile(file)


def _from_bundle(path: Path) -> dict[str, bytes]:
    try:
        with open_input(path) as file, zipfile.ZipFile(file) as bundle:
            check_members(str(path), bundle.infolist(), error=TokenizerError)
            names = set(TOKENIZER_FILES) & set(bundle.namelist())
            return {name: bundle.read(name) for name in sorted(names)}
    except _ZIP_ERRORS as error:
        raise TokenizerError(
            f"cannot read a tokenizer from {path}: {error}. A .tflite file without TFLite Metadata "
            "has none."
        ) from error
