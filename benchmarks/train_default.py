"""Train the model that is embedded in the package, from the data to the files in the package.

    pip install scikit-learn
    python -m benchmarks.train_default DATA_FOLDER -o OUTPUT

A teacher that costs a minute, bags of word pairs and of letter groups (Wang and Manning 2012,
"Baselines and Bigrams"), says how positive every text is; an ALBERT learns from that and from the
labels (Hinton et al. 2015, arXiv:1503.02531), and a second one from both.  From labels alone it
learns the 75,000 short texts by heart.  `albert_edge/models/sentiment/README.md` has the figures.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import zipfile
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
import tensorflow as tf
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from albert_edge import convert, load_keras
from albert_edge.checkpoints import write_checkpoint
from albert_edge.config import AlbertConfig
from albert_edge.tokenizer import tokenizer_from_files
from albert_edge.training import FinetuneOptions, LabelledTexts, finetune, read_labelled
from albert_edge.training.batches import encode_texts, make_batches
from albert_edge.training.start import fresh_checkpoint

LABELS = ("negative", "positive")

# 1.8 M parameters, 86% of them the vocabulary's: a bag of 8,000 pieces scores 2 points less than
# one of 24,000.  E = 64 keeps the table small; int8 kernels like widths that are multiples of 16.
SHAPE = AlbertConfig(
    vocab_size=24000,
    embedding_size=64,
    hidden_size=128,
    num_hidden_layers=4,
    num_attention_heads=4,
    intermediate_size=512,
    hidden_dropout_prob=0.1,
    attention_probs_dropout_prob=0.1,
    classifier_dropout_prob=0.2,
    initializer_range=0.05,  # 0.02 is for a width of 768
    labels=LABELS,
)
OPTIONS = FinetuneOptions(
    epochs=2,
    batch_tokens=3072,
    label_smoothing=0.0,  # the targets are soft already
    joining=0.0,
    sampling=1.0,
    averaging=0.998,
)
FILM_SHARE = 8  # how often the vocabulary counts the film phrases, which are what is measured
TEACHER_SCALE = 4.0  # brings the sum of the teacher's two logits down to honest probabilities
LABEL_SHARE = 0.4  # of a film phrase's target; the teacher has the rest
SMOOTHING = 0.1  # of that share

# Reviews are cut into parts of about so many words in turn, so that every position gets its share.
PART_WORDS = (15, 30, 60, 120, 380)


def film_reviews(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield parts of 2,000 film reviews, each with its review's label (Pang and Lee 2004)."""
    with zipfile.ZipFile(folder / "nltk" / "movie_reviews.zip") as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".txt")):
            sizes, words = cycle(PART_WORDS), list[str]()
            size = next(sizes)
            for line in archive.read(name).decode("latin-1").splitlines():
                words += line.split()
                if len(words) >= size:
                    yield " ".join(words), int("/pos/" in name)
                    words, size = [], next(sizes)
            if words:
                yield " ".join(words), int("/pos/" in name)


def pros_and_cons(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield 45,867 phrases that praise or blame products (Ganapathibhotla and Liu 2008)."""
    with zipfile.ZipFile(folder / "nltk" / "pros_cons.zip") as archive:
        for label, kind in enumerate(("Cons", "Pros")):
            blob = archive.read(f"pros_cons/Integrated{kind}.txt").decode("latin-1")
            for line in blob.splitlines():
                if text := re.sub(r"</?\w+>", "", line).strip():
                    yield text, label


def labelled_sentences(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield the English sentences of three sites (Kotzias et al. 2015)."""
    for site in ("amazon_cells", "imdb", "yelp"):
        blob = (folder / "uci_sls" / f"{site}_labelled.txt").read_text(encoding="utf-8")
        for line in blob.splitlines():
            text, _, label = line.rpartition("\t")
            if text.isascii() and label in ("0", "1"):  # some lines of the copy are Vietnamese
                yield text.strip(), int(label)


def film_phrases(folder: Path, name: str) -> Iterator[tuple[str, int]]:
    """Yield the rows of `sentiment/train.tsv` or `sentiment/dev.tsv`."""
    lines = (folder / "sentiment" / name).read_text(encoding="utf-8").splitlines()
    for line in lines[1:]:
        text, label = line.split("\t")
        yield text, int(label)


def other_texts(folder: Path) -> list[tuple[str, int]]:
    """Return all labelled texts but the film phrases, without what is also in the dev texts."""
    held_out = {_letters(text) for text, _ in film_phrases(folder, "dev.tsv")}
    sources = (film_reviews, pros_and_cons, labelled_sentences)
    rows = [(" ".join(text.split()), label) for source in sources for text, label in source(folder)]
    return [row for row in rows if (letters := _letters(row[0])) and letters not in held_out]


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def teach(phrases: LabelledTexts, others: list[str]) -> np.ndarray:
    """Train the teacher on the film phrases; return its logits for them and the others, [n]."""
    lengths = np.array([len(text.split()) for text in phrases.texts])
    shares = np.bincount(phrases.classes) / len(phrases)
    # Whole sentences are what is asked about, so long texts count more, and both classes the same.
    weights = (lengths / 10) ** 2 * (0.5 / shares)[phrases.classes]
    pairs = CountVectorizer(ngram_range=(1, 2), binary=True, token_pattern=r"\S+")
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=3, sublinear_tf=True)
    logits = np.zeros(len(phrases) + len(others))
    for bag, strength in ((pairs, 0.3), (letters, 3.0)):
        features = bag.fit_transform(phrases.texts)
        model = LogisticRegression(C=strength, max_iter=60, solver="liblinear")
        model.fit(features, phrases.classes, sample_weight=weights)
        logits[: len(phrases)] += model.decision_function(features)
        logits[len(phrases) :] += model.decision_function(bag.transform(others))
    return logits


def read_texts(folder: Path) -> tuple[LabelledTexts, list[tuple[str, int]]]:
    """Return the film phrases, and all other texts with their labels."""
    return read_labelled(folder / "sentiment" / "train.tsv", labels=LABELS), other_texts(folder)


def make_lesson(
    phrases: LabelledTexts, others: list[tuple[str, int]], logits: np.ndarray
) -> LabelledTexts:
    """Join all texts, with what the model is to say of each: partly a teacher's `logits` [n]."""
    positive = 1 / (1 + np.exp(-logits))  # [n]
    # The labels of the others are of whole reviews, or of products: the teacher's word is better.
    hard = phrases.classes * (1 - SMOOTHING) + SMOOTHING / 2
    positive[: len(phrases)] += LABEL_SHARE * (hard - positive[: len(phrases)])
    return LabelledTexts(
        texts=[*phrases.texts, *(text for text, _ in others)],
        classes=np.array([*phrases.classes, *(label for _, label in others)], np.int32),
        labels=LABELS,
        targets=np.stack([1 - positive, positive], axis=1).astype(np.float32),
    )


def train(lesson: LabelledTexts, dev: LabelledTexts, films: int, seed: int, output: Path) -> None:
    """Train a new model on a lesson whose first `films` texts are film phrases, and write it."""
    vocabulary_texts = [*lesson.texts, *lesson.texts[:films] * (FILM_SHARE - 1)]
    start = fresh_checkpoint(SHAPE, vocabulary_texts, LABELS, seed=seed)
    options = dataclasses.replace(OPTIONS, seed=seed)
    for result in finetune(start, lesson, dev=dev, options=options):
        print(f"{output.name}, epoch {result.epoch}: {result.dev_accuracy:.4f} on dev", flush=True)
        write_checkpoint(output, dataclasses.replace(result.checkpoint, source=""), force=True)


def ask(checkpoint: Path, texts: list[str]) -> np.ndarray:
    """Return by how much a model finds each text positive rather than negative: float64 [n]."""
    model = load_keras(checkpoint)
    tokenizer = tokenizer_from_files(model.tokenizer_files)
    ids = tf.TensorSpec([None, None], tf.int32)
    answer = tf.function(
        lambda ids, mask: model({"input_ids": ids, "attention_mask": mask})["logits"],
        input_signature=[ids, ids],
    )
    logits = np.zeros(len(texts))
    sequences = encode_texts(texts, tokenizer, max_length=OPTIONS.max_length)
    for batch in make_batches(sequences, tokens=8192, pad_id=tokenizer.pad_id):
        negative, positive = answer(batch.input_ids, batch.attention_mask).numpy().T
        logits[batch.rows] = positive - negative
    return logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="the folder with sentiment/, nltk/ and uci_sls/")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a directory to fill")
    arguments = parser.parse_args()
    arguments.output.mkdir(exist_ok=True)
    first, second = arguments.output / "first", arguments.output / "sentiment"
    dev = read_labelled(arguments.data / "sentiment" / "dev.tsv", labels=LABELS)
    phrases, others = read_texts(arguments.data)
    logits = teach(phrases, [text for text, _ in others]) / TEACHER_SCALE
    if not (first / "config.json").exists():  # otherwise an interrupted training goes on
        train(make_lesson(phrases, others, logits), dev, len(phrases), 1, first)
    # Born again (Furlanello et al. 2018, arXiv:1805.04770): both together teach better than either.
    texts = [*phrases.texts, *(text for text, _ in others)]
    logits = (logits + ask(first, texts)) / 2
    train(make_lesson(phrases, others, logits), dev, len(phrases), 2, second)
    made = convert(load_keras(second), quantize="int8")
    made.save(second / "model.tflite", force=True)


if __name__ == "__main__":
    main()
