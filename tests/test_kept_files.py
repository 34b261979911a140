"""What an older version wrote is read, and says what it said.

The folder `data/written_by_0_1` stays as that version wrote it; how, see `data/make_kept_files.py`.
A test here that fails is a file of a user that can no longer be read.
"""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import albert_edge
import kept

# Keys of answers that a later version added.
ADDED = {"truncated"}
KEPT = Path(__file__).parent / "data" / "written_by_0_1"
INTERRUPTED = KEPT / "interrupted"
VERBS = ("finetune", "compress", "pretrain")

# Of probabilities and normalized states.  In floats another processor sums in another order: some
# steps of 2e-7 a pass.
OF_FLOATS = 1e-4
# Values are rounded to 8 bits on the way, and on another processor one that lies between two
# steps may fall to the other side.  All rounding together moves these probabilities by 3.1e-3 at
# most from those of the float32 file, and what falls otherwise by less.  The likelier label has
# at least 0.9.
OF_INTEGERS = 0.01
INTEGERS = ("int", "early_exit")  # what the names of such files begin with
# Keras, as in modeling/test_parity.py.
OF_KERAS = 1e-5
# Losses after dozens of steps, each of which makes more of what differs in the last digit.  The
# first training learns fast where it was killed, from 0.58 to 0.26; the second had learned all
# before; the third, at losses of about 3, takes small steps.
OF_TRAINING = {"finetune": 0.05, "compress": 0.005, "pretrain": 0.02}


@cache
def expected() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((KEPT / "expected.json").read_text())
    return read


def assert_same(got: Any, want: Any, *, off: float, where: str = "") -> None:
    """Check that two documents are the same, but for fractions, which may be off by so much."""
    if isinstance(want, dict):
        assert got.keys() - ADDED == want.keys() - ADDED, where
        for name, one in want.items():
            assert_same(got[name], one, off=off, where=f"{where}/{name}")
    elif isinstance(want, list):
        assert len(got) == len(want), where
        for index, one in enumerate(want):
            assert_same(got[index], one, off=off, where=f"{where}/{index}")
    elif isinstance(want, float):
        assert got == pytest.approx(want, abs=off), where
    else:
        assert got == want, where


def names_in(folder: str) -> list[str]:
    return sorted(path.name for path in (KEPT / folder).iterdir())


def test_nothing_is_missing() -> None:
    recipes = ("float32", "float16", "int8", "int4", "int16x8", "int8-full")
    layouts = ("loop", "unrolled", "split")
    names = {f"{recipe}_{layout}" for recipe in recipes for layout in layouts}
    tasks = {"feature-extraction", "fill-mask", "pretraining", "question-answering"}
    tasks |= {"sentence-order", "summarization", "token-classification"}
    files = {Path(name).stem for name in names_in("files")}
    assert files == expected()["answers"].keys() == names | tasks | {"early_exit"}
    assert {*names_in("checkpoints"), *kept.FOREIGN} == expected()["tensors"].keys()


@pytest.mark.parametrize("name", names_in("files"))
def test_a_file_says_what_it_said(name: str) -> None:
    path = KEPT / "files" / name
    want = expected()["answers"][path.stem]
    off = OF_INTEGERS if name.startswith(INTEGERS) else OF_FLOATS
    assert_same(kept.answers_of(path), want, off=off)


@pytest.mark.parametrize("layout", ["loop", "unrolled", "split"])
def test_a_file_agrees_with_the_checkpoint_it_was_made_from(layout: str) -> None:
    file = KEPT / "files" / f"float32_{layout}.tflite"
    report = json.loads(kept.call("verify", file, KEPT / "checkpoints/huggingface", "--json"))
    assert report["passed"]
    shown = json.loads(kept.call("inspect", file, "--json"))
    assert shown["bundle"]["layout"] == layout
    assert shown["bundle"]["provenance"]["source"] == "classifier"


def test_the_tokenizer_comes_out_of_a_file() -> None:
    tokenizer = albert_edge.load_tokenizer(KEPT / "files" / "int8_loop.tflite")
    loose = albert_edge.load_tokenizer(KEPT / "checkpoints" / "huggingface")
    assert tokenizer.encode("a lovely film") == loose.encode("a lovely film")
    assert len(tokenizer.encode("a lovely film").input_ids) > 3


@pytest.mark.parametrize("name", names_in("checkpoints"))
def test_a_checkpoint_is_read(name: str) -> None:
    model = albert_edge.load_keras(KEPT / "checkpoints" / name)
    assert kept.digest_of(model) == expected()["tensors"][name]
    assert_same(kept.logits_of(model), expected()["logits"][name], off=OF_KERAS)


@pytest.mark.parametrize("name", kept.FOREIGN)
def test_a_checkpoint_of_other_software_is_read(name: str, tmp_path: Path) -> None:
    model = kept.load_foreign(name, tmp_path)
    assert kept.digest_of(model) == expected()["tensors"][name]


@pytest.mark.parametrize("verb", VERBS)
def test_a_killed_training_goes_on(verb: str, tmp_path: Path) -> None:
    report = kept.resume(KEPT, verb, tmp_path)
    assert report["resumed"]
    got, want = kept.figures(report), expected()["resumed"][verb]
    assert_same(got, want, off=OF_TRAINING[verb])
    if verb == "finetune":  # what was noted before it was killed is not computed again
        assert got["loss"][:6] == want["loss"][:6]
        assert report["dev_accuracy"] > 0.9
    if verb == "compress":  # half of every matrix, but for an odd number
        assert all(abs(share - 0.5) < 0.01 for share in got["zeros"].values())
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {verb}
    assert not (tmp_path / verb / "training.npz").exists()
    albert_edge.load_keras(tmp_path / verb)


@pytest.mark.parametrize("verb", VERBS)
def test_a_training_goes_on_with_the_same_data_only(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(KEPT, other, ignore=shutil.ignore_patterns("files", "checkpoints"))
    for name in ("rows.tsv", "text.txt"):
        text = (other / name).read_text()
        (other / name).write_text(text.replace("dull", "weak", 1))
    with pytest.raises(AssertionError, match=r"exits with 1$"):
        kept.resume(other, verb, tmp_path)
    assert "is of a training with other data, options or weights" in capsys.readouterr().err


def test_a_report_is_shown_and_compared(tmp_path: Path) -> None:
    report, page = KEPT / "benchmark.json", tmp_path / "page.html"
    rows = json.loads(report.read_text())["rows"]
    shown = kept.call("benchmark", "--from", report, "--html", page)
    assert len(rows) == 4
    for name in ("int8_loop", "float32_loop", "8 tokens", "16 tokens"):
        assert name in shown
    html = page.read_text(encoding="utf-8")
    assert html.startswith("<!DOCTYPE html>")
    assert "float32_loop" in html
    assert "4 same." in kept.call("benchmark", "--compare", report, report)


def test_a_report_tells_of_a_regression(tmp_path: Path) -> None:
    old = json.loads((KEPT / "benchmark.json").read_text())
    for row in old["rows"]:  # so that the noise of the machine that measured hides nothing
        for one in row["rounds"]:
            one["latency_ms"] = row["latency_ms"]
    quiet, slower = tmp_path / "quiet.json", tmp_path / "slower.json"
    quiet.write_text(json.dumps(old))
    for row in old["rows"]:
        for one in (row, *row["rounds"]):
            one["latency_ms"] *= 100
    slower.write_text(json.dumps(old))
    assert "×100" in kept.call("benchmark", "--compare", quiet, slower)
    kept.call("benchmark", "--compare", quiet, slower, "--fail-on-regression", code=1)


@pytest.mark.parametrize("name", ["answers", "squad_answers"])
def test_saved_answers_are_scored(name: str) -> None:
    # Counts over counts, and intervals that a fixed seed draws.
    assert_same(kept.scores_of(KEPT, name), expected()["scores"][name], off=1e-9)


def test_saved_answers_are_what_the_file_says() -> None:
    report = json.loads(
        kept.call(
            *("evaluate", KEPT / "files/int8_loop.tflite", KEPT / "rows.tsv", "--json"),
            *("--against", KEPT / "answers.json"),
        )
    )
    assert report["agreement"] == 1
