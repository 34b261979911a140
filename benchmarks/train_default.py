"""Train the model that is embedded in the package, from the data to the checkpoint.

    python -m benchmarks.train_default DATA_FOLDER -o OUTPUT

First one pass over everything that has a label, then passes over the sentences and phrases of
film reviews alone, which are what the model is measured on.  The model card, `README.md` in
`albert_edge/models/sentiment`, says what came of it.
"""

from __future__ import annotations

import argparse
import json
import re
import zipfile
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from rich.console import Console

from albert_edge.training import FinetuneOptions, finetune_files

LABELS = ("negative", "positive")
BROAD = FinetuneOptions(epochs=1, max_length=512, batch_tokens=3072, sampling=0.3, seed=1)
NARROW = FinetuneOptions(epochs=4, seed=2)

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


def write_broad_table(folder: Path, path: Path) -> None:
    """Write everything with a label to one table, without what is also in the dev texts."""
    held_out = {_letters(text) for text, _ in film_phrases(folder, "dev.tsv")}
    sources = (film_reviews, pros_and_cons, labelled_sentences)
    rows = [row for source in sources for row in source(folder)]
    rows += film_phrases(folder, "train.tsv")
    kept = [row for row in rows if (letters := _letters(row[0])) and letters not in held_out]
    lines = ["text\tlabel", *(f"{' '.join(text.split())}\t{label}" for text, label in kept)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="the folder with sentiment/, nltk/ and uci_sls/")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a directory to fill")
    arguments = parser.parse_args()
    data, output = arguments.data, arguments.output
    output.mkdir(exist_ok=True)
    console, dev = Console(stderr=True), data / "sentiment" / "dev.tsv"
    write_broad_table(data, output / "broad.tsv")
    stages = [
        (output / "broad.tsv", output / "broad", None, BROAD),
        (data / "sentiment" / "train.tsv", output / "sentiment", output / "broad", NARROW),
    ]
    for table, target, source, options in stages:
        report = finetune_files(
            table,
            target,
            source=source and str(source),
            dev=dev,
            labels=LABELS,
            options=options,
            force=True,
            console=console,
        )
        print(json.dumps(report, indent=2), flush=True)


if __name__ == "__main__":
    main()
