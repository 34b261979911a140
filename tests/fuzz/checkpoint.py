"""Damage Hugging Face directories: configurations, safetensors and torch files."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

KINDS = ("bits", "words", "bytes", "cut", "swap", "head", "values", "keys", "names", "files")
MEMORY_BYTES = 3 << 30
_DATA = Path(__file__).parents[1] / "data"
_SOURCES = (
    _DATA / "parity" / "base_classification",
    _DATA / "parity" / "gelu_masks",
    _DATA / "foreign" / "torch",
    _DATA / "foreign" / "torch_legacy",
    _DATA / "foreign" / "sharded",
)
_HEAD_BYTES = 3000  # of a file of weights: where names, types and shapes are
_STRAY = (
    *("adapter_config.json", "tokenizer_config.json", "vocab.txt", "spiece.model"),
    *("model.safetensors", "pytorch_model.bin", "tf_model.h5", "keras_weights.h5"),
    *("model.safetensors.index.json", "special_tokens_map.json", "added_tokens.json"),
)


class Case(NamedTuple):
    """The files of a damaged directory."""

    seed: int
    files: dict[str, bytes]


def prepare(folder: Path) -> None:
    """Nothing: the directories are in tests/data."""


def load(folder: Path) -> list[tuple[dict[str, bytes], Any]]:
    found = []
    for source in _SOURCES:
        files = {path.name: path.read_bytes() for path in source.iterdir() if path.is_file()}
        found.append((files, _answer(files)))
    return found


def mutate(kind: str, rng: random.Random, seeds: list[tuple[dict[str, bytes], Any]]) -> Case:
    from . import tflite, tokenizer

    index = rng.randrange(len(seeds))
    files = dict(seeds[index][0])
    weights = [name for name in files if not name.endswith((".json", ".npz", ".txt"))]
    name = rng.choice(weights)
    if kind in ("values", "keys"):
        name = rng.choice([name for name in files if name.endswith(".json")])
        values = json.loads(files[name])
        (tokenizer._values if kind == "values" else tokenizer._keys)(values, rng)
        files[name] = json.dumps(values).encode()
    elif kind == "head":
        head = tflite.BYTES["bits"](files[name][:_HEAD_BYTES], rng)
        files[name] = head + files[name][_HEAD_BYTES:]
    elif kind == "names":
        old, new = rng.choice((b"albert", b"weight", b"classifier", b"dense")), rng.randbytes(3)
        files[name] = files[name].replace(old, new + old[3:], rng.choice((1, 3, 100)))
    elif kind == "files":
        content = rng.choice([*files.values(), b"", b"{}", rng.randbytes(99)])
        files[rng.choice([*_STRAY, *files])] = content
    else:
        files[name] = tflite.BYTES[kind](files[name], rng)
    return Case(index, files)


def run(case: Case, seeds: list[tuple[dict[str, bytes], Any]]) -> bool:
    return bool(_answer(case.files) == seeds[case.seed][1])


def _answer(files: dict[str, bytes]) -> Any:
    from albert_edge.checkpoints import read_checkpoint

    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        found = read_checkpoint(folder)
    tensors = {name: values.tobytes() for name, values in found.tensors.items()}
    return found.config, found.task, tensors, dict(found.tokenizer_files)
