"""The rig of the phone's GPU delegate computes by OpenCL, with kernels of the maker asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from rigs import gpu_delegate
from rigs.gpu_delegate import ANDROID, MAKERS, OPENCL
from rigs.graphs import Graph
from rigs.install import RigError, call

ROOT = Path(__file__).parents[2]
# No multiple of the threads of a group: some threads have no row to compute.
SHAPE = (1, 2, 24, 24)
CLOSE = 1e-4  # sums of 24 products of numbers of about 1 and 2, in another order


@pytest.fixture(scope="module", autouse=True)
def rigs():
    ANDROID.require()
    OPENCL.require()


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


@pytest.fixture
def saved(tmp_path):
    def save(graph: Graph, **outputs: int) -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.tflite"
        path.write_bytes(graph.file(outputs))
        return path

    return save


@pytest.fixture
def product(saved):
    """A function that makes y = 2x · (x + 1), or 2x · (x + 1)ᵀ."""

    def make(*, adj_y: bool = False) -> Path:
        graph = Graph()
        x = graph.input("x", SHAPE)
        double = graph.add("MUL", [x, np.full((1, 1, 1, 1), 2, "f4")], SHAPE, schema.MulOptionsT())
        one_more = graph.add("ADD", [x, np.ones((1, 1, 1, 1), "f4")], SHAPE, schema.AddOptionsT())
        options = schema.BatchMatMulOptionsT(adjY=adj_y)
        return saved(graph, y=graph.add("BATCH_MATMUL", [double, one_more], SHAPE, options))

    return make


def test_without_a_maker_the_cpu_computes(product, x):
    result = gpu_delegate.run(product(), {"x": x})
    np.testing.assert_allclose(result.outputs[0]["y"], 2 * x @ (x + 1), atol=CLOSE)
    assert (result.nodes, result.delegated, result.launched, result.sources) == (3, 0, 0, "")
    assert result.left == ("MUL", "ADD", "BATCH_MATMUL")


def test_every_maker_computes_right_with_kernels_of_its_own(product, x):
    file, sources = product(), set()
    for maker in MAKERS:
        result = gpu_delegate.run(file, {"x": x}, maker=maker)
        np.testing.assert_allclose(result.outputs[0]["y"], 2 * x @ (x + 1), atol=CLOSE)
        assert (result.nodes, result.delegated, result.partitions) == (3, 3, 1), maker
        assert result.launched >= 1, maker
        assert not result.left, maker
        sources.add(result.sources)
    assert len(sources) == len(MAKERS)


@pytest.mark.parametrize("maker", MAKERS)
def test_the_delegates_own_faults_show(product, saved, maker, x):
    # A CPU, or another library in its place, would compute both right.
    try:
        result = gpu_delegate.run(product(adj_y=True), {"x": x}, maker=maker)
        transposed = result.outputs[0]["y"]
    except RigError:  # it may also write where it must not, and then the process dies
        transposed = np.full(SHAPE, np.nan)
    assert not np.abs(transposed - 2 * x @ np.swapaxes(x + 1, -1, -2)).max() < 1
    graph = Graph()
    rows = np.arange(32, dtype=np.float32).reshape(8, 4)
    total = graph.add("ADD", [graph.input("x", (8, 4)), rows], (8, 4), schema.AddOptionsT())
    zeros = {"x": np.zeros((8, 4), np.float32)}
    broadcast = gpu_delegate.run(saved(graph, y=total), zeros, maker=maker)
    np.testing.assert_array_equal(broadcast.outputs[0]["y"], np.tile(rows[0], (8, 1)))


def test_a_lookup_stays_on_the_cpu_and_is_named(saved):
    graph, table = Graph(), np.arange(40, dtype=np.float32).reshape(10, 4)
    ids = graph.input("ids", (1, 3), np.int32)
    rows = graph.add("GATHER", [table, ids], (1, 3, 4), schema.GatherOptionsT())
    double = np.full((1, 1, 1), 2, "f4")
    file = saved(graph, y=graph.add("MUL", [rows, double], (1, 3, 4), schema.MulOptionsT()))
    result = gpu_delegate.run(file, {"ids": np.int32([[7, 0, 2]])}, maker="mali")
    np.testing.assert_array_equal(result.outputs[0]["y"], 2 * table[None, [7, 0, 2]])
    assert (result.nodes, result.delegated, result.left) == (2, 1, ("GATHER",))


def test_what_the_delegate_refuses_is_an_error_with_its_reason(saved, x):
    graph = Graph()
    tensor = graph.input("x", SHAPE)
    square = graph.add("BATCH_MATMUL", [tensor, tensor], SHAPE, schema.BatchMatMulOptionsT())
    result = gpu_delegate.run(saved(graph, y=square), {"x": x}, maker="adreno")
    assert (result.outputs, result.delegated) == ([], 0)
    assert result.error == "TfLiteInterpreterCreate returned nothing"
    assert "TfLiteGpuDelegate Init" in result.log


def test_xnnpack_as_a_delegate(product, x):
    result = gpu_delegate.run(product(), {"x": x}, xnnpack=True)
    np.testing.assert_allclose(result.outputs[0]["y"], 2 * x @ (x + 1), atol=CLOSE)
    assert result.delegated >= 2
    assert "XNNPACK delegate" in result.log


def test_several_inputs_of_several_shapes_run_on_one_interpreter(saved):
    graph = Graph()
    double = np.full((1, 1), 2, "f4")
    x = graph.input("x", (-1, -1))
    file = saved(graph, y=graph.add("MUL", [x, double], (-1, -1), schema.MulOptionsT()))
    inputs = [{"x": np.ones((2, 4), "f4")}, {"x": np.full((3, 5), 4, "f4")}]
    result = gpu_delegate.run(file, inputs)
    assert [o["y"].tolist() for o in result.outputs] == [[[2.0] * 4] * 2, [[8.0] * 5] * 3]


def test_errors_name_the_call(product, tmp_path, x):
    missing = gpu_delegate.run(tmp_path / "no.tflite", {})
    assert missing.error == "TfLiteModelCreateFromFile returned nothing"
    unknown = gpu_delegate.run(product(), {"x": x}, signature="other")
    assert unknown.error == "TfLiteInterpreterGetSignatureRunner returned nothing"
    misnamed = gpu_delegate.run(product(), {"z": x})
    assert misnamed.error == "TfLiteSignatureRunnerGetInputTensor returned nothing"


def test_a_process_that_dies_or_takes_too_long_is_an_error(product, tmp_path, x, monkeypatch):
    with pytest.raises(RigError, match="gave no answer in 0 s"):
        gpu_delegate.run(product(), {"x": x}, timeout_s=0.01)
    monkeypatch.setenv("ALBERT_EDGE_RIGS_DIR", str(tmp_path))
    with pytest.raises(RigError, match=r"ended with exit code 1 and no answer:(.|\n)*libc\.so"):
        gpu_delegate.run(product(), {"x": x})


def test_the_libraries_have_no_versions_of_symbols():
    for name in ("libtensorflowlite_jni.so", "libtensorflowlite_gpu_jni.so"):
        dynamic = call("readelf", "--dynamic", "--wide", ANDROID.path / name)
        assert "NEEDED" in dynamic
        assert "VERNEED" not in dynamic
        assert "VERSYM" not in dynamic


def test_the_command_line(product, tmp_path, x):
    np.savez(tmp_path / "in.npz", x=x)
    command = [sys.executable, "-m", "tests.rigs.gpu_delegate", str(product()), "--json"]
    options = ["--maker", "mali", "--inputs", str(tmp_path / "in.npz")]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, check=True)
    answer = json.loads(done.stdout)
    assert (answer["delegated"], answer["left"]) == (3, [])
    np.testing.assert_allclose(answer["outputs"][0]["y"], 2 * x @ (x + 1), atol=CLOSE)
