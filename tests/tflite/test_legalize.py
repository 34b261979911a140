"""Files for older runtimes: their operators, their outputs, and that they run."""

from __future__ import annotations

import json
import os
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from albert_edge import convert
from albert_edge.bundle import bundle
from albert_edge.config import LAYOUTS
from albert_edge.errors import ConversionError
from albert_edge.inspection import inspect
from albert_edge.modeling import Albert
from albert_edge.quantization.model import quantize_stages
from albert_edge.quantization.recipes import RECIPES, get_recipe
from albert_edge.runtime import open_model
from albert_edge.tflite.graph import builtin_code, pack, parse, schema, tensor_bytes
from albert_edge.tflite.legacy_runtimes import RUNTIMES, check_recipe
from albert_edge.tflite.legalize import legalize, operator_versions
from albert_edge.tflite.link import link
from rigs import tflite_runtime_2_14

OLD = RUNTIMES["tflite-runtime-2.14"]
IDS = np.array([[2, 17, 5, 40, 8, 21, 3]], np.int32)
# Weights of fewer than 1024 numbers stay float32: all but one of these products have more.
WIDE = {"embedding_size": 32, "hidden_size": 64}
HIDDEN = np.random.default_rng(3).standard_normal((7, WIDE["hidden_size"])).astype(np.float32)


def stages(blob: bytes) -> dict[str, Any]:
    """Run each stage of a `split` model on the same inputs, in LiteRT."""
    interpreter = Interpreter(model_content=blob)
    outputs: dict[str, Any] = {}
    for key in ("embed", "layer", "head"):
        ids = {"input_ids": IDS, "token_type_ids": IDS % 2}
        runner = interpreter.get_signature_runner(key)
        given = ids if key == "embed" else {"hidden_states": HIDDEN}
        outputs |= {f"{key}/{name}": value for name, value in runner(**given).items()}
    return outputs


def lower(blob: bytes) -> bytes:
    return pack(legalize(parse(blob), OLD))


def versions(blob: bytes) -> dict[str, int]:
    return operator_versions(parse(blob))


def size(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.fixture(scope="module")
def integers() -> tuple[Callable[[], Any], bytes]:
    """A layer norm and a GELU, and the converter's model of them with 16-bit activations."""
    import tensorflow as tf

    def stage(hidden_states: Any) -> dict[str, Any]:
        mean = tf.reduce_mean(hidden_states, axis=-1, keepdims=True)
        variance = tf.reduce_mean(
            tf.math.squared_difference(hidden_states, mean), axis=-1, keepdims=True
        )
        normal = (hidden_states - mean) * tf.math.rsqrt(variance + 1e-6)
        kernel = tf.constant(np.random.default_rng(1).standard_normal((64, 64)) / 8, tf.float32)
        return {"hidden_states": tf.nn.gelu(tf.matmul(normal, kernel), approximate=True)}

    spec = tf.TensorSpec(HIDDEN.shape, tf.float32, "hidden_states")
    function = tf.function(stage).get_concrete_function(hidden_states=spec)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: [{"hidden_states": HIDDEN}]
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter's own interpreter is deprecated
        return lambda: stage(tf.constant(HIDDEN))["hidden_states"].numpy(), converter.convert()


@pytest.fixture(scope="module")
def lowered(tiny_tflite: Callable[..., bytes]) -> Callable[..., tuple[bytes, bytes]]:
    """A function that makes a tiny model as it is linked, and lowered."""

    def make(*arguments: Any, **options: Any) -> tuple[bytes, bytes]:
        model = bundle.model_bytes(tiny_tflite(*arguments, **options))
        return model, lower(model)

    return make


@pytest.mark.parametrize("seq_len", [None, 12])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("quantize", OLD.recipes)
def test_no_operator_is_newer_than_the_runtime_knows(lowered, quantize, layout, seq_len):
    model, old = lowered(layout=layout, quantize=quantize, seq_len=seq_len)
    assert {
        name: version for name, version in versions(old).items()
        if version > OLD.versions[name]
    } == {}  # fmt: skip
    assert lower(old) == old
    # Products with weights in float are as they always were.
    assert (versions(old) == versions(model)) is (quantize != "int8")
    before, after = (inspect(blob)["weights"] for blob in (model, old))
    assert after["duplication"] <= 1.01
    assert after["by_type"].get("int8") == before["by_type"].get("int8")  # not one byte more


@pytest.mark.parametrize(
    ("task", "config"),
    [
        ("classification", {}),
        ("classification", {"hidden_act": "relu"}),  # an activation inside the product
        ("pretraining", {}),  # a product with the table of word embeddings
    ],
)
def test_every_stage_says_the_same(lowered, task, config):
    model, old = lowered(task, layout="split", quantize="int8", **WIDE, **config)
    before, after = stages(model), stages(old)
    assert before.keys() == after.keys()
    for name, values in before.items():
        # The same products of the same integers, scaled in another order: float32 rounding.  In
        # the layer that may move an activation that is halfway between two integers to the other
        # one: a step of 1/255 of a row's range, in one of its 64 values.
        most = 1e-3 if name.startswith("layer") else 2e-6
        assert size(after[name] - values) <= most * size(values), name


def test_what_the_first_row_alone_would_scale_is_something_else(lowered):
    # The tolerances above are tight enough to detect what an old runtime computes with the newer
    # operator: the first row's scale for all rows.
    model, _ = lowered(layout="split", quantize="int8", **WIDE)
    parsed = parse(model)
    for tensor in (tensor for graph in parsed.subgraphs for tensor in graph.tensors):
        if tensor.quantization is not None and np.size(tensor.quantization.scale) > 1:
            tensor.quantization.scale = tensor.quantization.scale[:1]
            tensor.quantization.zeroPoint = [0]
    before, after = stages(model), stages(pack(parsed))
    assert all(size(after[name] - values) > 0.02 * size(values) for name, values in before.items())


def test_products_without_a_bias(tiny_albert):
    config = tiny_albert(**WIDE).config
    quantized = quantize_stages(
        Albert(config, task="classification"), get_recipe("int8")
    )  # its biases are 0
    model = pack(link(quantized, config, layout="split").model)
    old = pack(link(quantized, config, layout="split", runtime=OLD).model)
    assert lower(model) == old
    # The pooler is followed by its scales, and by no bias; the classifier is too small for int8.
    operators = [len(parse(blob).subgraphs[-1].operators) for blob in (model, old)]
    assert operators[1] == operators[0] + 1
    before, after = (stages(blob)["head/logits"] for blob in (model, old))
    assert size(after - before) <= 2e-6 * size(before)


def test_products_stay_in_the_range_of_their_results(lowered):
    old = parse(lowered(quantize="int8", **WIDE)[1])
    ratios = [
        np.frombuffer(tensor_bytes(old, tensor), np.float32)
        for graph in old.subgraphs
        for tensor in graph.tensors
        if tensor.name.endswith(b"/ratios")
    ]
    assert len(ratios) == 8  # query, key and value are three; the classifier is too small
    assert all(0 < values.min() < values.max() == 1 for values in ratios)


def test_what_is_missing_in_integers_is_computed_in_float(integers):
    expected, model = integers[0](), integers[1]
    assert {"RSQRT", "SQUARED_DIFFERENCE", "GELU"} <= versions(model).keys()
    old = lower(model)
    assert all(version <= OLD.versions[name] for name, version in versions(old).items())
    got = Interpreter(model_content=old).get_signature_runner()(hidden_states=HIDDEN)
    # The int8 weights round at 1/254 of their row's largest, which is 2.5 times the usual one.
    assert size(got["hidden_states"] - expected) <= 1e-2 * size(expected)


def test_tables_of_four_bits_are_refused(lowered):
    parsed = parse(lowered(quantize="int8", vocab_size=120)[0])
    table = next(
        graph.tensors[operator.inputs[0]]
        for graph in parsed.subgraphs
        for operator in graph.operators
        if builtin_code(parsed, operator) == schema.BuiltinOperator.GATHER
    )
    table.type = schema.TensorType.INT4
    with pytest.raises(
        ConversionError, match=r"not support GATHER of int4, which .*; choose --quantize fl"
    ):
        legalize(parsed, OLD)


def test_a_converted_file_says_what_it_was_made_for(tiny_albert):
    made = convert(tiny_albert(), quantize="int8", compat=OLD.name)
    assert made.report["verification"]["passed"]
    assert bundle.read(made.blob).provenance["compat"] == OLD.name
    assert versions(bundle.model_bytes(made.blob))["FULLY_CONNECTED"] == 9
    assert "compat" not in convert(tiny_albert(), verified=False).report["provenance"]


def test_what_the_runtime_cannot_carry_is_refused(tiny_albert, lowered):
    with pytest.raises(ConversionError, match=r"unknown runtime 'tflite-1'; choose from tflite-r"):
        convert(tiny_albert(), compat="tflite-1")
    with pytest.raises(
        ConversionError, match=r"not support the operators that 'int3' needs; choose --quantize"
    ):
        check_recipe(OLD.name, "int3")
    assert set(OLD.recipes) <= set(RECIPES)
    model, _ = lowered(quantize="int8")
    parsed = parse(model)
    newer = next(
        parsed.operatorCodes[operator.opcodeIndex]
        for operator in parsed.subgraphs[-1].operators
        if builtin_code(parsed, operator) == schema.BuiltinOperator.SOFTMAX
    )
    newer.version = 4
    with pytest.raises(
        ConversionError, match=r"SOFTMAX version 4 \(newest supported: 3\), .*; choose"
    ):
        legalize(parsed, OLD)
    newer.customCode = b"Mystery"
    with pytest.raises(
        ConversionError, match=r"not support Mystery version 4 \(newest supported: none\)"
    ):
        legalize(parsed, OLD)


def test_a_weight_with_two_kinds_of_readers_is_refused(lowered):
    parsed = parse(lowered(quantize="int8")[0])
    graph = parsed.subgraphs[-1]
    product = next(
        operator
        for operator in graph.operators
        if builtin_code(parsed, operator) == schema.BuiltinOperator.FULLY_CONNECTED
    )
    graph.operators[-1].inputs = [product.inputs[1], *graph.operators[-1].inputs[1:]]
    with pytest.raises(
        ConversionError, match="is read by other operators than FULLY_CONNECTED of float"
    ):
        legalize(parsed, OLD)


# Code for the old environment, with numpy and the runtime alone, without this project.
_PROBE = """
import json, pathlib, sys
from tflite_runtime.interpreter import Interpreter
known = {}
for path in pathlib.Path(sys.argv[1]).iterdir():
    try:
        Interpreter(str(path))
    except (RuntimeError, ValueError) as error:
        known[path.stem] = "Didn't find op" not in str(error)
    else:
        known[path.stem] = True
print(json.dumps(known))
"""

_RUN = """
import pathlib, sys
import numpy as np
from tflite_runtime.interpreter import Interpreter
path = pathlib.Path(sys.argv[1])
run = Interpreter(str(path)).get_signature_runner()
outputs = run(hidden_states=np.load(path.with_name("in.npy")))
np.save(path.with_suffix(".npy"), outputs["hidden_states"])
"""


@pytest.fixture(scope="module")
def old_python() -> Path:
    """The interpreter of an environment with the real package, as a board would have it."""
    tflite_runtime_2_14.RIG.require()
    return tflite_runtime_2_14.python()


def old_albert_edge(python: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run this project's command line in the old environment."""
    call = "from albert_edge.cli import main; main()"
    root = Path(__file__).parents[2]
    return subprocess.run(
        [python, "-W", "error", "-c", call, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_table_of_versions_is_what_the_real_package_says(old_python, tmp_path):
    scalar = {"type": schema.TensorType.FLOAT32, "shape": [1]}
    for name, newest in OLD.versions.items():
        for version in (newest, newest + 1):
            builtin = getattr(schema.BuiltinOperator, name)
            code = schema.OperatorCodeT(
                deprecatedBuiltinCode=min(builtin, 127), builtinCode=builtin, version=version
            )
            graph = schema.SubGraphT(
                name="main",
                tensors=[schema.TensorT(name=place, **scalar) for place in ("in", "out")],
                inputs=[0],
                outputs=[1],
                operators=[schema.OperatorT(inputs=[0], outputs=[1])],
            )
            model = schema.ModelT(
                version=3, operatorCodes=[code], subgraphs=[graph], buffers=[schema.BufferT()]
            )
            (tmp_path / f"{name} {version}.tflite").write_bytes(pack(model))
    command = [old_python, "-c", _PROBE, tmp_path]
    known = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert len(known) == 2 * len(OLD.versions)
    for name, newest in OLD.versions.items():
        assert known[f"{name} {newest}"], f"{name} {newest} is not known"
        assert not known[f"{name} {newest + 1}"], f"{name} {newest + 1} is known"


def test_the_real_package_runs_16_bits(old_python, tmp_path, integers):
    np.save(tmp_path / "in.npy", HIDDEN)
    for name, blob in (("new", integers[1]), ("old", lower(integers[1]))):
        (tmp_path / f"{name}.tflite").write_bytes(blob)
    done = [
        subprocess.run([old_python, "-c", _RUN, tmp_path / f"{name}.tflite"], capture_output=True)
        for name in ("new", "old")
    ]
    assert b"is unsupported by op Rsqrt" in done[0].stderr
    assert done[1].returncode == 0, done[1].stderr
    got, expected = np.load(tmp_path / "old.npy"), integers[0]()
    assert size(got - expected) <= 1e-2 * size(expected)


@pytest.mark.slow
def test_the_real_package_runs_every_file(old_python, tmp_path, tiny_albert):
    ids = IDS[0].tolist()
    for options in (
        {"quantize": quantize, "layout": layout, "seq_len": seq_len}
        for quantize in OLD.recipes
        for layout in LAYOUTS
        for seq_len in (None, 12)
    ):
        made = convert(tiny_albert("feature-extraction"), compat=OLD.name, **options)
        path = made.save(tmp_path / "m.tflite", force=True)
        text = " ".join(map(str, ids))
        done = old_albert_edge(old_python, "run", path, text, "--ids", "--json")
        assert done.returncode == 0, (options, done.stderr)
        answer, expected = json.loads(done.stdout), open_model(path).run(ids)
        for name, values in expected.items():
            # Other kernels add in another order; in int8 that may change activations by a code.
            most = 1e-2 if options["quantize"] == "int8" else 1e-5
            assert size(np.reshape(answer[name], values.shape) - values) <= most * size(values)


@pytest.mark.slow
def test_the_old_environment_says_what_it_cannot_do(old_python, tmp_path, tiny_albert):
    path = convert(tiny_albert(), verified=False).save(tmp_path / "new.tflite")
    done = old_albert_edge(old_python, "run", path, "2 17 3", "--ids")
    assert (done.returncode, done.stdout) == (1, "")
    assert "albert-edge convert --compat tflite-runtime-2.14" in done.stderr
    done = old_albert_edge(old_python, "inspect", path)
    assert done.returncode == 1
    assert "requires the schema in ai-edge-litert" in done.stderr
    assert "Traceback" not in done.stderr
