"""The bundle: everything that one `.tflite` file holds beside its weights.

The file is a TFLite flatbuffer with an uncompressed zip archive behind it, the form that the TFLite
Metadata standard defines: runtimes read the front and ignore the archive; `unzip -l` lists it.
The archive holds tokenizer, labels, configuration and a manifest with provenance.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import albert_edge
from albert_edge.bundle.archive import (
    ALIGNMENT,
    MAGIC_BYTES,
    OpenFile,
    append_archive,
    locate,
    read_json,
    read_member,
)
from albert_edge.config import LAYOUTS, AlbertConfig
from albert_edge.early_exit import EarlyExit
from albert_edge.errors import BundleError, ConfigError, list_choices, printable
from albert_edge.files import add_members, dump_json, read_input
from albert_edge.tasks import TASKS

__all__ = ["Bundle", "add_verification", "has_bundle", "model_bytes", "pack"]

# Host graphs of the target `edgetpu` need it, and early exit of tokens; other early exit needs 2,
# and all else is written as 1.
FORMAT_VERSION = 3
_MAX_QUOTED = 200  # bytes of a damaged file in a message
_MANIFEST, _CONFIG, _LABELS = "albert_edge.json", "config.json", "labels.txt"
MOST_ROWS = 4096  # of a product; no text of a published model is longer than 512
_UNSEALED = "0" * 64  # in place of the digest while it is computed
_RESERVED = frozenset({_MANIFEST, _CONFIG, _LABELS})
# The digests of the embedded files, whose graphs are checked by the tests: only bytes can differ.
_EMBEDDED = frozenset(
    {
        "7f9b5a712679621456b37ca8034ca709dc7f5ea3413b5706ae2022f10c87b012",
        "8c7c83d494b931b6095d483acbf9227167d3ff2de76b9c4cb4aa35a9985114d3",
        "ce7969e186b695ffb158053eca5176a0ef10a6fc5c903193ed3c29247b9859a3",
        "e7bf048648be195248c0d36cf8e88b031f84db3f72d1cab7310ba350032cb954",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Everything in a file but the weights.

    Attributes:
        task: The task of the head, one of `tasks.TASKS`.
        layout: How the file runs the passes, one of `layouts.LAYOUTS`.
        quantize: The recipe's name, such as `int8`.
        seq_len: The number of tokens that every input is padded to, the largest of several, or None
            for any length.
        config: The model's shape and labels.
        tokenizer_files: The tokenizer's files by name; empty if the file has none.
        provenance: The source of the weights and the tools that made the file; ready for JSON.
        verification: The figures of `verify`, or None if it was not verified.
        early_exit: The default rule of early exit; None for a file that always runs all layers.
        target: Where the file is to run, one of `targets.TARGETS` or of a later version's.
        seq_lens: The fixed lengths, ascending; of several, each has a signature
            `serving_<length>`.  Empty for any length.
        products: The files of the products beside this one, of the target `edgetpu`: how many rows
            they multiply at once → name of the product → SHA-256 of its file.  Empty for a file
            that needs no other.
        sentence_embedding: Whether an encoder for any length has that output too: the mean over all
            tokens, scaled to length 1.
    """

    task: str
    layout: str
    quantize: str
    seq_len: int | None
    config: AlbertConfig
    tokenizer_files: Mapping[str, bytes]
    provenance: Mapping[str, Any]
    verification: Mapping[str, Any] | None
    early_exit: EarlyExit | None = None
    target: str = "cpu"
    seq_lens: tuple[int, ...] = ()
    products: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    sentence_embedding: bool = False

    @property
    def for_libraries(self) -> bool:
        """Whether the outputs are those that MediaPipe Tasks and Task Library read."""
        return self.target == "mediapipe"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs of the signature; `pooler_output` only if the encoder has a pooler."""
        task = TASKS[self.task]
        if self.for_libraries:
            return task.library_outputs
        return (*task.outputs, "sentence_embedding") if self.sentence_embedding else task.outputs

    def __post_init__(self) -> None:
        if len(self.seq_lens) < 2:
            only = () if self.seq_len is None else (self.seq_len,)
            object.__setattr__(self, "seq_lens", only)
        if self.task not in tuple(TASKS):  # it may be of any type, from a manifest
            raise BundleError(f"unknown task {self.task!r}; choose from {', '.join(TASKS)}.")
        if not self.outputs:
            raise BundleError(f"a file for {self.task} cannot be of the target {self.target}.")
        if self.layout not in tuple(LAYOUTS):
            raise BundleError(f"unknown layout {self.layout!r}; choose from {', '.join(LAYOUTS)}.")
        if not isinstance(self.quantize, str) or not self.quantize:
            raise BundleError(f"quantize must be a recipe's name, not {self.quantize!r}.")
        most = self.config.max_position_embeddings
        whole = isinstance(self.seq_len, int) and not isinstance(self.seq_len, bool)
        if self.seq_len is not None and not (whole and 1 <= self.seq_len <= most):
            raise BundleError(f"seq_len must be None or in [1, {most}], not {self.seq_len!r}.")
        lengths = self.seq_lens
        ascending = all(type(one) is int for one in lengths) and sorted(set(lengths))
        if lengths and (
            ascending != list(lengths) or lengths[0] < 1 or lengths[-1] != self.seq_len
        ):
            raise BundleError(
                f"seq_lens must ascend to seq_len {self.seq_len!r}, not be {list(lengths)}."
            )
        if len(lengths) > 1 and self.layout != "unrolled":
            raise BundleError(f"layout {self.layout} has one length, not {list(lengths)}.")
        self._check_products()
        encodes = self.task == "feature-extraction" and self.seq_len is None
        if self.sentence_embedding not in ((False, True) if encodes else (False,)):
            raise BundleError(
                f"sentence_embedding cannot be {self.sentence_embedding!r} for {self.task} of "
                f"seq_len {self.seq_len}."
            )
        if not isinstance(self.target, str) or printable(self.target) != self.target:
            raise BundleError(f"target must be a name, not {self.target!r}.")
        if not isinstance(self.provenance, Mapping):
            raise BundleError(f"provenance must map names to values, not be {self.provenance!r}.")
        if not isinstance(self.verification, Mapping | None):
            raise BundleError(
                f"verification must map names to values, not be {self.verification!r}."
            )
        if (self.early_exit is not None) != (self.config.early_exit and self.layout != "unrolled"):
            raise BundleError(
                f"in layout {self.layout} with early_exit {self.config.early_exit} in the "
                f"configuration, early_exit cannot be {self.early_exit}."
            )
        for name in self.tokenizer_files:
            if name in _RESERVED or not name or name != Path(name).name or "\\" in name:
                raise BundleError(f"a tokenizer file cannot be called {name!r}.")
        for label in self.config.labels:
            if label.splitlines() != [label]:
                raise BundleError(f"the label {label!r} must be one line of text.")

    def _check_products(self) -> None:
        if not self.products:
            return
        if self.layout != "split" or self.seq_len is not None:
            raise BundleError(f"layout {self.layout} of seq_len {self.seq_len} has no products.")
        expected = set(self.config.product_sizes())
        for rows, digests in self.products.items():
            if not 1 <= rows <= MOST_ROWS or set(digests) != expected:
                raise BundleError(
                    f"the products of {rows} rows are {list_choices(digests)}, not "
                    f"{list_choices(sorted(expected))}."
                )


def pack(model: Any, bundle: Bundle) -> bytes:
    """Serialize a model and bundle it into one file.

    The same arguments give the same bytes.

    Args:
        model: A linked model (`schema.ModelT`), a TFLite flatbuffer, or the content of a file whose
            bundle is replaced.
        bundle: Everything else in the file.

    Returns:
        The file's content.

    Raises:
        BundleError: `model` is not a TFLite flatbuffer or has no signature.
    """
    from albert_edge.bundle.metadata import attach_metadata, build_metadata
    from albert_edge.tflite import graph

    model = model_bytes(model) if isinstance(model, bytes) else graph.pack(model)
    labels = _LABELS if TASKS[bundle.task].has_labels else None
    described = {
        _MANIFEST: "How this file was made: task, layout, recipe, provenance, verification.",
        _CONFIG: "The model's configuration, in Hugging Face's form.",
        **({labels: "The label of each class, one a line."} if labels else {}),
        **dict.fromkeys(sorted(bundle.tokenizer_files), "A file of the tokenizer."),
    }
    title = f"ALBERT for {bundle.task}"
    description = f"{title}, {bundle.quantize}, made by albert_edge {albert_edge.__version__}."
    metadata = build_metadata(
        model, name=title, description=description, files=described, labels=labels
    )
    front, offset = attach_metadata(model, metadata)
    members = dict(bundle.tokenizer_files)
    members[_CONFIG] = bundle.config.to_json().encode()
    if labels:
        members[labels] = _label_lines(map(printable, bundle.config.labels))
    return _seal(front, members, _manifest(bundle, offset, len(model)))


def read(source: str | os.PathLike[str] | bytes | OpenFile) -> Bundle:
    """Read everything in a file but the weights.

    Args:
        source: A path, a file's content, the name of an embedded model, or a file that is open.

    Raises:
        BundleError: The file is missing, damaged, of another program, incomplete, contradictory, or
            written in a newer format than this version reads.
    """
    return _read_bundle(source if isinstance(source, OpenFile) else OpenFile(source))


def has_bundle(source: str | os.PathLike[str] | bytes) -> bool:
    """Return whether a file can be opened and has a manifest of this project, valid or not."""
    try:
        return _MANIFEST in OpenFile(source).members
    except BundleError:
        return False


def read_checked(file: OpenFile) -> Bundle:
    """Read everything in a file but the weights, and check the weights and the graph.

    A file of an earlier version, without a digest, is checked but for that.

    Raises:
        BundleError: As in `read`; or the file is not as it was written, or its graph is not one
            that this project writes.
    """
    bundle = _read_bundle(file)
    view = file.view()
    hashing = _Hashing(file, view)
    if hashing.stored in _EMBEDDED:
        hashing.run()
        hashing.check()
        return bundle
    from albert_edge.bundle.graph_check import check_graph  # needs NumPy, and `read` does not

    hashing.begin()  # on another core, if there is one, while this one checks
    try:
        check_graph(view, bundle, where=file.where)
    finally:
        hashing.check()  # first: it is the reason of all else that is wrong
    return bundle


class _Hashing(Thread):
    """Computes a file's digest, and compares it with the manifest's."""

    def __init__(self, file: OpenFile, view: Any) -> None:
        super().__init__()
        self._file, self._view = file, view
        self.stored = json.loads(file.members[_MANIFEST])["model"].get("sha256")

    def begin(self) -> None:
        """Start, or on a single core compute it now."""
        if (os.cpu_count() or 1) > 1:
            self.start()
        else:
            self.run()

    def run(self) -> None:
        members, hashed = self._file.members, self._file.sha256(self._view)
        digest = add_members(hashed, members, manifest=_MANIFEST, stored=self.stored)
        self._equal = self.stored in (None, digest)

    def check(self) -> None:
        """Check that the digest is the manifest's, if it has one."""
        if self.ident is not None:  # it was started
            self.join()
        if not self._equal:
            raise BundleError(
                f"{self._file.where} is damaged: it is not as it was written (its SHA-256 "
                "differs). Copy or convert it again."
            )


def add_verification(file: bytes, verification: Mapping[str, Any]) -> bytes:
    """Return a file with verification figures in its manifest, its flatbuffer as it is.

    Args:
        file: A file's content, from `pack`.
        verification: The figures of `verify`.
    """
    opened = OpenFile(file)
    manifest = read_json(opened.where, opened.members, _MANIFEST)
    manifest["verification"] = dict(verification)
    return _seal(file[: opened.front_bytes], opened.members, manifest)


def model_bytes(source: str | os.PathLike[str] | bytes) -> bytes:
    """Return the flatbuffer of a file, without what `pack` adds; of another tool's as it is.

    Raises:
        BundleError: The file is missing or damaged.
    """
    located = locate(source)
    try:
        blob = located if isinstance(located, bytes) else read_input(located)
    except OSError as error:
        raise BundleError(f"cannot read {located!s}: {error.strerror}.") from error
    if blob[4:8] == b"TFL3" and b"TFLITE_METADATA" not in blob[:MAGIC_BYTES]:
        return blob
    file = OpenFile(blob)
    if _MANIFEST not in file.members:
        return blob[: file.front_bytes]
    offset, size = _extent(file.where, read_json(file.where, file.members, _MANIFEST))
    return blob[offset : offset + size]


def _seal(front: bytes, members: Mapping[str, bytes], manifest: dict[str, Any]) -> bytes:
    """Append the archive to a model, with a SHA-256 of all of it in the manifest."""
    import hashlib

    manifest["model"] = {**manifest["model"], "sha256": _UNSEALED}
    sealed = {**members, _MANIFEST: _json_bytes(manifest)}
    digest = add_members(hashlib.sha256(front), sealed, manifest=_MANIFEST, stored=_UNSEALED)
    sealed[_MANIFEST] = sealed[_MANIFEST].replace(_UNSEALED.encode(), digest.encode(), 1)
    return append_archive(front, sealed)


def _manifest(bundle: Bundle, offset: int, size: int) -> dict[str, Any]:
    values = {
        "format_version": _format_version(bundle),
        "written_by": albert_edge.__version__,
        "task": bundle.task,
        "layout": bundle.layout,
        "quantize": bundle.quantize,
        "seq_len": bundle.seq_len,
        "seq_lens": list(bundle.seq_lens),
        "target": bundle.target,
        "tokenizer_files": sorted(bundle.tokenizer_files),
        "model": {"offset": offset, "size_bytes": size},
        "provenance": dict(bundle.provenance),
        "verification": None if bundle.verification is None else dict(bundle.verification),
    }
    if bundle.early_exit is not None:
        values["early_exit"] = asdict(bundle.early_exit)
    if bundle.products:
        values["products"] = {str(rows): dict(one) for rows, one in bundle.products.items()}
    if bundle.sentence_embedding:
        values["sentence_embedding"] = True
    return values


def _format_version(bundle: Bundle) -> int:
    """Return the first version of the format that can hold a file's content."""
    if bundle.products or (bundle.early_exit and bundle.task != "classification"):
        return FORMAT_VERSION
    return 2 if bundle.early_exit else 1


def _json_bytes(values: Mapping[str, Any]) -> bytes:
    text = dump_json(values, indent=2, ensure_ascii=False)
    return f"{text}\n".encode("utf-8", "replace")  # of a file name that is not UTF-8


def _read_bundle(file: OpenFile) -> Bundle:
    where, archive = file.where, file.members
    manifest = read_json(where, archive, _MANIFEST)
    _check_version(where, manifest)
    offset, size = _extent(where, manifest)
    if file.front_bytes != offset + size + -size % ALIGNMENT:
        raise BundleError(f"{where} is damaged: its model does not have the size in {_MANIFEST}.")
    config = read_json(where, archive, _CONFIG)
    names = manifest.get("tokenizer_files")
    if not isinstance(names, list):
        raise BundleError(f"{where} is damaged: {_MANIFEST} does not list the tokenizer's files.")
    tokenizer_files = {str(name): read_member(where, archive, str(name)) for name in names}
    try:
        bundle = Bundle(
            task=manifest["task"],
            layout=manifest["layout"],
            quantize=manifest["quantize"],
            seq_len=manifest["seq_len"],
            config=AlbertConfig.from_huggingface(config),
            tokenizer_files=tokenizer_files,
            provenance=manifest["provenance"],
            verification=manifest["verification"],
            early_exit=_early_exit(manifest.get("early_exit")),
            target=manifest.get("target", "cpu"),  # not in files of version 0.1
            seq_lens=tuple(manifest.get("seq_lens", ())),
            products=_products(manifest.get("products")),
            sentence_embedding=manifest.get("sentence_embedding", False),
        )
    except KeyError as error:
        raise BundleError(f"{where} is incomplete: {_MANIFEST} has no {error}.") from error
    except (BundleError, ConfigError, TypeError) as error:
        raise BundleError(f"{where}: {error}") from error
    if TASKS[bundle.task].has_labels:
        _check_labels(where, archive, bundle.config)
    return bundle


def _early_exit(values: Any) -> EarlyExit | None:
    try:
        return None if values is None else EarlyExit(**values)
    except TypeError as error:
        raise BundleError(f"early_exit cannot be {values!r}.") from error


def _products(values: Any) -> dict[int, dict[str, str]]:
    if values is None:
        return {}
    try:
        return {int(rows): {str(k): str(v) for k, v in one.items()} for rows, one in values.items()}
    except (AttributeError, ValueError) as error:
        raise BundleError(f"products cannot be {values!r}.") from error


def _check_labels(where: str, archive: Mapping[str, bytes], config: AlbertConfig) -> None:
    content = read_member(where, archive, _LABELS)
    # Earlier versions did not escape the control characters in a label.
    if content not in (_label_lines(map(printable, config.labels)), _label_lines(config.labels)):
        raise BundleError(
            f"{where} contradicts itself: {_LABELS} says {content[:_MAX_QUOTED]!r}, "
            f"{_CONFIG} says {list_choices(config.labels)}."
        )


def _label_lines(labels: Iterable[str]) -> bytes:
    return "".join(f"{label}\n" for label in labels).encode("utf-8", "replace")


def _check_version(where: str, manifest: Mapping[str, Any]) -> None:
    version = manifest.get("format_version")
    if not isinstance(version, int):
        raise BundleError(f"{where} is damaged: its format version is {version!r}.")
    if version > FORMAT_VERSION:
        raise BundleError(
            f"{where} was written by albert_edge {manifest.get('written_by')}, "
            f"format {version}; this version ({albert_edge.__version__}) reads formats up to "
            f"{FORMAT_VERSION}: upgrade with pip install --upgrade albert_edge."
        )


def _extent(where: str, manifest: Mapping[str, Any]) -> tuple[int, int]:
    extent = manifest.get("model")
    if isinstance(extent, dict):
        offset, size = extent.get("offset"), extent.get("size_bytes")
        if isinstance(offset, int) and isinstance(size, int) and offset > 0 and size > 0:
            return offset, size
    raise BundleError(
        f"{where} is damaged: {_MANIFEST} does not state offset and size of the model."
    )
