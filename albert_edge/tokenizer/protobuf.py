"""Protocol buffers as bytes: the fields of a message, and back.

By hand, because sentencepiece's own schema loads only with the very newest protobuf, and a device
that runs models needs no protobuf at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Field", "encode_bytes", "encode_varint", "parse_fields"]

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: Its number in the schema.
        value: A whole number, or the content: of a string, a message, or of 4 or 8 fixed bytes.
        raw: The whole field, as `block` and `number` write one.
    """

    number: int
    value: int | bytes
    raw: bytes


def parse_fields(message: bytes) -> Iterator[Field]:
    """Yield the fields of a message, in the order of the file.

    Raises:
        ValueError: It is no message.

    Example:
        >>> [(one.number, one.value) for one in fields(block(1, b"a") + number(3, 300))]
        [(1, b'a'), (3, 300)]
    """
    at = 0
    while at < len(message):
        begin = at
        tag, at = _read_varint(message, at)
        value: int | bytes
        if tag & 7 == _VARINT:
            value, at = _read_varint(message, at)
        else:
            size = {_FIXED64: 8, _FIXED32: 4}.get(tag & 7)
            if tag & 7 == _LENGTH_DELIMITED:
                size, at = _read_varint(message, at)
            if size is None or at + size > len(message):
                raise ValueError(f"byte {begin} begins no field")
            value, at = message[at : at + size], at + size
        yield Field(tag >> 3, value, message[begin:at])


def encode_varint(field: int, value: int) -> bytes:
    """Return a field that holds a whole number, in [0, 2**64)."""
    return _read_varint_at(field << 3 | _VARINT) + _read_varint_at(value)


def encode_bytes(field: int, content: bytes) -> bytes:
    """Return a field that holds a string or a message."""
    return _read_varint_at(field << 3 | _LENGTH_DELIMITED) + _read_varint_at(len(content)) + content


def _read_varint_at(value: int) -> bytes:
    low, high = value & 127, value >> 7
    return bytes([low]) if not high else bytes([low | 128]) + _read_varint_at(high)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte, at = message[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("a number has no end")
