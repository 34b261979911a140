"""Write `unicode.bin`: what the libraries need of Unicode, as this Python has it.

A phone's own data is as old as its Android, and Java and JavaScript convert to lower case by other
rules than Python, so this library and that for web pages bring their own table, the same for both:

    python android_demo/library/unicode_table.py

The file contains, in this order (numbers are LEB128, so 1 to 5 bytes; strings are UTF-16):

1. The version of Unicode: a length, and as many ASCII characters.
2. Properties: the number of records, each with flags (1 byte) and a combining class (1 byte); the
   number of blocks, each of 128 numbers of records (1 byte each); the number of the block (1 byte
   each) of every 128 code points.
3. Lower case: the number of code points, each as the distance from the one before it, and the
   distance to its lower case, zigzag.
4. Decompositions, canonical (NFD) and then compatible (NFKD) where it differs: the number of code
   points, each as a distance, the length of its decomposition, and as many code units.
5. Compositions: their number, each with the first code point, as a distance, the second, and both
   together.
6. Three classes: letters and numbers (`str.isalnum`), these and marks, and lower case
   (`str.islower`).  Each is the number of its boundaries, as distances: the first code point that
   is in it, the next that is not, and so on.

Hangul syllables are left out of 4 and 5: arithmetic gives theirs.
"""

from __future__ import annotations

import base64
import sys
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path

TABLE = Path(__file__).parent / "src/main/resources/org/albertedge/unicode.bin"
MODULE = Path(__file__).parents[2] / "web/src/unicode_table.js"
# The flags of a code point; `Unicode.kt` has the same.
PRINTABLE, SPACE, MARK, PUNCTUATION, DIGIT, CASED, IGNORABLE, CHANGES = (1 << n for n in range(8))
_BLOCK = 128
_ALL = [n for n in range(sys.maxunicode + 1) if not 0xD800 <= n < 0xE000]
_SIGMA, _FINAL_SIGMA = "\u03a3", "\u03c2"


def table() -> bytes:
    """Return the content of the file, deterministically for a version of Unicode."""
    lower = {n: low for n in _ALL if (low := chr(n).lower()) != chr(n)}
    del lower[0x130]  # the only one of two characters: `Unicode.kt` contains it
    if any((n > 0xFFFF) != (ord(low) > 0xFFFF) for n, low in lower.items()):
        raise ValueError("text does not keep its length in UTF-16 in lower case")
    canonical = _decompositions("NFD")
    compatible = {n: t for n, t in _decompositions("NFKD").items() if t != canonical.get(n)}
    changing = {*lower, *canonical, *compatible}
    version = unicodedata.unidata_version.encode()
    return b"".join(
        (
            _number(len(version)) + version,
            _properties(changing),
            _sparse(lower, lambda n, low: _zigzag(ord(low) - n)),
            _sparse(canonical, lambda n, text: _string(text)),
            _sparse(compatible, lambda n, text: _string(text)),
            _compositions(canonical),
            _class(str.isalnum),
            _class(lambda char: unicodedata.category(char)[0] in "LMN"),
            _class(str.islower),
        )
    )


def module(content: bytes) -> str:
    """Return the file as a module of JavaScript, which needs no second request of a page."""
    encoded = base64.b64encode(content).decode()
    lines = [encoded[at : at + 98] for at in range(0, len(encoded), 98)]
    parts = ("// Written by android_demo/library/unicode_table.py, which describes it.",)
    return "\n".join((*parts, "export const TABLE = `", *lines, "`;", ""))


def _decompositions(form: str) -> dict[int, str]:
    hangul = range(0xAC00, 0xAC00 + 11172)
    texts = ((n, unicodedata.normalize(form, chr(n))) for n in _ALL if n not in hangul)  # type: ignore[arg-type]
    return {n: text for n, text in texts if text != chr(n)}


def _flags(char: str) -> int:
    category = unicodedata.category(char)
    # How `str.lower` treats a capital sigma shows whether a character has a case, or none that
    # counts: it is final behind a letter with a case, whatever ignorable characters are between.
    after_letter = f"a{char}{_SIGMA}".lower().endswith(_FINAL_SIGMA)
    alone = f" {char}{_SIGMA}".lower().endswith(_FINAL_SIGMA)
    return (
        PRINTABLE * char.isprintable()
        | SPACE * char.isspace()
        | MARK * (category == "Mn")
        | PUNCTUATION * (category[0] == "P")
        | DIGIT * char.isdigit()
        | CASED * (after_letter and alone)
        | IGNORABLE * (after_letter and not alone)
    )


def _properties(changing: set[int]) -> bytes:
    records: dict[tuple[int, int], int] = {}
    surrogate = (_flags("\ud800"), 0)
    of_all = []
    for n in range(sys.maxunicode + 1):
        record = surrogate
        if not 0xD800 <= n < 0xE000:
            flags = _flags(chr(n)) | CHANGES * (n in changing)
            record = (flags, unicodedata.combining(chr(n)))
        of_all.append(records.setdefault(record, len(records)))
    blocks: dict[bytes, int] = {}
    index = bytes(
        blocks.setdefault(bytes(of_all[at : at + _BLOCK]), len(blocks))
        for at in range(0, len(of_all), _BLOCK)
    )
    return b"".join(
        (
            _number(len(records)),
            *map(bytes, records),
            _number(len(blocks)),
            *blocks,
            index,
        )
    )


def _compositions(canonical: Mapping[int, str]) -> bytes:
    pairs = []
    for n, text in canonical.items():
        # A decomposition is that of its first character, and so on: compose all but the last.
        first = unicodedata.normalize("NFC", text[:-1])
        if len(first) == 1 and unicodedata.normalize("NFC", text) == chr(n):
            pairs.append((ord(first), ord(text[-1]), n))
    pairs.sort()
    parts, before = [_number(len(pairs))], 0
    for one, two, both in pairs:
        parts.append(_number(one - before) + _number(two) + _number(both))
        before = one
    return b"".join(parts)


def _class(contains: Callable[[str], bool]) -> bytes:
    parts, before, inside = [], 0, False
    for n in range(sys.maxunicode + 1):
        if contains(chr(n)) != inside:
            parts.append(_number(n - before))
            before, inside = n, not inside
    return b"".join([_number(len(parts)), *parts])


def _sparse(values: Mapping[int, str], encode: Callable[[int, str], bytes]) -> bytes:
    parts, before = [_number(len(values))], 0
    for n, value in sorted(values.items()):
        parts.append(_number(n - before) + encode(n, value))
        before = n
    return b"".join(parts)


def _string(text: str) -> bytes:
    units = memoryview(text.encode("utf-16-le")).cast("H")
    return _number(len(units)) + b"".join(map(_number, units))


def _zigzag(value: int) -> bytes:
    return _number(2 * value if value >= 0 else -2 * value - 1)


def _number(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _main() -> None:
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    content = table()
    TABLE.write_bytes(content)
    MODULE.write_text(module(content))


if __name__ == "__main__":
    _main()
