"""A small SentencePiece model, the published one, and a small WordPiece vocabulary."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import sentencepiece

from albert_edge.tokenizer import Tokenizer, tokenizer_from_files
from tokenizer.files import end_of_pieces, piece_record
from tokenizer.reference import DATA

SENTENCES = [
    "The kettle sang while rain walked over the roof, and nobody minded.",
    "In 1998, 2,400 people came; in 2003, 17, and in 2011, only 9, if that.",
    'She read 12, then 13, then 14, pages (slowly) and said: "that\'s enough."',
    "Where did the ferry land? It landed at 7, at 8, and again at 9, in the evening.",
    "A café in Zürich sells coffee, tea and jam; the naïve student paid 3.50 for it.",
    "Well-known singers can't sing here. They'll sing there, they're singing everywhere.",
    "Question: who wrote the letter? Answer: the gardener's daughter wrote it in 1874, in May.",
    "αλφα βητα γαμμα σοφος λογος; привет мир; 한국 사람",
] * 4


@pytest.fixture(scope="session")
def model() -> bytes:
    """A small SentencePiece model with ALBERT's special pieces, trained on the sentences above."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([sentence.lower() for sentence in SENTENCES]),
        model_writer=out,
        vocab_size=400,
        hard_vocab_limit=False,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=["[CLS]", "[SEP]", "[MASK]"],
        user_defined_symbols=["(", ")", '"', "-"],
        minloglevel=2,
    )
    # ALBERT's has learned pieces such as "▁9,"; these few sentences are too few for that.
    trained = out.getvalue()
    at = end_of_pieces(trained)
    numbers = b"".join(map(piece_record, ("▁9,", "▁1998,", "98,", "74,")))
    return trained[:at] + numbers + trained[at:]


@pytest.fixture(scope="session")
def tokenizer(model: bytes) -> Tokenizer:
    return tokenizer_from_files({"spiece.model": model})


@pytest.fixture(scope="session")
def albert(data_folder: Path) -> Path:
    """The published vocabulary of albert-*-v2."""
    return data_folder / "albert_spm" / "30k-clean.model"


@pytest.fixture(scope="session")
def vocab() -> bytes:
    """A WordPiece vocabulary of a few hundred pieces of many scripts."""
    return (DATA / "wordpiece_vocab.txt").read_bytes()


@pytest.fixture(scope="session")
def wordpiece(vocab: bytes) -> Tokenizer:
    return tokenizer_from_files({"vocab.txt": vocab})
