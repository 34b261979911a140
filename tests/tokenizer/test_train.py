from __future__ import annotations

import pytest

from albert_edge.errors import TrainingError
from albert_edge.tokenizer import tokenizer_from_files
from albert_edge.tokenizer.train import train_vocabulary

TEXTS = [
    f"The {thing} was {how}, and ``{who}'' did not mind the caf\u00e9."
    for thing in ("film", "play", "song")
    for how in ("long", "short", "warm")
    for who in ("Ada", "Grace")
]


def test_special_tokens_have_alberts_ids() -> None:
    tokenizer = train_vocabulary(TEXTS, size=60)
    ids = (
        tokenizer.pad_id,
        tokenizer.unk_id,
        tokenizer.cls_id,
        tokenizer.sep_id,
        tokenizer.mask_id,
    )
    assert ids == (0, 1, 2, 3, 4)
    assert [tokenizer.id_to_piece(index) for index in range(5)] == [
        "<pad>",
        "<unk>",
        "[CLS]",
        "[SEP]",
        "[MASK]",
    ]


def test_trains_on_text_as_the_tokenizer_prepares_it() -> None:
    tokenizer = train_vocabulary(TEXTS, size=60)
    assert tokenizer.unk_id not in tokenizer.encode(TEXTS[0]).input_ids
    pieces = "".join(tokenizer.id_to_piece(index) for index in range(5, tokenizer.vocab_size))
    assert pieces == pieces.lower()
    assert "\u00e9" not in pieces
    assert "`" not in pieces


def test_files_round_trip_and_repeat() -> None:
    one, two = train_vocabulary(TEXTS, size=60), train_vocabulary(TEXTS, size=60)
    assert one.files() == two.files()
    again = tokenizer_from_files(one.files())
    assert again.encode(TEXTS[3]) == one.encode(TEXTS[3])


def test_little_text_gives_fewer_pieces() -> None:
    assert train_vocabulary(TEXTS, size=5000).vocab_size < 400


@pytest.mark.parametrize(("texts", "size"), [([], 60), (TEXTS, 8)])
def test_impossible_vocabularies(texts: list[str], size: int) -> None:
    with pytest.raises(TrainingError, match=f"cannot train a vocabulary of {size} pieces"):
        train_vocabulary(texts, size=size)
