"""From a model to its pieces in the precision of a recipe, so that they fit together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from albert_edge.config import AlbertConfig
from albert_edge.modeling import Albert
from albert_edge.quantization.calibration import TensorStats, calibration_rows, collect_stats
from albert_edge.quantization.equalize import equalize, name_activations
from albert_edge.quantization.quantize import MASK_MARGIN, quantize_stage
from albert_edge.quantization.recipes import Recipe
from albert_edge.quantization.tensors import Array, CalibrationRanges
from albert_edge.tflite.export import Stages, export_stages
from albert_edge.tflite.graph import StageModel, builtin_code, schema

__all__ = ["quantize_exported", "quantize_stages"]

_HEADROOM = 4.0  # of 16 bits, two
Stats = Mapping[str, Mapping[int, TensorStats]]


def quantize_stages(
    model: Albert,
    recipe: Recipe,
    *,
    layout: str = "loop",
    seq_len: int | None = None,
    calibration: Iterable[str] | None = None,
) -> Stages:
    """Convert every stage of `model` once, and quantize it.

    Args:
        model: A Keras ALBERT.
        recipe: How to store and compute with the weights.
        layout: What the pieces are for: `unrolled` has a range for every pass.
        seq_len: A fixed number of tokens, or None for any length.
        calibration: Texts for a recipe that needs them; built-in sentences if left out.

    Raises:
        ConversionError: A stage cannot be converted.
        InputError: The texts are too few, or none.
    """
    pieces = export_stages(model, seq_len=seq_len)
    watched = None
    if recipe.calibrated or recipe.rounded:
        rows = calibration_rows(calibration, model.config, model.tokenizer_files, seq_len=seq_len)
        watched = collect_stats(pieces, model.config, rows, seq_len=seq_len, grams=recipe.rounded)
    per_pass = layout == "unrolled"
    return quantize_exported(
        pieces,
        model.config,
        recipe,
        watched=watched,
        trained=model.ranges if recipe.calibrated else {},
        per_pass=per_pass,
    )


def quantize_exported(
    pieces: Stages,
    config: AlbertConfig,
    recipe: Recipe,
    *,
    watched: Stats | None = None,
    trained: Mapping[str, Array] = MappingProxyType({}),
    per_pass: bool = False,
) -> Stages:
    """Rewrite float32 pieces in the precision of a recipe.

    Args:
        pieces: The model's stages.
        config: Its shape.
        recipe: What every part becomes.
        watched: What `collect_stats` saw in them; for a calibrated or rounded recipe.
        trained: Ranges of 8-bit values that the model was trained with, by the names of
            `checkpoints.activation_ranges`; they take the place of what was seen.
        per_pass: Whether every pass gets ranges of its own, and so a piece of its own over the same
            weights; for a calibrated recipe in a layout that has an operator a pass.

    Raises:
        ConversionError: An operator has no kernel in the recipe's types.
    """
    embed, head = StageModel(pieces.embed, "embed"), StageModel(pieces.head, "head")
    groups = [StageModel(blob, f"layer_{group}") for group, blob in enumerate(pieces.layers)]
    exits = StageModel(pieces.exits, "head_exits") if pieces.exits else None
    watched = dict(watched or {})
    if recipe.calibrated and recipe.equalized and not trained:  # training equalizes before
        for index, piece in enumerate(groups):
            groups[index], watched[piece.name] = equalize(piece, watched[piece.name])
    seams = _BoundaryRanges(config, groups, head, watched, trained, per_pass and recipe.calibrated)

    def layer(group: int, index: int | None) -> bytes:
        return quantize_stage(groups[group], recipe, seams.of_layer(group, index))

    passes = range(config.num_hidden_layers)
    if per_pass and recipe.calibrated:
        layers = [layer(config.group_of_layer(index), index) for index in passes]
    else:
        layers = [layer(group, None) for group in range(len(groups))]
    return Stages(
        embed=quantize_stage(embed, recipe, seams.of_embed()),
        layers=tuple(layers),
        head=quantize_stage(head, recipe, seams.of_head()),
        exits=quantize_stage(exits, recipe, seams.of_exits()) if exits else None,
        decision=pieces.decision,  # on a few floats, whatever the recipe
    )


class _BoundaryRanges:
    """The ranges of what goes from piece to piece: one for all, or one before every pass."""

    def __init__(
        self,
        config: AlbertConfig,
        groups: list[StageModel],
        head: StageModel,
        watched: Stats,
        trained: Mapping[str, Array],
        per_pass: bool,
    ) -> None:
        self._watched = watched
        self._trained = {
            piece.name: {tensor: trained[name] for name, tensor in name_activations(piece).items()}
            for piece in (groups if trained else ())
        }
        self._first = [  # of each group, in whose passes the layer counts from 0
            min(i for i in range(config.num_hidden_layers) if config.group_of_layer(i) == group)
            for group in range(len(groups))
        ]
        if not watched:
            return
        before = [self._hidden(piece) for piece in (*groups, head)]  # one entry a pass each
        hidden = np.concatenate(before)  # [passes + 1]
        self._limits = hidden if per_pass else np.full_like(hidden, hidden.max())
        self._masked = max(_spread(piece, watched[piece.name]) for piece in groups) + MASK_MARGIN

    def _hidden(self, piece: StageModel) -> Any:
        seen = self._watched[piece.name][piece.inputs["hidden_states"]]
        return np.maximum(-seen.low, seen.high).max(axis=1)

    def of_embed(self) -> CalibrationRanges:
        return self._ranges("embed", None, out=0)

    def of_layer(self, group: int, index: int | None) -> CalibrationRanges:
        if index is None:
            return self._ranges(f"layer_{group}", None, into=0, out=0)
        first = self._first[group]
        return self._ranges(f"layer_{group}", index - first, into=index, out=index + 1)

    def of_head(self) -> CalibrationRanges:
        # Answers that are surer than any in calibration must not end at its range.
        return replace(self._ranges("head", None, into=-1), headroom=_HEADROOM)

    def of_exits(self) -> CalibrationRanges:
        return replace(self._ranges("head_exits", None, into=0), headroom=_HEADROOM)

    def _ranges(
        self, stage: str, index: int | None, *, into: int | None = None, out: int | None = None
    ) -> CalibrationRanges:
        if not self._watched:
            return CalibrationRanges(seen={})
        edges = {"attention_bias in": self._masked, "attention_bias out": self._masked}
        if into is not None:
            edges["hidden_states in"] = float(self._limits[into])
        if out is not None:
            edges["hidden_states out"] = float(self._limits[out])
        trained = self._trained.get(stage, {})
        return CalibrationRanges(
            seen=self._watched[stage], index=index, edges=edges, trained=trained
        )


def _spread(piece: StageModel, seen: Mapping[int, TensorStats]) -> float:
    """Return how far apart two attention scores of a layer can be."""
    scores = [
        seen[int(operator.outputs[0])]
        for operator in piece.graph.operators
        if builtin_code(piece.model, operator) == schema.BuiltinOperator.BATCH_MATMUL
        and operator.builtinOptions.adjY
    ]
    return max(float(entry.high.max() - entry.low.min()) for entry in scores)
