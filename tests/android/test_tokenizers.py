"""The tokenizers in Kotlin: the tests of `tokenizer.port_tests`, and what is theirs only."""

from __future__ import annotations

import runpy
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from android.jvm import open_jvm
from tokenizer.port_tests import *  # noqa: F403 (every test of it, and their fixtures)
from tokenizer.port_tests import Library, in_base64
from tokenizer.ports import chinese_files, embedded_files, texts

LIBRARY = Path(__file__).parents[2] / "android_demo/library"
TABLE = LIBRARY / "src/main/resources/org/albertedge/unicode.bin"


@pytest.fixture(scope="module")
def library() -> Iterator[Library]:
    with open_jvm("none") as jvm:
        yield Library(
            process=jvm,
            prefix="Tokenizers.",
            load="load",
            kinds=("INPUT", "FILE"),
            names={"max_length": "maxLength", "truncate='only_second'": "truncate=ONLY_SECOND"},
            truncations=("longest_first", "longest_first", "only_second"),
        )


def test_several_threads_at_once(library: Library) -> None:
    for files in (embedded_files(), chinese_files()):
        some = texts(300, seed=8)
        assert library.call("tokenizeAtOnce", files=in_base64(files), texts=some, threads=4) == 0


def test_unicode_table_is_that_of_its_version() -> None:
    content = TABLE.read_bytes()
    version = content[1 : 1 + content[0]].decode()
    if version != unicodedata.unidata_version:
        pytest.skip(f"this Python has Unicode {unicodedata.unidata_version}, not {version}")
    assert content == runpy.run_path(str(LIBRARY / "unicode_table.py"))["table"]()
