"""Quantize all stages of a model by one recipe, with ranges on which neighbouring stages agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from albert_edge.config import AlbertConfig
from albert_edge.modeling import Albert
from albert_edge.quantization.calibration import Stats, calibration_rows, collect_stats
from albert_edge.quantization.equalize import equalize_layers, name_activations
from albert_edge.quantization.quantize import MASK_MARGIN, quantize_stage
from albert_edge.quantization.recipes import Recipe
from albert_edge.quantization.tensors import Array, CalibrationRanges
from albert_edge.tflite.export import CPU, CPU_BLOCKS, export_stages
from albert_edge.tflite.gpu_graph import GPU, WEB
from albert_edge.tflite.graph import StageModel, Stages, builtin_code, schema

__all__ = ["quantize_stages"]

_FORMS = {"cpu": CPU, "gpu": GPU, "web": WEB}
_HEADROOM = 4.0  # two of 16 bits


def quantize_stages(
    model: Albert,
    recipe: Recipe,
    *,
    layout: str = "loop",
    seq_len: int | None = None,
    calibration: Iterable[str] | None = None,
    graph: str = "cpu",
    libraries: bool = False,
    sentence_embedding: bool = False,
    export: Callable[..., Stages] = export_stages,
) -> Stages:
    """Convert every stage of `model` once, and quantize it.

    Args:
        model: A Keras ALBERT.
        recipe: The precision of every part.
        layout: The layout that the stages will be linked in: `unrolled` has ranges for every pass.
        seq_len: A fixed number of tokens, or None for any length.
        calibration: Texts for a recipe that needs them; built-in sentences if left out.
        graph: Whose operators: `cpu`; `gpu` or `web`, of a fixed length and in floats, which GPUs
            compute right.
        libraries: Whether to write the outputs `Task.library_outputs`, of a fixed length.
        sentence_embedding: Whether to write that output too, of an encoder for any length.
        export: What exports the stages.

    Raises:
        ConversionError: A stage cannot be converted.
        InputError: There are too few texts, or none.
    """
    forms, stats = _FORMS[graph], None
    if graph == "cpu" and recipe.has_float_ffn:
        forms = CPU_BLOCKS
    stages = export(
        model,
        seq_len=seq_len,
        forms=forms,
        libraries=libraries,
        sentence_embedding=sentence_embedding,
    )
    if recipe.calibrated or recipe.uses_hessians:
        rows = calibration_rows(calibration, model.config, model.tokenizer_files, seq_len=seq_len)
        stats = collect_stats(
            stages, model.config, rows, seq_len=seq_len, hessians=recipe.uses_hessians
        )
    return quantize_exported(
        stages,
        model.config,
        recipe,
        stats=stats,
        trained=model.ranges if recipe.calibrated else {},
        per_pass=layout == "unrolled",
        stored_tables=graph == "web",
    )


def quantize_exported(
    stages: Stages,
    config: AlbertConfig,
    recipe: Recipe,
    *,
    stats: Stats | None = None,
    trained: Mapping[str, Array] = MappingProxyType({}),
    per_pass: bool = False,
    stored_tables: bool = False,
) -> Stages:
    """Quantize float32 stages.

    Args:
        stages: The stages of one model, which stay as they are.
        config: Its shape.
        recipe: The precision of every part.
        stats: The result of `collect_stats`; for a recipe that is calibrated or uses Hessians.
        trained: int8 ranges learned by quantization-aware training, by the names of
            `checkpoints.activation_ranges`; they replace the calibrated ones.
        per_pass: Whether every pass gets ranges of its own, and so a stage of its own over the same
            weights; for a calibrated recipe in a layout with an operator a pass.
        stored_tables: Whether float16 tables are read as they are stored, and what was read is
            made float32; TFLite 2.14 to 2.16 cannot.

    Raises:
        ConversionError: An operator has no kernel in the recipe's types.
    """
    if stats and recipe.calibrated and recipe.equalized and not trained:
        stages, stats = equalize_layers(stages, stats)  # training equalizes beforehand
    per_pass = per_pass and recipe.calibrated
    ranges = _BoundaryRanges(config, stages, stats or {}, trained, per_pass)

    def layer(group: int, index: int | None) -> StageModel:
        return quantize_stage(stages.layers[group], recipe, ranges.of_layer(group, index))

    if per_pass:
        passes = range(config.num_hidden_layers)
        layers = [layer(config.group_of_layer(index), index) for index in passes]
    else:
        layers = [layer(group, None) for group in range(len(stages.layers))]
    exits = stages.exits and quantize_stage(stages.exits, recipe, ranges.of_exits())
    return replace(  # the stages of early exit compute few floats, whatever the recipe
        stages,
        embed=quantize_stage(stages.embed, recipe, ranges.of_embed(), stored_tables=stored_tables),
        layers=tuple(layers),
        head=quantize_stage(stages.head, recipe, ranges.of_head()),
        exits=exits,
    )


class _BoundaryRanges:
    """The ranges between stages: one for all passes, or one before every pass."""

    def __init__(
        self,
        config: AlbertConfig,
        stages: Stages,
        stats: Stats,
        trained: Mapping[str, Array],
        per_pass: bool,
    ) -> None:
        self._stats = stats
        self._trained = {
            layer.name: {tensor: trained[name] for name, tensor in name_activations(layer).items()}
            for layer in (stages.layers if trained else ())
        }
        self._first_pass = [
            min(i for i in range(config.num_hidden_layers) if config.group_of_layer(i) == group)
            for group in range(len(stages.layers))
        ]
        if not stats:
            return
        # Before every pass, and before the head: float32 [L + 1].
        hidden = np.concatenate([self._largest_input(s) for s in (*stages.layers, stages.head)])
        self._limits = hidden if per_pass else np.full_like(hidden, hidden.max())
        self._masked = max(map(self._score_range, stages.layers)) + MASK_MARGIN

    def _largest_input(self, stage: StageModel) -> Array:
        """Return the largest absolute value of `hidden_states` before each pass, float32 [P]."""
        stats = self._stats[stage.name][stage.inputs["hidden_states"]]
        largest: Array = np.maximum(-stats.low, stats.high).max(axis=1)
        return largest

    def _score_range(self, layer: StageModel) -> float:
        """Return the largest difference of two attention scores of a layer."""
        scores = [
            self._stats[layer.name][int(operator.outputs[0])]
            for operator in layer.graph.operators
            if builtin_code(layer.model, operator) == schema.BuiltinOperator.BATCH_MATMUL
            and operator.builtinOptions.adjY
        ]
        return max(float(stats.high.max() - stats.low.min()) for stats in scores)

    def of_embed(self) -> CalibrationRanges:
        return self._ranges("embed", None, out=0)

    def of_layer(self, group: int, index: int | None) -> CalibrationRanges:
        if index is None:
            return self._ranges(f"layer_{group}", None, into=0, out=0)
        first = self._first_pass[group]
        return self._ranges(f"layer_{group}", index - first, into=index, out=index + 1)

    def of_head(self) -> CalibrationRanges:
        # Logits larger than any in calibration must not be clipped.
        return replace(self._ranges("head", None, into=-1), headroom=_HEADROOM)

    def of_exits(self) -> CalibrationRanges:
        return replace(self._ranges("head_exits", None, into=0), headroom=_HEADROOM)

    def _ranges(
        self, stage: str, index: int | None, *, into: int | None = None, out: int | None = None
    ) -> CalibrationRanges:
        if not self._stats:
            return CalibrationRanges(stats={})
        boundary = {"attention_bias in": self._masked, "attention_bias out": self._masked}
        if into is not None:
            boundary["hidden_states in"] = float(self._limits[into])
        if out is not None:
            boundary["hidden_states out"] = float(self._limits[out])
        return CalibrationRanges(
            stats=self._stats[stage],
            index=index,
            boundary_ranges=boundary,
            trained=self._trained.get(stage, {}),
        )
