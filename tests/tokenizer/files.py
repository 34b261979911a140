"""Tokenizer files, written and cut by hand."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import sentencepiece


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


def fast_wordpiece_file(vocab: bytes, **normalizer: Any) -> bytes:
    """A `tokenizer.json` as Hugging Face's `BertConverter` writes it."""
    pieces = vocab.decode().splitlines()
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    values = {
        "added_tokens": [
            {"id": pieces.index(name), "content": name, "special": True} for name in special
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
            **normalizer,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {piece: n for n, piece in enumerate(pieces)},
        },
    }
    return json.dumps(values).encode()
