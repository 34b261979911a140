"""Files with changed manifests and members, for the tests of the libraries in other languages.

`SAME` has files that they refuse with the messages of Python.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from albert_edge.bundle.archive import OpenFile
from albert_edge.bundle.bundle import _seal
from bundle.files import remade, with_manifest
from rigs.graphs import Graph

MANIFEST = "albert_edge.json"


def resealed(blob: bytes, change: Callable[[dict[str, Any], dict[str, bytes]], None]) -> bytes:
    """Change a manifest or other members, and compute the digest anew."""
    file = OpenFile(blob)
    members = dict(file.members)
    manifest = json.loads(members[MANIFEST])
    change(manifest, members)
    return _seal(blob[: file.front_bytes], members, manifest)


def changed_manifest(**values: Any) -> Callable[[bytes], bytes]:
    return lambda blob: resealed(blob, lambda manifest, _: manifest.update(values))


def without(name: str) -> Callable[[bytes], bytes]:
    return lambda blob: resealed(blob, lambda manifest, _: manifest.pop(name))


def other_labels(blob: bytes) -> bytes:
    def change(_: Any, members: dict[str, bytes]) -> None:
        members["labels.txt"] = b"good\nbad\n"

    return resealed(blob, change)


def without_tokenizer(blob: bytes) -> bytes:
    return resealed(blob, lambda _, members: members.pop("spiece.model"))


def other_config(**values: Any) -> Callable[[bytes], bytes]:
    def change(_: Any, members: dict[str, bytes]) -> None:
        config = json.loads(members["config.json"]) | values
        present = {name: value for name, value in config.items() if value is not ...}
        members["config.json"] = json.dumps(present).encode()

    return lambda blob: resealed(blob, change)


def broken_json(blob: bytes) -> bytes:
    return remade(blob, **{MANIFEST: b"[]"})


def append_archive_twice(blob: bytes) -> bytes:
    file = OpenFile(blob)
    written = io.BytesIO(blob[: file.front_bytes])
    written.seek(0, io.SEEK_END)
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("config.json", file.members["config.json"])
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("config.json", b"{}")
    return written.getvalue()


def compressed(blob: bytes) -> bytes:
    file = OpenFile(blob)
    written = io.BytesIO(blob[: file.front_bytes])
    written.seek(0, io.SEEK_END)
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in file.members.items():
            archive.writestr(name, member)
    return written.getvalue()


def foreign() -> bytes:
    graph = Graph()
    x = graph.input("x", (1, 4))
    return graph.file({"y": graph.add("RELU", [x], (1, 4))})


SAME = {
    "no model": lambda blob: with_manifest(blob, model=None),
    "an odd model": lambda blob: with_manifest(blob, model={"offset": "x"}),
    "no tokenizer's files": changed_manifest(tokenizer_files=3),
    "a missing file": without_tokenizer,
    "no seq_len": without("seq_len"),
    "no task": without("task"),
    "an unknown task": changed_manifest(task="translation"),
    "an unknown layout": changed_manifest(layout="spiral"),
    "two lengths in a loop": changed_manifest(seq_lens=[1, 2], seq_len=2),
    "no version": changed_manifest(format_version="1"),
    "an odd rule": changed_manifest(early_exit=7),
    "a rule of no use": changed_manifest(early_exit=None),
    "another model": other_config(model_type="bert"),
    "no sizes": other_config(hidden_size=..., vocab_size=...),
    "a negative size": other_config(vocab_size=-3),
    "two equal labels": other_config(id2label={"0": "a", "1": "a"}),
    "odd labels": other_config(id2label={"0": "a", "7": "b"}),
    "no manifest": lambda blob: remade(blob, **{MANIFEST: None}),
    "no object": broken_json,
    "another size": lambda blob: with_manifest(blob, model={"offset": 64, "size_bytes": 64}),
    "twice": append_archive_twice,
    "compressed": compressed,
    "not a model": lambda _: b"PK\x03\x04 and more of a zip file",
    "cut short": lambda blob: blob[: len(blob) // 2],
    "of another program": lambda _: foreign(),
}
