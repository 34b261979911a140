"""Measure the error that each part of a model, and each pass, adds in a recipe.

One part alone is quantized, in all passes or in one, and the rest stays in float32.  That takes no
file for every combination: the stages are converted once, and run one after another.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from albert_edge.config import AlbertConfig
from albert_edge.errors import ConversionError, InputError
from albert_edge.modeling import Albert
from albert_edge.quantization.calibration import (
    Arrays,
    StageInterpreter,
    Stats,
    calibration_rows,
    collect_stats,
)
from albert_edge.quantization.equalize import equalize_layers
from albert_edge.quantization.model import quantize_exported
from albert_edge.quantization.recipes import (
    PARTS,
    Precision,
    Recipe,
    get_recipe,
    override_precision,
)
from albert_edge.quantization.tensors import Array
from albert_edge.tflite.export import export_stages
from albert_edge.tflite.graph import Stages, pack
from albert_edge.tflite.link import link

__all__ = ["measure_sensitivity"]

BOUNDARIES = "between"  # the part of `Recipe.residual_dtype`: residuals and normalization
_LONGEST = 64  # tokens, as in `verify`: enough to show an error
_EVERY, _MOST_TEXTS = 4, 16  # every 4th text is held out, 16 at most
# Small differences in rounding change an error by a twentieth; a suggestion must do better.
_LESS = 0.9
_NEGLIGIBLE = 0.1  # of the whole error: independent errors' squares add up, so that it is 0.5%
# The next finer precision: (weights, arithmetic) → the TYPE of `--keep PART=TYPE`.
_FINER = {
    ("int4", "float32"): "dynamic",
    ("int8", "float32"): "float16",
    ("int8", "int8"): "int16",
    ("int8", "int16"): "float16",
    ("float16", "float32"): "float32",
}


def measure_sensitivity(
    model: Albert,
    *,
    quantize: str = "int8-full",
    calibration: Iterable[str] | None = None,
    kept: Sequence[str] = (),
    advance: Callable[[float], object] = lambda share: None,
) -> dict[str, Any]:
    """Measure which parts and which passes a recipe's error comes from.

    An error is the root mean square of an output's difference from the float32 stages', over the
    root mean square of the float32 output; `error` is that of the task's worst output.

    Args:
        model: A Keras ALBERT.
        quantize: A recipe of `quantization.recipes.RECIPES`, not float32.
        calibration: Texts, as for `convert`.  Every fourth of them, 16 at most, is held out to
            measure on, cut to 64 tokens; the others calibrate.
        kept: Entries `PART=TYPE` for `override_precision`.
        advance: Called with the share of the work that was done since the last call.

    Returns:
        Figures ready for JSON: `quantize`, `kept`, `task`; `texts` and `tokens` measured on;
        `depths`, the x axis of every `by_depth`: `embed`, the passes from 1, `head`;
        `whole` and the `parts`, the worst first, all with

        - `error` with all passes quantized, and `outputs`, that of the last hidden state and of
          each output of the task;
        - `by_depth`, the error with one depth alone quantized (None where nothing is), and
          `sum_of_squares`, their root sum of squares, which is their sum if they are independent;

        and `whole` with the recipe's `limit` and `size_bytes` (of a file in layout loop, without
        metadata), a part with its name `part`, its `weights` and `arithmetic`, and `finer`: the
        whole error that remains if the part is kept in a finer type (`keep`, `error`,
        `size_bytes`; None where that cannot help); `sum_of_squares` of the parts' errors; and
        `suggestion`, the `finer` with the least error, None if none is much better.

    Raises:
        ConversionError: There is no such recipe, or it quantizes nothing.
        InputError: There are too few texts.
    """
    chosen = override_precision(get_recipe(quantize), kept)
    run = _SensitivityRun(model, chosen, calibration)
    names = [*PARTS, BOUNDARIES]
    whole = run.whole
    advance(share := 1 / (1 + len(names)))
    parts = []
    for name in names:
        if figures := run.part(name):
            parts.append(figures)
        advance(share)
    if not parts:
        raise ConversionError(f"{quantize} quantizes nothing in this model; choose another recipe.")
    parts.sort(key=lambda figures: figures["error"], reverse=True)
    finer = [figures["finer"] for figures in parts if figures["finer"]]
    best = min(finer, key=lambda entry: entry["error"], default=None)
    return {
        "quantize": quantize,
        "kept": list(kept),
        "task": model.task,
        **run.texts,
        "depths": run.depths,
        "whole": whole,
        "parts": parts,
        "sum_of_squares": math.hypot(*(figures["error"] for figures in parts)),
        "suggestion": best if best and best["error"] < _LESS * whole["error"] else None,
    }


class _SensitivityRun:
    """The float32 stages of a model, their statistics, and texts to measure other stages on."""

    def __init__(self, model: Albert, chosen: Recipe, calibration: Iterable[str] | None) -> None:
        self._config = config = model.config
        self._chosen = chosen
        seen, held_out = _rows(model, calibration)
        stages, stats = export_stages(model), None
        if chosen.calibrated or chosen.uses_hessians:
            stats = collect_stats(stages, config, seen, hessians=chosen.uses_hessians)
        self._trained = model.ranges if chosen.calibrated else {}
        self._stages: Stages = stages
        self._stats: Stats | None = stats
        if stats and chosen.calibrated and not self._trained:
            self._stages, self._stats = equalize_layers(stages, stats)
        # Quantized to float32, so that stages that a recipe does not change have equal bytes.
        self._runner = StageRunner(self._quantized(get_recipe("float32")), config, held_out)
        self._outputs = stages.head.outputs
        passes = range(1, config.num_hidden_layers + 1)
        self.depths = ["embed", *map(str, passes), "head"]
        tokens = sum(len(row["input_ids"]) for row in held_out)
        self.texts = {"texts": len(held_out), "tokens": tokens}
        whole = self._quantized(chosen)
        self.whole = {
            **self._measure(whole),
            "limit": chosen.max_error,
            "size_bytes": self._size_bytes(whole),
        }

    def part(self, name: str) -> dict[str, Any] | None:
        """Measure a part, or return None if the recipe or the model has none of it."""
        alone = get_recipe("float32")
        if name == BOUNDARIES:
            precision = Precision(self._chosen.residual_dtype, self._chosen.residual_dtype)
            alone = replace(alone, residual_dtype=self._chosen.residual_dtype)
        else:
            precision = self._chosen.precision_of(name)
            alone = replace(alone, overrides={name: precision})
        figures = self._measure(self._quantized(alone))
        if figures["error"] is None:
            return None
        types = {"weights": precision.weights, "arithmetic": precision.arithmetic}
        helps = name != BOUNDARIES and figures["error"] > _NEGLIGIBLE * self.whole["error"]
        finer = self._finer(name, precision) if helps else None
        return {"part": name, **types, **figures, "finer": finer}

    def _finer(self, name: str, precision: Precision) -> dict[str, Any]:
        dtype = _FINER[precision.weights, precision.arithmetic]
        stages = self._quantized(override_precision(self._chosen, [f"{name}={dtype}"]))
        opened = self._runner.open(stages)
        (outputs,) = self._runner.errors(opened, [range(len(self.depths))])
        return {
            "keep": f"{name}={dtype}",
            "error": self._worst(outputs),
            "size_bytes": self._size_bytes(stages),
        }

    def _size_bytes(self, stages: Stages) -> int:
        return len(pack(link(stages, self._config).model))

    def _quantized(self, chosen: Recipe) -> Stages:
        return quantize_exported(
            self._stages, self._config, chosen, stats=self._stats, trained=self._trained
        )

    def _measure(self, stages: Stages) -> dict[str, Any]:
        """Measure stages at all depths where they differ from float32, and at each alone."""
        opened = self._runner.open(stages)
        depths = self._runner.differing(opened)
        by_depth: list[float | None] = [None] * len(self.depths)
        if not depths:
            return {"error": None, "by_depth": by_depth}
        outputs, *single = self._runner.errors(opened, [depths, *([depth] for depth in depths)])
        for depth, errors in zip(depths, single, strict=True):
            by_depth[depth] = self._worst(errors)
        return {
            "error": self._worst(outputs),
            "outputs": outputs,
            "by_depth": by_depth,
            "sum_of_squares": math.hypot(*(error for error in by_depth if error is not None)),
        }

    def _worst(self, outputs: Mapping[str, float]) -> float:
        return max(outputs[name] for name in self._outputs)


def _rows(model: Albert, calibration: Iterable[str] | None) -> tuple[list[Any], list[Any]]:
    """Return rows to calibrate on, and others to measure on, interleaved."""
    texts = None if calibration is None else list(calibration)
    config, files = model.config, model.tokenizer_files
    rows = calibration_rows(texts, config, files)
    longest = min(_LONGEST, config.max_position_embeddings)
    short = calibration_rows(texts, config, files, seq_len=longest)
    if len(rows) < 2:
        raise InputError(
            "the calibration data hold one text, and at least two are needed: one to calibrate on, "
            "one to measure on. Give some dozens, one a line."
        )
    held_out = range(len(rows) - 1, -1, -_EVERY)
    seen = [row for index, row in enumerate(rows) if index not in held_out]
    return seen, [short[index] for index in held_out[:_MOST_TEXTS]]


class StageRunner:
    """Reference stages in interpreters, and the states between them for some texts.

    Positions in the model are depths: 0 is `embed`, 1 to N are the passes, N + 1 is `head`.

    Args:
        stages: The stages of one model, for texts of any length.
        config: Its shape.
        rows: Texts as `input_ids` and `token_type_ids`.
    """

    def __init__(
        self, stages: Stages, config: AlbertConfig, rows: Sequence[Mapping[str, Sequence[int]]]
    ) -> None:
        self._config = config
        self._reference = self.open(stages)
        self._texts: list[list[Arrays]] = []  # of every text, the input of each depth, and outputs
        # Sorted, so that the runtime plans its memory once for each length.
        for row in sorted(rows, key=lambda row: len(row["input_ids"])):
            states: list[Arrays] = [
                {name: np.asarray([values], np.int32) for name, values in row.items()}
            ]
            for stage in self._reference:
                states.append(stage.run(states[-1]))
            self._texts.append(states)

    def open(self, stages: Stages) -> list[StageInterpreter]:
        """Open the stage of each depth; passes of one group share an interpreter."""
        config = self._config
        layers = [StageInterpreter(layer) for layer in stages.layers]
        passes = [layers[config.group_of_layer(i)] for i in range(config.num_hidden_layers)]
        return [StageInterpreter(stages.embed), *passes, StageInterpreter(stages.head)]

    def differing(self, other: Sequence[StageInterpreter]) -> list[int]:
        """Return the depths at which the stages differ from the reference."""
        pairs = zip(self._reference, other, strict=True)
        return [depth for depth, (one, two) in enumerate(pairs) if one.blob != two.blob]

    def errors(
        self, other: Sequence[StageInterpreter], plans: Sequence[Collection[int]]
    ) -> list[dict[str, float]]:
        """Measure the errors of the model with some depths replaced.

        Args:
            other: The same model's stages, in any types, from `open`.
            plans: Sets of depths to replace by `other`, each with at least one.

        Returns:
            For every plan, by output (`last_hidden_state` and the task's), the root mean square
            of the difference from the reference over the root mean square of the reference.
        """
        differences: list[Counter[str]] = [Counter() for _ in plans]
        references: Counter[str] = Counter()
        for states in self._texts:
            wanted = _outputs(*states[-2:])
            references.update({name: _sum_of_squares(values) for name, values in wanted.items()})
            for plan, sums in zip(plans, differences, strict=True):
                got = self._run(other, plan, states)
                sums.update({name: _sum_of_squares(got[name] - wanted[name]) for name in wanted})
        least = np.finfo(np.float64).tiny
        return [
            {name: float(np.sqrt(sums[name] / max(references[name], least))) for name in references}
            for sums in differences
        ]

    def _run(
        self,
        other: Sequence[StageInterpreter],
        plan: Collection[int],
        states: Sequence[Arrays],
    ) -> dict[str, Array]:
        """Run the model from the first depth of `plan` on; return its outputs."""
        before = after = states[min(plan)]
        for depth in range(min(plan), len(self._reference)):
            before, after = after, (other if depth in plan else self._reference)[depth].run(after)
        return _outputs(before, after)


def _outputs(before: Arrays, after: Arrays) -> dict[str, Array]:
    """Return the model's outputs, of the states before and after the head."""
    return {"last_hidden_state": before["hidden_states"][None], **after}


def _sum_of_squares(values: Array) -> float:
    return float(np.square(values, dtype=np.float64).sum())
