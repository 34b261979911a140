"""How to train."""

from __future__ import annotations

import math
from dataclasses import dataclass

from albert_edge.errors import TrainingError

__all__ = ["PRECISIONS", "FinetuneOptions"]

PRECISIONS = ("auto", "off", "bfloat16")  # of products; weights are float32
_LEAST = {"epochs": 1, "batch_tokens": 1, "max_length": 3, "window": 8, "seed": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneOptions:
    """How to fine-tune; the defaults suit a small model that starts from nothing.

    Attributes:
        epochs: How often every example is seen.
        batch_tokens: Tokens in a batch, padding included.  Batches hold texts of like length, so a
            batch of long texts has fewer of them, and a long text weighs more than a short one.
        learning_rate: The highest one, after the first tenth of the steps; from there it falls to
            zero in a straight line.
        embeddings_rate: What it is multiplied with for the embeddings and their projection; 0 keeps
            them as they are.
        encoder_rate: The same for the layers.  Since one layer serves all passes there are no
            rates by depth.
        weight_decay: AdamW's, not on biases and normalizations.
        class_weights: How much examples count by their labels: `balanced`, each label the same in
            all; `none`, each example the same; or such as `a=1,b=2`, with 1 for labels left out.
            None for `balanced` where a text has one label, and `none` otherwise.
        label_smoothing: The share of the target that goes to all labels alike, where a text or a
            word has one.
        word_dropout: The share of tokens that are replaced with `[MASK]`.
        joining: The share of texts that are joined to another one (see `concat_mixup`).
        sampling: The exponent in drawing segmentations of classified texts (see
            `subword_regularization`); 1 always takes the best one instead.
        max_length: Texts are cut to this many tokens.
        window: A question and a part of its context have at most this many tokens; the parts
            overlap.  Fewer where the model has fewer positions.
        averaging: The momentum of the running average of the weights, which is what is kept.
        mixed_precision: One of `PRECISIONS`: bfloat16 products over float32 weights; auto takes
            them where the machine is made for them.
        seed: The same seed gives the same model on the same machine.
    """

    epochs: int = 4
    batch_tokens: int = 2048
    learning_rate: float = 1e-3
    embeddings_rate: float = 1.0
    encoder_rate: float = 1.0
    weight_decay: float = 0.05
    class_weights: str | None = None
    label_smoothing: float = 0.1
    word_dropout: float = 0.1
    joining: float = 0.0
    sampling: float = 0.3
    max_length: int = 128
    window: int = 384
    averaging: float = 0.999
    mixed_precision: str = "off"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if (value := getattr(self, name)) < least:
                raise TrainingError(f"{name} must be at least {least}, not {value}.")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise TrainingError(f"learning_rate must be above 0, not {self.learning_rate}.")
        for name in ("embeddings_rate", "encoder_rate"):
            if not 0 <= (value := getattr(self, name)) < math.inf:
                raise TrainingError(f"{name} must be at least 0, not {value}.")
        for name in ("weight_decay", "label_smoothing", "word_dropout", "joining", "averaging"):
            if not 0 <= (value := getattr(self, name)) < 1:
                raise TrainingError(f"{name} must be in [0, 1), not {value}.")
        if self.mixed_precision not in PRECISIONS:
            raise TrainingError(
                f"mixed_precision must be one of {', '.join(PRECISIONS)}, not "
                f"{self.mixed_precision!r}."
            )
        if not 0 < self.sampling <= 1:
            raise TrainingError(f"sampling must be in (0, 1], not {self.sampling}.")
