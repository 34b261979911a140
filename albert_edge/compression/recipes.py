"""What there is to choose from: quantization recipes and layouts."""

from __future__ import annotations

from dataclasses import dataclass

from albert_edge.errors import ConversionError

__all__ = ["LAYOUTS", "RECIPES", "Recipe", "check_layout", "recipe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a file stores its weights and computes with them.

    Attributes:
        name: The value of `--quantize`.
        weights: The type of the stored weights.
        activations: The type of the values between operators.
        embedding: The type of the stored word embeddings.
        max_error: The largest error of a file that still passes: the root mean square of its
            outputs' differences from the float32 Keras model's, as a share of the root mean square
            of the latter.
        summary: One sentence for people.
    """

    name: str
    weights: str
    activations: str
    embedding: str
    max_error: float
    summary: str

    @property
    def quantized_weights(self) -> bool:
        """Whether the converter is asked to store weights in fewer bits."""
        return self.weights != "float32"

    @property
    def float16_weights(self) -> bool:
        """Whether weights are stored as float16."""
        return self.weights == "float16"


RECIPES: dict[str, Recipe] = {
    entry.name: entry
    for entry in (
        Recipe(
            name="float32",
            weights="float32",
            activations="float32",
            embedding="float32",
            # Rounding only: the kernels sum in another order than Keras.
            max_error=1e-4,
            summary="The reference: nothing is lost, nothing is gained.",
        ),
        Recipe(
            name="float16",
            weights="float16",
            activations="float32",
            embedding="float16",
            # A float16 weight is off by at most 2^-11; a dozen passes add up to some 1e-3.
            max_error=1e-2,
            summary="Half the file; the CPU computes in float32, a GPU in float16.",
        ),
        Recipe(
            name="int8",
            weights="int8 per channel",
            activations="float32, quantized on the fly per row",
            embedding="int8",
            # A trained 12-pass encoder shows 0.07 (a cosine of 0.9975); a broken one 0.7 and more.
            max_error=0.25,
            summary="A quarter of the file and several times as fast on a CPU; no calibration.",
        ),
    )
}

LAYOUTS: dict[str, str] = {
    "loop": "A loop over one layer: the smallest in RAM; for CPUs.",
    "unrolled": "One copy of the operators a pass, over the same weights; for GPUs and NPUs.",
    "split": "Signatures embed, layer and head; the host makes the passes; for Edge TPU.",
}


def recipe(name: str) -> Recipe:
    """Return the recipe called `name`.

    Raises:
        ConversionError: There is none of that name.
    """
    if name not in RECIPES:
        raise ConversionError(f"unknown recipe {name!r}; choose from {', '.join(RECIPES)}.")
    return RECIPES[name]


def check_layout(name: str) -> None:
    """Check that there is a layout called `name`.

    Raises:
        ConversionError: There is none.
    """
    if name not in LAYOUTS:
        raise ConversionError(f"unknown layout {name!r}; choose from {', '.join(LAYOUTS)}.")
