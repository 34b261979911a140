"""The GPU's graph computes what Keras does, stores each weight once, and fits into float16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from albert_edge.bundle.bundle import model_bytes, read
from albert_edge.config import ACTIVATIONS
from albert_edge.conversion import convert
from albert_edge.errors import BundleError
from albert_edge.modeling import load_keras, tensors
from albert_edge.quantization.calibration import BUILT_IN
from albert_edge.runtime import open_interpreter, open_model
from albert_edge.tasks import TASKS
from albert_edge.tflite.export import Weights, export_stages
from albert_edge.tflite.gpu_graph import GPU, _spectral_norm, max_norms
from albert_edge.tflite.graph import builtin_code, pack, parse, schema, tensor_bytes
from albert_edge.tokenizer import tokenizer_from_files

PARITY = Path(__file__).parents[1] / "data" / "parity"
FLOAT16_MAX = 65504.0


def _largest_difference(model: Any, blob: bytes, count: int) -> float:
    """Compare all outputs for `count` tokens of two segments, relative to the largest."""
    config = model.config
    ids = np.random.default_rng(count).integers(0, config.vocab_size, (1, count), np.int32)
    second = np.arange(count)[None] >= count // 2
    types = np.minimum(second.astype(np.int32), config.type_vocab_size - 1)
    got = open_model(blob).run(ids, types)
    want = model({"input_ids": ids, "token_type_ids": types})
    return max(
        float(np.abs(got[name] - values.numpy()).max() / np.abs(values.numpy()).max())
        for name, values in want.items()
    )


@pytest.mark.parametrize("case", sorted(path.name for path in PARITY.iterdir()))
def test_every_configuration_is_as_in_keras(case: str) -> None:
    model = load_keras(PARITY / case)
    length = model.config.max_position_embeddings
    blob = convert(model, target="gpu", quantize="float32", seq_len=length).blob
    for count in (length, length // 2):
        assert _largest_difference(model, blob, count) < 1e-5


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_activations_are_as_in_keras(tiny_albert: Any, act: str) -> None:
    values = tf.constant(np.linspace(-300, 300, 24001, dtype=np.float32))
    expected = tf.nn.relu(values) if act == "relu" else tf.nn.gelu(values, act != "gelu")
    # Near -5 both multiply with a difference of two numbers near 1, a step of which is 6e-8.
    np.testing.assert_allclose(GPU.activation(act, values), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("quantize", ["float32", "float16", "int8"])
def test_several_lengths_share_every_weight(tiny_albert: Any, quantize: str) -> None:
    model = tiny_albert("pretraining")
    one = convert(model, target="gpu", quantize=quantize, seq_len=40)
    made = convert(model, target="gpu", quantize=quantize, seq_len=[8, 16, 40])
    # Every graph has its own 4 bytes of scale for a weight's tensor.
    assert made.report["duplication"] <= (1.01 if quantize == "int8" else 1.0)
    # Further lengths add position ids and shapes, which are small, and no weight.
    assert _large_constants(made.blob) == _large_constants(one.blob)
    single, several = open_model(one.blob), open_model(made.blob)
    for count in (3, 8, 9, 16, 17, 40):
        ids = np.arange(count) % model.config.vocab_size
        for name, values in single.run(ids).items():
            # The CPU quantizes int8's activations by rows, which padding does not change.
            np.testing.assert_allclose(several.run(ids)[name], values, atol=1e-5, err_msg=name)


def _large_constants(blob: bytes) -> set[bytes]:
    model = parse(model_bytes(blob))
    constants = [
        (int(np.prod(tensor.shape)), tensor_bytes(model, tensor))
        for graph in model.subgraphs
        for tensor in graph.tensors
    ]
    # 160: ones for the query's mask channel have as many elements as 40 tokens have heads.
    return {data for count, data in constants if data and count > 160}


def test_each_length_has_a_signature(tiny_albert: Any) -> None:
    blob = convert(tiny_albert(), target="gpu", seq_len=[8, 16]).blob
    model = parse(model_bytes(blob))
    found = {one.signatureKey.decode(): one.subgraphIndex for one in model.signatureDefs}
    # Of the runtimes that know no signatures, graph 0 is the model.
    assert found == {"serving_default": 0, "serving_16": 0, "serving_8": 1}
    interpreter = open_interpreter(blob, threads=1)
    for length in (8, 16):
        runner = interpreter.get_signature_runner(f"serving_{length}")
        ids = np.ones((1, length), np.int32)
        found_logits = runner(input_ids=ids, token_type_ids=ids, attention_mask=ids)["logits"]
        assert found_logits.shape == (1, 3)


def test_a_missing_length_is_noticed(tiny_albert: Any) -> None:
    blob = convert(tiny_albert(), target="gpu", seq_len=[8, 16]).blob
    with pytest.raises(BundleError, match="no signature serving_8"):
        open_model(blob.replace(b"serving_8", b"serving_9"), check=False)
    with pytest.raises(BundleError, match="SHA-256"):
        open_model(blob.replace(b"serving_8", b"serving_9"))


@pytest.mark.parametrize("task", ["fill-mask", "classification"])
def test_norms_stay_below_their_bounds(tiny_albert: Any, task: str) -> None:
    model = tiny_albert(task, num_hidden_groups=3, inner_group_num=2)
    _check_norms(model, [np.arange(40) * 7 % 60, np.zeros(40), np.arange(40) % 2])


def test_norms_of_a_real_encoder(data_folder: Path) -> None:
    model = load_keras(data_folder / "plbert_kokoro")
    random = np.random.default_rng(3)
    ids = [random.integers(0, model.config.vocab_size, 64), np.full(64, 16)]
    largest = _check_norms(model, ids)
    assert largest > 10_000  # without a scale, a sum of squares that float16 hardly holds


def _check_norms(model: Any, rows: list[np.ndarray]) -> float:
    """Check what is normalized against its bound; return the largest sum of squares, unscaled."""
    limits = max_norms(tensors(model), model.config)
    scales: Weights = GPU.prepare(tensors(model), model.config)
    stages = export_stages(model, seq_len=len(rows[0]), forms=GPU)
    largest = 0.0
    hidden = [_tensors_of(stages.embed, _embed_inputs(row)) for row in rows]
    for index in range(model.config.num_hidden_layers):
        layer = stages.layers[model.config.group_of_layer(index)]
        seen = [_tensors_of(layer, {name: one[name] for name in layer.inputs}) for one in hidden]
        hidden = [{**old, **new} for old, new in zip(hidden, seen, strict=True)]
        for squares in (value for one in seen for value in one["squares"]):
            assert squares <= 2**14 < FLOAT16_MAX
        scale = min(float(value) for value in scales.values())
        largest = max(largest, *(value / scale**2 for one in seen for value in one["squares"]))
    assert set(limits) == {name.removesuffix("/input_scale") for name in scales}
    return largest


def _embed_inputs(row: np.ndarray) -> dict[str, np.ndarray]:
    ids = row.astype(np.int32)[None]
    ones = np.ones_like(ids)
    positions = np.arange(ids.size, dtype=np.int32)[None]
    return {
        "input_ids": ids,
        "token_type_ids": 0 * ids,
        "attention_mask": ones,
        "position_ids": positions,
    }


def _tensors_of(stage: Any, inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    """Run a stage; return its outputs, and the sums of squares before each normalization."""
    interpreter = open_interpreter(pack(stage.model), threads=1, preserve_all_tensors=True)
    interpreter.allocate_tensors()
    for name, index in stage.inputs.items():
        interpreter.set_tensor(index, inputs[name])
    interpreter.invoke()
    squares = [
        float(interpreter.get_tensor(int(operator.inputs[0])).sum(axis=-1).max())
        for operator in stage.graph.operators
        if _reads_squares(stage, operator)
    ]
    outputs = {name: interpreter.get_tensor(index) for name, index in stage.outputs.items()}
    return {**outputs, "squares": squares}


def _reads_squares(stage: Any, operator: Any) -> bool:
    codes = schema.BuiltinOperator
    if builtin_code(stage.model, operator) != codes.MEAN:
        return False
    producers = [one for one in stage.graph.operators if operator.inputs[0] in list(one.outputs)]
    return bool(producers) and builtin_code(stage.model, producers[0]) in (
        codes.SQUARE,
        codes.SQUARED_DIFFERENCE,
    )


def test_a_text_is_padded_to_the_least_length(tiny_albert: Any) -> None:
    blob = convert(tiny_albert("token-classification"), target="gpu", seq_len=[8, 40]).blob
    assert read(blob).seq_lens == (8, 40)
    assert open_model(blob).max_tokens == 40
    assert open_model(blob).run(np.arange(9))["logits"].shape == (1, 9, 3)


def test_the_embedded_model_answers_as_on_the_cpu() -> None:
    model = load_keras("default")
    blob = convert(model, target="gpu", quantize="float32", seq_len=[16, 64]).blob
    tokenizer = tokenizer_from_files(model.tokenizer_files)
    edge = open_model(blob)
    for text in BUILT_IN[:5]:
        encoding = tokenizer.encode(text, max_length=64)
        ids, types = np.array([encoding.input_ids]), np.array([encoding.token_type_ids])
        want = model({"input_ids": ids, "token_type_ids": types})["logits"].numpy()
        np.testing.assert_allclose(edge.run(ids, types)["logits"], want, atol=2e-5)


def test_every_task_has_the_graph(tiny_albert: Any) -> None:
    for task in TASKS:
        model = tiny_albert(task)
        blob = convert(model, target="gpu", quantize="float32", seq_len=40).blob
        assert _largest_difference(model, blob, 33) < 1e-5, task


def test_every_length_is_verified(tiny_albert: Any) -> None:
    made = convert(tiny_albert(), target="gpu", quantize="float32", seq_len=[4, 16, 24, 40])
    # The tiny model has no tokenizer, and is compared on 3, 16 and 40 ids.
    assert made.report["verification"]["inputs"] == (
        "3 rows of random ids, and 1 rows of random ids for the other lengths"
    )


def test_no_tanh_is_computed(tiny_albert):
    # The delegate's kernel for Adreno makes no number of it in float16, beyond an argument of 5.5.
    blob = convert(tiny_albert("classification"), target="gpu", seq_len=8, verified=False).blob
    model = parse(blob)
    codes = {builtin_code(model, one) for one in model.subgraphs[0].operators}
    assert schema.BuiltinOperator.LOGISTIC in codes
    assert schema.BuiltinOperator.TANH not in codes


@pytest.mark.parametrize("shape", [(64, 64), (48, 300), (300, 48)])
def test_spectral_norms(shape: tuple[int, int]) -> None:
    kernel = np.random.default_rng(5).normal(size=shape).astype(np.float32)
    exact = np.linalg.norm(kernel, 2)
    assert 0.95 * exact < _spectral_norm(kernel) < 1.001 * exact
    assert _spectral_norm(0 * kernel) == 0
