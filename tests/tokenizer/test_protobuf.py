from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.tokenizer.protobuf import encode_bytes, encode_varint, parse_fields

NUMBERS = st.integers(1, 2**29 - 1)


@given(st.lists(st.tuples(NUMBERS, st.integers(0, 2**64 - 1) | st.binary(max_size=300))))
def test_messages_round_trip(values: list[tuple[int, int | bytes]]) -> None:
    parts = [
        (encode_varint if isinstance(value, int) else encode_bytes)(n, value) for n, value in values
    ]
    found = list(parse_fields(b"".join(parts)))
    assert [(one.number, one.value) for one in found] == values
    assert [one.raw for one in found] == parts


def test_fixed_sizes() -> None:
    message = b"\x15\0\0\x80\x3f" + b"\x09abcdefgh"
    assert [one[:2] for one in parse_fields(message)] == [(2, b"\0\0\x80\x3f"), (1, b"abcdefgh")]


@pytest.mark.parametrize(
    "message", [b"\x08", b"\x08\xff", b"\x0a\x05abc", b"\x15\0\0", b"\x0b", b"\xff" * 11]
)
def test_what_is_no_message(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"no valid field at byte 0|is cut short"):
        list(parse_fields(message))
