"""Split a model for the Edge TPU: int8 products for the chip, and a host graph for all the rest.

Of the operators with which a product of several rows can be written, the chip maps CONV_2D: a
product of [T, C] by [C, K] is a 1×1 convolution over [1, T, 1, C], in a file of its own.  All
passes of a layer run the same compiled products, so that the weights stay on the chip.

The products are linear, so what eight bits cannot hold is left to the host, in floats:

- It shifts and scales each channel of a product's input by constants, and then divides each row by
  its largest value: int8 codes [T, C] and a scale [T, 1].
- The scales of the weights are such that each channel of the output uses all eight bits.  The host
  multiplies them back, and adds the bias.

The host graph has a signature for each step between two products, called after the product whose
input it computes; the last, `layer_output`, computes the layer's.  Its length is free: the host
pads the codes, or cuts them into parts, to the rows that a product takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from albert_edge.config import PRODUCTS, AlbertConfig
from albert_edge.modeling import Albert, activation, tensors
from albert_edge.tflite.export import (
    Outputs,
    Weights,
    attend,
    convert_stage,
    fuse_projections,
    layer_norm,
    under,
)
from albert_edge.tflite.graph import GraphBuilder, ModelBuilder, StageModel, Stages, schema
from albert_edge.tflite.legacy_runtimes import Runtime
from albert_edge.tflite.legalize import legalize
from albert_edge.tflite.link import LinkedModel, measure_weights

__all__ = [
    "CODES",
    "ScaledProduct",
    "export_host_steps",
    "layer_kernels",
    "link_host",
    "product_graph",
]

Float = npt.NDArray[np.float32]
_Op = schema.BuiltinOperator
CODES = 127  # int8 codes reach from -127 to 127, and stand for -1 to 1
_LEAST = np.float32(1e-12)  # of a row's largest square: the row is all zeros
# The newest versions of these that the compiler's TensorFlow, 2.5, has for int8.
_CONV_2D_VERSION, _DEQUANTIZE_VERSION = 3, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledProduct:
    """A product in int8, and what the host computes before and after it.

    With rows x' = (x - `input_offset`) · `input_factor` / s, where the scale s of a row is such
    that x' reaches 1, the chip computes y' from x', both in [-1, 1], and the product with its bias
    is (y' · `output_factor` + `output_offset`) · s + `bias`.

    Attributes:
        weight: int8 [K, C].
        weight_scales: float32 [K].
        chip_bias: int32 [K], in units of the scale of x' times that of a channel's weights.
        input_offset: float32 [C].
        input_factor: float32 [C].
        output_factor: float32 [K].
        output_offset: float32 [K].
        bias: float32 [K].
    """

    weight: npt.NDArray[np.int8]
    weight_scales: Float
    chip_bias: npt.NDArray[np.int32]
    input_offset: Float
    input_factor: Float
    output_factor: Float
    output_offset: Float
    bias: Float


def layer_kernels(
    model: Albert, group: int, index: int
) -> dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Return the kernel [C, K] and the bias [K] of each of the products of a layer, float32."""
    weights = under(tensors(model), f"encoder/group_{group}/layer_{index}")
    weights = {**weights, **fuse_projections(weights, model.config.head_size)}
    paths = ("attention/query_key_value", "attention/output", "ffn/intermediate", "ffn/output")
    return {
        name: (weights[f"{path}/kernel"], weights[f"{path}/bias"])
        for name, path in zip(PRODUCTS, paths, strict=True)
    }


def product_graph(product: ScaledProduct, rows: int) -> Any:
    """Return the model of a product, for the Edge TPU's compiler.

    Args:
        product: The product.
        rows: T, how many rows it multiplies at once.

    Returns:
        A `schema.ModelT`: one CONV_2D from int8 [1, T, 1, C] to int8 [1, T, 1, K].
    """
    outputs, inputs = product.weight.shape
    builder = ModelBuilder()
    graph = builder.graph("main")
    codes = graph.input("codes", _int8([1, rows, 1, inputs]))
    weight = graph.constant(
        _int8([outputs, 1, 1, inputs], product.weight_scales), "weight", product.weight.tobytes()
    )
    scales = (product.weight_scales / np.float32(CODES)).astype(np.float32)
    like = _int8([outputs], scales)
    like.type = schema.TensorType.INT32
    bias = graph.constant(like, "bias", product.chip_bias.tobytes())
    result = graph.tensor(_int8([1, rows, 1, outputs]), "product")
    options = schema.Conv2DOptionsT(
        padding=schema.Padding.VALID, strideW=1, strideH=1, dilationWFactor=1, dilationHFactor=1
    )
    graph.operator(_Op.CONV_2D, [codes, weight, bias], [result], options, version=_CONV_2D_VERSION)
    graph.outputs = [result]  # without a signature, which the compiler's TensorFlow need not know
    return builder.build()


def _int8(shape: list[int], scales: Float | None = None) -> Any:
    """Return an int8 tensor: of codes, or of weights with the scales of their rows."""
    scales = np.full(1, 1 / CODES, np.float32) if scales is None else scales
    quantization = schema.QuantizationParametersT(
        scale=scales, zeroPoint=np.zeros(len(scales), np.int64), quantizedDimension=0
    )
    return schema.TensorT(shape=shape, type=schema.TensorType.INT8, quantization=quantization)


def export_host_steps(
    model: Albert, products: Mapping[str, ScaledProduct]
) -> dict[str, StageModel]:
    """Convert what the host computes between the products, in floats and for any length.

    Args:
        model: A Keras ALBERT.
        products: Its products, by the names of `AlbertConfig.product_prefix` and `PRODUCTS`.

    Returns:
        The steps by the names of their signatures.  Their codes are floats in [-1, 1].

    Raises:
        ConversionError: The TFLite converter refused a step.
    """
    config, weights, steps = model.config, tensors(model), {}
    for group in range(config.num_hidden_groups):
        for index in range(config.inner_group_num):
            prefix = config.product_prefix(group, index)
            part = under(weights, f"encoder/group_{group}/layer_{index}")
            own = {name: products[prefix + name] for name in PRODUCTS}
            for name, (step, inputs) in _steps(config, part, own).items():
                steps[prefix + name] = convert_stage(f"layer_{group}", step, inputs)
    return steps


def _steps(
    config: AlbertConfig, weights: Weights, products: Mapping[str, ScaledProduct]
) -> dict[str, tuple[Callable[..., Outputs], dict[str, Any]]]:
    """Return the steps of a layer, and the types of what they take."""

    def result(name: str, codes: Any, scale: Any) -> Any:
        return _result(products[name], codes, scale)

    def rows(name: str, values: Any) -> Outputs:
        return _scale_rows(products[name], values)

    def query_key_value(hidden_states: Any) -> Outputs:
        return rows("query_key_value", hidden_states)

    def attention_output(codes: Any, scale: Any) -> Outputs:
        context = attend(config, result("query_key_value", codes, scale))  # [T, H]
        return rows("attention_output", context)

    def ffn_intermediate(hidden_states: Any, codes: Any, scale: Any) -> Outputs:
        hidden_states += result("attention_output", codes, scale)
        hidden_states = layer_norm(under(weights, "attention/layer_norm"), config, hidden_states)
        return {"hidden_states": hidden_states, **rows("ffn_intermediate", hidden_states)}

    def ffn_output(codes: Any, scale: Any) -> Outputs:
        inner = result("ffn_intermediate", codes, scale)  # [T, 4H]
        return rows("ffn_output", activation(config.hidden_act, inner))

    def layer_output(hidden_states: Any, codes: Any, scale: Any) -> Outputs:
        hidden_states += result("ffn_output", codes, scale)
        return {
            "hidden_states": layer_norm(under(weights, "ffn/layer_norm"), config, hidden_states)
        }

    def floats(channels: int) -> Any:
        return tf.TensorSpec([None, channels], tf.float32)

    hidden = {"hidden_states": floats(config.hidden_size)}

    def made_by(name: str) -> dict[str, Any]:
        return {"codes": floats(len(products[name].weight)), "scale": floats(1)}

    return {
        "query_key_value": (query_key_value, hidden),
        "attention_output": (attention_output, made_by("query_key_value")),
        "ffn_intermediate": (ffn_intermediate, hidden | made_by("attention_output")),
        "ffn_output": (ffn_output, made_by("ffn_intermediate")),
        "layer_output": (layer_output, hidden | made_by("ffn_output")),
    }


def _scale_rows(product: ScaledProduct, values: Any) -> Outputs:
    """Return a product's input as codes [T, C], floats in [-1, 1], and their scale [T, 1]."""
    values = (values - tf.constant(product.input_offset)) * tf.constant(product.input_factor)
    largest = tf.reduce_max(tf.square(values), axis=-1, keepdims=True)
    largest = tf.maximum(largest, tf.constant(_LEAST))
    inverse = tf.math.rsqrt(largest)
    return {"codes": values * inverse, "scale": largest * inverse}


def _result(product: ScaledProduct, codes: Any, scale: Any) -> Any:
    """Return a product and its bias, [T, K]."""
    codes = codes * tf.constant(product.output_factor) + tf.constant(product.output_offset)
    return codes * scale + tf.constant(product.bias)


def link_host(
    stages: Stages,
    steps: Mapping[str, StageModel],
    config: AlbertConfig,
    *,
    runtime: Runtime | None = None,
) -> LinkedModel:
    """Compose the host graph: a signature for the embedding, each step, the head and the exits.

    Args:
        stages: The embedding, the head and the exits; their layers are not used.
        steps: The result of `export_host_steps`.  Their codes become int8.
        config: The model's shape.
        runtime: An older runtime to lower the operators for, or None for the current one.
    """
    builder = ModelBuilder()
    signed = {"embed": stages.embed, **steps, "head": stages.head}
    if stages.exits:
        signed["exit"] = stages.exits
    for key, stage in signed.items():
        _sign(builder, key, stage)
    model = builder.build()
    if runtime is not None:
        model = legalize(model, runtime)
    figures = measure_weights(model, config)
    return LinkedModel(model, figures["duplication"], figures["sharing"])


def _sign(builder: ModelBuilder, key: str, stage: StageModel) -> None:
    """Add a signature whose codes are int8, where the stage's are floats."""
    graph = builder.graph(key)
    tensors = {name: stage.graph.tensors[index] for name, index in stage.inputs.items()}
    inputs = {
        name: graph.input(name, _codes_like(like) if name == "codes" else like)
        for name, like in tensors.items()
    }
    if "codes" in inputs:
        name = f"{stage.name}/codes_read"
        inputs["codes"] = _requantize(graph, inputs["codes"], tensors["codes"], name)
    outputs = graph.inline(stage, inputs)
    if "codes" in outputs:
        like = _codes_like(stage.graph.tensors[stage.outputs["codes"]])
        outputs["codes"] = _requantize(graph, outputs["codes"], like, f"{stage.name}/codes_made")
    builder.sign(key, graph, outputs)


def _codes_like(like: Any) -> Any:
    codes = _int8(list(like.shape))
    codes.shapeSignature, codes.hasRank = like.shapeSignature, like.hasRank
    return codes


def _requantize(graph: GraphBuilder, index: int, like: Any, name: str) -> int:
    """Add a tensor like `like` of what tensor `index` stands for."""
    made = graph.tensor(like, name)
    if like.type == schema.TensorType.INT8:
        graph.operator(_Op.QUANTIZE, [index], [made], schema.QuantizeOptionsT())
    else:
        options = schema.DequantizeOptionsT()
        graph.operator(_Op.DEQUANTIZE, [index], [made], options, version=_DEQUANTIZE_VERSION)
    return made
