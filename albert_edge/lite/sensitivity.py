"""Measure the error that each part of a model, and each pass, adds in a recipe.

A part is put in its precision alone, in all passes or in one, and the rest stays in float32.  That
takes no file for every combination: the stages are converted once, and run one after another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from albert_edge.compression.calibration import calibration_rows
from albert_edge.compression.observe import observe
from albert_edge.compression.recipes import PARTS, Precision, Recipe, keep, recipe
from albert_edge.errors import ConversionError, InputError
from albert_edge.lite.builder import Piece
from albert_edge.lite.chain import Chain
from albert_edge.lite.equalize import equalize
from albert_edge.lite.linker import link
from albert_edge.lite.pieces import Pieces, make_pieces
from albert_edge.lite.stages import Watched, quantize_pieces
from albert_edge.modeling import Albert

__all__ = ["BETWEEN", "measure_sensitivity"]

BETWEEN = "between"  # what `Recipe.between` is of: residuals and normalization

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
        quantize: A recipe of `compression.recipes.RECIPES`, not float32.
        calibration: Texts, as for `convert`.  Every fourth of them, 16 at most, is held out to
            measure on, cut to 64 tokens; the others calibrate.
        kept: Parts in another precision than the recipe's, as `compression.recipes.keep` reads
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
    chosen = keep(recipe(quantize), kept)
    bench = _Bench(model, chosen, calibration)
    names = [*PARTS, BETWEEN]
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


class _Bench:
    """A model's float32 pieces, calibrated, and texts to measure other pieces on."""

    def __init__(self, model: Albert, chosen: Recipe, calibration: Iterable[str] | None) -> None:
        self._config = config = model.config
        self._chosen = chosen
        seen, held_out = _rows(model, calibration)
        pieces = make_pieces(model)
        watched: Watched | None = None
        if chosen.calibrated or chosen.rounded:
            watched = observe(pieces, config, seen, grams=chosen.rounded)
        self._trained = model.ranges if chosen.calibrated else {}
        if watched and chosen.calibrated and not self._trained:
            pieces, watched = _equalized(pieces, watched)
        self._pieces, self._watched = pieces, watched
        # Rewritten too, so that what a recipe leaves alone is the same to the byte.
        self._float = self._quantized(recipe("float32"))
        self._chain = Chain(self._float, config, held_out)
        self._answers = Piece(pieces.head, "head").outputs
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
        alone = recipe("float32")
        if name == BETWEEN:
            precision = Precision(self._chosen.between, self._chosen.between)
            alone = replace(alone, between=self._chosen.between)
        else:
            precision = self._chosen.of(name)
            alone = replace(alone, kept={name: precision})
        figures = self._measure(self._quantized(alone))
        if figures["error"] is None:
            return None
        types = {"weights": precision.weights, "arithmetic": precision.arithmetic}
        helps = name != BETWEEN and figures["error"] > _NEGLIGIBLE * self.whole["error"]
        finer = self._finer(name, precision) if helps else None
        return {"part": name, **types, **figures, "finer": finer}

    def _finer(self, name: str, precision: Precision) -> dict[str, Any]:
        kind = _FINER[precision.weights, precision.arithmetic]
        pieces = self._quantized(keep(self._chosen, [f"{name}={kind}"]))
        (outputs,) = self._chain.errors(pieces, [range(len(self.depths))])
        return {
            "keep": f"{name}={kind}",
            "error": self._worst(outputs),
            "size_bytes": len(link(pieces, self._config)),
        }

    def _quantized(self, chosen: Recipe) -> Pieces:
        return quantize_pieces(
            self._pieces, self._config, chosen, watched=self._watched, trained=self._trained
        )

    def _measure(self, pieces: Pieces) -> dict[str, Any]:
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


def _equalized(pieces: Pieces, watched: Watched) -> tuple[Pieces, Watched]:
    """Do to the float32 pieces what `quantize_pieces` does for a calibrated recipe."""
    layers, seen = [], dict(watched)
    for group, blob in enumerate(pieces.layers):
        piece, seen[f"layer_{group}"] = equalize(
            Piece(blob, f"layer_{group}"), watched[f"layer_{group}"]
        )
        layers.append(piece.blob)
    return replace(pieces, layers=tuple(layers)), seen
