"""The rig of CompiledModel computes on the software GPU, and says what it took."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from rigs.graphs import Graph
from rigs.swiftshader import RIG, environment, run_compiled


@pytest.fixture(scope="module", autouse=True)
def rig():
    RIG.require()


@pytest.fixture
def saved(tmp_path):
    def save(graph: Graph, **outputs: int) -> Path:
        path = tmp_path / "graph.tflite"
        path.write_bytes(graph.file(outputs))
        return path

    return save


@pytest.fixture
def rows_added(saved):
    """y = x + rows, which the runtime's GPU library computes with row 0 in place of every row."""
    graph = Graph()
    rows = np.arange(32, dtype=np.float32).reshape(8, 4)
    x = graph.input("x", (8, 4))
    return saved(graph, y=graph.add("ADD", [x, rows], (8, 4), schema.AddOptionsT())), rows


@pytest.fixture
def lookup(saved):
    graph, table = Graph(), np.arange(40, dtype=np.float32).reshape(10, 4)
    ids = graph.input("ids", (1, 3), np.int32)
    rows = graph.add("GATHER", [table, ids], (1, 3, 4), schema.GatherOptionsT())
    double = np.full((1, 1, 1), 2, "f4")
    return saved(graph, y=graph.add("MUL", [rows, double], (1, 3, 4), schema.MulOptionsT())), table


ZEROS = {"x": np.zeros((8, 4), np.float32)}
IDS = {"ids": np.int32([[7, 0, 2]])}


def test_the_gpu_computes_and_not_the_cpu(rows_added):
    # The GPU library's own fault shows; a CPU in its place would compute it right.
    file, rows = rows_added
    gpu = run_compiled(file, ZEROS, "gpu")
    assert gpu.fully_accelerated
    assert "SwiftShader" in gpu.log
    np.testing.assert_array_equal(gpu.outputs[0]["y"], np.tile(rows[0], (8, 1)))
    cpu = run_compiled(file, ZEROS, "cpu")
    np.testing.assert_array_equal(cpu.outputs[0]["y"], rows)


def test_a_lookup_stays_on_the_cpu_and_the_reason_is_told(lookup):
    file, table = lookup
    result = run_compiled(file, [IDS, IDS], "gpu|cpu")
    assert not result.fully_accelerated
    assert (result.on_gpu, result.on_cpu) == (1, 1)
    assert result.refused == ("GATHER: Only support 1D indices",)
    assert len(result.outputs) == 2
    for outputs in result.outputs:
        np.testing.assert_array_equal(outputs["y"], 2 * table[None, [7, 0, 2]])


def test_without_the_cpu_a_lookup_is_refused(lookup):
    result = run_compiled(lookup[0], IDS, "gpu")
    assert result.outputs == []
    assert "Some ops are not accelerated" in result.error


def test_without_the_rig_there_is_no_gpu(rows_added, monkeypatch, tmp_path):
    monkeypatch.setenv("ALBERT_EDGE_RIGS_DIR", str(tmp_path / "empty"))
    assert environment()["VK_ICD_FILENAMES"].startswith(str(tmp_path))
    result = run_compiled(rows_added[0], ZEROS, "gpu")
    assert result.outputs == []
    assert result.error


def test_the_default_precision_is_another(rows_added):
    file, _ = rows_added
    assert run_compiled(file, ZEROS, "gpu", float32=False).outputs[0]["y"].shape == (8, 4)


def test_an_unknown_input_is_an_error(rows_added):
    assert "KeyError: 'z'" in run_compiled(rows_added[0], {"z": ZEROS["x"]}, "gpu").error
