"""The rig of tflite-runtime runs the old runtime."""

from __future__ import annotations

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from rigs import tflite_runtime_2_14
from rigs.graphs import Graph
from rigs.install import call


@pytest.fixture(scope="module", autouse=True)
def rig():
    tflite_runtime_2_14.RIG.require()


@pytest.fixture
def doubled(tmp_path):
    graph = Graph()
    x = graph.input("x", (-1, 4))
    double = graph.add("MUL", [x, np.float32([[2]])], (-1, 4), schema.MulOptionsT())
    path = tmp_path / "double.tflite"
    path.write_bytes(graph.file({"y": double}))
    return path


def test_it_is_the_old_runtime_and_runs_any_length(doubled):
    code = "from importlib.metadata import version; print(version('tflite-runtime'))"
    assert call(tflite_runtime_2_14.python(), "-c", code).strip() == "2.14.0"
    inputs = [{"x": np.ones((1, 4), "f4")}, {"x": np.full((3, 4), 4, "f4")}]
    result = tflite_runtime_2_14.run(doubled, inputs)
    assert [o["y"].tolist() for o in result.outputs] == [[[2.0] * 4], [[8.0] * 4] * 3]


def test_a_newer_operator_is_refused(doubled):
    model = schema.ModelT.InitFromPackedBuf(doubled.read_bytes())
    model.operatorCodes[0].version = 99
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    doubled.write_bytes(bytes(builder.Output()))
    result = tflite_runtime_2_14.run(doubled, {"x": np.ones((1, 4), "f4")})
    assert "Didn't find op for builtin opcode 'MUL' version '99'" in result.error
