"""Write the plain texts of a data folder in the form that `albert-edge pretrain` reads.

    python -m benchmarks.corpus DATA_FOLDER -o OUTPUT

OUTPUT gets `train.txt` and `held_out.txt`, with a blank line between documents and one paragraph a
line, and `short_train.txt` and `short_held_out.txt`, the documents that fit a model's window whole.
Every twentieth document of each source is held out.  No document contains a sentence of the
sentiment model's dev set.
"""

from __future__ import annotations

import argparse
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from albert_edge.datasets.squad import read_squad
from albert_edge.datasets.tables import read_table
from albert_edge.files import write_file

__all__ = ["letters", "read_corpus", "zipped"]

HELD_OUT = 20  # one document in so many
SHORT = 200  # words
_CHAPTER = re.compile(r"\n\s*(?:chapter|adventure|[ivxlc]+\.\s)[^\n]*\n\s*\n", re.IGNORECASE)


def zipped(folder: Path, name: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every file of an archive in `nltk/`, sorted by name."""
    with zipfile.ZipFile(folder / "nltk" / name) as archive:
        for member in sorted(one for one in archive.namelist() if one.endswith(".txt")):
            if "README" not in member:
                yield member, archive.read(member).decode("latin-1")


def film_reviews(folder: Path) -> Iterator[str]:
    """Yield 2,000 film reviews (Pang and Lee 2004)."""
    for _, text in zipped(folder, "movie_reviews.zip"):
        yield text


def wikipedia(folder: Path) -> Iterator[str]:
    """Yield the articles of WikiText-2 (Merity et al. 2016), without its markup."""
    for name in ("valid.txt", "test.txt"):
        text = (folder / "wikitext2" / name).read_text(encoding="utf-8")
        text = re.sub(r" @(.)@ ", r"\1", text).replace("<unk>", "")
        for article in re.split(r"\n = [^=\n]+ = \n", text):
            yield re.sub(r"\n = .*= (?=\n)", "\n", article)


def books(folder: Path) -> Iterator[str]:
    """Yield the chapters of three novels, without Project Gutenberg's header and footer."""
    for path in sorted((folder / "gutenberg").glob("*.txt")):
        text = path.read_text(encoding="utf-8-sig")
        text = text.split("*** START OF", 1)[-1].split("*** END OF", 1)[0]
        for chapter in _CHAPTER.split(text):
            yield "\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", chapter))


def speeches(folder: Path) -> Iterator[str]:
    """Yield speeches of presidents of the United States."""
    for name in ("state_union.zip", "inaugural.zip"):
        for _, text in zipped(folder, name):
            yield text


def plays(folder: Path) -> Iterator[str]:
    """Yield Shakespeare in parts of a hundred speeches."""
    text = (folder / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    parts = [" ".join(part.split()) for part in text.split("\n\n")]
    for start in range(0, len(parts), 100):
        yield "\n".join(parts[start : start + 100])


def abstracts(folder: Path) -> Iterator[str]:
    """Yield the abstracts of papers (Cachola et al. 2020), without the test set."""
    for name in ("train", "dev"):
        for row in read_table(folder / "scitldr" / f"{name}.jsonl", {"source": ("source",)}):
            yield "\n".join(row.values["source"])


def passages(folder: Path) -> Iterator[str]:
    """Yield the Wikipedia paragraphs of SQuAD 1.1 (Rajpurkar et al. 2016)."""
    questions, _ = read_squad(folder / "squad" / "dev-v1.1.from-explorer.json")
    yield from dict.fromkeys(question.context for question in questions)


SOURCES: tuple[Callable[[Path], Iterator[str]], ...] = (
    film_reviews,
    wikipedia,
    books,
    speeches,
    plays,
    abstracts,
    passages,
)


def letters(text: str) -> str:
    """Return the lower-case letters and digits, the same for two spellings of a sentence."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def read_corpus(folder: Path) -> tuple[list[str], list[str]]:
    """Return the training documents and the held-out ones."""
    scored = read_table(folder / "sentiment" / "dev.tsv", {"text": ("sentence",)})
    secret = {letters(row.values["text"]) for row in scored}
    train: list[str] = []
    held_out: list[str] = []
    for source in SOURCES:
        documents = (_tidy(text) for text in source(folder))
        documents = (text for text in documents if text.count(" ") > 30)
        for number, text in enumerate(documents):
            if not any(letters(line) in secret for line in text.split("\n")):
                (held_out if number % HELD_OUT == 0 else train).append(text)
    return train, held_out


def _tidy(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="the folder with nltk/, wikitext2/ and so on")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the directory to write")
    arguments = parser.parse_args()
    arguments.output.mkdir(exist_ok=True)
    train, held_out = read_corpus(arguments.data)
    files = {"train.txt": train, "held_out.txt": held_out}
    for name, documents in list(files.items()):
        files[f"short_{name}"] = [text for text in documents if text.count(" ") < SHORT]
    for name, documents in files.items():
        text = "\n\n".join(documents) + "\n"
        path = write_file(arguments.output / name, text.encode(), force=True)
        print(f"{path}: {len(documents):,} documents, {text.count(' '):,} words")


if __name__ == "__main__":
    main()
