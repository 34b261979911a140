"""What there is to choose from: quantization recipes, the parts that may differ, and layouts."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources

from albert_edge.errors import ConversionError

__all__ = [
    "PARTS",
    "RECIPES",
    "Precision",
    "Recipe",
    "get_recipe",
    "override_precision",
    "recipe_figures",
]

# What has a weight, or is worth a precision of its own; `tflite.export` names its constants so.
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
    """How a part is stored and computed.

    Attributes:
        weights: `float32`, `float16`, `int8` or `int4`.
        arithmetic: The type that its values are multiplied in: `float32` (with integer weights
            LiteRT quantizes the other factor on the fly, row by row), `int8` or `int16`.
    """

    weights: str
    arithmetic: str


_SMALL = 1024  # weights of fewer numbers stay float32 among float values: nothing to gain
# By name, as in `--keep PART=TYPE`.
_PRECISIONS = {
    "float32": Precision("float32", "float32"),
    "float16": Precision("float16", "float32"),
    "dynamic": Precision("int8", "float32"),
    "int8": Precision("int8", "int8"),
    "int16": Precision("int8", "int16"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a file stores its weights and computes with them.

    Attributes:
        name: The value of `--quantize`.
        products: How the layers' matrix products are stored and computed.
        ends: The same for what runs once: the embedding's and the head's products.
        tables: How the embeddings' tables are stored.
        between: The type of the values between products: residuals, normalization.
        max_error: The largest error of a file that still passes: the root mean square of its
            outputs' differences from the float32 Keras model's, as a share of the root mean square
            of the latter.
        summary: One sentence for people.
        kept: The parts that differ, by name.
        by_row: Whether a product of 8 bits that ends in a sum has a range for each channel.
        equalized: Whether query, key and value are brought to one size.
        compensated: Whether 4-bit weights are rounded by what they are multiplied with.
        block: How many 4-bit weights of a row share a scale; 0 for all of them.
    """

    name: str
    products: Precision
    ends: Precision
    tables: str
    between: str
    max_error: float
    summary: str
    kept: Mapping[str, Precision] = field(default_factory=dict)
    # What makes few bits exact; switched off only to measure what each contributes.
    by_row: bool = True
    equalized: bool = True
    compensated: bool = True
    block: int = 64

    @property
    def calibrated(self) -> bool:
        """Whether ranges of the values between operators must be measured."""
        return self.between != "float32"

    @property
    def rounded(self) -> bool:
        """Whether weights are rounded with a look at what they are multiplied with."""
        return self.products.weights == "int4" and self.compensated

    @property
    def activations(self) -> str:
        """Describe what the layers compute with."""
        if self.calibrated:
            return f"{self.products.arithmetic} products, {self.between} between them, calibrated"
        on_the_fly = ", quantized on the fly per row" if "int" in self.products.weights else ""
        return f"float32{on_the_fly}"

    def of(self, part: str) -> Precision:
        """Return the precision of one of `PARTS`."""
        if part in self.kept:
            return self.kept[part]
        if part.endswith("_embeddings"):
            return Precision(self.tables, self.between)
        return self.products if part.startswith("layer.") else self.ends

    def stored(self, part: str, numbers: int) -> str:
        """Return the type that a weight of one of `PARTS` is stored in, given its size."""
        precision = self.of(part)
        small = numbers < _SMALL and precision.arithmetic == "float32"
        return "float32" if small else precision.weights

    def describe(self) -> dict[str, str]:
        """Return what the file's provenance says of the recipe."""
        kept = {part: f"{p.weights} weights, {p.arithmetic}" for part, p in self.kept.items()}
        return {
            "weights": self.products.weights,
            "activations": self.activations,
            "embedding": self.tables,
            **kept,
        }


RECIPES: dict[str, Recipe] = {
    entry.name: entry
    for entry in (
        Recipe(
            name="float32",
            products=_PRECISIONS["float32"],
            ends=_PRECISIONS["float32"],
            tables="float32",
            between="float32",
            # Rounding only: the kernels sum in another order than Keras.
            max_error=1e-4,
            summary="The reference: no compression and no loss.",
        ),
        Recipe(
            name="float16",
            products=_PRECISIONS["float16"],
            ends=_PRECISIONS["float16"],
            tables="float16",
            between="float32",
            # A float16 weight is off by at most 2^-11; a dozen passes add up to some 1e-3.
            max_error=1e-2,
            summary="Half the size; the CPU computes in float32, a GPU in float16.",
        ),
        Recipe(
            name="int8",
            products=_PRECISIONS["dynamic"],
            ends=_PRECISIONS["dynamic"],
            tables="int8",
            between="float32",
            # A trained 12-pass encoder shows 0.07 (a cosine of 0.9975); a broken one 0.7 and more.
            max_error=0.25,
            summary="A quarter of the size and several times as fast on a CPU; no calibration.",
        ),
        Recipe(
            name="int4",
            products=Precision("int4", "float32"),
            ends=_PRECISIONS["dynamic"],
            tables="int4",
            between="float32",
            # The same encoder shows 0.17 (a cosine of 0.986).
            max_error=0.5,
            summary="An eighth of the size; the weights' rounding is fitted to calibration texts.",
        ),
        Recipe(
            name="int16x8",
            products=_PRECISIONS["int16"],
            ends=_PRECISIONS["int16"],
            tables="int8",
            between="int16",
            max_error=0.25,
            summary="Integer only, as accurate as int8; for NPUs with 16-bit activations.",
        ),
        Recipe(
            name="int8-full",
            products=_PRECISIONS["int8"],
            # Both run once, or on one row: 16 bits cost next to nothing there.
            ends=_PRECISIONS["int16"],
            tables="int8",
            between="int16",
            # The same encoder shows 0.14 (a cosine of 0.990).
            max_error=0.4,
            summary="Integer only: 8-bit products between 16-bit sums and norms; for NPUs.",
        ),
    )
}


def get_recipe(name: str) -> Recipe:
    """Return the recipe called `name`.

    Raises:
        ConversionError: There is none of that name.
    """
    if name not in RECIPES:
        raise ConversionError(f"unknown recipe {name!r}; choose from {', '.join(RECIPES)}.")
    return RECIPES[name]


def recipe_figures(name: str) -> dict[str, float]:
    """Return what was measured of a recipe in layout loop, or nothing.

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
        parts: Entries `PART=TYPE`: a part of `PARTS`, or what several begin with (`layer`,
            `layer.ffn`); `float32`, `float16`, `dynamic` (int8 weights, float values) or, in a
            calibrated recipe, `int8` or `int16`.

    Raises:
        ConversionError: There is no such part or type, or the recipe cannot carry it.

    Example:
        >>> keep(recipe("int8"), ["layer.ffn_output=float32"]).of("layer.ffn_output").weights
        'float32'
    """
    kept = dict(chosen.kept)
    for entry in parts:
        name, _, kind = entry.partition("=")
        if kind not in _PRECISIONS:
            raise ConversionError(
                f"cannot keep {entry!r}: expected PART=TYPE, a type of {', '.join(_PRECISIONS)}."
            )
        if not chosen.calibrated and _PRECISIONS[kind].arithmetic != "float32":
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
                f"there is no part {name!r}{hint}; choose from {', '.join(PARTS)}, or what several "
                "begin with."
            )
        kept |= dict.fromkeys(matching, _PRECISIONS[kind])
    return replace(chosen, kept=kept)
