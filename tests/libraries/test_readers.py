"""Others that open `.tflite` files open those of every layout and recipe, or say why not.

What computes is compared with LiteRT. Integers are another matter: LiteRT quantizes the inputs of a
product to int8, row by row; OpenVINO and tf2onnx multiply with floats, which is within the recipe's
error, not equal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert_edge.benchmark.system import INT8_DOTS, describe_machine
from albert_edge.config import LAYOUTS
from albert_edge.conversion import convert
from albert_edge.inspection import inspect
from albert_edge.quantization.recipes import RECIPES
from albert_edge.runtime import open_model
from rigs.child import ask
from rigs.node import run_node
from rigs.readers import RIG

LENGTH = 16
ALL = tuple(f"{layout} {recipe}" for layout, recipe in product(LAYOUTS, RECIPES))
# More of the default activation, GELU, which ONNX's operators of tf2onnx lack.
GELU = ("gelu unrolled float32", "gelu gpu float32")
RIGHT, NEAR = 1e-5, 0.1
# OpenVINO's products of int8 by int8 saturate on a processor without dot products of int8.
SATURATED = NEAR if INT8_DOTS & set(describe_machine()["instructions"]) else 0.5
# How far from LiteRT: of the largest output; or what the reader says.
_INT4, _INT16 = "do not have the same element type", "unexpected levels 65536 for precision i8"
OPENVINO: Mapping[str, float | str] = {
    **dict.fromkeys(("loop float32", "loop float16"), RIGHT),
    **dict.fromkeys(("unrolled float32", "unrolled float16", *GELU), RIGHT),
    **dict.fromkeys(("loop int8", "unrolled int8"), NEAR),
    "unrolled int16x8": NEAR,
    "unrolled int8-full": SATURATED,
    **dict.fromkeys(("loop int4", "unrolled int4"), _INT4),
    **dict.fromkeys(("loop int16x8", "loop int8-full"), _INT16),
}
TF2ONNX: Mapping[str, float | str] = {
    **dict.fromkeys(("loop float32", "unrolled float32", "unrolled float16"), RIGHT),
    "unrolled int8": NEAR,
    "unrolled int4": "KeyError: 17",  # its list of types
    "unrolled int16x8": "Type 'tensor(int16)'",
    "gelu unrolled float32": "No Op registered for TFL_GELU",
    "gelu gpu float32": RIGHT,
}


@pytest.fixture(scope="module")
def files(tiny_albert: Any, built_once: Callable[..., Path]) -> dict[str, Path]:
    """A file of every layout and recipe, of ReLU; and two of GELU."""

    def make(name: str) -> Path:
        words = name.split()
        options: dict[str, Any] = {"quantize": words[-1], "verified": False}
        if words[-2] == "gpu":
            options["target"] = "gpu"
        else:
            options["layout"] = words[-2]
        if words[-2] in ("gpu", "unrolled"):
            options["seq_len"] = LENGTH
        model = tiny_albert(**({} if words[0] == "gelu" else {"hidden_act": "relu"}))
        return built_once(
            f"{name.replace(' ', '-')}.tflite", lambda path: convert(model, **options).save(path)
        )

    return {name: make(name) for name in (*ALL, *GELU)}


def inputs() -> dict[str, np.ndarray]:
    ids = np.random.default_rng(0).integers(5, 60, (1, LENGTH), np.int32)
    return {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "token_type_ids": np.zeros_like(ids),
    }


def open_in(reader: str, files: Mapping[str, Path]) -> dict[str, tuple[dict[str, Any], Any]]:
    """Return what a reader found of each file, and its outputs."""
    packages = RIG.require()
    request = {
        "reader": reader,
        "files": list(map(str, files.values())),
        "packages": str(packages),
    }
    answer = ask(Path(sys.executable), "reading.py", request, [inputs()] * len(files))
    found = zip(answer.facts["found"], answer.outputs, strict=True)
    return dict(zip(files, found, strict=True))


def test_netron_shows_every_file(files: dict[str, Path]) -> None:
    folder = RIG.require()
    script = Path(__file__).parents[1] / "rigs/netron.mjs"
    done = run_node(script, folder / "netron", *files.values(), folder=folder)
    assert done.returncode == 0, done.stderr
    for (name, path), shown in zip(files.items(), json.loads(done.stdout), strict=True):
        assert shown.get("format") == "TensorFlow Lite v3", (name, shown)
        signatures = inspect(path)["signatures"]
        assert sum(graph["nodes"] > 0 for graph in shown["graphs"]) >= len(signatures)
        if "split" not in name:
            expected = sorted(signatures["serving_default"]["inputs"])
            assert shown["graphs"][0]["inputs"] == expected, name


def test_model_explorer_shows_every_file(files: dict[str, Path]) -> None:
    for name, (found, _) in open_in("model-explorer", files).items():
        assert not found["error"], name
        assert found["nodes"] > 50, name


@pytest.mark.parametrize(
    ("reader", "expected"),
    [("openvino", OPENVINO), ("tf2onnx", TF2ONNX)],
    ids=["openvino", "tf2onnx"],
)
def test_what_computes_is_right(
    files: dict[str, Path], reader: str, expected: Mapping[str, float | str]
) -> None:
    given = {name: files[name] for name in expected}
    for name, (found, outputs) in open_in(reader, given).items():
        limit = expected[name]
        if isinstance(limit, str):
            assert limit in found["error"], (name, found)
            continue
        assert found["runs"], (name, found)
        (logits,) = outputs.values()
        right = open_model(files[name]).run(inputs()["input_ids"])["logits"]
        difference = np.abs(logits - right).max() / np.abs(right).max()
        assert difference <= limit, name


def test_openvino_shows_the_first_graph_of_a_split_file(files: dict[str, Path]) -> None:
    given = {name: path for name, path in files.items() if name.startswith("split")}
    for name, (found, outputs) in open_in("openvino", given).items():
        assert found["runs"], (name, found)
        assert [values.shape for values in outputs.values()] == [(LENGTH, 32)], name
