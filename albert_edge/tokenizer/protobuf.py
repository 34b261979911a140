"""Read and write the fields of protocol buffer messages, without the protobuf package.

sentencepiece's schema loads only with the newest protobuf, and a device that runs models should not
need protobuf at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: The number of the field in the schema.
        value: A whole number, or the bytes of a string, a message, or a number of 4 or 8 bytes.
        raw: The encoded field.
    """

    number: int
    value: int | bytes
    raw: bytes


def parse_fields(message: bytes) -> Iterator[Field]:
    """Yield the fields of a message, in the order of the file.

    Raises:
        ValueError: The bytes are not a message.

    Example:
        >>> [(f.number, f.value) for f in parse_fields(encode_bytes(1, b"a") + encode_varint(3, 9))]
        [(1, b'a'), (3, 9)]
    """
    at = 0
    while at < len(message):
        start = at
        tag, at = _read_varint(message, at)
        value: int | bytes
        if tag & 7 == _VARINT:
            value, at = _read_varint(message, at)
        else:
            size = {_FIXED64: 8, _FIXED32: 4}.get(tag & 7)
            if tag & 7 == _LENGTH_DELIMITED:
                size, at = _read_varint(message, at)
            if size is None or at + size > len(message):
                raise ValueError(f"there is no valid field at byte {start}")
            value, at = message[at : at + size], at + size
        yield Field(tag >> 3, value, message[start:at])


def encode_varint(field: int, value: int) -> bytes:
    """Return a field with a whole number, in [0, 2**64)."""
    return _varint(field << 3 | _VARINT) + _varint(value)


def encode_bytes(field: int, content: bytes) -> bytes:
    """Return a field with a string or a message."""
    return _varint(field << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    low, high = value & 127, value >> 7
    return bytes([low]) if not high else bytes([low | 128]) + _varint(high)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte, at = message[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("a number is cut short")
