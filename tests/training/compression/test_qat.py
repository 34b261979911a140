"""What is trained is what the file computes: weights on their grids, values within their ranges."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from albert_edge.bundle.bundle import model_bytes
from albert_edge.checkpoints import Checkpoint, read_checkpoint
from albert_edge.checkpoints.activation_ranges import channels_of
from albert_edge.conversion import convert
from albert_edge.datasets.examples import read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import InputError, TrainingError
from albert_edge.modeling import from_checkpoint
from albert_edge.modeling.layers import tensors
from albert_edge.quantization.equalize import name_activations
from albert_edge.quantization.gptq import quantize_weight
from albert_edge.quantization.model import quantize_stages
from albert_edge.quantization.recipes import get_recipe
from albert_edge.tflite.export import export_stages
from albert_edge.tflite.graph import pack, parse, schema
from albert_edge.training.compression.compress import compress
from albert_edge.training.compression.fake_quant import MovingRange
from albert_edge.training.compression.int8_weights import folded_scale
from albert_edge.training.compression.methods import OPTIONS, Qat
from albert_edge.training.compression.qat import Quantized, calibrate
from albert_edge.training.finetune import finetune
from albert_edge.training.tasks.classification import ClassificationObjective

FAST = dataclasses.replace(
    OPTIONS, epochs=4, batch_tokens=256, learning_rate=1e-3, max_length=32, averaging=0.9
)
IDS = [" ".join(map(str, row)) for row in np.random.default_rng(0).integers(5, 60, (40, 20))]
KERNEL = "encoder/group_0/layer_0/attention/query/kernel"


def checkpoint_of(model: Any) -> Checkpoint:
    return Checkpoint(config=model.config, task=model.task, tensors=tensors(model))


def quantized(
    start: Checkpoint, method: Qat, texts: Any = IDS
) -> tuple[Any, Quantized, Checkpoint]:
    """Return a model that computes with integers, its constraint, and its checkpoint."""
    begin, ranges = calibrate(start, texts, method=method)
    model = from_checkpoint(begin)
    constraint = Quantized(model, 10, tf.Variable(1), method=method, start=ranges)
    weights = constraint.tensors(constraint.trained)
    return model, constraint, dataclasses.replace(begin, tensors=weights, ranges=ranges)


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"inner_group_num": 2, "num_hidden_groups": 2, "num_hidden_layers": 4},
        {"hidden_act": "relu"},
    ],
)
def test_a_layer_in_training_computes_what_the_file_computes(
    tiny_albert: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, shape: dict[str, Any]
) -> None:
    # Attention that is less sharp than the fixture's: it would blow up what is rounded otherwise.
    model = tiny_albert("classification", initializer_range=0.1, **shape)
    integers, _, trained = quantized(checkpoint_of(model), Qat())
    ids = np.array([[int(word) for word in IDS[0].split()]])
    hidden = integers.embed(ids, np.zeros_like(ids))
    simulated: dict[MovingRange, np.ndarray] = {}
    plain = MovingRange.round

    def record(self: MovingRange, *args: Any, **options: Any) -> Any:
        simulated[self] = plain(self, *args, **options)
        return simulated[self]

    monkeypatch.setattr(MovingRange, "round", record)
    group = integers.groups[0][0]
    group(hidden, np.zeros((1, 1, 1, len(ids[0])), np.float32))
    stages = quantize_stages(from_checkpoint(trained), get_recipe("int8-full"), calibration=IDS)
    computed = int8_values(pack(stages.layers[0].model), hidden[0].numpy())
    floats = export_stages(from_checkpoint(trained)).layers[0]
    for name, tensor in name_activations(floats).items():
        if name.endswith("ffn/intermediate") and model.config.hidden_act == "relu":
            continue
        values, step = computed[tensor]
        if name.endswith("context"):  # [N, T, D], not yet brought to [T, H]
            values = values.swapaxes(0, 1)
        bounds = trained.ranges[name]
        sizes = np.abs(bounds).max(axis=0) if bounds.shape[1] > 1 else 1.0
        off = (simulated[group._ranges[name]].numpy().ravel() - (values * sizes).ravel()) / step
        off = off.reshape(-1, bounds.shape[1]) / sizes
        # The same steps, to the last bits of a float32; of channels, to those of 16-bit sizes.
        np.testing.assert_allclose(off, np.round(off), atol=0.02)
        # The file's sums have 16 bits: now and then a value, one of 256, falls to the next step,
        # and moves those that follow from it.
        assert np.sqrt(np.mean(off**2)) < 2.5, name
        assert np.abs(off).max() < 12, name


def int8_values(stage: bytes, hidden: np.ndarray) -> dict[int, tuple[np.ndarray, float]]:
    """Run a quantized layer; return its 8-bit values by tensor of the float layer, and the step."""
    runtime = Interpreter(
        model_content=stage,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    given = runtime.get_input_details()[0]
    runtime.resize_tensor_input(given["index"], hidden.shape)
    runtime.allocate_tensors()
    codes = np.round(hidden / given["quantization"][0]).clip(-32767, 32767)
    runtime.set_tensor(given["index"], codes.astype(np.int16))
    runtime.invoke()
    values = {}
    for tensor in runtime.get_tensor_details():
        index, _, kind = tensor["name"].partition("/")
        if kind in ("int8", "rows") and len(tensor["quantization_parameters"]["scales"]) == 1:
            step, zero = tensor["quantization"]
            values[int(index)] = (runtime.get_tensor(tensor["index"]) - float(zero)) * step, step
    return values


def test_equalizing_changes_no_answer(tiny_albert: Callable[..., Any]) -> None:
    model = tiny_albert("classification")
    begin, _ = calibrate(checkpoint_of(model), IDS, method=Qat())
    assert not np.allclose(begin.tensors[KERNEL], tensors(model)[KERNEL])
    inputs = {"input_ids": [[2, 9, 17, 30, 3]]}
    expected = model(inputs)["logits"]
    np.testing.assert_allclose(from_checkpoint(begin)(inputs)["logits"], expected, atol=1e-4)


@pytest.mark.parametrize("quantize", ["int8-full", "int4"])
def test_one_gradient_for_a_kernel_goes_straight_through(
    tiny_albert: Callable[..., Any], quantize: str
) -> None:
    start = checkpoint_of(tiny_albert("classification"))
    model, constraint, trained = quantized(start, Qat(quantize=quantize))
    ids = [[int(word) for word in text.split()] for text in IDS[:8]]
    gradients = []
    for each in (model, from_checkpoint(trained)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(each({"input_ids": ids})["logits"][:, 0])
        names = [variable.name for variable in each.trainable_variables]
        assert names.count(f"{KERNEL}:0") == 1
        found = tape.gradient(loss, each.trainable_variables)
        if each is model:
            found = constraint.map_gradients(found)
            assert [variable.name for variable in constraint.trained] == names
        gradients.append(found[names.index(f"{KERNEL}:0")].numpy().ravel())
    first, second = gradients
    # All passes together, as without rounding; values at the end of a range have none.
    assert first @ second / np.linalg.norm(first) / np.linalg.norm(second) > 0.98
    assert np.linalg.norm(first) == pytest.approx(np.linalg.norm(second), rel=0.1)


@pytest.mark.parametrize(("quantize", "bits"), [("int8-full", 8), ("int4", 4)])
def test_convert_rounds_to_what_was_trained(
    tiny_albert: Callable[..., Any], quantize: str, bits: int
) -> None:
    # Wide enough for blocks of 64 and of 32, and one row that has no such block.
    shape = {"hidden_size": 64, "intermediate_size": 128, "embedding_size": 48}
    start = checkpoint_of(tiny_albert("classification", **shape))
    _, _, trained = quantized(start, Qat(quantize=quantize))
    checked = 0
    for name, weight in trained.tensors.items():
        if not (name.startswith("encoder") and name.endswith("kernel")):
            continue
        folded = folded_scale(name)
        if folded:
            weight = weight * trained.tensors[folded][:, None]
        random = np.random.default_rng(1).normal(size=(len(weight), 200))
        block = 64 if bits == 4 else None
        rounding = quantize_weight(
            np.ascontiguousarray(weight.T), bits=bits, block=block, hessian=random @ random.T,
            clip=bits == 4,
        )  # fmt: skip
        np.testing.assert_allclose(rounding.weight().T, weight, atol=1e-6 * np.abs(weight).max())
        checked += 1
    assert checked == 6
    table = trained.tensors["embeddings/word_embeddings"]
    codes = np.abs(table).max() / (127 if bits == 8 else 1)
    if bits == 8:  # one scale for all
        np.testing.assert_allclose(table / codes, np.round(table / codes), atol=1e-3)
    assert not np.array_equal(table, start.tensors["embeddings/word_embeddings"])


@pytest.fixture(scope="module")
def trained(toy_model: Path, toy_table: Path) -> Checkpoint:
    start = read_checkpoint(toy_model)
    data = read_examples(toy_table, "classification", start.config.labels, EvaluateOptions())
    *_, last = compress(start, data, method=Qat(), dev=data, options=FAST)
    assert last.dev_accuracy == 1.0
    return last.checkpoint


def test_the_file_holds_the_trained_ranges(trained: Checkpoint) -> None:
    assert {name: values.shape for name, values in trained.ranges.items()} == {
        name: (2, channels) for name, channels in channels_of(trained.config).items()
    }
    for layout in ("loop", "unrolled"):
        made = convert(from_checkpoint(trained), quantize="int8-full", layout=layout)
        assert made.report["provenance"]["ranges"] == "trained"
        assert made.report["verification"]["agreement"] == 1.0
        model = parse(model_bytes(made.blob))
        scales = {
            float(np.float32(tensor.quantization.scale[0]))
            for graph in model.subgraphs
            for tensor in graph.tensors
            if tensor.type == schema.TensorType.INT8 and tensor.quantization.scale is not None
        }
        for name in ("attention/input", "attention/scores", "ffn/input", "ffn/activation"):
            low, high = trained.ranges[f"encoder/group_0/layer_0/{name}"][:, 0]
            assert any(np.isclose(scale, (high - low) / 255, rtol=1e-5) for scale in scales), name


def test_other_recipes_take_no_notice(trained: Checkpoint) -> None:
    model = from_checkpoint(trained)
    assert "ranges" not in convert(model, quantize="int8").report["provenance"]
    bare = from_checkpoint(dataclasses.replace(trained, ranges={}))
    blobs = [model_bytes(convert(each, quantize="int4").blob) for each in (model, bare)]
    assert blobs[0] == blobs[1]


def test_ranges_are_of_one_training(trained: Checkpoint, toy_table: Path) -> None:
    data = read_examples(toy_table, "classification", trained.config.labels, EvaluateOptions())
    options = dataclasses.replace(FAST, epochs=1)
    further = next(finetune(trained, ClassificationObjective(data), options=options))
    assert trained.ranges
    assert not further.checkpoint.ranges


def test_what_cannot_be_trained(tiny_albert: Callable[..., Any]) -> None:
    with pytest.raises(TrainingError, match="quantize must be one of int8-full, int4, not 'int8'"):
        Qat(quantize="int8")
    with pytest.raises(InputError, match="calibration"):
        calibrate(checkpoint_of(tiny_albert("classification")), ["5 6"], method=Qat())
