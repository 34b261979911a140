"""A sorted table of bytes, as LevelDB lays it out: the index of a TensorFlow checkpoint.

TensorFlow's own reader ends the process when such a file has sound checksums and unsound content,
so the content is looked at first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["read_table"]

_FOOTER = 48
_MAGIC = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
_TRAILER = 5  # after each block: how it is packed, and its checksum
_MOST_KEY_BYTES = 1024


def read_table(blob: bytes) -> dict[bytes, bytes]:
    """Read every entry of a table.

    Raises:
        ValueError: It is none, or is damaged.
    """
    if len(blob) < _FOOTER or not blob.endswith(_MAGIC):
        raise ValueError("it does not end as a table does")
    footer = blob[-_FOOTER:]
    _, start = _handle(footer, 0)  # of the index of filters, which TensorFlow leaves empty
    index, _ = _handle(footer, start)
    table: dict[bytes, bytes] = {}
    for _, value in _entries(blob, *index):
        block, _ = _handle(value, 0)
        for key, content in _entries(blob, *block):
            if table and key <= next(reversed(table)):
                raise ValueError("its keys are not in order")
            table[key] = content
    return table


def _entries(blob: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a block; each key tells how much of the last one it repeats."""
    if start + size + _TRAILER > len(blob) or size < 4:
        raise ValueError("a block reaches out of it")
    if blob[start + size]:
        raise ValueError("a block is compressed, as TensorFlow never writes it")
    block = blob[start : start + size]
    (restarts,) = struct.unpack("<I", block[-4:])
    end, at, key = size - 4 - 4 * restarts, 0, b""
    while at < end:
        shared, at = _varint(block, at)
        added, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or at + added + length > end or shared + added > _MOST_KEY_BYTES:
            raise ValueError("an entry reaches out of its block")
        key = key[:shared] + block[at : at + added]
        at += added + length
        yield key, block[at - length : at]
    if at != end:
        raise ValueError("a block has no end")


def _handle(blob: bytes, at: int) -> tuple[tuple[int, int], int]:
    start, at = _varint(blob, at)
    size, at = _varint(blob, at)
    return (start, size), at


def _varint(blob: bytes, at: int) -> tuple[int, int]:
    """Read a number of seven bits a byte, the lowest first, the last without the eighth."""
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(blob):
            break
        byte, at = blob[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number has no end")
