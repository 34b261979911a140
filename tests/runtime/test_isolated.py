"""A file in a child process: the same results, and an error where the child dies or hangs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kept
from albert_edge.bundle.bundle import model_bytes, pack, read
from albert_edge.errors import BundleError, InputError
from albert_edge.runtime import open_model
from albert_edge.runtime.isolated import run_foreign
from albert_edge.tflite.graph import builtin_code, parse, schema
from albert_edge.tflite.graph import pack as pack_model

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="passes on a descriptor")
IDS = [2, 9, 11, 3]
Op = schema.BuiltinOperator


def changed(blob: bytes, change: Callable[[Any], None]) -> bytes:
    model = parse(model_bytes(blob))
    change(model)
    return pack(pack_model(model), read(blob))


def crashing(model: Any) -> None:
    """Split into no parts, which divides by zero."""
    for graph in model.subgraphs:
        for operator in graph.operators:
            if builtin_code(model, operator) == Op.SPLIT:
                operator.builtinOptions.numSplits = 0


def endless(model: Any) -> None:
    """Let a loop go on for ever: what it compares the pass with is the pass's own successor."""
    (loop,) = [one for one in model.subgraphs[0].operators if builtin_code(model, one) == Op.WHILE]
    body = model.subgraphs[loop.builtinOptions.bodySubgraphIndex]
    add = next(one for one in body.operators if one.outputs[0] == body.outputs[0])
    one = body.tensors[add.inputs[1]]
    model.buffers.append(schema.BufferT(data=np.zeros(1, np.int32).tobytes()))
    one.buffer = len(model.buffers) - 1


@pytest.mark.parametrize("how", [{}, {"layout": "split", "seq_len": 16}, {"early_exit": True}])
def test_results_are_the_same(
    how: dict[str, Any], tiny_tflite: Callable[..., bytes], tmp_path: Path
) -> None:
    blob = tiny_tflite("classification", **how)
    (tmp_path / "tiny.tflite").write_bytes(blob)
    want = open_model(blob).run(IDS)
    for source in (blob, tmp_path / "tiny.tflite"):
        got = open_model(source, isolated=True).run(IDS)
        assert got.keys() == want.keys()
        for name, values in want.items():
            np.testing.assert_array_equal(got[name], values)


def test_a_crash_is_one_error(tiny_tflite: Callable[..., bytes], tmp_path: Path) -> None:
    path = tmp_path / "bad.tflite"
    path.write_bytes(changed(tiny_tflite("classification", layout="unrolled"), crashing))
    with pytest.raises(BundleError, match=r"\(SPLIT\): it makes 0 parts"):
        open_model(path)
    with pytest.raises(BundleError, match=r"bad\.tflite ended the process .*killed by SIG"):
        open_model(path, check=False, isolated=True).run(IDS)
    kept.call("run", path, "--ids", "2 9 11 3", "--no-check", "--isolated", code=1)


def test_a_loop_without_an_end_is_one_error(tiny_tflite: Callable[..., bytes]) -> None:
    blob = changed(tiny_tflite("classification"), endless)
    model = open_model(blob, check=False, isolated=True, time_limit_s=2)
    for _ in range(2):  # and the model is no longer there
        with pytest.raises(BundleError, match=r"took over 2 s|ended the process"):
            model.run(IDS)


def test_a_model_of_any_origin_runs_on_ids(
    tiny_tflite: Callable[..., bytes], tmp_path: Path
) -> None:
    blob = tiny_tflite("classification", seq_len=16)
    path = tmp_path / "foreign.tflite"
    path.write_bytes(model_bytes(blob))
    shown = json.loads(kept.call("run", path, "--ids", "2 9 11 3", "--isolated", "--json"))
    (logits,) = shown.values()
    assert np.shape(logits) == (1, 3)
    assert "1x3" in kept.call("run", path, "--ids", "2 9 11 3", "--isolated")
    with pytest.raises(InputError, match="17 tokens are too many; this model takes 16"):
        run_foreign(path, [2] * 17, [0] * 17)
    with pytest.raises(InputError, match="only token ids"):
        run_foreign(model_bytes(tiny_tflite("classification", early_exit=True)), IDS, [0] * 4)
    with pytest.raises(BundleError, match="has a damaged model"):
        run_foreign(model_bytes(blob)[:-1000], IDS, [0] * 4)


def test_without_isolation_a_foreign_model_is_refused(
    tiny_tflite: Callable[..., bytes], tmp_path: Path
) -> None:
    path = tmp_path / "foreign.tflite"
    path.write_bytes(model_bytes(tiny_tflite("classification")))
    kept.call("run", path, "--ids", "2 9 11 3", code=1)
