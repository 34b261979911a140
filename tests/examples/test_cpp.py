"""The C++ example prints what `albert-edge run` prints."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from albert_edge import convert, load_keras
from cli.commands import albert_edge
from pipelines.ports import files_of_cases
from rigs.cpp import run_cpp

TEXTS = (
    "a quiet, moving film",
    "A  QUIET,\tMOVING   FILM ",
    "the plot is dull, and nobody knows why; 9, maybe 10, of 1,234,567 liked it",
    "in 1998, at 9, it was ``good''; they said 'so-so'",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich, für 1.234,50 €.",
    "Pijamalı hasta, İstanbul'da IŞIK vardı",
    "e\u0301tude cafe\u0301 naïve ﬁne Ｆｕｌｌ ½ ² ℌ \u212a ſ",
    "\u00a0no\u00a0break\u2003and\u200bzero\u200dwidth\u3000spaces\u00a0",
    "control \x01\x0b\x1c\x7f\x85 characters\ufeff and \ufffd",
    "東京タワーへ行く。 ｶﾞｷﾞ １２３番地",
    "ΟΔΥΣΣΕΥΣ, ΣΟΦΟΣ ΛΟΓΟΣ, 𝚺 𝛀𝚺",
    "ऋषियों को सताने वाले १२३, ١٢٣،",
    "😀👍🏽👩‍👩‍👧‍👦🏳️‍🌈 what a film",
    "[CLS] [SEP] [MASK] <pad> [PAD] <unk> <s> are text",
    "\u2581 a mark \u2581\u2581, 7\u2581, 7,",
    "'' `` ''' ``` \"",
    "awful",
    "9,",
    "x" * 300,
    "it was good until the widow took its roof, and then it was not. " * 60,
)
SLIPS = 0.005  # XNNPACK's int8 kernels of two releases, where the third digit may be another


@pytest.fixture(scope="module")
def file_of(
    tiny_albert: Callable[..., object], built_once: Callable[..., Path]
) -> Callable[..., Path]:
    return files_of_cases(tiny_albert, built_once)


def expected(file: Path, texts: tuple[str, ...] = TEXTS) -> list[str]:
    done = albert_edge("run", file, stdin=as_lines(texts).decode())
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def as_lines(texts: tuple[str, ...]) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


def printed(file: Path, texts: tuple[str, ...] = TEXTS) -> list[str]:
    done = run_cpp(file, given=as_lines(texts))
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "case", ["classification", "labels", "multi-label", "one-label", "regression"]
)
def test_prints_the_lines_of_run(case: str, file_of: Callable[..., Path]) -> None:
    file = file_of(case, target="cpu")
    lines = expected(file)
    assert len(lines) == len(TEXTS)
    assert lines[-1].endswith("(the text was truncated)")
    assert printed(file) == lines


def test_prints_the_labels_of_int8(file_of: Callable[..., Path]) -> None:
    file = file_of("classification", target="cpu", quantize="int8")
    for found, line in zip(printed(file), expected(file), strict=True):
        number = re.compile(r"\d\.\d{3}")
        assert number.sub("", found) == number.sub("", line)
        assert float(number.search(found)[0]) == pytest.approx(  # type: ignore[index]
            float(number.search(line)[0]),
            abs=SLIPS,  # type: ignore[index]
        )


def test_fixed_lengths(built_once: Callable[..., Path]) -> None:
    def build(path: Path) -> None:
        options = {"quantize": "float32", "layout": "unrolled", "seq_len": (16, 64)}
        convert(load_keras("default"), verified=False, **options).save(path)  # type: ignore[arg-type]

    file = built_once("cpp_fixed.tflite", build)
    assert printed(file) == expected(file)


def test_a_text_as_an_argument(file_of: Callable[..., Path]) -> None:
    file = file_of("classification", target="cpu")
    done = run_cpp(file, TEXTS[0], TEXTS[4])
    assert done.stdout.splitlines() == expected(file, (TEXTS[0], TEXTS[4]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (b"good\n \n", "line 2: the text is empty"),
        (b"\n", "line 1: the text is empty"),
        (b"good\nbad\xff\n", "line 2: the text is not UTF-8"),
        (b"\xed\xa0\x80\n", "line 1: the text is not UTF-8"),
    ],
)
def test_bad_lines(given: bytes, message: str, file_of: Callable[..., Path]) -> None:
    done = run_cpp(file_of("classification", target="cpu"), given=given)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stdout.splitlines()) == given.count(b"good")


def test_refuses_another_task(file_of: Callable[..., Path]) -> None:
    done = run_cpp(file_of("pooler", target="cpu"), "a film")
    assert done.returncode == 1
    assert "is for feature-extraction; this program only classifies" in done.stderr


def test_refuses_damaged_files(file_of: Callable[..., Path], tmp_path: Path) -> None:
    """Whatever is cut off: an error, and not a crash."""
    content = file_of("labels", target="cpu").read_bytes()
    damaged = tmp_path / "damaged.tflite"
    for size in (0, 4, len(content) // 2, len(content) - 1000, len(content) - 30, len(content) - 1):
        damaged.write_bytes(content[:size])
        done = run_cpp(damaged, "a film")
        assert done.returncode == 1
        assert done.stderr.startswith("Error: the file")
    assert run_cpp(tmp_path / "none.tflite", "a film").stderr.startswith("Error: cannot read")
