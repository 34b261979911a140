"""`albert-edge demo`: the embedded model, the whole way, measured briefly."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console
from rich.progress import Progress

import albert_edge
from albert_edge.benchmark.measure import measure
from albert_edge.benchmark.report_file import SCHEMA, Row
from albert_edge.bundle import bundle
from albert_edge.cli.demo import command
from albert_edge.config import LAYOUTS
from albert_edge.demo import SENTENCES, STATEMENTS, Demo, render, run_demo
from albert_edge.errors import OutputError
from albert_edge.quantization.recipes import RECIPES
from albert_edge.tflite.export import export_stages

EVERY = list(product(RECIPES, LAYOUTS))


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name) / "new"


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        # The float32 stages of the one model, which every recipe and layout begins with.
        patch.setattr("albert_edge.quantization.model.export_stages", cache(export_stages))
        result = CliRunner().invoke(command, ["--quick", "--json", "-o", str(folder)])
    assert result.exit_code == 0, result.output
    assert result.stderr == ""  # it is no terminal, so no progress
    return json.loads(result.stdout)


def test_every_recipe_and_layout_is_kept(report: dict[str, Any], folder: Path) -> None:
    assert len(list(folder.iterdir())) == len(EVERY)
    for quantize, layout in EVERY:
        found = bundle.read(folder / f"{quantize}-{layout}.tflite")
        assert (found.quantize, found.layout) == (quantize, layout)


def test_every_file_is_verified_and_measured(report: dict[str, Any]) -> None:
    assert (report["schema"], report["kind"]) == (SCHEMA, "demo")
    rows = report["rows"]
    assert [(row["name"], row["layout"]) for row in rows] == EVERY
    assert all(row["verification"]["passed"] for row in rows)
    assert all(row["n"] >= 5 and row["seq_len"] == 128 for row in rows)
    assert report["layouts_agree"] is True


def test_the_answers_are_those_of_the_default_file(report: dict[str, Any], folder: Path) -> None:
    pipe = albert_edge.load(folder / "int8-loop.tflite")
    assert report["answers"] == [{"text": text, **pipe(text)} for text in SENTENCES]


def test_the_other_embedded_models_answer(report: dict[str, Any]) -> None:
    assert report["found"]["answer"] == "1843"
    assert report["nearest"][0]["text"] == STATEMENTS[1]
    scores = [one["score"] for one in report["nearest"]]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == len(STATEMENTS) - 1


def test_what_is_printed_fits_80_columns(report: dict[str, Any], folder: Path) -> None:
    rows = tuple(
        Row(
            name=row["name"],
            layout=row["layout"],
            measurement=measure(folder / f"{row['name']}-{row['layout']}.tflite", runs=1, warmup=0),
            verification=row["verification"],
        )
        for row in report["rows"][:2]
    )
    console = Console(file=io.StringIO(), width=80)
    demo = Demo(
        rows=rows,
        answers=tuple(report["answers"]),
        found=report["found"],
        nearest=tuple(report["nearest"]),
    )
    console.print(render(demo))
    text = console.file.getvalue()
    assert "…" not in text
    assert "The layouts agree bit for bit." in " ".join(text.split())
    for answer in report["answers"]:
        line = f"{answer['label']} {answer['score']:.1%} {answer['text']}"
        assert line in " ".join(text.split())
    assert "When was the first program written? 1843" in " ".join(text.split())


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    kept = tmp_path / "int8-split.tflite"
    kept.write_text("mine")
    result = CliRunner().invoke(command, ["-o", str(tmp_path)])
    assert isinstance(result.exception, OutputError)
    assert "int8-split.tflite exists; give --force" in str(result.exception)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"cannot create the directory .*file: File exists"):
        run_demo(tmp_path / "file", progress=Progress(disable=True))
