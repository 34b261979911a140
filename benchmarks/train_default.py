"""Train the model that is embedded in the package, from the data to the files in the package.

    python -m benchmarks.lesson DATA_FOLDER -o lesson.jsonl
    python -m benchmarks.train_default DATA_FOLDER lesson.jsonl -o OUTPUT

An ALBERT is pre-trained on plain text, then learns from a teacher, with an exit behind every pass.
What is in OUTPUT already is not made again.  `albert_edge/models/sentiment/README.md` has the
figures.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from albert_edge import convert, load_keras
from albert_edge.checkpoints import read_checkpoint, write_checkpoint
from albert_edge.config import AlbertConfig
from albert_edge.files import write_file
from albert_edge.tokenizer.train import train_vocabulary
from albert_edge.training.data import LabelledTexts, read_labelled
from albert_edge.training.finetune import finetune
from albert_edge.training.init import with_new_head
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.pretraining.options import PretrainOptions
from albert_edge.training.pretraining.pretrain_files import pretrain_files
from benchmarks.corpus import read_corpus

LABELS = ("negative", "positive")
# 2.5 M parameters, three quarters of them the vocabulary's: a bag of 8,000 pieces scores 2 points
# less than one of 24,000.  int8 kernels like widths that are multiples of 16; ReLU costs a third of
# GELU's training time.
SHAPE = AlbertConfig(
    vocab_size=20000,
    embedding_size=96,
    hidden_size=192,
    num_hidden_layers=4,
    num_attention_heads=4,
    intermediate_size=768,
    hidden_act="relu",
    hidden_dropout_prob=0.1,
    classifier_dropout_prob=0.1,
    initializer_range=0.05,  # 0.02 is for a width of 768
    labels=LABELS,
)
PRETRAINING = PretrainOptions(
    steps=4000,
    batch_size=64,
    max_length=64,
    optimizer="adamw",
    learning_rate=1e-3,
    warm_up=0.1,
)
FINETUNING = FinetuneOptions(
    epochs=3,
    batch_tokens=4096,
    learning_rate=8e-4,
    label_smoothing=0.0,  # the targets are soft already
    sampling=1.0,
    averaging=0.999,
    mixed_precision="auto",
    seed=1,
)
FILM_SHARE = 4  # how often the vocabulary counts the film phrases, which are what is measured


def read_lesson(path: Path) -> LabelledTexts:
    """Read what `benchmarks.lesson` wrote."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return LabelledTexts(
        texts=[row["text"] for row in rows],
        classes=np.array([LABELS.index(row["label"]) for row in rows], np.int32),
        labels=LABELS,
        targets=np.array([row["targets"] for row in rows], np.float32),
    )


def write_corpus(data: Path, folder: Path) -> None:
    """Write the texts to pre-train on, and a vocabulary of them and of the film phrases."""
    folder.mkdir(exist_ok=True)
    documents = read_corpus(data)
    for name, texts in zip(("train.txt", "held_out.txt"), documents, strict=True):
        write_file(folder / name, "\n\n".join(texts).encode(), force=True)
    phrases = read_labelled(data / "sentiment" / "train.tsv", labels=LABELS).texts
    lines = (line for document in documents[0] for line in document.split("\n"))
    tokenizer = train_vocabulary([*lines, *phrases * FILM_SHARE], size=SHAPE.vocab_size)
    write_file(folder / "config.json", SHAPE.to_json().encode(), force=True)
    for name, blob in tokenizer.files().items():  # last: what is whole is there whole
        write_file(folder / name, blob, force=True)


def pretrain(corpus: Path, output: Path) -> None:
    """Teach a new ALBERT words and the order of sentences; go on where that was interrupted."""
    pretrain_files(
        [corpus / "train.txt"],
        output,
        config=corpus / "config.json",
        tokenizer=corpus / "spiece.model",
        cooccurrence=True,
        dev=[corpus / "held_out.txt"],
        options=PRETRAINING,
        resume=(output / "training.npz").exists(),
    )


def teach(encoder: Path, lesson: LabelledTexts, dev: LabelledTexts, output: Path) -> Iterator[str]:
    """Fine-tune all exits of a classifier; write it after every epoch, and say how good it is."""
    checkpoint = read_checkpoint(encoder)
    config = dataclasses.replace(checkpoint.config, early_exit=True)
    start = with_new_head(dataclasses.replace(checkpoint, config=config), LABELS, seed=0)
    for result in finetune(start, lesson, dev=dev, options=FINETUNING):
        write_checkpoint(output, dataclasses.replace(result.checkpoint, source=""), force=True)
        yield f"epoch {result.epoch}: {result.dev_accuracy:.4f} on dev"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="the folder with sentiment/, nltk/ and so on")
    parser.add_argument("lesson", type=Path, help="what benchmarks.lesson wrote")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a directory to fill")
    arguments = parser.parse_args()
    arguments.output.mkdir(exist_ok=True)
    names = ("corpus", "encoder", "sentiment")
    corpus, encoder, sentiment = (arguments.output / name for name in names)
    if not (corpus / "spiece.model").exists():
        write_corpus(arguments.data, corpus)
    if not (encoder / "config.json").exists() or (encoder / "training.npz").exists():
        pretrain(corpus, encoder)
    dev = read_labelled(arguments.data / "sentiment" / "dev.tsv", labels=LABELS)
    for line in teach(encoder, read_lesson(arguments.lesson), dev, sentiment):
        print(line, flush=True)
    convert(load_keras(sentiment)).save(sentiment / "model.tflite", force=True)


if __name__ == "__main__":
    main()
