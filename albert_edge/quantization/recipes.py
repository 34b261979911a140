"""Quantization recipes, and the parts of a model whose precision can be overridden.

A recipe (`--quantize`) sets how weights are stored and which type each operator computes in; an
override (`--keep PART=TYPE`) gives some parts another precision.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources

from albert_edge.errors import ConversionError

__all__ = ["PARTS", "RECIPES", "Recipe", "get_recipe", "override_precision", "recipe_figures"]

# Parts with a weight, or worth a precision of their own; `tflite.export` names its constants so.
PARTS = (
    "embed.word_embeddings",
    "embed.position_embeddings",
    "embed.token_type_embeddings",
    "embed.projection",
    "layer.attention_query_key_value",
    "layer.attention_scores",
    "layer.attention_output",
    "layer.ffn_intermediate",
    "layer.ffn_output",
    "head.pooler",
    "head.classifier",
    "head.exits",
    "head.qa_outputs",
    "head.sentence_scorer",
    "head.sop_classifier",
    "head.dense",
    "head.predictions",
)


@dataclass(frozen=True, slots=True)
class Precision:
    """The precision of a part.

    Attributes:
        weights: `float32`, `float16`, `int8` or `int4`.
        arithmetic: The type of the values that they are multiplied with: `float32` (with integer
            weights LiteRT quantizes those on the fly, row by row), `int8` or `int16`.
    """

    weights: str
    arithmetic: str


_SMALL = 1024  # smaller weights stay float32 among float values: nothing to gain
# The TYPE of `--keep PART=TYPE` → precision.
_PRECISIONS = {
    "float32": Precision("float32", "float32"),
    "float16": Precision("float16", "float32"),
    "dynamic": Precision("int8", "float32"),
    "int8": Precision("int8", "int8"),
    "int16": Precision("int8", "int16"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The precision of every part of a model.

    Attributes:
        name: The value of `--quantize`.
        matmuls: The precision of the layers' matrix products.
        outer_matmuls: That of the products that run once, in the embedding and the head.
        embedding_dtype: The type that the embedding tables are stored in.
        residual_dtype: The type of activations between products: residuals, normalization.
        max_error: The largest error at which a file passes verification: the root mean square of
            its outputs' differences from the float32 Keras model's, over the root mean square of
            the latter.
        summary: One sentence for the command line.
        overrides: Part → precision, where it differs.
        by_row: Whether an 8-bit product that ends in a sum has a range for each channel.
        equalized: Whether query, key and value are scaled to equal ranges.
        compensated: Whether 4-bit weights are rounded by GPTQ, with the Hessian of their inputs.
        block: How many 4-bit weights of a row share a scale; 0 for all of them.
    """

    name: str
    matmuls: Precision
    outer_matmuls: Precision
    embedding_dtype: str
    residual_dtype: str
    max_error: float
    summary: str
    overrides: Mapping[str, Precision] = field(default_factory=dict)
    # These make few bits accurate; benchmarks switch them off to measure each one's effect.
    by_row: bool = True
    equalized: bool = True
    compensated: bool = True
    block: int = 64

    @property
    def calibrated(self) -> bool:
        """Whether the ranges of activations must be calibrated."""
        return self.residual_dtype != "float32"

    @property
    def uses_hessians(self) -> bool:
        """Whether weights are rounded with the Hessian of their inputs."""
        return self.matmuls.weights == "int4" and self.compensated

    @property
    def has_float_ffn(self) -> bool:
        """Whether the products of the feed-forward network are of floats."""
        parts = ("layer.ffn_intermediate", "layer.ffn_output")
        calibrated = self.calibrated or self.uses_hessians
        return not calibrated and all("float" in self.precision_of(one).weights for one in parts)

    @property
    def activations(self) -> str:
        """Describe the types that the layers compute in."""
        if self.calibrated:
            between = f"{self.residual_dtype} between them"
            return f"{self.matmuls.arithmetic} products, {between}, calibrated"
        on_the_fly = ", quantized on the fly per row" if "int" in self.matmuls.weights else ""
        return f"float32{on_the_fly}"

    def precision_of(self, part: str) -> Precision:
        """Return the precision of one of `PARTS`."""
        if part in self.overrides:
            return self.overrides[part]
        if part.endswith("_embeddings"):
            return Precision(self.embedding_dtype, self.residual_dtype)
        return self.matmuls if part.startswith("layer.") else self.outer_matmuls

    def weight_dtype(self, part: str, size: int) -> str:
        """Return the type that a weight of one of `PARTS` with `size` numbers is stored in."""
        precision = self.precision_of(part)
        small = size < _SMALL and precision.arithmetic == "float32"
        return "float32" if small else precision.weights

    def describe(self) -> dict[str, str]:
        """Return the recipe's entry in the file's provenance."""
        overrides = {
            part: f"{precision.weights} weights, {precision.arithmetic}"
            for part, precision in self.overrides.items()
        }
        return {
            "weights": self.matmuls.weights,
            "activations": self.activations,
            "embedding": self.embedding_dtype,
            **overrides,
        }


RECIPES: dict[str, Recipe] = {
    entry.name: entry
    for entry in (
        Recipe(
            name="float32",
            matmuls=_PRECISIONS["float32"],
            outer_matmuls=_PRECISIONS["float32"],
            embedding_dtype="float32",
            residual_dtype="float32",
            # Rounding only: the kernels add in another order than Keras.
            max_error=1e-4,
            summary="The reference: no compression and no loss.",
        ),
        Recipe(
            name="float16",
            matmuls=_PRECISIONS["float16"],
            outer_matmuls=_PRECISIONS["float16"],
            embedding_dtype="float16",
            residual_dtype="float32",
            # A float16 weight is off by at most 2^-11; a dozen passes add up to some 1e-3.
            max_error=1e-2,
            summary="Half the size; the CPU computes in float32, a GPU in float16.",
        ),
        Recipe(
            name="int8",
            matmuls=_PRECISIONS["dynamic"],
            outer_matmuls=_PRECISIONS["dynamic"],
            embedding_dtype="int8",
            residual_dtype="float32",
            # A trained 12-pass encoder has 0.07 (a cosine of 0.9975); a broken one 0.7 and more.
            max_error=0.25,
            summary="A quarter of the size and several times as fast on a CPU; no calibration.",
        ),
        Recipe(
            name="int4",
            matmuls=Precision("int4", "float32"),
            outer_matmuls=_PRECISIONS["dynamic"],
            embedding_dtype="int4",
            residual_dtype="float32",
            # The same encoder has 0.17 (a cosine of 0.986).
            max_error=0.5,
            summary="An eighth of the size; the weights' rounding is fitted to calibration texts.",
        ),
        Recipe(
            name="int16x8",
            matmuls=_PRECISIONS["int16"],
            outer_matmuls=_PRECISIONS["int16"],
            embedding_dtype="int8",
            residual_dtype="int16",
            max_error=0.25,
            summary="Integer only, as accurate as int8; for NPUs with 16-bit activations.",
        ),
        Recipe(
            name="int8-full",
            matmuls=_PRECISIONS["int8"],
            # These run once, or on one row: 16 bits cost next to nothing there.
            outer_matmuls=_PRECISIONS["int16"],
            embedding_dtype="int8",
            residual_dtype="int16",
            # The same encoder has 0.14 (a cosine of 0.990).
            max_error=0.4,
            summary="Integer only: 8-bit products between 16-bit sums and norms; for NPUs.",
        ),
    )
}


def get_recipe(name: str) -> Recipe:
    """Return the recipe called `name`.

    Raises:
        ConversionError: There is no such recipe.
    """
    if name not in RECIPES:
        raise ConversionError(f"unknown recipe {name!r}; choose from {', '.join(RECIPES)}.")
    return RECIPES[name]


def recipe_figures(name: str) -> dict[str, float]:
    """Return the figures measured for a recipe in layout loop; empty if there are none.

    Returns:
        `albert_base_bytes`, `albert_base_rss_bytes` and `albert_base_latency_ms` of ALBERT-base's
        shape at 128 tokens on one thread; `trained_encoder_cosine` of a 12-pass encoder's hidden
        states with float32's; `default_accuracy` of the embedded model on sentences that it was
        not trained on.
    """
    text = resources.files(__package__).joinpath("figures.json").read_text(encoding="utf-8")
    found: dict[str, float] = json.loads(text).get(name, {})
    return found


def override_precision(chosen: Recipe, parts: Iterable[str]) -> Recipe:
    """Return `chosen` with some parts in another precision.

    Args:
        chosen: A recipe.
        parts: Entries `PART=TYPE`: a part of `PARTS` or a prefix of several (`layer`,
            `layer.ffn`); `float32`, `float16`, `dynamic` (int8 weights, float values) or, in a
            calibrated recipe, `int8` or `int16`.

    Raises:
        ConversionError: There is no such part or type, or the recipe does not support it.

    Example:
        >>> chosen = override_precision(get_recipe("int8"), ["layer.ffn_output=float32"])
        >>> chosen.precision_of("layer.ffn_output").weights
        'float32'
    """
    overrides = dict(chosen.overrides)
    for entry in parts:
        name, _, dtype = entry.partition("=")
        if dtype not in _PRECISIONS:
            raise ConversionError(
                f"cannot keep {entry!r}: expected PART=TYPE, a type of {', '.join(_PRECISIONS)}."
            )
        if not chosen.calibrated and _PRECISIONS[dtype].arithmetic != "float32":
            raise ConversionError(
                f"cannot keep {entry!r}: {chosen.name} computes in floats; give {name}=dynamic, or "
                "choose a calibrated recipe such as int8-full."
            )
        matching = [
            part for part in PARTS if part == name or part.startswith((f"{name}.", f"{name}_"))
        ]
        if not matching:
            near = difflib.get_close_matches(name, PARTS, n=1, cutoff=0.4)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise ConversionError(
                f"there is no part {name!r}{hint}; choose from {', '.join(PARTS)}, or a prefix of "
                "several."
            )
        overrides |= dict.fromkeys(matching, _PRECISIONS[dtype])
    return replace(chosen, overrides=overrides)
