"""The sources in Kotlin and Java, which no formatter checks here."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
PROJECT = TESTS.parents[1] / "android_demo"
WIDTH = 100
# A name of Java's cannot be broken.
IMPORT = re.compile(r"import (static )?[\w.]+;?")


def test_lines_are_of_100_columns_without_tabs_and_spaces_at_their_end() -> None:
    files = [
        path
        for folder in (PROJECT, TESTS)
        for suffix in ("kt", "kts", "java")
        for path in folder.rglob(f"*.{suffix}")
        if "target" not in path.relative_to(folder).parts
    ]
    assert len(files) > 60
    wrong = []
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert text.endswith("\n"), path
        for number, line in enumerate(text.splitlines(), 1):
            long = len(line) > WIDTH and not IMPORT.fullmatch(line)
            if long or "\t" in line or line != line.rstrip():
                wrong.append(f"{path.relative_to(TESTS.parents[1])}:{number}: {line}")
    assert not wrong
