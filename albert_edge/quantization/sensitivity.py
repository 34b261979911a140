"""Measure the error that each part of a model, and each pass, adds in a recipe.

A part is put in its precision alone, in all passes or in one, and the rest stays in float32.  That
takes no file for every combination: the stages are converted once, and run one after another.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from albert_edge.config import AlbertConfig
from albert_edge.errors import ConversionError, InputError
from albert_edge.modeling import Albert
from albert_edge.quantization.calibration import calibration_rows, collect_stats
from albert_edge.quantization.equalize import equalize
from albert_edge.quantization.model import Stats, quantize_exported
from albert_edge.quantization.recipes import (
    PARTS,
    Precision,
    Recipe,
    get_recipe,
    override_precision,
)
from albert_edge.quantization.tensors import QMAX, Array
from albert_edge.runtime.interpreter import open_interpreter
from albert_edge.tflite.export import Stages, export_stages
from albert_edge.tflite.graph import StageModel
from albert_edge.tflite.link import link

__all__ = ["BOUNDARIES", "StageRunner", "measure_sensitivity"]

BOUNDARIES = "between"  # what `Recipe.between` is of: residuals and normalization
_LONGEST = 64  # tokens, as `verify` takes them: enough to show an error
_EVERY, _MOST_TEXTS = 4, 16  # of the texts are held out
# Rounding a little otherwise moves an error by a twentieth; a change must do more to be advised.
_LESS = 0.9
_NEGLIGIBLE = 0.1  # of the whole error: independent errors' squares add up, so that it is 0.5%
# What a part can be kept in that is finer: (weights, arithmetic) → the TYPE of `--keep PART=TYPE`.
_FINER = {
    ("int4", "float32"): "dynamic",
    ("int8", "float32"): "float16",
    ("int8", "int8"): "int16",
    ("int8", "int16"): "float16",
    ("float16", "float32"): "float32",
}
_THREADS = 2  # one more than cores that share a cache gains little at a few dozen tokens
State = Mapping[str, Array]


def measure_sensitivity(
    model: Albert,
    *,
    quantize: str = "int8-full",
    calibration: Iterable[str] | None = None,
    kept: Sequence[str] = (),
    advance: Callable[[float], object] = lambda share: None,
) -> dict[str, Any]:
    """Measure which parts and which passes a recipe's error comes from.

    An error is the root mean square of an output's difference from the float32 pieces', over that
    of the float32 pieces' own; `error` is that of the task's worst output.

    Args:
        model: A Keras ALBERT.
        quantize: A recipe of `quantization.recipes.RECIPES`, not float32.
        calibration: Texts, as for `convert`.  Every fourth of them, 16 at most, is held out to
            measure on, cut to 64 tokens; the others calibrate.
        kept: Parts in another precision than the recipe's, as `quantization.recipes.keep` reads
            them.
        advance: Called now and then with the share of the work that is done since.

    Returns:
        Figures ready for JSON: `quantize`, `kept`, `task`; `texts` and `tokens` measured on;
        `depths`, the places that every `by_depth` goes through: `embed`, the passes from 1, `head`;
        `whole` and the `parts`, the worst first, all with

        - `error` in all passes, and `outputs`, that of the last hidden state and of each answer;
        - `by_depth`, the error that comes from one place alone (None where there is nothing), and
          `sum_of_squares`, what these add up to if they are independent;

        and `whole` with the recipe's `limit` and `size_bytes` (of a file in layout loop, without
        metadata), a part with its name `part`, its `weights` and `arithmetic`, and `finer`: what
        is left of the whole error if the part is kept in a finer type (`keep`, `error`,
        `size_bytes`; None where that cannot help); `sum_of_squares` of the parts' errors; and
        `suggestion`, the `finer` that leaves the least error, None if none leaves much less.

    Raises:
        ConversionError: There is no such recipe, or it changes nothing.
        InputError: The texts are too few.
    """
    chosen = override_precision(get_recipe(quantize), kept)
    bench = _SensitivityRun(model, chosen, calibration)
    names = [*PARTS, BOUNDARIES]
    whole = bench.whole
    advance(share := 1 / (1 + len(names)))
    parts = []
    for name in names:
        if figures := bench.part(name):
            parts.append(figures)
        advance(share)
    if not parts:
        raise ConversionError(f"{quantize} leaves this model as it is; choose another recipe.")
    parts.sort(key=lambda figures: figures["error"], reverse=True)
    finer = [figures["finer"] for figures in parts if figures["finer"]]
    best = min(finer, key=lambda entry: entry["error"], default=None)
    return {
        "quantize": quantize,
        "kept": list(kept),
        "task": model.task,
        **bench.texts,
        "depths": bench.depths,
        "whole": whole,
        "parts": parts,
        "sum_of_squares": math.hypot(*(figures["error"] for figures in parts)),
        "suggestion": best if best and best["error"] < _LESS * whole["error"] else None,
    }


class _SensitivityRun:
    """A model's float32 pieces, calibrated, and texts to measure other pieces on."""

    def __init__(self, model: Albert, chosen: Recipe, calibration: Iterable[str] | None) -> None:
        self._config = config = model.config
        self._chosen = chosen
        seen, held_out = _rows(model, calibration)
        pieces = export_stages(model)
        watched: Stats | None = None
        if chosen.calibrated or chosen.rounded:
            watched = collect_stats(pieces, config, seen, grams=chosen.rounded)
        self._trained = model.ranges if chosen.calibrated else {}
        if watched and chosen.calibrated and not self._trained:
            pieces, watched = _equalized(pieces, watched)
        self._pieces, self._watched = pieces, watched
        # Rewritten too, so that what a recipe leaves alone is the same to the byte.
        self._float = self._quantized(get_recipe("float32"))
        self._chain = StageRunner(self._float, config, held_out)
        self._answers = StageModel(pieces.head, "head").outputs
        passes = range(1, config.num_hidden_layers + 1)
        self.depths = ["embed", *map(str, passes), "head"]
        tokens = sum(len(row["input_ids"]) for row in held_out)
        self.texts = {"texts": len(held_out), "tokens": tokens}
        whole = self._quantized(chosen)
        self.whole = {
            **self._measure(whole),
            "limit": chosen.max_error,
            "size_bytes": len(link(whole, config)),
        }

    def part(self, name: str) -> dict[str, Any] | None:
        """Measure a part, or nothing if the recipe or the model has none of it."""
        alone = get_recipe("float32")
        if name == BOUNDARIES:
            precision = Precision(self._chosen.between, self._chosen.between)
            alone = replace(alone, between=self._chosen.between)
        else:
            precision = self._chosen.of(name)
            alone = replace(alone, kept={name: precision})
        figures = self._measure(self._quantized(alone))
        if figures["error"] is None:
            return None
        types = {"weights": precision.weights, "arithmetic": precision.arithmetic}
        helps = name != BOUNDARIES and figures["error"] > _NEGLIGIBLE * self.whole["error"]
        finer = self._finer(name, precision) if helps else None
        return {"part": name, **types, **figures, "finer": finer}

    def _finer(self, name: str, precision: Precision) -> dict[str, Any]:
        kind = _FINER[precision.weights, precision.arithmetic]
        pieces = self._quantized(override_precision(self._chosen, [f"{name}={kind}"]))
        (outputs,) = self._chain.errors(pieces, [range(len(self.depths))])
        return {
            "keep": f"{name}={kind}",
            "error": self._worst(outputs),
            "size_bytes": len(link(pieces, self._config)),
        }

    def _quantized(self, chosen: Recipe) -> Stages:
        return quantize_exported(
            self._pieces, self._config, chosen, watched=self._watched, trained=self._trained
        )

    def _measure(self, pieces: Stages) -> dict[str, Any]:
        """Measure pieces at all depths where they differ from float32, and at each alone."""
        depths = self._chain.differing(self._float, pieces)
        by_depth: list[float | None] = [None] * len(self.depths)
        if not depths:
            return {"error": None, "by_depth": by_depth}
        plans = [[depth] for depth in depths]
        outputs, *single = self._chain.errors(pieces, [depths, *plans])
        for depth, errors in zip(depths, single, strict=True):
            by_depth[depth] = self._worst(errors)
        return {
            "error": self._worst(outputs),
            "outputs": outputs,
            "by_depth": by_depth,
            "sum_of_squares": math.hypot(*(error for error in by_depth if error is not None)),
        }

    def _worst(self, outputs: Mapping[str, float]) -> float:
        return max(outputs[name] for name in self._answers)


def _rows(model: Albert, calibration: Iterable[str] | None) -> tuple[list[Any], list[Any]]:
    """Return rows to calibrate on, and others to measure on, all kinds of texts in both."""
    texts = None if calibration is None else list(calibration)
    config, files = model.config, model.tokenizer_files
    rows = calibration_rows(texts, config, files)
    longest = min(_LONGEST, config.max_position_embeddings)
    short = calibration_rows(texts, config, files, seq_len=longest)
    if len(rows) < 2:
        raise InputError(
            "there is one text, and at least two are needed: some calibrate, others are measured "
            "on. Give some dozens, one a line."
        )
    held_out = range(len(rows) - 1, -1, -_EVERY)
    seen = [row for index, row in enumerate(rows) if index not in held_out]
    return seen, [short[index] for index in held_out[:_MOST_TEXTS]]


def _equalized(pieces: Stages, watched: Stats) -> tuple[Stages, Stats]:
    """Do to the float32 pieces what `quantize_exported` does for a calibrated recipe."""
    layers, seen = [], dict(watched)
    for group, blob in enumerate(pieces.layers):
        piece, seen[f"layer_{group}"] = equalize(
            StageModel(blob, f"layer_{group}"), watched[f"layer_{group}"]
        )
        layers.append(piece.blob)
    return replace(pieces, layers=tuple(layers)), seen


# Run pieces one after another, some of them from another recipe, and compare what comes out.


class StageRunner:
    """Reference pieces that have read some texts, and everything they said on the way.

    Places in the chain are depths: 0 is `embed`, 1 to N are the passes, N + 1 is `head`.

    Args:
        pieces: One model's stages, for texts of any length.
        config: The model's shape.
        rows: Texts as `input_ids` and `token_type_ids`.
    """

    def __init__(
        self, pieces: Stages, config: AlbertConfig, rows: Sequence[Mapping[str, Sequence[int]]]
    ) -> None:
        self._config = config
        self._reference = self._open(pieces)
        self._texts: list[list[State]] = []  # of every text, what goes into each depth, and out
        # Sorted, so that a runtime plans its memory once for each length.
        for row in sorted(rows, key=lambda row: len(row["input_ids"])):
            states: list[State] = [
                {name: np.asarray([values], np.int32) for name, values in row.items()}
            ]
            for stage in self._reference:
                states.append(stage.run(states[-1]))
            self._texts.append(states)

    def differing(self, pieces: Stages, other: Stages) -> list[int]:
        """Return the depths at which two models' pieces are not the same."""
        pairs = zip(self._blobs(pieces), self._blobs(other), strict=True)
        return [depth for depth, (one, two) in enumerate(pairs) if one != two]

    def errors(
        self,
        other: Stages,
        plans: Sequence[Collection[int]],
        *,
        advance: Callable[[], object] = lambda: None,
    ) -> list[dict[str, float]]:
        """Put other pieces into the chain and compare what comes out.

        Args:
            other: The same model's stages, in any types.
            plans: Sets of depths at which to run `other`, each with at least one.
            advance: Called after every text.

        Returns:
            For every plan, by output (`last_hidden_state` and the task's), the root mean square
            of the difference from the reference's over that of the reference's.
        """
        stages = self._open(other)
        wrong: list[Counter[str]] = [Counter() for _ in plans]
        size: Counter[str] = Counter()
        for states in self._texts:
            wanted = _outputs(states[-2:])
            size.update({name: _square(values) for name, values in wanted.items()})
            for plan, sums in zip(plans, wrong, strict=True):
                got = _outputs(list(self._run(stages, plan, states))[-2:])
                sums.update({name: _square(got[name] - wanted[name]) for name in wanted})
            advance()
        least = np.finfo(np.float64).tiny
        return [
            {name: float(np.sqrt(sums[name] / max(size[name], least))) for name in size}
            for sums in wrong
        ]

    def _run(
        self, stages: Sequence[_Stage], plan: Collection[int], states: Sequence[State]
    ) -> Iterator[State]:
        """Yield the state before the first depth of `plan`, and that after each from there on."""
        state = states[min(plan)]
        yield state
        for depth in range(min(plan), len(self._reference)):
            state = (stages if depth in plan else self._reference)[depth].run(state)
            yield state

    def _open(self, pieces: Stages) -> list[_Stage]:
        opened = {blob: _Stage(blob) for blob in (pieces.embed, *pieces.layers, pieces.head)}
        return [opened[blob] for blob in self._blobs(pieces)]

    def _blobs(self, pieces: Stages) -> list[bytes]:
        config = self._config
        groups = [config.group_of_layer(index) for index in range(config.num_hidden_layers)]
        return [pieces.embed, *(pieces.layers[group] for group in groups), pieces.head]


class _Stage:
    """A piece in an interpreter; floats go in and come out, whatever its own types are."""

    def __init__(self, blob: bytes) -> None:
        piece = StageModel(blob, "stage")
        self._runtime = open_interpreter(blob, threads=_THREADS)
        self._inputs = _steps(piece.inputs, self._runtime.get_input_details())
        self._outputs = _steps(piece.outputs, self._runtime.get_output_details())
        self._count = 0

    def run(self, state: State) -> State:
        runtime = self._runtime
        arrays = {name: _stored(state[name], step) for name, (_, step) in self._inputs.items()}
        if (count := next(iter(arrays.values())).size) != self._count:
            for name, (tensor, _) in self._inputs.items():
                runtime.resize_tensor_input(tensor, arrays[name].shape)
            runtime.allocate_tensors()
            self._count = count
        for name, (tensor, _) in self._inputs.items():
            runtime.set_tensor(tensor, arrays[name])
        runtime.invoke()
        outputs = self._outputs.items()
        return {name: _floats(runtime.get_tensor(tensor), step) for name, (tensor, step) in outputs}


def _steps(edges: Mapping[str, int], details: Sequence[Any]) -> dict[str, tuple[int, float]]:
    """Return each tensor, and the size of its steps: 0 where it has none.

    Between pieces there are floats, and symmetric integers of 16 bits.
    """
    scales = {entry["index"]: float(entry["quantization"][0]) for entry in details}
    return {name: (tensor, scales[tensor]) for name, tensor in edges.items()}


def _stored(values: Array, step: float) -> Array:
    if not step:
        return values
    return np.clip(np.round(values / step), -QMAX["int16"], QMAX["int16"]).astype(np.int16)


def _floats(stored: Array, step: float) -> Array:
    return stored * np.float32(step) if step else stored


def _outputs(states: Sequence[State]) -> dict[str, Array]:
    """Return what comes out, of the states before and after the head."""
    before, after = states
    return {"last_hidden_state": before["hidden_states"][None], **after}


def _square(values: Array) -> float:
    return float(np.square(values, dtype=np.float64).sum())
