"""Damage `.tflite` files: their bytes, the fields of their flatbuffers, and their manifests.

`as-is`      the bytes of a file, whose digest then differs
`redone`     the model or the manifest, with a new digest: the graph's checks must notice

The model alone, in a child process, is the area `isolated`.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import random
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

KINDS = (
    *("as-is/bits", "as-is/words", "as-is/bytes", "as-is/cut", "as-is/swap"),
    *("redone/value", "redone/value", "redone/words", "redone/field", "redone/array"),
    *("redone/value", "redone/value", "redone/bits", "redone/graph", "redone/manifest"),
)
FORBIDS_OTHER_RESULTS = frozenset(kind for kind in KINDS if kind.startswith("as-is"))
_FILES = Path(__file__).parents[1] / "data" / "written_by_0_1" / "files"
_MANIFEST, _CONFIG = "albert_edge.json", "config.json"
_ASKED: dict[str, dict[str, Any]] = {
    "fill-mask": {"text": "the [MASK] is dull"},
    "pretraining": {"text": "the [MASK] of", "pair": "the film is lovely"},
    "question-answering": {"question": "is the plot dull", "context": "the plot is dull"},
    "sentence-order": {"text": "a great film", "pair": "of the cast"},
    "summarization": {"text": ["a great film", "the plot", "is it dull"]},
}
_NUMBERS = (0, 1, -1, 2, 3, 7, 127, 255, 256, 65535, 1 << 20, 2**31 - 1, -(2**31))
_FLOATS = (0.0, -1.0, 1e38, 1e-38, 1e-20, 1e20, float("nan"), float("inf"), 1e-45, 1e6)


class Seed(NamedTuple):
    """A valid file.

    Attributes:
        task: Its task.
        content: Its bytes.
        result: The result of one text.
        places: Where each field of its flatbuffer lies: the accessor to (position, bytes) pairs.
        parsed: Its flatbuffer as pickled objects, which is faster to read.
    """

    task: str
    content: bytes
    result: str
    places: dict[str, list[tuple[int, int]]]
    parsed: bytes


class Case(NamedTuple):
    """A damaged file."""

    seed: int
    content: bytes


def prepare(folder: Path) -> None:
    """Write each kept file again, with a digest."""
    from albert_edge.bundle.bundle import model_bytes, pack, read

    for path in sorted(_FILES.glob("*.tflite")):
        (folder / path.name).write_bytes(pack(model_bytes(path), read(path)))


def load(folder: Path) -> list[Seed]:
    from albert_edge.bundle.bundle import read

    files = {path: read(path).task for path in sorted(folder.glob("*.tflite"))}
    contents = {path: path.read_bytes() for path in files}
    return [
        Seed(task, contents[path], _result(path, task), *parse_model(split_file(contents[path])[0]))
        for path, task in files.items()
    ]


def mutate(kind: str, rng: random.Random, seeds: list[Seed]) -> Case:
    how, _, what = kind.partition("/")
    index = rng.randrange(len(seeds))
    seed = seeds[index]
    if how == "as-is":
        return Case(index, BYTES[what](seed.content, rng))
    if what == "manifest":
        return Case(index, _with_manifest(seed.content, rng))
    front, members = split_file(seed.content)
    return Case(index, _with_model(change_model(what, front, seed, rng), members))


def run(case: Case, seeds: list[Seed]) -> bool:
    seed = seeds[case.seed]
    with tempfile.TemporaryDirectory() as at:
        path = Path(at) / "case.tflite"
        path.write_bytes(case.content)
        return _result(path, seed.task) == seed.result


def _result(path: Path, task: str) -> str:
    import albert_edge

    pipe: Any = albert_edge.load(path)
    return repr(plain(pipe(**_ASKED.get(task, {"text": "the cast of the film is lovely"}))))


def plain(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: plain(value) for name, value in values.items()}
    return values.tolist() if hasattr(values, "tolist") else values


def change_model(what: str, front: bytes, seed: Any, rng: random.Random) -> bytes:
    """Damage a flatbuffer, of which `seed` has `places` and `parsed`."""
    if what == "value":
        return _change_value(front, seed.places, rng)
    if what in BYTES:
        return BYTES[what](front, rng)
    return _change_objects(_OBJECTS[what], seed.parsed, rng)


# Bytes.


def _bits(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _words(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(changed) // 4) * 4
        value = rng.choice((*_NUMBERS, rng.getrandbits(31), rng.randrange(64), len(content)))
        changed[at : at + 4] = (value & 0xFFFFFFFF).to_bytes(4, "little")
    return bytes(changed)


def _some_bytes(content: bytes, rng: random.Random) -> bytes:
    at, length = rng.randrange(len(content)), rng.choice((1, 4, 64, 512))
    new = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    return content[:at] + new + content[at + length :]


def _cut(content: bytes, rng: random.Random) -> bytes:
    at, gone = rng.randrange(len(content)), rng.choice((1, 4, 64, 4096, len(content)))
    return content[:at] + content[at + gone :]


def _swap(content: bytes, rng: random.Random) -> bytes:
    length = rng.choice((4, 16, 256))
    if len(content) < 2 * length:
        return _bits(content, rng)
    first, second = sorted(rng.sample(range(len(content) - length), 2))
    if second < first + length:
        return _bits(content, rng)
    a, b = content[first : first + length], content[second : second + length]
    between = content[first + length : second]
    return content[:first] + b + between + a + content[second + length :]


BYTES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bits": _bits,
    "words": _words,
    "bytes": _some_bytes,
    "cut": _cut,
    "swap": _swap,
}


# Fields of the flatbuffer.


def parse_model(front: bytes) -> tuple[dict[str, list[tuple[int, int]]], bytes]:
    """Parse a model, and note from where each accessor of its schema reads."""
    import sys
    from unittest import mock

    from flatbuffers.table import Table

    from albert_edge.tflite.graph import parse

    places: dict[str, list[tuple[int, int]]] = {}

    def note(depth: int, at: int, size: int) -> None:
        code = sys._getframe(depth + 1).f_code
        places.setdefault(f"{code.co_name} {code.co_firstlineno}", []).append((at, size))

    get, vector = Table.Get, Table.GetVectorAsNumpy

    def noting_get(self: Any, flags: Any, at: int) -> Any:
        note(1, at, flags.bytewidth)
        return get(self, flags, at)

    def noting_vector(self: Any, flags: Any, at: int) -> Any:
        found = vector(self, flags, at)
        start = self.Vector(at)
        note(1, start - 4, 4)
        if flags.bytewidth > 1:  # not the data of buffers
            for index in range(min(len(found), 64)):
                note(1, start + index * flags.bytewidth, flags.bytewidth)
        return found

    with (
        mock.patch.object(Table, "Get", noting_get),
        mock.patch.object(Table, "GetVectorAsNumpy", noting_vector),
    ):
        parsed = pickle.dumps(parse(front))
    return places, parsed


def _change_value(
    front: bytes, places: dict[str, list[tuple[int, int]]], rng: random.Random
) -> bytes:
    """Change the stored bytes of a field or two, whose accessors are chosen first."""
    changed = bytearray(front)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at, size = rng.choice(places[rng.choice(sorted(places))])
        old = int.from_bytes(changed[at : at + size], "little")
        value = rng.choice((
            *_NUMBERS, old + 1, old - 1, old * 2, old ^ 1 << rng.randrange(8 * size),
            rng.randrange(160), *(struct.unpack("<I", struct.pack("<f", x))[0] for x in _FLOATS),
        ))  # fmt: skip
        changed[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
    return bytes(changed)


def _objects(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for one in value:
            yield from _objects(one)
    elif type(value).__name__.endswith("T") and hasattr(value, "__dict__"):
        yield value
        for one in vars(value).values():
            yield from _objects(one)


def _fields(model: Any, kinds: tuple[type, ...]) -> dict[Any, list[Any]]:
    from numpy import ndarray

    found: dict[Any, list[Any]] = {}
    for one in _objects(model):
        for name, value in vars(one).items():
            array = isinstance(value, ndarray) or (
                isinstance(value, list) and value and isinstance(value[0], int)
            )
            is_data = type(one).__name__ == "BufferT"
            if not is_data and (isinstance(value, kinds) or (array and list in kinds)):
                found.setdefault((type(one).__name__, name), []).append(one)
    return found


def _change_field(model: Any, rng: random.Random) -> None:
    found = _fields(model, (bool, int, float, bytes))
    for _ in range(rng.choice((1, 1, 2))):
        (_, name), objects = rng.choice(sorted(found.items(), key=lambda item: item[0]))
        one = rng.choice(objects)
        setattr(one, name, _other(getattr(one, name), rng))


def _other(value: Any, rng: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((*_NUMBERS, value + 1, value - 1, value * 2, rng.randrange(160)))
    if isinstance(value, float):
        return rng.choice((*_FLOATS, value * 1e6, -value))
    return rng.choice((b"", b"\xff\xfe", value + b"x", value[:-1], b"x" * 4096))


def _change_array(model: Any, rng: random.Random) -> None:
    import numpy as np

    found = _fields(model, (list,))
    for _ in range(rng.choice((1, 1, 2))):
        (_, name), objects = rng.choice(sorted(found.items(), key=lambda item: item[0]))
        one = rng.choice(objects)
        array = np.atleast_1d(getattr(one, name) if getattr(one, name) is not None else [])
        how = rng.randrange(6)
        if how == 0:
            setattr(one, name, None)
        elif how == 1:
            setattr(one, name, array[: rng.randrange(len(array) + 1)])
        elif how == 2:
            setattr(one, name, np.concatenate([array, array]))
        elif len(array):
            choices = _FLOATS if array.dtype.kind == "f" else (*_NUMBERS, rng.randrange(160))
            array[rng.randrange(len(array))] = rng.choice(choices)
            setattr(one, name, array)


def _change_graph(model: Any, rng: random.Random) -> None:
    graph = rng.choice(model.subgraphs)
    lists = [graph.operators, graph.tensors, model.buffers, model.operatorCodes, model.subgraphs]
    lists.append(model.signatureDefs)
    chosen = rng.choice([entries for entries in lists if entries])
    first, second = rng.randrange(len(chosen)), rng.randrange(len(chosen))
    how = rng.randrange(5)
    if how == 0:
        chosen[first], chosen[second] = chosen[second], chosen[first]
    elif how == 1:
        chosen[first] = chosen[second]
    elif how == 2 and len(chosen) > 1:
        del chosen[first]
    elif how == 3:
        chosen.insert(first, chosen[second])
    else:
        _rewire(rng.choice(graph.operators or model.subgraphs[0].operators), graph, rng)


def _rewire(operator: Any, graph: Any, rng: random.Random) -> None:
    name = rng.choice(("inputs", "outputs"))
    indices = [int(index) for index in getattr(operator, name)]
    other = rng.choice((-1, len(graph.tensors), rng.randrange(len(graph.tensors))))
    if not indices or rng.random() < 0.2:
        indices.append(other)
    elif rng.random() < 0.2:
        indices.pop()
    else:
        indices[rng.randrange(len(indices))] = other
    setattr(operator, name, indices)


_OBJECTS: dict[str, Callable[[Any, random.Random], None]] = {
    "field": _change_field,
    "array": _change_array,
    "graph": _change_graph,
}


# The file around the flatbuffer.


def _change_objects(
    change: Callable[[Any, random.Random], None], parsed: bytes, rng: random.Random
) -> bytes:
    from albert_edge.tflite.graph import pack

    while True:  # draw again where a field cannot hold its new value at all
        model = pickle.loads(parsed)  # noqa: S301 (our own)
        change(model, rng)
        with contextlib.suppress(
            TypeError, ValueError, AttributeError, OverflowError, IndexError, struct.error
        ):
            return pack(model)


def split_file(content: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Return what stands before the archive, model and TFLite Metadata, and the archive's files."""
    from albert_edge.bundle.archive import OpenFile

    file = OpenFile(content)
    return content[: file.front_bytes], dict(file.members)


def _joined(front: bytes, members: dict[str, bytes], manifest: Any) -> bytes:
    from albert_edge.bundle.archive import append_archive
    from albert_edge.bundle.bundle import _seal

    if isinstance(manifest.get("model"), dict):
        with contextlib.suppress(UnicodeEncodeError):
            return _seal(front, members, manifest)
        manifest["model"].pop("sha256", None)
    return append_archive(front, {**members, _MANIFEST: json.dumps(manifest).encode()})


def _with_model(front: bytes, members: dict[str, bytes]) -> bytes:
    front += bytes(-len(front) % 64)
    manifest = json.loads(members[_MANIFEST])
    manifest["model"]["size_bytes"] = max(1, len(front) - manifest["model"]["offset"])
    return _joined(front, members, manifest)


def _with_manifest(content: bytes, rng: random.Random) -> bytes:
    front, members = split_file(content)
    name = rng.choice((_MANIFEST, _MANIFEST, _CONFIG))
    values = json.loads(members[name])
    at, key = values, rng.choice(sorted(values))
    while isinstance(at[key], dict) and at[key] and rng.random() < 0.8:
        at, key = at[key], rng.choice(sorted(at[key]))
    if rng.random() < 0.2:
        del at[key]
    else:
        at[key] = rng.choice(
            (
                *_NUMBERS,
                at[key],
                None,
                True,
                "",
                "x",
                "\ud800",
                "unrolled",
                [],
                [1],
                {},
                {"a": 1},
                0.5,
            )
        )
    if name == _MANIFEST:
        return _joined(front, members, values)
    members[name] = json.dumps(values).encode()
    return _joined(front, members, json.loads(members[_MANIFEST]))
