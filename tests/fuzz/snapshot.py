"""Damage the states of interrupted trainings, and resume from them.

`file`      the bytes of the file
`redone`    what is in it, with the checksums of the archive made anew

A training has one step left.  It is resumed as its verb does, but for the compilation of its step,
which takes a second.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from . import kill, report, tflite

_HOW = (
    *("file/bits", "file/words", "file/bytes", "file/cut", "file/swap"),
    *("redone/values", "redone/keys", "redone/heads", "redone/numbers", "redone/members"),
)
_VERBS = ("finetune", "compress", "pretrain")
KINDS = (*(f"{verb}/{how}" for how in _HOW for verb in _VERBS), "pretrain/curve")
LIMIT_S = 30.0
MEMORY_BYTES = 64 << 30  # TensorFlow reserves many addresses
_STATES = {"finetune": "out.training", "compress": "out.training", "pretrain": "out/training.npz"}
_CURVE = "out/curve.jsonl"
# Of float32: NaN, infinity, the largest and the smallest number, 0, and all bits.
_WORDS = (
    *(b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f", b"\1\0\0\0", bytes(4)),
    b"\xff" * 4,
)
_ROWS = 9  # of the table: one batch


class Seed(NamedTuple):
    """An interrupted training: its files by name, and the weights with which it ends."""

    files: dict[str, bytes]
    result: dict[str, bytes]


class Case(NamedTuple):
    """A damaged state and the verb that resumes from it."""

    verb: str
    files: dict[str, bytes]


def prepare(folder: Path) -> None:
    """Interrupt each training when its second state is written."""
    for verb in _VERBS:
        (folder / verb).mkdir()
        _interrupt(folder / verb, verb)


def _interrupt(folder: Path, verb: str) -> None:
    from unittest import mock

    from albert_edge.training import state

    write, written = state.write_state, []

    def interrupting(path: Path, values: Any, *, owner: str) -> None:
        write(path, values, owner=owner)
        written.append(path)
        if len(written) == 2:
            raise KeyboardInterrupt

    with mock.patch.object(state, "write_state", interrupting):
        try:
            _train(folder, verb, resume=False)
        except KeyboardInterrupt:
            return
    raise AssertionError(f"{verb} was not interrupted")


def load(folder: Path) -> dict[str, Seed]:
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)  # a trace takes longer than the step that is left
    found = {}
    for verb in _VERBS:
        names = (_STATES[verb], *([_CURVE] if verb == "pretrain" else []))
        files = {name: (folder / verb / name).read_bytes() for name in names}
        found[verb] = Seed(files, _resume(Case(verb, files)))
    return found


def mutate(kind: str, rng: random.Random, seeds: dict[str, Seed]) -> Case:
    verb, _, how = kind.partition("/")
    files = dict(seeds[verb].files)
    if how == "curve":
        files[_CURVE] = _change_curve(files[_CURVE], rng)
        return Case(verb, files)
    what, _, how = how.partition("/")
    change = partial(_redo, how) if what == "redone" else tflite.BYTES[how]
    files[_STATES[verb]] = change(files[_STATES[verb]], rng)
    return Case(verb, files)


def run(case: Case, seeds: dict[str, Seed]) -> bool:
    return _resume(case) == seeds[case.verb].result


def _resume(case: Case) -> dict[str, bytes]:
    from albert_edge.checkpoints import read_checkpoint

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if case.verb == "pretrain":
            shutil.copytree(kill.OLD, work / "out")
        for name, content in case.files.items():
            (work / name).write_bytes(content)
        _train(work, case.verb, resume=True)
        tensors = read_checkpoint(str(work / "out")).tensors
        return {name: values.tobytes() for name, values in tensors.items()}


def _train(work: Path, verb: str, *, resume: bool) -> None:
    from albert_edge.training.compression import compress
    from albert_edge.training.compression.methods import Prune
    from albert_edge.training.finetune_files import finetune_files
    from albert_edge.training.options import FinetuneOptions
    from albert_edge.training.pretraining.options import PretrainOptions
    from albert_edge.training.pretraining.pretrain_files import pretrain_files

    again: dict[str, Any] = {"resume": resume, "force": not resume}
    data, output, source = work / "rows.tsv", work / "out", kill.INTERRUPTED
    data.write_text("".join(kill.TABLE.read_text().splitlines(keepends=True)[:_ROWS]))
    options = FinetuneOptions(epochs=3, max_length=32)
    if verb == "finetune":
        place = str(source / "classifier")
        finetune_files(data, output, source=place, options=options, save_every_s=0.0, **again)
    elif verb == "compress":
        place = str(source / "trained")
        compress.compression_report = lambda *_, **__: {}  # written before it, and slow to make
        compress.compress_files(
            place, data, output, method=Prune(), options=options, save_every_s=0.0, **again
        )
    else:
        steps = PretrainOptions(
            steps=3, batch_size=4, max_length=16, examine_every=1, save_every_s=0.0, warm_up=0.3
        )
        pretrain_files([kill.TEXT], output, source=str(source / "encoder"), options=steps, **again)


# What is in a state, which `numpy.savez` writes: a document and arrays.


def _redo(how: str, content: bytes, rng: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members = _CHANGES[how](members, rng)
    blob = io.BytesIO()
    with zipfile.ZipFile(blob, "w", rng.choice((zipfile.ZIP_STORED,) * 9 + (8,))) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return blob.getvalue()


def _change_document(
    change: str, members: dict[str, bytes], rng: random.Random
) -> dict[str, bytes]:
    import numpy as np

    name = next(iter(members))
    document = json.loads(str(np.load(io.BytesIO(members[name]))))
    for _ in range(rng.choice((1, 1, 2))):
        report.change_field(change, document, rng)
    blob = io.BytesIO()
    np.save(blob, np.array(json.dumps(document)))
    return {**members, name: blob.getvalue()}


def _change_values(members: dict[str, bytes], rng: random.Random) -> dict[str, bytes]:
    return _change_document(rng.choice(("replace", "replace", "copy", "lengths")), members, rng)


def _change_keys(members: dict[str, bytes], rng: random.Random) -> dict[str, bytes]:
    return _change_document(rng.choice(("keys", "delete")), members, rng)


def _change_heads(members: dict[str, bytes], rng: random.Random) -> dict[str, bytes]:
    """Change a byte or a number in the description of an array."""
    name = rng.choice(list(members))
    head, _, rest = members[name].partition(b"\n")
    if rng.random() < 0.5:
        old = rng.choice((b"<f4", b"<i8", b"(", b", ", b"False", b"descr", b"shape", b"16"))
        odd = (b"|O", b"<f8", b">f4", b"<U9", b"", b"9" * 15, b"-1", b"True", b"(), (", b"0, ")
        head = head.replace(old, rng.choice(odd), 1)
    else:
        head = tflite.BYTES[rng.choice(("bits", "bytes", "cut", "swap"))](head, rng)
    return {**members, name: head + b"\n" + rest}


def _change_numbers(members: dict[str, bytes], rng: random.Random) -> dict[str, bytes]:
    """Change what stands behind the description of an array."""
    name = rng.choice(list(members))
    head, _, rest = members[name].partition(b"\n")
    changed = bytearray(rest)
    for _ in range(rng.choice((1, 1, 4, 64))):
        at, new = 4 * rng.randrange(len(rest) // 4 or 1), rng.choice((*_WORDS, rng.randbytes(4)))
        changed[at : at + 4] = new
    return {**members, name: head + b"\n" + changed[: len(rest)]}


def _change_members(members: dict[str, bytes], rng: random.Random) -> dict[str, bytes]:
    names = list(members)
    first, second = rng.choice(names), rng.choice(names)
    how = rng.randrange(5)
    if how == 0:
        members.pop(first)
    elif how == 1:
        members[first], members[second] = members[second], members[first]
    elif how == 2:
        members[f"arr_{len(names)}.npy"] = members[second]
    elif how == 3:
        members[first] = b""
    else:
        rng.shuffle(names)
        return {name: members[name] for name in names}
    return members


_CHANGES: dict[str, Callable[[dict[str, bytes], random.Random], dict[str, bytes]]] = {
    "values": _change_values,
    "keys": _change_keys,
    "heads": _change_heads,
    "numbers": _change_numbers,
    "members": _change_members,
}


def _change_curve(content: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        return tflite.BYTES[rng.choice(("bits", "bytes", "cut", "swap"))](content, rng)
    points = [json.loads(line) for line in content.splitlines()]
    report.change_field(rng.choice(("replace", "delete", "keys", "copy")), points, rng)
    return "".join(f"{json.dumps(point)}\n" for point in points).encode()
