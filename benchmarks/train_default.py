"""Train the embedded model, from the data to the files in the package.

    python -m benchmarks.distillation_data DATA_FOLDER -o distillation.jsonl
    python -m benchmarks.train_default DATA_FOLDER distillation.jsonl -o OUTPUT

It pre-trains an ALBERT on plain text, then distills a teacher into it, with an exit after every
pass. Finished steps in OUTPUT are not repeated.  `albert_edge/models/sentiment/README.md` has the
figures.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from albert_edge import convert, load_keras
from albert_edge.checkpoints import read_checkpoint, write_checkpoint
from albert_edge.config import AlbertConfig
from albert_edge.datasets.examples import Examples, read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.files import write_file
from albert_edge.tokenizer.train import train_vocabulary
from albert_edge.training.finetune import finetune
from albert_edge.training.init import with_new_head
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.pretraining.options import PretrainOptions
from albert_edge.training.pretraining.pretrain_files import pretrain_files
from albert_edge.training.tasks.classification import ClassificationObjective
from benchmarks.corpus import read_corpus

LABELS = ("negative", "positive")
# 2.5 M parameters, three quarters of them in the word embeddings: a bag of 8,000 pieces scores 2
# points less than one of 24,000.  int8 kernels are fastest at multiples of 16; ReLU takes a third
# of GELU's training time.
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
    label_smoothing=0.0,  # the targets are probabilities already
    sampling=1.0,
    averaging=0.999,
    mixed_precision="auto",
    seed=1,
)
FILM_SHARE = 4  # the weight of the film phrases, the domain of the dev set, in the vocabulary


def read_texts(path: Path, teacher_column: str | None = None) -> Examples:
    """Read a table of labelled texts."""
    options = EvaluateOptions()
    return read_examples(path, "classification", LABELS, options, teacher_column=teacher_column)


def write_corpus(data: Path, folder: Path) -> None:
    """Write the pre-training texts, and a vocabulary trained on them and the film phrases."""
    folder.mkdir(exist_ok=True)
    documents = read_corpus(data)
    for name, texts in zip(("train.txt", "held_out.txt"), documents, strict=True):
        write_file(folder / name, "\n\n".join(texts).encode(), force=True)
    table = read_texts(data / "sentiment" / "train.tsv")
    phrases = [inputs["text"] for inputs in table.inputs]
    lines = (line for document in documents[0] for line in document.split("\n"))
    tokenizer = train_vocabulary([*lines, *phrases * FILM_SHARE], size=SHAPE.vocab_size)
    write_file(folder / "config.json", SHAPE.to_json().encode(), force=True)
    for name, blob in tokenizer.files().items():  # last: it marks the folder as complete
        write_file(folder / name, blob, force=True)


def pretrain(corpus: Path, output: Path) -> None:
    """Pre-train a new ALBERT, or resume its pre-training."""
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


def distill(encoder: Path, examples: Examples, dev: Examples, output: Path) -> Iterator[str]:
    """Fine-tune all exits of a classifier; write it after every epoch, and yield its accuracy."""
    checkpoint = read_checkpoint(encoder)
    config = dataclasses.replace(checkpoint.config, early_exit=True)
    start = with_new_head(dataclasses.replace(checkpoint, config=config), LABELS, seed=0)
    objective = ClassificationObjective(examples)
    for result in finetune(start, objective, dev=dev, options=FINETUNING):
        write_checkpoint(output, dataclasses.replace(result.checkpoint, source=""), force=True)
        yield f"epoch {result.epoch}: {result.dev_accuracy:.4f} on dev"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="the folder with sentiment/, nltk/ and so on")
    parser.add_argument("examples", type=Path, help="the output of benchmarks.distillation_data")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the directory to write")
    arguments = parser.parse_args()
    arguments.output.mkdir(exist_ok=True)
    names = ("corpus", "encoder", "sentiment")
    corpus, encoder, sentiment = (arguments.output / name for name in names)
    if not (corpus / "spiece.model").exists():
        write_corpus(arguments.data, corpus)
    if not (encoder / "config.json").exists() or (encoder / "training.npz").exists():
        pretrain(corpus, encoder)
    dev = read_texts(arguments.data / "sentiment" / "dev.tsv")
    examples = read_texts(arguments.examples, teacher_column="targets")
    for line in distill(encoder, examples, dev, sentiment):
        print(line, flush=True)
    convert(load_keras(sentiment)).save(sentiment / "model.tflite", force=True)


if __name__ == "__main__":
    main()
