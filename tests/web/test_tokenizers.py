"""The tokenizers in JavaScript: the tests of `tokenizer.port_tests`, and what is theirs only."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tokenizer.port_tests import *  # noqa: F403 (every test of it, and their fixtures)
from tokenizer.port_tests import BOTH, Library, PairOf
from tokenizer.ports import Files
from web.node import WEB, open_node

ANDROID = Path(__file__).parents[2] / "android_demo/library"


@pytest.fixture(scope="module")
def library() -> Iterator[Library]:
    with open_node() as node:
        yield Library(
            process=node,
            prefix="",
            load="loadTokenizer",
            kinds=("input", "file"),
            names={},
            truncations=("longest_first", "longest_first", "only_second", "first"),
        )


@BOTH
def test_what_is_no_text(pair_of: PairOf, files: Callable[[], Files]) -> None:
    _, web = pair_of(files())
    for text, kind in ((None, "object"), (3, "number"), ([], "object")):
        (found,) = web.call("tokenize", texts=[text])
        assert found["message"] == f"a text must be a string, not {kind}."


def test_unicode_table_is_that_of_the_android_library() -> None:
    script = runpy.run_path(str(ANDROID / "unicode_table.py"))
    content = script["TABLE"].read_bytes()
    assert (WEB / "src/unicode_table.js").read_text() == script["module"](content)
