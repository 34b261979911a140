"""Scale query, key and value to equal ranges, at no cost: the neighbours' weights compensate.

The three are outputs of one product and so, in integers, have one scale.  In a trained ALBERT keys
are twenty times as large as (scaled) queries, which were left with three of their eight bits.
Attention multiplies a query's channel with the same channel of a key, so any factor can move from
one to the other; a factor of a value's channel can be divided out of the output's weights.  As in
SmoothQuant (Xiao et al. 2022, arXiv:2211.10438, sec. 4), but between two activations, and for the
one layer in all its passes at once.

`name_activations` finds the layer's 8-bit activations by the names of trained ranges.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from albert_edge.quantization.calibration import Stats, TensorStats
from albert_edge.quantization.tensors import Array, CalibrationRanges, StageTensors
from albert_edge.tflite.graph import StageModel, Stages, builtin_code, copy_model, schema

__all__ = ["equalize", "equalizing_factors", "name_activations"]

_Op = schema.BuiltinOperator


def equalize_layers(stages: Stages, stats: Stats) -> tuple[Stages, Stats]:
    """Equalize every layer of a model; see `equalize`."""
    layers, equalized = [], dict(stats)
    for layer in stages.layers:
        layer, equalized[layer.name] = equalize(layer, stats[layer.name])
        layers.append(layer)
    return replace(stages, layers=tuple(layers)), equalized


def equalize(
    stage: StageModel, stats: Mapping[int, TensorStats]
) -> tuple[StageModel, dict[int, TensorStats]]:
    """Move scales between query, key, value and the output's weights.

    Args:
        stage: A float32 layer.
        stats: Its tensors' statistics.

    Returns:
        A layer that computes the same, and its tensors' statistics.
    """
    stage = StageModel(copy_model(stage.model), stage.name)
    tensors = StageTensors(stage, CalibrationRanges(stats=stats))
    products = [op for op in stage.graph.operators if tensors.code(op) == _Op.FULLY_CONNECTED]
    fused = [op for op in products if tensors.part(op) == "layer.attention_query_key_value"]
    outputs = [op for op in products if tensors.part(op) == "layer.attention_output"]
    contexts = [
        int(op.outputs[0])
        for op in stage.graph.operators
        if tensors.code(op) == _Op.BATCH_MATMUL and not op.builtinOptions.adjY
    ]
    equalized = dict(stats)
    for first, context, last in zip(fused, contexts, outputs, strict=True):
        factors = equalizing_factors(tensors.ranges.min_max(int(first.outputs[0])))  # [3H]
        of_values = factors[len(factors) // 3 * 2 :]  # [H]
        _scale_constant(tensors, first, 1, factors[:, None])
        _scale_constant(tensors, first, 2, factors)
        _scale_constant(tensors, last, 1, 1 / of_values)
        for tensor, scale in (
            (int(first.outputs[0]), factors),
            (context, of_values),
            (int(last.inputs[0]), of_values),
        ):
            equalized[tensor] = _scale_stats(equalized[tensor], scale)
    return stage, equalized


def equalizing_factors(min_max: tuple[Array, Array]) -> Array:
    """Return the factors of queries, keys and values, float32 [3H], for their ranges."""
    low, high = min_max
    ranges = np.maximum(np.maximum(-low, high), 1e-6)
    query, key, value = np.split(ranges, 3)  # [H]
    move = np.sqrt(key / query)
    largest = (query * move).max()
    return np.concatenate([move, 1 / move, largest / value]).astype(np.float32)


def _scale_constant(tensors: StageTensors, operator: Any, position: int, factors: Array) -> None:
    """Replace an operator's constant by a scaled copy: other operators may read the original."""
    if len(operator.inputs) <= position or operator.inputs[position] < 0:
        return
    model, graph = tensors.stage.model, tensors.stage.graph
    old = int(operator.inputs[position])
    scaled = (tensors.data(old) * factors).astype(np.float32)
    tensor = copy.copy(graph.tensors[old])
    tensor.buffer = len(model.buffers)
    model.buffers.append(schema.BufferT(data=scaled.tobytes()))
    graph.tensors.append(tensor)
    inputs = list(operator.inputs)
    inputs[position] = len(graph.tensors) - 1
    operator.inputs = inputs


def _scale_stats(stats: TensorStats, factors: Array) -> TensorStats:
    hessian = stats.hessian
    if hessian is not None:
        hessian = hessian * np.outer(factors, factors)
    return TensorStats(stats.low * factors, stats.high * factors, hessian)


def name_activations(stage: StageModel) -> dict[str, int]:
    """Return the tensors of a float32 layer by the names of `checkpoints.activation_ranges`.

    Args:
        stage: `layer_0`, or the layer of another group.
    """
    group = stage.name.removeprefix("layer_")
    # Of each layer, in the order in which it computes.
    products = _operators(stage, _Op.FULLY_CONNECTED)
    scores, contexts = (_operators(stage, _Op.BATCH_MATMUL)[index::2] for index in (0, 1))
    layers = zip(
        products[0::4],
        scores,
        contexts,
        products[1::4],
        products[2::4],
        products[3::4],
        strict=True,
    )
    return {
        f"encoder/group_{group}/layer_{index}/{name}": int(tensor)
        for index, (fused, scores, context, output, inner, outer) in enumerate(layers)
        for name, tensor in {
            "attention/input": fused.inputs[0],
            "attention/query_key_value": fused.outputs[0],
            "attention/scores": scores.outputs[0],
            "attention/context": context.outputs[0],
            "attention/output": output.outputs[0],
            "ffn/input": inner.inputs[0],
            "ffn/intermediate": inner.outputs[0],
            "ffn/activation": outer.inputs[0],  # a ReLU is part of the product: the same tensor
            "ffn/output": outer.outputs[0],
        }.items()
    }


def _operators(stage: StageModel, code: int) -> list[Any]:
    return [op for op in stage.graph.operators if builtin_code(stage.model, op) == code]
