"""What a model is to learn: the part of training that is another one for every task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from albert_edge.evaluation.examples import Examples
from albert_edge.tokenizer import Tokenizer
from albert_edge.training.options import FinetuneOptions

__all__ = ["IGNORED", "Drawn", "Lesson"]

IGNORED = -1.0  # the target of a token that the loss does not look at


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """One epoch's examples, as a model takes them.

    Attributes:
        input_ids: m sequences of T token ids, in [0, V).
        token_type_ids: For each as many numbers, 0 or 1; None if all are 0.
        targets: m rows float32 [K] for the loss: K is one number for all, or T.
        per_token: Whether K is T; then a batch's rows are filled up with `IGNORED`.
        truncated: How many of the examples were longer than a model may see, and so cut.
    """

    input_ids: Sequence[Sequence[int]]
    targets: Sequence[np.ndarray] | np.ndarray
    token_type_ids: Sequence[Sequence[int]] | None = None
    per_token: bool = False
    truncated: int = 0


class Lesson(ABC):
    """The examples of one task, how they are shown to a model, and what its answers cost.

    The figures on a dev set need nothing of this: they are those of `albert_edge.evaluation`.

    Attributes:
        task: One of `config.TASKS`.
        problem: What a classification answers, one of `config.PROBLEMS`; None for other tasks.
        examples: What there is to learn.
    """

    task: str
    problem: str | None = None
    examples: Examples

    @abstractmethod
    def check(self, options: FinetuneOptions) -> None:
        """Check that there is something to learn, and that the options go with it.

        Raises:
            TrainingError: There is not, or they do not.
        """

    @abstractmethod
    def draw(
        self, tokenizer: Tokenizer, options: FinetuneOptions, random: np.random.Generator
    ) -> Drawn:
        """Encode all examples for one epoch; `random` draws what is to differ between epochs."""

    @abstractmethod
    def loss(
        self, outputs: Mapping[str, Any], targets: Any, mask: Any, options: FinetuneOptions
    ) -> Any:
        """Return the loss of a batch, float32 []; runs inside a `tf.function`.

        Args:
            outputs: What the model says, by name, in training.
            targets: float32 [B, K], rows of `Drawn.targets`.
            mask: int32 [B, T], 1 for tokens, 0 for padding.
            options: How to train.
        """

    @abstractmethod
    def right(self, outputs: Mapping[str, Any], targets: Any, mask: Any) -> Any:
        """Return the share of right answers in a batch, float32 []; NaN if none is right or wrong.

        Arguments as in `loss`.
        """

    @property
    @final
    def labels(self) -> tuple[str, ...]:
        """The labels that there are; none for tasks without."""
        return self.examples.labels

    @final
    def __len__(self) -> int:
        return len(self.examples)
