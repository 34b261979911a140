"""Options of distillation: the student's shape, and how it is trained.

The command line reads help, choices and limits from here (`cli.options.options_from`): the first
sentence about an attribute is the help of its option.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from albert_edge.config import AlbertConfig
from albert_edge.errors import TrainingError
from albert_edge.training.options import FinetuneOptions, check_fields
from albert_edge.training.pretraining.options import PretrainOptions

__all__ = ["ON_TASK", "ON_TEXT", "STUDENTS", "StudentShape", "Teaching"]

ON_TEXT = PretrainOptions(
    steps=5000, batch_size=32, optimizer="adamw", learning_rate=1e-3, examine_every=250
)
# The teacher's outputs are targets enough: what makes a task harder is left out.
ON_TASK = FinetuneOptions(
    learning_rate=5e-4,
    label_smoothing=0.0,
    word_dropout=0.0,
    sampling=1.0,
    averaging=0.998,
    mixed_precision="auto",
)
_HEAD_SIZE = 64  # of BERT, and of ALBERT-base
_MOST_EMBEDDING = 128  # ALBERT's width of embeddings; Lan et al. 2020, table 3


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentShape:
    """The shape of a new student; the rest of its configuration is the teacher's.

    Attributes:
        hidden_size: Width of the student's layers.
        num_hidden_layers: Passes of the student's one layer.
        embedding_size: Width of the student's embeddings.  None for 128, or the width of its layers
            if that is less.
        num_attention_heads: Attention heads of the student.  None for one for each 64 of its width.
        intermediate_size: Channels of the student's FFN.  None for four times its width.
    """

    hidden_size: int = field(default=256, metadata={"min": 1})
    num_hidden_layers: int = field(default=6, metadata={"min": 1})
    embedding_size: int | None = field(
        default=None, metadata={"min": 1, "unset": "128, or the hidden size if that is less"}
    )
    num_attention_heads: int | None = field(
        default=None, metadata={"min": 1, "unset": "hidden size / 64"}
    )
    intermediate_size: int | None = field(
        default=None, metadata={"min": 1, "unset": "4 times the hidden size"}
    )

    def of(self, teacher: AlbertConfig) -> AlbertConfig:
        """Return the configuration of a student of `teacher`: one layer for all passes, no dropout.

        Raises:
            TrainingError: The width is no multiple of the number of heads.
        """
        width = self.hidden_size
        heads = self.num_attention_heads or max(round(width / _HEAD_SIZE), 1)
        if width % heads:
            raise TrainingError(
                f"a hidden size of {width} cannot be divided among {heads} attention heads; give a "
                "multiple of the heads, or --num-attention-heads."
            )
        return dataclasses.replace(
            teacher,
            family="albert",
            num_hidden_groups=1,
            inner_group_num=1,
            hidden_size=width,
            num_hidden_layers=self.num_hidden_layers,
            embedding_size=self.embedding_size or min(_MOST_EMBEDDING, width),
            num_attention_heads=heads,
            head_dim=None,
            intermediate_size=self.intermediate_size or 4 * width,
            hidden_act="gelu_new",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            classifier_dropout_prob=0.1,
            early_exit=False,
        )

    def __post_init__(self) -> None:
        check_fields(self)


STUDENTS = {
    "small": StudentShape(),
    "medium": StudentShape(hidden_size=512, num_hidden_layers=8),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Teaching:
    """How a teacher of a task counts beside the labels.

    Attributes:
        teacher_weight: Weight of the teacher's outputs in the loss.  The labels have the rest.
        temperature: Divide logits by this before they are compared with the teacher's.  Numbers
            are compared as they are.
    """

    teacher_weight: float = 0.7
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.teacher_weight <= 1:
            raise TrainingError(f"teacher_weight must be in (0, 1], not {self.teacher_weight}.")
        if not 0 < self.temperature <= 100:
            raise TrainingError(f"temperature must be in (0, 100], not {self.temperature}.")
