"""Find and read a tokenizer's files: loose ones, a directory of them, or those inside a bundle."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from albert_edge.errors import TokenizerError
from albert_edge.tokenizer.base import Tokenizer
from albert_edge.tokenizer.config import SentencePieceConfig, WordPieceConfig
from albert_edge.tokenizer.huggingface_json import from_tokenizer_json
from albert_edge.tokenizer.sentencepiece import SentencePieceTokenizer
from albert_edge.tokenizer.wordpiece import WordPieceTokenizer

__all__ = ["load_tokenizer", "tokenizer_from_files"]

# The first that is there counts: what the original reads goes before what was made from it.
_MODELS = ("spiece.model", "vocab.txt", "tokenizer.json")
_SUFFIXES = {".json": "tokenizer.json", ".txt": "vocab.txt"}
_CONFIG = "tokenizer_config.json"
_DEFAULT = Path(__file__).parents[1] / "models" / "sentiment" / "spiece.model"


def load_tokenizer(source: str | os.PathLike[str]) -> Tokenizer:
    """Load a tokenizer.

    A `tokenizer_config.json` beside the file, or with it in the bundle, is followed.

    Args:
        source: A `spiece.model` (under any name), a `vocab.txt` (any `.txt`), a `tokenizer.json`,
            a directory that holds one, a `.tflite` file with a tokenizer inside, or "default" for
            the embedded model's.  Of several, the first in this order counts.

    Raises:
        TokenizerError: There is none, or it cannot be used.

    Example:
        >>> tokenizer = load_tokenizer("default")  # doctest: +SKIP
        >>> tokenizer.encode("Who?", "Ada did.").offsets[1]  # doctest: +SKIP
        (0, 3)
    """
    path = _DEFAULT if source == "default" else Path(source)
    try:
        if path.is_dir():
            files = {name: (path / name).read_bytes() for name in _present(path)}
        elif path.suffix == ".tflite" or zipfile.is_zipfile(path):
            files = _from_bundle(path)
        else:
            name = _SUFFIXES.get(path.suffix, "spiece.model")
            files = {name: path.read_bytes()}
            if (beside := path.with_name(_CONFIG)).is_file():
                files[_CONFIG] = beside.read_bytes()
    except OSError as error:
        raise TokenizerError(f"cannot read {error.filename or path}: {error.strerror}.") from error
    return tokenizer_from_files(files, where=str(path))


def tokenizer_from_files(files: Mapping[str, bytes], *, where: str = "these files") -> Tokenizer:
    """Make a tokenizer from the content of its files; the inverse of `Tokenizer.files`.

    Args:
        files: Contents by name: `spiece.model`, or else `vocab.txt`, or else `tokenizer.json`,
            and perhaps `tokenizer_config.json`.  Other names are passed over.
        where: Where the files are from, for error messages.

    Raises:
        TokenizerError: There is none, or it cannot be used.
    """
    kind = next((name for name in _MODELS if name in files), None)
    if kind is None:
        raise TokenizerError(f"no tokenizer in {where}: expected one of {', '.join(_MODELS)}.")
    model = files[kind]
    settings: SentencePieceConfig | WordPieceConfig
    if kind == "tokenizer.json":
        model, settings = from_tokenizer_json(model, where=_named(kind, where))
    else:
        settings = WordPieceConfig() if kind == "vocab.txt" else SentencePieceConfig()
    if _CONFIG in files:
        stated = settings.updated(files[_CONFIG], where=_named(_CONFIG, where))
        if kind == "tokenizer.json" and stated.normalizer != settings.normalizer:
            raise TokenizerError(
                f"{where}: {_CONFIG} contradicts the normalizer of tokenizer.json: {stated} "
                f"against {settings}. Remove the wrong one."
            )
        settings = stated
    if isinstance(settings, WordPieceConfig):
        return WordPieceTokenizer(model, settings, where=_named(kind, where))
    return SentencePieceTokenizer(model, settings, where=_named(kind, where))


def _named(name: str, where: str) -> str:
    return where if where.endswith(name) else f"{name} in {where}"


def _present(folder: Path) -> list[str]:
    return [name for name in (*_MODELS, _CONFIG) if (folder / name).is_file()]


def _from_bundle(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as bundle:
            names = {*_MODELS, _CONFIG} & set(bundle.namelist())
            return {name: bundle.read(name) for name in sorted(names)}
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError) as error:
        raise TokenizerError(
            f"no tokenizer can be read from {path}: {error}. "
            "A .tflite file without metadata has none."
        ) from error
