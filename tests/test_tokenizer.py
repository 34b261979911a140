"""Token ids are the reference's, offsets point into the original text, and bad files say so."""

from __future__ import annotations

import base64
import doctest
import io
import json
import struct
import unicodedata
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st

import albert_edge.tokenizer.preprocess
from albert_edge.errors import InputError, TokenizerError
from albert_edge.tokenizer import Tokenizer, load_tokenizer, tokenizer_from_files
from albert_edge.tokenizer.preprocess import preprocess
from albert_edge.tokenizer.settings import Settings
from albert_edge.tokenizer.spiece import SentencePieceTokenizer

GOLDEN = json.loads((Path(__file__).parent / "data" / "tokenizer_golden.json").read_text("utf-8"))

# ------------------------------------------------------------------------------ what is compared

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


def piece_record(piece: str) -> bytes:
    """One piece in a ModelProto: field 1 with text (1) and score (2)."""
    text = piece.encode()
    record = b"\x0a" + bytes([len(text)]) + text + b"\x15" + struct.pack("<f", -1.5)
    return b"\x0a" + bytes([len(record)]) + record


def end_of_pieces(model: bytes, count: int = 1 << 30) -> int:
    """Where the first `count` pieces end; each is a tag of 10, a length, and so many bytes."""
    at = 0
    while count and model[at] == 10:
        at, count = at + 2 + model[at + 1], count - 1
    return at


@pytest.fixture(scope="session")
def tokenizer(model: bytes) -> Tokenizer:
    return tokenizer_from_files({"spiece.model": model})


@pytest.fixture(scope="session")
def albert(data_folder: Path) -> Path:
    """The published vocabulary of albert-*-v2."""
    return data_folder / "albert_spm" / "30k-clean.model"


def reference_text(text: str, options: Settings) -> str:
    """Hugging Face's slow `AlbertTokenizer` from `tokenize` up to SentencePiece, whole strings."""
    if options.do_lower_case:
        text = "".join(char.lower() for char in text)
    if options.remove_space:
        text = " ".join(text.strip().split())
    text = text.replace("``", '"').replace("''", '"')
    if not options.keep_accents:
        text = unicodedata.normalize("NFKD", text)
        text = "".join(char for char in text if not unicodedata.combining(char))
    return text.lower() if options.do_lower_case else text


def reference_ids(text: str, options: Settings, model: bytes) -> list[int]:
    """The rest of it.  Only that a run of unknown characters is never a control piece is ours."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces: list[str] = []
    for piece in processor.encode(reference_text(text, options), out_type=str):
        if len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit():
            parts = processor.encode(piece[:-1].replace("▁", ""), out_type=str)
            if piece[0] != "▁" and parts[0][0] == "▁":
                if len(parts[0]) == 1:
                    parts = parts[1:]
                else:
                    parts[0] = parts[0][1:]
            pieces += [*parts, ","]
        else:
            pieces.append(piece)
    ids = [processor.piece_to_id(piece) for piece in pieces]
    return [processor.unk_id() if processor.is_control(n) else n for n in ids]


def assert_sound(offsets: list[Any], text: str) -> None:
    for start, end in offsets:
        assert 0 <= start <= end <= len(text)
    for (start, end), (next_start, next_end) in pairwise(offsets):
        assert start <= next_start
        assert end <= next_end


# Every plane, with the characters that the rules are about as likely as all others together.
SPECIAL = [
    *"aBz 9,.'`\"()-▁ΣςσİıÅ\t\n\r\0\x07\x1c\x7f\x85\xa0\xad",
    *("``", "''", "9,", "12, ", " 7,", "[MASK]", "<pad>", "the ", "1998,", "²,", "፩,"),
    *"\u0301\u0323\u0345\u200b\u200d\u2028\u3000\ufeff\ufe0f",
    *"éﬁﷺ①Ａ９，가\u1100\u1161\u11a8がガ𝚺😀👩🏽\U000e0001\U0010ffff",
]
TEXT = st.lists(st.sampled_from(SPECIAL) | st.characters(codec="utf-8"), max_size=30).map("".join)
SETTINGS = st.builds(
    Settings, do_lower_case=st.booleans(), remove_space=st.booleans(), keep_accents=st.booleans()
)
IN_SESSION = settings(max_examples=300, deadline=None)

# ------------------------------------------------------------------------------------------- ids


@pytest.mark.parametrize("kind", GOLDEN["settings"])
def test_golden_ids(albert: Path, kind: str) -> None:
    options = Settings(**GOLDEN["settings"][kind])
    tokenizer = SentencePieceTokenizer(albert.read_bytes(), options)
    for case in GOLDEN["texts"]:
        tokens = tokenizer.tokenize(case["text"])
        assert tokens.ids == case[kind], case["text"]
        assert_sound(tokens.offsets, case["text"])


def test_published_ids(albert: Path, data_folder: Path) -> None:
    path = data_folder / "golden" / "albert_base_v2_golden.json"
    golden = json.loads(path.read_text("utf-8"))["tokenizer"]
    tokenizer = load_tokenizer(albert)
    for text, ids in zip(golden["sentences"], golden["input_ids"], strict=True):
        encoding = tokenizer.encode(text)
        assert encoding.input_ids == [n for n in ids if n != tokenizer.pad_id]
        assert_sound(encoding.offsets[1:-1], text)
    for case in golden["simple"]:
        options = Settings(keep_accents=case.get("keep_accents", False))
        tokenizer = SentencePieceTokenizer(albert.read_bytes(), options)
        assert tokenizer.tokenize(case["text"]).ids == case["ids"]


@IN_SESSION
@given(text=TEXT, options=SETTINGS)
@example("ΟΔΟΣ 𝚺𝚨𝚺 İ ''' e\u0301\u0323", Settings())
def test_ids_are_the_reference_s(model: bytes, text: str, options: Settings) -> None:
    tokens = SentencePieceTokenizer(model, options).tokenize(text)
    assert tokens.ids == reference_ids(text, options, model)
    assert len(tokens.offsets) == len(tokens.ids)
    assert_sound(tokens.offsets, text)


@IN_SESSION
@given(text=TEXT | TEXT.filter(str.isascii), options=SETTINGS)
def test_text_is_prepared_as_the_reference_does(text: str, options: Settings) -> None:
    aligned = preprocess(text, options)
    assert aligned.text == reference_text(text, options)
    assert len(aligned.starts) == len(aligned.ends) == len(aligned.text)
    assert_sound(list(zip(aligned.starts, aligned.ends, strict=True)), text)
    assert all(start < end for start, end in zip(aligned.starts, aligned.ends, strict=True))


def test_every_character_is_prepared_as_the_reference_does() -> None:
    # Beyond the second plane are only ideographs, tags and nothing.
    chars = [chr(n) for n in range(0x20000) if not 0xD800 <= n < 0xE000]
    for at in range(0, len(chars), 4096):
        text = "x".join(chars[at : at + 4096])
        assert preprocess(text, Settings()).text == reference_text(text, Settings())


def test_the_number_rule_is_at_work(model: bytes, tokenizer: Tokenizer) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    text = "in 1998, or 9, or 74, or 1298,"
    learned = processor.encode(text, out_type=str)
    assert {"▁1998,", "▁9,", "74,", "98,"} <= set(learned)
    tokens = tokenizer.tokenize(text)
    assert len(tokens.ids) > len(learned)
    comma = processor.piece_to_id(",")
    places = [span for n, span in zip(tokens.ids, tokens.offsets, strict=True) if n == comma]
    assert places == [(7, 8), (13, 14), (20, 21), (29, 30)]
    assert tokens.ids == reference_ids(text, Settings(), model)


def test_special_tokens_in_text_are_text(tokenizer: Tokenizer) -> None:
    special = {tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id, tokenizer.mask_id}
    assert special == {0, 2, 3, 4}
    for options in (Settings(), Settings(do_lower_case=False)):
        cased = SentencePieceTokenizer(tokenizer.files()["spiece.model"], options)
        assert not special & set(cased.tokenize("[CLS] a [SEP]<pad> [MASK]b <unk>").ids)


def test_special_pieces_that_would_match_text_are_text(model: bytes) -> None:
    # [MASK] (field 3, type: control = 3) made a symbol that SentencePiece finds in text (4).
    symbol = model.replace(b"[MASK]\x15\0\0\0\0\x18\x03", b"[MASK]\x15\0\0\0\0\x18\x04")
    assert symbol != model
    processor = sentencepiece.SentencePieceProcessor(model_proto=symbol)
    assert 4 in processor.encode("a [MASK]")
    tokenizer = SentencePieceTokenizer(symbol, Settings(do_lower_case=False))
    assert tokenizer.mask_id == 4
    assert 4 not in tokenizer.tokenize("a [MASK]").ids


# --------------------------------------------------------------------------------------- offsets


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  The\n\nkettle\t sang ", ["The", "kettle", "sang"]),
        (" \t the ferry ", ["the", "ferry"]),
        ("The CAFÉ sells", ["The", "CAFÉ", "sells"]),
        ("a cafe\u0301 sells", ["a", "cafe\u0301", "sells"]),  # a dropped mark is not cut off
        ("``Answer'' the", ["``Answer''", "the"]),
        ("🙂 the 🙂🙂 kettle", ["🙂", "the", "🙂🙂", "kettle"]),
        ("한국 사람", ["한국", "사람"]),
        ("Ｔｈｅ　ｆｅｒｒｙ", ["Ｔｈｅ", "ｆｅｒｒｙ"]),
        ("the\u200bferry\x07 \x01 landed\x07", ["the", "ferry", "landed"]),
        ("in 1998, it", ["in", "1998,", "it"]),
        ("ΣΟΦΟΣ λογος", ["ΣΟΦΟΣ", "λογος"]),
    ],
)
def test_spans_cut_words_from_the_original(
    tokenizer: Tokenizer, text: str, words: list[str]
) -> None:
    tokens = tokenizer.tokenize(text)
    found: list[str] = []
    for token_id, (start, end) in zip(tokens.ids, tokens.offsets, strict=True):
        if tokenizer.id_to_piece(token_id).startswith("▁"):
            found.append("")
        found[-1] += text[start:end]
    assert found == words


def test_spans_of_pieces_are_their_text(tokenizer: Tokenizer) -> None:
    """In plain text every span is its piece, but for case and the mark."""
    for text in SENTENCES[:4]:
        tokens = tokenizer.tokenize(text)
        for token_id, (start, end) in zip(tokens.ids, tokens.offsets, strict=True):
            piece = tokenizer.id_to_piece(token_id)
            assert text[start:end].lower() == piece.lstrip("▁")


def test_a_mark_alone_has_an_empty_span(albert: Path) -> None:
    tokens = load_tokenizer(albert).tokenize("x  😀")
    assert tokens.ids[1:] == [13, 1]  # ▁, <unk>
    assert tokens.offsets == [(0, 1), (3, 3), (3, 4)]


def test_what_a_character_is_spelled_as_shares_its_span(albert: Path) -> None:
    tokens = load_tokenizer(albert).tokenize("a ﷺ\u0301 b")
    assert tokens.offsets[0] == (0, 1)
    assert tokens.offsets[-1] == (5, 6)
    assert {start for start, _ in tokens.offsets[1:-1]} == {2}


# ----------------------------------------------------------------------------- encode and windows


def test_encode_lays_out_one_text_and_two(tokenizer: Tokenizer) -> None:
    who, ada = tokenizer.tokenize("Who wrote it?"), tokenizer.tokenize("The gardener.")
    one = tokenizer.encode("Who wrote it?")
    assert one.input_ids == [tokenizer.cls_id, *who.ids, tokenizer.sep_id]
    assert one.token_type_ids == [0] * len(one.input_ids)
    assert one.offsets == [None, *who.offsets, None]
    two = tokenizer.encode("Who wrote it?", "The gardener.")
    assert two.input_ids == [*one.input_ids, *ada.ids, tokenizer.sep_id]
    assert two.token_type_ids == [*one.token_type_ids, *[1] * (len(ada.ids) + 1)]
    assert two.offsets == [*one.offsets, *ada.offsets, None]
    assert tokenizer.encode("").input_ids == [tokenizer.cls_id, tokenizer.sep_id]


@IN_SESSION
@given(first=st.integers(0, 12), second=st.none() | st.integers(0, 12), room=st.integers(0, 26))
def test_longest_first_is_hugging_face_s(
    tokenizer: Tokenizer, first: int, second: int | None, room: int
) -> None:
    text, pair = "(" * first, None if second is None else ")" * second
    ids, pair_ids = tokenizer.tokenize(text).ids, tokenizer.tokenize(pair or "").ids
    while len(ids) + len(pair_ids) > room:  # as transformers' truncate_sequences
        if pair is None or len(ids) > len(pair_ids):
            ids = ids[:-1]
        else:
            pair_ids = pair_ids[:-1]
    expected = [tokenizer.cls_id, *ids, tokenizer.sep_id]
    if pair is not None:
        expected += [*pair_ids, tokenizer.sep_id]
    special = 2 if pair is None else 3
    assert tokenizer.encode(text, pair, max_length=room + special).input_ids == expected


def test_only_second_keeps_the_first_whole(tokenizer: Tokenizer) -> None:
    question, context = "Who wrote the letter?", " ".join(SENTENCES)
    asked = tokenizer.encode(question)
    for length in (len(asked.input_ids) + 2, 60):
        cut = tokenizer.encode(question, context, max_length=length, truncate="only_second")
        assert len(cut.input_ids) == length
        assert cut.input_ids[: len(asked.input_ids)] == asked.input_ids
        assert cut.input_ids[-1] == tokenizer.sep_id
    with pytest.raises(InputError, match="leaves no room for the second in 9"):
        tokenizer.encode(question, context, max_length=9, truncate="only_second")
    with pytest.raises(InputError, match="needs a second text"):
        tokenizer.encode(question, max_length=9, truncate="only_second")
    with pytest.raises(InputError, match="choose longest_first or only_second"):
        tokenizer.encode(question, max_length=9, truncate="only_first")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="max_length must be at least 3, not 2"):
        tokenizer.encode(question, context, max_length=2)


@IN_SESSION
@given(words=st.integers(0, 40), room=st.integers(1, 25), stride=st.integers(0, 24))
def test_windows_cover_the_context(
    tokenizer: Tokenizer, words: int, room: int, stride: int
) -> None:
    question, context = "Who wrote it?", "kettle " * words
    whole = tokenizer.tokenize(context)
    asked = len(tokenizer.tokenize(question).ids)
    length = asked + 3 + room
    if stride >= room:
        with pytest.raises(InputError, match=rf"stride must be in \[0, {room}\)"):
            tokenizer.windows(question, context, max_length=length, stride=stride)
        return
    windows = tokenizer.windows(question, context, max_length=length, stride=stride)
    parts = [window.offsets[asked + 2 : -1] for window in windows]
    assert [len(part) for part in parts[:-1]] == [room] * (len(parts) - 1)
    covered = parts[0]
    for part in parts[1:]:
        assert covered[len(covered) - stride :] == part[:stride]
        assert len(part) > stride  # each window brings something new
        covered = covered + part[stride:]
    assert covered == whole.offsets


def test_a_question_that_leaves_no_room(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match="leaves no room for the second in 8"):
        tokenizer.windows("Who wrote the letter?", "Ada.", max_length=8, stride=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a\ud83dz", "character 1 is half of a surrogate pair"), (b"a", "must be a str, not bytes")],
)
def test_what_is_no_text(tokenizer: Tokenizer, text: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tokenizer.encode(text)


@pytest.mark.parametrize("unit", ["a", "kettle ", "\u200b", "e\u0301", "😀", "''", "9,"])
def test_a_very_long_line(tokenizer: Tokenizer, unit: str) -> None:
    text = unit * (100_000 // len(unit))
    assert_sound(tokenizer.tokenize(text).offsets, text)


def test_ids_back_to_text(tokenizer: Tokenizer) -> None:
    encoding = tokenizer.encode("The kettle sang, ", "and  Nobody minded.")
    assert tokenizer.decode(encoding.input_ids) == "the kettle sang, and nobody minded."
    assert tokenizer.id_to_piece(tokenizer.cls_id) == "[CLS]"
    for token_id in (-1, tokenizer.vocab_size):
        with pytest.raises(InputError, match=rf"token id {token_id} is not in \[0, "):
            tokenizer.id_to_piece(token_id)


# ----------------------------------------------------------------------------------------- files


def fast_file(spiece: bytes, **changes: Any) -> bytes:
    """A `tokenizer.json` as Hugging Face's `AlbertConverter` writes it."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=spiece)
    vocab: list[list[Any]] = []
    added = []
    for index in range(processor.get_piece_size()):
        piece, score = processor.id_to_piece(index), processor.get_score(index)
        number = len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()
        vocab.append([piece, score - 100 if number else score])
        if index < 5:
            added.append({"id": index, "content": piece, "special": True})
    values = {
        "added_tokens": added,
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Replace", "pattern": {"String": "``"}, "content": '"'},
                {"type": "Replace", "pattern": {"String": "''"}, "content": '"'},
                {"type": "NFKD"},
                {"type": "StripAccents"},
                {"type": "Lowercase"},
                {"type": "Precompiled", "precompiled_charsmap": charsmap(spiece)},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            ],
        },
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
        "model": {"type": "Unigram", "unk_id": 1, "vocab": vocab},
    }
    return json.dumps({**values, **changes}).encode()


def charsmap(model: bytes) -> str:
    """The normalizer's compiled table, cut from the model: name (field 1), then the table (2)."""
    at = model.index(b"\x0a\x08nmt_nfkc\x12") + 11
    size = shift = 0
    while True:
        size |= (model[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if model[at - 1] < 128:
            return base64.b64encode(model[at : at + size]).decode()


def test_files_make_the_same_tokenizer_again(model: bytes) -> None:
    options = Settings(do_lower_case=False, keep_accents=True)
    files = SentencePieceTokenizer(model, options).files()
    again = tokenizer_from_files({**files, "labels.txt": b"other"})
    assert again.files() == files
    assert list(files) == ["spiece.model", "tokenizer_config.json"]
    text = "  The CAFÉ, 1998, "
    assert again.tokenize(text).ids == reference_ids(text, options, model)


@pytest.mark.parametrize("name", ["spiece.model", "other.bin", "tokenizer.json", "", "m.tflite"])
def test_load_from_every_source(model: bytes, tmp_path: Path, name: str) -> None:
    options = Settings(do_lower_case=False)
    files = SentencePieceTokenizer(model, options).files()
    if name == "m.tflite":
        path = tmp_path / name
        path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(1000))
        with zipfile.ZipFile(path, "a") as bundle:
            for key, blob in files.items():
                bundle.writestr(key, blob)
    else:
        (tmp_path / "tokenizer_config.json").write_bytes(files["tokenizer_config.json"])
        steps = json.loads(fast_file(model))["normalizer"]
        steps["normalizers"] = [s for s in steps["normalizers"] if s["type"] != "Lowercase"]
        blob = fast_file(model, normalizer=steps) if name == "tokenizer.json" else model
        (tmp_path / (name or "spiece.model")).write_bytes(blob)
    tokenizer = load_tokenizer(tmp_path / name)
    for text in ("The Kettle", *SENTENCES):
        assert tokenizer.tokenize(text).ids == reference_ids(text, options, model)


@IN_SESSION
@given(text=TEXT)
def test_tokenizer_json_says_the_same(
    tokenizer: Tokenizer, converted: Tokenizer, text: str
) -> None:
    assert converted.tokenize(text) == tokenizer.tokenize(text)


@pytest.fixture(scope="session")
def converted(model: bytes) -> Tokenizer:
    return tokenizer_from_files({"tokenizer.json": fast_file(model)})


def test_tokenizer_json_gives_every_piece_back(model: bytes, converted: Tokenizer) -> None:
    pieces = model[: end_of_pieces(model)]
    assert converted.files()["spiece.model"].startswith(pieces)  # with their scores and kinds


def test_tokenizer_json_of_the_published_vocabulary(albert: Path) -> None:
    blob = albert.read_bytes()
    converted = tokenizer_from_files({"tokenizer.json": fast_file(blob)})
    for case in GOLDEN["texts"]:
        assert converted.tokenize(case["text"]).ids == case["default"], case["text"]


BERT = {"type": "BertNormalizer", "lowercase": True}
EXTRA = [{"id": 99_999, "content": "[NEW]", "special": True}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"type": "WordPiece", "vocab": {"a": 0}}}, "the model is WordPiece; this reads"),
        ({"model": {"type": "Unigram", "vocab": []}}, "not a tokenizer.json: KeyError"),
        ({"model": {"vocab": [["a", 0]], "unk_id": 7}}, r"unk_id 7 is not in \[0, 1\)"),
        ({"model": {"vocab": [], "byte_fallback": True}}, "spells unknown characters in bytes"),
        ({"normalizer": BERT}, r"does \['BertNormalizer'\]; ALBERT's does"),
        ({"normalizer": None}, r"does \[\]; ALBERT's does"),
        ({"pre_tokenizer": {"type": "ByteLevel"}}, r"does \['ByteLevel'\]; ALBERT's does Metasp"),
        ({"added_tokens": EXTRA}, r"added token '\[NEW\]' \(id 99999\) is not in the model's"),
        ({"added_tokens": 3}, "not a tokenizer.json: TypeError"),
    ],
)
def test_a_tokenizer_json_that_cannot_be_represented(
    model: bytes, changes: dict[str, Any], message: str
) -> None:
    if "model" in changes and "added_tokens" not in changes:
        changes = {**changes, "added_tokens": []}
    with pytest.raises(TokenizerError, match=message):
        tokenizer_from_files({"tokenizer.json": fast_file(model, **changes)})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[1]", "expected a JSON object, got list"),
        ("{", "is not JSON"),
        ('{"do_lower_case": "yes"}', "do_lower_case must be a bool: 'yes'"),
        ('{"do_lowercase": false}', "unknown key 'do_lowercase'; did you mean 'do_lower_case'"),
        ('{"tokenizer_class": "XLNetTokenizer"}', "tokenizer_class is 'XLNetTokenizer'"),
        ('{"sp_model_kwargs": {"enable_sampling": true}}', "sp_model_kwargs .* is not supported"),
        ('{"mask_token": "<mask>"}', "the vocabulary has no piece '<mask>'"),
    ],
)
def test_a_config_that_cannot_be_followed(model: bytes, config: str, message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        tokenizer_from_files({"spiece.model": model, "tokenizer_config.json": config.encode()})


def test_a_config_as_hugging_face_writes_it(model: bytes) -> None:
    config = {
        "tokenizer_class": "AlbertTokenizer",
        "mask_token": {"__type": "AddedToken", "content": "[SEP]", "lstrip": True},
        "bos_token": "[CLS]",
        "model_max_length": 512,
        "sp_model_kwargs": {},
        "pad_token": None,
        "keep_accents": True,
    }
    files = {"spiece.model": model, "tokenizer_config.json": json.dumps(config).encode()}
    tokenizer = tokenizer_from_files(files)
    assert (tokenizer.mask_id, tokenizer.pad_id) == (tokenizer.sep_id, 0)
    text = "a café"
    assert tokenizer.tokenize(text).ids == reference_ids(text, Settings(keep_accents=True), model)


def test_a_config_that_contradicts_tokenizer_json(model: bytes) -> None:
    files = {"tokenizer.json": fast_file(model), "tokenizer_config.json": b'{"keep_accents": true}'}
    with pytest.raises(TokenizerError, match="contradicts the normalizer of"):
        tokenizer_from_files(files)


@settings(max_examples=200, deadline=None)
@given(part=st.floats(0, 1, exclude_max=True))
def test_a_model_cut_short_anywhere(model: bytes, part: float) -> None:
    with pytest.raises(TokenizerError, match=r"damaged|cut short|no piece"):
        tokenizer_from_files({"spiece.model": model[: int(part * len(model))]})


def test_a_model_cut_between_two_pieces(model: bytes) -> None:
    at = end_of_pieces(model, 20)
    with pytest.raises(TokenizerError, match="cut short: it ends before trainer and normalizer"):
        tokenizer_from_files({"spiece.model": model[:at]})


def _nothing(path: Path) -> None:
    pass


def _jpeg(path: Path) -> None:
    path.write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(range(256)) * 8)


def _bare(path: Path) -> None:
    path.mkdir()


def _wordpiece(path: Path) -> None:
    path.mkdir()
    (path / "vocab.txt").write_text("[PAD]\n[UNK]\n")


def _empty_bundle(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("labels.txt", "a\nb")


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (_nothing, "none.model", "cannot read .*none.model: No such file"),
        (_jpeg, "picture.model", "picture.model is not a SentencePiece model"),
        (_jpeg, "picture.tflite", "no tokenizer can be read from .*picture.tflite"),
        (_jpeg, "tokenizer.json", "tokenizer.json is not JSON"),
        (_bare, "folder", "no tokenizer in .*folder: expected one of spiece.model, tokenizer.json"),
        (_wordpiece, "chinese", r"WordPiece \(vocab.txt\), which this version does not read"),
        (_empty_bundle, "m.tflite", "no tokenizer in .*m.tflite: expected one of"),
    ],
)
def test_a_source_without_a_tokenizer(
    tmp_path: Path, make: Callable[[Path], None], name: str, message: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(TokenizerError, match=message):
        load_tokenizer(tmp_path / name)


def test_examples() -> None:
    assert doctest.testmod(albert_edge.tokenizer.preprocess) == (0, 1)
