"""What stays of a vocabulary cuts the corpus as before, and means the same to the model."""

from __future__ import annotations

import dataclasses
import doctest
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st

from albert_edge.checkpoints import Checkpoint, trim_vocab
from albert_edge.checkpoints.trim_vocab import compare_tokenizers, match_vocabulary, trim_vocabulary
from albert_edge.config import AlbertConfig
from albert_edge.datasets.tables import TextLines
from albert_edge.errors import CheckpointError, ConfigError, InputError, TokenizerError
from albert_edge.tokenizer import Tokenizer, load_tokenizer, tokenizer_from_files
from albert_edge.tokenizer.config import SentencePieceConfig, WordPieceConfig
from albert_edge.tokenizer.huggingface_json import _model_proto
from albert_edge.tokenizer.protobuf import encode_bytes, parse_fields
from albert_edge.tokenizer.subset import open_vocab
from tokenizer.files import fast_file
from tokenizer.reference import TEXT, bert_ids, reference_ids

VOCAB = Path(__file__).parents[1] / "data" / "wordpiece_vocab.txt"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED = 1, 2, 3, 4, 5
SPECIAL = [("<pad>", 0.0, CONTROL), ("<unk>", 0.0, UNKNOWN)]
SPECIAL += [(name, 0.0, CONTROL) for name in ("[CLS]", "[SEP]", "[MASK]")]
TEXTS = (
    "The mill fell in 1998, or in 9, and nobody minded.",
    "A quiet, moving film: 74, of 100 people wept!",
)

Piece = tuple[str, float, int]


def unigram(pieces: Sequence[Piece], special: Sequence[Piece] = SPECIAL) -> dict[str, bytes]:
    proto = _model_proto([*special, *pieces], charsmap=b"", prefix=True, folds_space=True)
    return {"spiece.model": proto}


def checkpoint(files: Mapping[str, bytes], **config: Any) -> Checkpoint:
    """A masked-word model with little but the tensors of a row a piece; a row tells its id."""
    vocab_size = config.pop("vocab_size", None) or tokenizer_from_files(files).vocab_size
    shape = AlbertConfig(vocab_size=vocab_size, embedding_size=4, **config)
    rows = np.arange(vocab_size, dtype=np.float32)
    return Checkpoint(
        config=shape,
        task="fill-mask",
        tensors={
            "embeddings/word_embeddings": np.repeat(rows[:, None], 4, axis=1),
            "predictions/bias": -rows,
            "embeddings/layer_norm/gamma": np.ones(4, np.float32),
        },
        tokenizer_files=files,
        source="mine",
    )


def rows_of(trimmed: Checkpoint) -> list[int]:
    """The ids of before, by those of after."""
    table = trimmed.tensors["embeddings/word_embeddings"]
    assert table.shape == (trimmed.config.vocab_size, 4)
    assert (trimmed.tensors["predictions/bias"] == -table[:, 0]).all()
    return [int(row) for row in table[:, 0]]


def unigram_ids(files: Mapping[str, bytes], text: str) -> list[int]:
    return reference_ids(text, SentencePieceConfig(), files["spiece.model"])


def wordpiece_ids(files: Mapping[str, bytes], text: str) -> list[int]:
    pieces = files["vocab.txt"].decode().split("\n")[:-1]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    return bert_ids(text, WordPieceConfig(), vocab)


def assert_same(before: Checkpoint, after: Checkpoint, texts: Sequence[str], ids: Any) -> None:
    """By the reference implementations: the same rows of the embedding, and the same spans."""
    rows = rows_of(after)
    one, other = (tokenizer_from_files(part.tokenizer_files) for part in (before, after))
    for text in texts:
        assert [rows[n] for n in ids(after.tokenizer_files, text)] == ids(
            before.tokenizer_files, text
        )
        assert one.tokenize(text).offsets == other.tokenize(text).offsets


# Few letters, whole scores: ties, unknown characters, and pieces that single letters do not spell
# are the rule.  Symbols that a user defined take what they match, and unused pieces nothing.
_NUMBERS = st.sampled_from(["9,", "99,", "▁9,", "▁99,", "9", "99", "▁9", "▁99"])
_PIECES = st.dictionaries(
    st.text("ab▁9,", min_size=1, max_size=4) | _NUMBERS,
    st.tuples(
        st.integers(-30, 2).map(float), st.sampled_from([NORMAL] * 6 + [USER_DEFINED, UNUSED])
    ),
    min_size=1,
    max_size=25,
)
_TEXTS = st.lists(
    st.text("aabb9, x", max_size=12) | st.lists(_NUMBERS, max_size=4).map("".join),
    min_size=1,
    max_size=4,
).filter(lambda texts: any(map(str.strip, texts)))


@example(pieces={"▁99": (0.0, NORMAL), "▁9": (0.0, NORMAL)}, texts=["999a9,"])  # an unknown `9a9,`
@settings(max_examples=300)
@given(pieces=_PIECES, texts=_TEXTS)
def test_any_unigram_model(pieces: Mapping[str, tuple[float, int]], texts: Sequence[str]) -> None:
    known = [("zz", -9.0, NORMAL), *((text, *rest) for text, rest in pieces.items())]
    before = checkpoint(unigram(known))
    after = trim_vocabulary(before, texts)
    assert_same(before, after, texts, unigram_ids)
    assert trim_vocabulary(after, texts).config.vocab_size <= after.config.vocab_size


@settings(max_examples=60)
@given(pieces=_PIECES, texts=_TEXTS)
def test_any_size_of_a_unigram_model(
    pieces: Mapping[str, tuple[float, int]], texts: Sequence[str]
) -> None:
    known = [("zz", -9.0, NORMAL), *((text, *rest) for text, rest in pieces.items())]
    before = checkpoint(unigram(known))
    tokenizer = tokenizer_from_files(before.tokenizer_files)
    refused = False
    for size in range(tokenizer.vocab_size, 0, -1):
        try:
            after = trim_vocabulary(before, texts, size=size)
        except ConfigError:
            refused = True
            continue
        except TokenizerError as error:
            assert "would become unknown" in str(error)  # noqa: PT017 - it need not come
            continue
        assert not refused  # every size above the least is possible
        assert len(rows_of(after)) == size
        small = tokenizer_from_files(after.tokenizer_files)
        for text in texts:
            known = small.unk_id not in small.tokenize(text).ids
            assert known or tokenizer.unk_id in tokenizer.tokenize(text).ids
    assert refused


_VOCAB = st.lists(
    st.text("ab", min_size=1, max_size=3).flatmap(
        lambda text: st.sampled_from([text, "##" + text])
    ),
    max_size=12,
)


@settings(max_examples=300)
@given(pieces=_VOCAB, texts=st.lists(st.text("aabb c!", max_size=12), min_size=1, max_size=3))
def test_any_wordpiece_vocabulary(pieces: Sequence[str], texts: Sequence[str]) -> None:
    texts = [*texts, "a"]
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]
    before = checkpoint({"vocab.txt": "".join(f"{name}\n" for name in names).encode()})
    after = trim_vocabulary(before, texts)
    assert_same(before, after, texts, wordpiece_ids)


@pytest.fixture(scope="module", params=["embedded", "published"])
def real(request: pytest.FixtureRequest) -> Tokenizer:
    if request.param == "embedded":
        return load_tokenizer("default")
    folder = request.getfixturevalue("data_folder")
    return load_tokenizer(folder / "albert_spm" / "30k-clean.model")


@settings(max_examples=12)
@given(texts=st.lists(TEXT, min_size=1, max_size=8), size=st.integers(100, 20000))
def test_any_text_through_a_real_vocabulary(
    real: Tokenizer, texts: Sequence[str], size: int
) -> None:
    pieces = open_vocab(real)
    tokens = {token_id for text in texts for token_id in real.tokenize(text).ids}
    needed = pieces.required_ids.union(tokens, *map(pieces.used_ids, texts))
    # More than is needed changes nothing either.
    kept = sorted(needed | set(range(real.vocab_size - size, real.vocab_size)))
    small = pieces.subset(kept)
    for text in texts:
        before, after = real.tokenize(text), small.tokenize(text)
        assert [kept[token_id] for token_id in after.ids] == before.ids
        assert after.offsets == before.offsets


def test_what_stays_is_little(real: Tokenizer) -> None:
    before = checkpoint(real.files())
    after = trim_vocabulary(before, TEXTS)
    tokens = {n for text in TEXTS for n in real.tokenize(text).ids}
    single = {n for n in range(real.vocab_size) if len(real.id_to_piece(n)) == 1}
    rows = set(rows_of(after))
    assert rows >= tokens | single | {0, 1, 2, 3, 4}
    # Beside these: the piece of the lowest score, and those of numbers that are cut anew.
    assert len(rows - tokens - single) <= 5 + 6
    figures = after.changes["vocabulary"]
    assert figures["pieces_before"] == real.vocab_size
    assert figures["pieces_after"] == after.config.vocab_size == len(rows)
    assert figures["float32_bytes_saved"] == (real.vocab_size - len(rows)) * 5 * 4
    sizes = [sum(map(len, one.tokenizer_files.values())) for one in (before, after)]
    assert figures["tokenizer_bytes_saved"] == sizes[0] - sizes[1] > 300_000
    assert (figures["texts"], figures["texts_changed"], figures["tokens_changed"]) == (2, 0, 0)
    assert figures["tokens_before"] == figures["tokens_after"] > 20
    json.dumps(dict(after.changes))


@pytest.mark.parametrize("size", [8000, 500])
def test_a_size_keeps_the_most_frequent(real: Tokenizer, size: int) -> None:
    texts = [*TEXTS] * 3 + ["the deficiencies"]
    before = checkpoint(real.files())
    after = trim_vocabulary(before, texts, size=size)
    assert after.config.vocab_size == size
    small = tokenizer_from_files(after.tokenizer_files)
    assert small.vocab_size == size
    # There is room for all that is needed, and for what the vocabulary itself calls common.
    assert after.changes["vocabulary"]["texts_changed"] == 0
    assert real.unk_id not in small.tokenize("and then he said that they were in the city").ids
    common = real.tokenize("and the of").ids
    assert set(common) <= set(rows_of(after))


def test_a_small_size_tells_what_changes(real: Tokenizer) -> None:
    texts = ["the mill", "the mill", "the mill, then the weather"]
    before = checkpoint(real.files())
    least = len(open_vocab(real).required_ids)
    after = trim_vocabulary(before, texts, size=least + 2)  # room for ▁the and ▁mill
    figures = after.changes["vocabulary"]
    lost = set(real.tokenize(texts[2]).ids) - set(rows_of(after))
    assert lost
    assert figures["texts_changed"] == 1
    assert figures["first"] == 3
    assert figures["tokens_changed"] == sum(n in lost for n in real.tokenize(texts[2]).ids)
    assert figures["tokens_after"] > figures["tokens_before"]
    assert figures["unknown_added"] == 0
    small = tokenizer_from_files(after.tokenizer_files)
    difference = compare_tokenizers(real, small, iter(texts))
    assert dataclasses.asdict(difference).items() <= figures.items()


def test_unknown_characters_cost_the_same(real: Tokenizer) -> None:
    """Without the piece of the lowest score an unknown character would be cheaper."""
    lowest = [("▁a", -1.0, NORMAL), ("▁", -2.0, NORMAL), ("q", -18.0, NORMAL), ("zq", -9.0, NORMAL)]
    before = checkpoint(unigram([*lowest, ("▁never", -20.0, NORMAL)]))
    text = "a zq"
    assert tokenizer_from_files(before.tokenizer_files).tokenize(text).ids == [5, 6, 8]
    assert 9 in rows_of(trim_vocabulary(before, [text]))


def test_numbers_are_cut_anew_as_before() -> None:
    """`98,` is cut into what `▁98` becomes without its mark, which is unknown; not into 9 and 8."""
    pieces = [(char, -9.0, NORMAL) for char in "▁a98,"]
    pieces += [("98,", -1.0, NORMAL), ("▁98", -1.0, NORMAL), ("▁never", -1.0, NORMAL)]
    before = checkpoint(unigram(pieces))
    after = trim_vocabulary(before, ["a98,"])
    assert_same(before, after, ["a98,"], unigram_ids)
    assert rows_of(after) == list(range(12))


def test_unknown_words_stay_unknown() -> None:
    """`aaa` begins with `aa` and then finds nothing; without `aa` it would be `a` and `##aa`."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "aa", "##aa", "b", "never"]
    before = checkpoint({"vocab.txt": "\n".join(names).encode()})
    texts = ["aaa", "baa"]
    assert wordpiece_ids({"vocab.txt": "\n".join([*names, ""]).encode()}, "aaa baa") == [1, 8, 7]
    after = trim_vocabulary(before, texts)
    assert wordpiece_ids(after.tokenizer_files, "aaa baa") == [1, 8, 7]
    assert rows_of(after) == list(range(9))


def test_ids_follow_their_pieces() -> None:
    """Special tokens in the middle: configuration, trainer's settings and rows all follow."""
    pieces = [("▁never", -3.0, NORMAL), ("▁mill", -1.0, NORMAL), ("▁", -4.0, NORMAL)]
    before = checkpoint(
        unigram(SPECIAL, special=pieces), pad_token_id=3, bos_token_id=5, eos_token_id=99
    )
    trainer = next(
        one.value for one in parse_fields(before.tokenizer_files["spiece.model"]) if one[0] == 2
    )
    assert {4: 8, 40: 4}.items() <= {one.number: one.value for one in parse_fields(trainer)}.items()
    after = trim_vocabulary(before, ["mill"])
    assert rows_of(after) == [1, 2, 3, 4, 5, 6, 7]
    config = after.config
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (2, 4, 99)
    trainer = next(
        one.value for one in parse_fields(after.tokenizer_files["spiece.model"]) if one[0] == 2
    )
    assert {4: 7, 40: 3}.items() <= {one.number: one.value for one in parse_fields(trainer)}.items()
    assert tokenizer_from_files(after.tokenizer_files).tokenize("mill x").ids == [0, 1, 3]
    untouched = "embeddings/layer_norm/gamma"
    assert after.tensors[untouched] is before.tensors[untouched]
    assert before.config.vocab_size == 8  # and the one before is as it was


def test_rows_without_a_piece_go() -> None:
    before = checkpoint(unigram([("▁mill", -1.0, NORMAL)]), vocab_size=64)
    assert rows_of(trim_vocabulary(before, ["mill"])) == [0, 1, 2, 3, 4, 5]


def test_a_models_own_test_goes() -> None:
    """Its sentences say how the whole vocabulary cuts them."""
    files = unigram([("▁", -4.0, NORMAL), ("▁mill", -1.0, NORMAL), ("▁weir", -1.0, NORMAL)])
    sample = encode_bytes(1, b"weir") + encode_bytes(2, "▁weir".encode())
    files["spiece.model"] += encode_bytes(4, encode_bytes(1, sample))
    after = trim_vocabulary(checkpoint(files), ["mill"])
    numbers = {one.number for one in parse_fields(after.tokenizer_files["spiece.model"])}
    assert numbers == {1, 2, 3}


@pytest.mark.parametrize("together", [False, True])
def test_files_of_fast_tokenizers(real: Tokenizer, together: bool) -> None:
    """What is written can be read by everybody, and nothing old is left beside it."""
    spiece = real.files()["spiece.model"]
    stated = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 512,
        "added_tokens_decoder": {"29999": {"content": "x"}},
    }
    files = {
        "tokenizer.json": fast_file(spiece),
        "tokenizer_config.json": json.dumps(stated).encode(),
    }
    files |= {"spiece.model": spiece} if together else {}
    after = trim_vocabulary(checkpoint(files), TEXTS)
    assert after.tokenizer_files.keys() == {"spiece.model", "tokenizer_config.json"}
    written = json.loads(after.tokenizer_files["tokenizer_config.json"])
    assert written["tokenizer_class"] == "AlbertTokenizer"
    assert written["model_max_length"] == 512
    (token_id,) = written["added_tokens_decoder"]  # with its new id
    assert written["added_tokens_decoder"][token_id]["content"] == "x"
    assert rows_of(after)[int(token_id)] == 29999
    assert_same(checkpoint({"spiece.model": spiece}), after, TEXTS, unigram_ids)


@pytest.mark.parametrize("name", ["spiece.model", "vocab.txt"])
@pytest.mark.parametrize("sized", [False, True])
def test_added_tokens_stay(name: str, sized: bool) -> None:
    files = {"vocab.txt": VOCAB.read_bytes()}
    if name == "spiece.model":
        files = unigram([("▁", -4.0, NORMAL), ("▁mill", -1.0, NORMAL), ("▁weir", -1.0, NORMAL)])
    count = tokenizer_from_files(files).vocab_size
    decoder = {str(count + 2): {"content": "[E1]", "special": True}, "7": {"content": "[E2]"}}
    config = {"added_tokens_decoder": decoder, "additional_special_tokens": ["[E1]"]}
    files["tokenizer_config.json"] = json.dumps(config).encode()
    before = checkpoint(files, vocab_size=count + 6)
    text = "[E1] mill [E2][E1]mill"
    after = trim_vocabulary(before, [text], size=count + 2 if sized else None)
    rows = rows_of(after)
    one, other = (tokenizer_from_files(part.tokenizer_files) for part in (before, after))
    assert [rows[n] for n in other.tokenize(text).ids] == one.tokenize(text).ids
    assert {count + 2, 7} <= set(one.tokenize(text).ids) <= set(rows)
    assert match_vocabulary(before, after.tokenizer_files).config == after.config


def test_the_share_of_unknown_tokens_is_a_figure() -> None:
    files = unigram([("▁", -4.0, NORMAL), ("▁mill", -1.0, NORMAL)])
    after = trim_vocabulary(checkpoint(files), ["mill weir pond", "mill"])
    assert after.changes["vocabulary"]["unknown_share"] == 0.5


def test_wordpiece_drops_what_no_text_has() -> None:
    names = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "中", "##中", "a", "##a"]
    names += ["##!", "!", "A", "mill", "##er", "mill"]
    before = checkpoint({"vocab.txt": "\n".join(names).encode()}, bos_token_id=3, eos_token_id=4)
    after = trim_vocabulary(before, ["the mill, 中!"])
    lines = after.tokenizer_files["vocab.txt"].decode().splitlines()
    assert lines == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "中", "a", "##a", "!", "mill"]
    assert rows_of(after)[-1] == 15  # the last of equal lines is the one that counts
    assert (after.config.bos_token_id, after.config.eos_token_id) == (2, 3)
    most = trim_vocabulary(before, ["mill"], size=13)
    assert (
        rows_of(most) == [0, 1, 2, 3, 4, 5, 6, 8, 9, 11, 14, 15, 7] or most.config.vocab_size == 13
    )
    assert 13 not in rows_of(most)


def test_a_real_wordpiece_vocabulary() -> None:
    texts = ["北京 is 1998, the capital; naïve café!", "unaffable Zürich"]
    before = checkpoint({"vocab.txt": VOCAB.read_bytes()})
    after = trim_vocabulary(before, texts)
    assert_same(before, after, texts, wordpiece_ids)
    assert after.config.vocab_size < before.config.vocab_size


@pytest.mark.parametrize("task", ["classification", "fill-mask"])
def test_the_model_says_the_same(tiny_albert: Callable[..., Any], task: str) -> None:
    from albert_edge.modeling.albert import from_checkpoint
    from albert_edge.modeling.layers import tensors

    letters = [(char, -9.0, NORMAL) for char in "▁abcdefghijklmnopqrstuvwxyz,.19"]
    words = [(f"▁{word}", -3.0, NORMAL) for word in ("the", "mill", "fell", "in", "weir", "nobody")]
    words += [("▁9,", -2.0, NORMAL), ("an", -4.0, NORMAL), ("er", -4.0, NORMAL)]
    files = unigram([*letters, *words])
    model = tiny_albert(task, vocab_size=5 + len(letters) + len(words))
    before = Checkpoint(
        config=model.config, task=task, tensors=tensors(model), tokenizer_files=files
    )
    texts = ["the mill fell in 9, and nobody ran", "The weir, the weir!"]
    after = trim_vocabulary(before, texts)
    assert after.config.vocab_size < before.config.vocab_size
    kept = [tokenizer_from_files(files).id_to_piece(n) for n in range(before.config.vocab_size)]
    small = tokenizer_from_files(after.tokenizer_files)
    columns = [kept.index(small.id_to_piece(n)) for n in range(small.vocab_size)]
    for text in texts:
        logits = [
            from_checkpoint(one)(
                {"input_ids": [tokenizer_from_files(one.tokenizer_files).encode(text).input_ids]}
            )["logits"].numpy()
            for one in (before, after)
        ]
        if task == "classification":
            assert logits[0].tobytes() == logits[1].tobytes()
        else:  # a product of another width may sum in another order
            np.testing.assert_allclose(logits[0][..., columns], logits[1], rtol=1e-5, atol=1e-5)


def test_match_finds_the_rows_again(real: Tokenizer) -> None:
    before = checkpoint(real.files())
    after = trim_vocabulary(before, TEXTS)
    again = match_vocabulary(before, after.tokenizer_files)
    assert rows_of(again) == rows_of(after)
    assert (again.config, again.tokenizer_files) == (after.config, after.tokenizer_files)
    with pytest.raises(TokenizerError, match=r"'▁zzyzx': it is not a part of it"):
        match_vocabulary(before, unigram([("▁zzyzx", -1.0, NORMAL)]))


SMALL = unigram([("▁", -4.0, NORMAL), ("▁mill", -1.0, NORMAL), ("▁weir", -1.0, NORMAL)])


@pytest.mark.parametrize(
    ("texts", "size", "error", "message"),
    [
        ([], None, InputError, "the corpus has no text"),
        (["  ", "\t"], None, InputError, "the corpus has no text"),
        (iter(["mill"]), None, InputError, "read twice: pass a list or TextLines"),
        (["mill"], 5, ConfigError, r"in \[7, 8\], not 5: 7 pieces .* the corpus needs 7"),
        (["mill"], 9, ConfigError, r"in \[7, 8\], not 9"),
        (["mill"], -1, ConfigError, r"in \[7, 8\], not -1"),
        (["mill \ud83d"], None, InputError, "half of a surrogate pair"),
    ],
)
def test_what_cannot_be(texts: Any, size: int | None, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        trim_vocabulary(checkpoint(SMALL), texts, size=size)


def test_without_a_tokenizer() -> None:
    bare = dataclasses.replace(checkpoint(SMALL), tokenizer_files={})
    for trim in (lambda: trim_vocabulary(bare, ["mill"]), lambda: match_vocabulary(bare, SMALL)):
        with pytest.raises(CheckpointError, match="mine has no tokenizer"):
            trim()


def test_a_size_that_makes_a_character_unknown() -> None:
    """`q` is in no piece but `xq`, which wins only while `▁bcd` is there."""
    pieces = [(char, -30.0, NORMAL) for char in "▁bcdx"] + [("xq", -30.0, NORMAL)]
    pieces += [("dx", -1.0, NORMAL), ("▁bcd", -1.0, NORMAL), ("▁common", -1.0, NORMAL)]
    before = checkpoint(unigram(pieces))
    texts = ["bcdxq", "common", "common"]
    assert trim_vocabulary(before, texts).changes["vocabulary"]["texts_changed"] == 0
    with pytest.raises(TokenizerError, match=r"with 13 pieces, 1 tokens .* unknown.* in text 1"):
        trim_vocabulary(before, [*texts, "d x", "dx"], size=13)


def test_another_kind_of_model_is_found_out() -> None:
    """The pieces of byte-pair encoding are built of pieces that no text has."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the mill fell in the storm and the miller wept"] * 9),
        model_writer=out,
        model_type="bpe",
        vocab_size=45,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=["[CLS]", "[SEP]", "[MASK]"],
        minloglevel=2,
    )
    before = checkpoint({"spiece.model": out.getvalue()})
    with pytest.raises(TokenizerError, match=r"1 of its 1 texts.*not a unigram model"):
        trim_vocabulary(before, ["the mill fell in the storm"])


def test_the_example() -> None:
    assert doctest.testmod(trim_vocab) == (0, 2)


def test_a_file_of_texts(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes("\ufeffthe mill\r\n\n  \nin\u2028one line\x0c\nno end".encode())
    corpus = TextLines(path)
    assert list(corpus) == list(corpus) == ["the mill", "in\u2028one line\x0c", "no end"]
    path.write_bytes(b"fine\nb\xffd\n")
    with pytest.raises(InputError, match=r"texts\.txt, line 2: not UTF-8; save"):
        list(corpus)
    with pytest.raises(InputError, match=r"cannot read .*missing\.txt: No such file"):
        list(TextLines(tmp_path / "missing.txt"))
    with pytest.raises(InputError, match="Is a directory"):
        list(TextLines(tmp_path))
