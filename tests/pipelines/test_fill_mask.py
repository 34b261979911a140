"""The heads of pre-training: masks are filled in place, and the order of texts is predicted."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_edge.bundle.bundle import read
from albert_edge.errors import InputError
from albert_edge.pipelines import Pipeline, load
from albert_edge.pipelines.classification import softmax
from albert_edge.pipelines.fill_mask import FillMask, fill_masks
from albert_edge.runtime import open_model
from albert_edge.tokenizer import tokenizer_from_files

TEXT = "The [MASK] took the roof, and [MASK] took the road."
FIRST, SECOND = "a storm took the roof", "the miller took the road"


@pytest.fixture(scope="module")
def fill(pipe: Callable[..., Pipeline]) -> Pipeline:
    return pipe("fill-mask")


def test_candidates_are_the_most_probable_pieces(fill: Pipeline) -> None:
    found = fill(TEXT, top_k=4)
    tokenizer = fill.text_tokenizer()
    encoding = tokenizer.encode(TEXT, allow_special=True)
    logits = fill.model.run(encoding.input_ids)["logits"][0]
    places = [i for i, token in enumerate(encoding.input_ids) if token == tokenizer.mask_id]
    assert len(places) == len(found["masks"]) == 2
    for place, mask in zip(places, found["masks"], strict=True):
        assert TEXT[mask["start"] : mask["end"]] == "[MASK]"
        assert len(mask["candidates"]) == 4
        probabilities = softmax(logits[place])
        best = np.argsort(-probabilities[: tokenizer.vocab_size])[:4].tolist()
        assert [one["id"] for one in mask["candidates"]] == best
        for one in mask["candidates"]:
            assert one["score"] == pytest.approx(probabilities[one["id"]])


def test_rows_without_a_piece_are_no_candidates(fill: Pipeline) -> None:
    (mask,) = fill("the [MASK]", top_k=60)["masks"]
    assert sorted(one["id"] for one in mask["candidates"]) == list(range(56))


def fill_with(tokenizer_files: Mapping[str, bytes], text: str, *pieces: str) -> dict:
    """Fill the masks of a text with given pieces."""
    tokenizer = tokenizer_from_files(tokenizer_files)
    names = {tokenizer.id_to_piece(i): i for i in range(tokenizer.vocab_size)}
    encoding = tokenizer.encode(text, allow_special=True)
    logits = np.zeros((len(encoding.input_ids), tokenizer.vocab_size), np.float32)
    masks = [i for i, token in enumerate(encoding.input_ids) if token == tokenizer.mask_id]
    for place, piece in zip(masks, pieces, strict=True):
        logits[place, names[piece]] = 9
    return fill_masks([text], encoding, logits, tokenizer, top_k=1)


def test_candidates_replace_the_mask(tokenizer_files: Mapping[str, bytes]) -> None:
    found = fill_with(tokenizer_files, TEXT, "▁mill", "▁bring")
    assert found["text"] == "The mill took the roof, and bring took the road."
    first, second = (mask["candidates"][0] for mask in found["masks"])
    assert first["token"] == "mill"  # noqa: S105
    assert first["text"] == "The mill took the roof, and [MASK] took the road."
    assert second["text"] == "The [MASK] took the roof, and bring took the road."


def test_a_piece_inside_of_a_word_continues_the_word_before(
    tokenizer_files: Mapping[str, bytes],
) -> None:
    found = fill_with(tokenizer_files, "two  mill [MASK] fell", "s")
    assert found["text"] == "two  mills fell"
    assert fill_with(tokenizer_files, "[MASK] [MASK]!", "▁mill", "s")["text"] == "mills!"


WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "mill", "##s", "fell", "北", "京", ",")


@pytest.mark.parametrize(
    ("text", "piece", "filled"),
    [
        ("Mill [MASK] fell", "##s", "Mills fell"),
        ("Mill [MASK]", "fell", "Mill fell"),
        ("北[MASK]", "京", "北京"),
        ("mill [MASK] fell", ",", "mill , fell"),
    ],
)
def test_wordpiece(text: str, piece: str, filled: str) -> None:
    vocabulary = {"vocab.txt": "\n".join(WORDS).encode()}
    assert fill_with(vocabulary, text, piece)["text"] == filled


def test_in_pair_names_the_text_of_a_mask(fill: Pipeline) -> None:
    found = fill("who [MASK]?", "[MASK] knows")
    assert [(mask["start"], mask["in_pair"]) for mask in found["masks"]] == [(4, False), (0, True)]
    assert "[MASK]" not in found["text"] + found["pair"]
    assert found["masks"][1]["candidates"][0]["text"].endswith(" knows")


def test_ids(fill: Pipeline, tiny_tflite: Callable[..., bytes]) -> None:
    ids = fill.text_tokenizer().encode(TEXT, allow_special=True).input_ids
    by_ids, by_text = fill(input_ids=ids), fill(TEXT)
    for one, other in zip(by_ids["masks"], by_text["masks"], strict=True):
        assert [c["id"] for c in one["candidates"]] == [c["id"] for c in other["candidates"]]
        assert ids[one["start"]] == fill.text_tokenizer().mask_id
    bare = load(tiny_tflite("fill-mask"))
    assert isinstance(bare, FillMask)
    found = bare(input_ids=[2, 9, 3], top_k=60)
    assert [mask["start"] for mask in found["masks"]] == [0, 1, 2]
    logits = open_model(tiny_tflite("fill-mask")).run([2, 9, 3])["logits"][0]
    assert found["masks"][1]["candidates"][0]["id"] == logits[1].argmax()
    assert sum(c["score"] for c in found["masks"][1]["candidates"]) == pytest.approx(1)


@pytest.mark.parametrize("text", ["nobody knows", "nobody [mask]", "the river " * 50 + "[MASK]"])
def test_no_mask(fill: Pipeline, text: str) -> None:
    with pytest.raises(InputError, match=r"there is no \[MASK\] in the text"):
        fill(text)


@settings(max_examples=60)
@given(texts=st.lists(st.text(max_size=8), min_size=2, max_size=4))
def test_any_text_around_masks(fill: Pipeline, texts: list[str]) -> None:
    text = "[MASK]".join(texts)
    try:
        found = fill(text, top_k=1)
    except InputError as error:
        assert "cut off" in str(error)  # noqa: PT017 (any other text has a result)
        return
    spans = [(mask["start"], mask["end"]) for mask in found["masks"]]
    assert [text[start:end] for start, end in spans] == ["[MASK]"] * len(spans)
    assert spans == sorted(set(spans))
    assert found["truncated"] or len(spans) == text.count("[MASK]")


def test_invalid_inputs(fill: Pipeline) -> None:
    with pytest.raises(InputError, match=r"top_k must be in \[1, 60\], not 0"):
        fill(TEXT, top_k=0)
    with pytest.raises(InputError, match="there is no mask, 4, in input_ids"):
        fill(input_ids=[2, 9, 3])


def test_order(pipe: Callable[..., Pipeline], tiny_tflite: Callable[..., bytes]) -> None:
    predict_order = pipe("sentence-order")
    found = predict_order(FIRST, SECOND)
    encoding = predict_order.text_tokenizer().encode(FIRST, SECOND)
    logits = open_model(tiny_tflite("sentence-order")).run(
        encoding.input_ids, encoding.token_type_ids
    )["sop_logits"][0]
    want = softmax(logits)
    assert list(found["scores"].items()) == [("in order", want[0]), ("swapped", want[1])]
    assert found["label"] == ("in order", "swapped")[want.argmax()]
    assert found["score"] == want.max()
    assert predict_order(SECOND, FIRST)["scores"] != found["scores"]
    ids = {"input_ids": encoding.input_ids, "token_type_ids": encoding.token_type_ids}
    assert predict_order(**ids) == found
    with pytest.raises(InputError, match="give a second one"):
        predict_order(FIRST)
    with pytest.raises(InputError, match="token_type_ids that are 1"):
        predict_order(input_ids=encoding.input_ids)


def test_masks_and_order_together(
    pipe: Callable[..., Pipeline], tiny_tflite: Callable[..., bytes]
) -> None:
    both = pipe("pretraining")
    assert read(tiny_tflite("pretraining")).task == "pretraining"
    filled = both(TEXT)
    assert "order" not in filled
    assert len(filled["masks"]) == 2
    ordered = both(FIRST, SECOND)
    assert "masks" not in ordered
    assert ordered["order"]["label"] in ("in order", "swapped")
    found = both(TEXT, SECOND)
    assert found.keys() == {"text", "pair", "masks", "order", "tokens", "truncated"}
    with pytest.raises(InputError, match="nothing to predict"):
        both(FIRST)
    assert len(load(tiny_tflite("pretraining"))(input_ids=[2, 9, 3])["masks"]) == 3
