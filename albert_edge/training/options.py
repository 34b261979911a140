"""Options of fine-tuning, and which epoch's model it keeps.

The command line reads help, choices and limits from here (`cli.options.options_from`): the first
sentence about an attribute is the help of its option.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from albert_edge.errors import TrainingError

__all__ = ["PRECISIONS", "BestCheckpoint", "FinetuneOptions", "check_fields"]

PRECISIONS = ("auto", "off", "bfloat16")  # of matrix products; weights are float32
_LEAST = {"epochs": 1, "batch_tokens": 1, "max_length": 3, "window": 8, "seed": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneOptions:
    """Options of fine-tuning; the defaults suit a small model trained from scratch.

    Attributes:
        epochs: Number of training epochs.
        batch_tokens: Tokens per batch, padding included.  A batch holds texts of similar length,
            so a batch of long texts has fewer of them, and a long text weighs more than a short
            one.
        learning_rate: Peak learning rate.  It rises over the first tenth of the steps, then
            decays linearly to zero.
        embeddings_rate: Learning-rate multiplier for the embeddings.  It holds for their
            projection too; 0 freezes both.
        encoder_rate: Learning-rate multiplier for the layers.  One layer serves all passes, so
            there are no rates by depth.
        weight_decay: Weight decay of AdamW, not applied to biases and normalizations.
        class_weights: Weights of the labels in the loss.  `balanced` gives every label the same
            total weight, `none` every example the same; `a=1,b=2` sets weights, with 1 for labels
            left out.  None for `balanced` where a text has one label, and `none` otherwise.
        label_smoothing: Fraction of the target spread evenly over all labels, where a text or a
            word has one.
        word_dropout: Fraction of tokens that are replaced with `[MASK]`.
        joining: Fraction of texts that are joined to a second text (see `concat_mixup`).
        sampling: Exponent of subword regularization for classified texts; 1 turns it off.  See
            `subword_regularization`.  None for 0.3 with SentencePiece, else 1.
        max_length: Truncate training texts to this many tokens.
        window: Tokens of a question with a part of its context, at most.  The parts overlap.
            Fewer where the model has fewer positions.
        averaging: Momentum of the running average of the weights, which is what is kept.
        mixed_precision: bfloat16 products with float32 weights; auto uses them where the hardware
            supports them.
        seed: Random seed.  The same seed gives the same model on the same machine.
    """

    epochs: int = 4
    batch_tokens: int = 2048
    learning_rate: float = 1e-3
    embeddings_rate: float = 1.0
    encoder_rate: float = 1.0
    weight_decay: float = 0.05
    class_weights: str | None = field(
        default=None,
        metadata={
            "metavar": "balanced|none|A=1,B=2",
            "unset": "balanced for single labels, else none",
        },
    )
    label_smoothing: float = 0.1
    word_dropout: float = 0.1
    joining: float = 0.0
    sampling: float | None = field(
        default=None, metadata={"unset": "0.3 with SentencePiece, else 1"}
    )
    max_length: int = 128
    window: int = 384
    averaging: float = 0.999
    mixed_precision: str = field(default="off", metadata={"choices": PRECISIONS})
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
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
        if self.sampling is not None and not 0 < self.sampling <= 1:
            raise TrainingError(f"sampling must be in (0, 1], not {self.sampling}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class BestCheckpoint:
    """Which epoch's model is kept, and when training stops early.

    Attributes:
        keep: Epoch whose model is kept: the last, or the best on --dev.  The learning rate is
            planned for the last.
        patience_epochs: Stop after this many epochs without a better dev score.  None to run all
            epochs.
    """

    keep: str = field(default="last", metadata={"choices": ("last", "best")})
    patience_epochs: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.patience_epochs is not None and self.patience_epochs < 1:
            raise TrainingError(f"patience_epochs must be at least 1, not {self.patience_epochs}.")

    @property
    def needs_dev(self) -> bool:
        """Whether a dev set decides anything."""
        return self != BestCheckpoint()


def check_fields(options: Any) -> None:
    """Check a dataclass's values against the metadata of its fields: `choices`, `min`, `below`.

    Raises:
        TrainingError: A value is not allowed.
    """
    for each in fields(options):
        value, limits = getattr(options, each.name), each.metadata
        if value is None:  # not given
            continue
        choices, least, bound = (limits.get(key) for key in ("choices", "min", "below"))
        if choices is not None and value not in choices:
            raise TrainingError(f"{each.name} must be one of {', '.join(choices)}, not {value!r}.")
        if bound is not None and not least <= value < bound:
            raise TrainingError(f"{each.name} must be in [{least}, {bound}), not {value}.")
        if least is not None and not value >= least:
            raise TrainingError(f"{each.name} must be at least {least}, not {value}.")
