"""Train the model of `benchmarks.summarize`: a head on a small model, new or pre-trained.

\b
python -m benchmarks.train_summarizer TRAIN.jsonl DEV.jsonl -o DIRECTORY
python -m benchmarks.train_summarizer TRAIN.jsonl DEV.jsonl -o DIRECTORY --from ENCODER

The tables have SciTLDR's form.  The output is the epoch with the highest sum of ROUGE scores on
DEV.jsonl, in summaries of one sentence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import click
import tensorflow as tf

from albert_edge.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from albert_edge.datasets.examples import read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.training.finetune import finetune
from albert_edge.training.init import DEFAULT_CONFIG, init_from_scratch, with_new_head
from albert_edge.training.objective import TaskObjective
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.tasks.summarization import SummarizationObjective

TASK = "summarization"
READING = EvaluateOptions(bullets=1)
# Two passes of the layer take half the time of four.
SHAPE = dataclasses.replace(DEFAULT_CONFIG, num_hidden_layers=2, classifier_dropout_prob=0.2)
OPTIONS = FinetuneOptions(epochs=3, batch_tokens=4096, averaging=0.99)


def begin(lesson: TaskObjective, source: str | None) -> Checkpoint:
    """Return the start: `source` with a new head, or a new model with a vocabulary of the texts."""
    if source is not None:
        encoder = read_checkpoint(source, task="feature-extraction")
        return with_new_head(encoder, (), seed=OPTIONS.seed, task=TASK)
    pairs = zip(lesson.examples.inputs, lesson.examples.targets, strict=True)
    texts = [text for inputs, summaries in pairs for text in (" ".join(inputs["text"]), *summaries)]
    return init_from_scratch(SHAPE, texts, (), seed=OPTIONS.seed, task=TASK)


def dev_score(dev: Mapping[str, float]) -> float:
    """Return the score that selects the best epoch."""
    return sum(dev.values())


@click.command(help=__doc__)
@click.argument("train", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("dev", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
@click.option("--from", "source", metavar="ENCODER", help="A checkpoint of any task.")
@click.option("--epochs", default=OPTIONS.epochs, show_default=True)
@click.option("--learning-rate", default=OPTIONS.learning_rate, show_default=True)
def main(
    train: Path, dev: Path, output: Path, source: str | None, epochs: int, learning_rate: float
) -> None:
    """Train on one core, and write the best epoch's model."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    lesson = SummarizationObjective(read_examples(train, TASK, (), READING))
    options = dataclasses.replace(OPTIONS, epochs=epochs, learning_rate=learning_rate)
    best = 0.0
    for result in finetune(
        begin(lesson, source), lesson, dev=read_examples(dev, TASK, (), READING), options=options
    ):
        figures = ", ".join(f"{name} {100 * value:.2f}" for name, value in result.dev.items())
        click.echo(f"epoch {result.epoch}: loss {result.loss:.4f}, dev {figures}")
        if dev_score(result.dev) > best:
            best = dev_score(result.dev)
            write_checkpoint(output, result.checkpoint, force=True)


if __name__ == "__main__":
    main()
