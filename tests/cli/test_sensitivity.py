"""`albert-edge compress --sensitivity`: the report on a terminal, as JSON, and as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from albert_edge import cli

SOURCE = Path(__file__).parents[1] / "data/parity/groups_of_two_tags"


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts for a model without a tokenizer: ids."""
    path = tmp_path_factory.mktemp("texts") / "ids.txt"
    path.write_text("2 9 4 11 3\n2 5 6 7 3\n2 8 3\n2 14 13 12 11 10 9 3\n2 4 6 8 3\n")
    return path


def measure(*arguments: object) -> Any:
    return CliRunner().invoke(cli._group, ["compress", *map(str, arguments), "--sensitivity"])


def test_shows_parts_and_places_and_draws_them(texts: Path, tmp_path: Path) -> None:
    picture = tmp_path / "depth.svg"
    done = measure(SOURCE, "--quantize", "int16x8", "--calibration", texts, "-o", picture)
    assert done.exit_code == 0, done.output
    first, *lines = done.stdout.splitlines()
    assert first.startswith("int16x8: ")
    assert first.endswith("% error against float32 on 2 texts of 10 tokens")
    assert max(map(len, lines)) <= 80
    words = [line.split()[0] for line in lines if line.strip()]
    assert {"layer.ffn_output", "between", "head.classifier", "embed", "1", "head"} <= set(words)
    assert "independent" in done.stdout
    assert "layer.ffn_output" in picture.read_text()


def test_json_is_all_there_is_on_standard_output(texts: Path) -> None:
    done = measure(
        SOURCE, "--quantize", "int8-full", "--keep", "layer.ffn=int16", "--json",
        "--calibration", texts,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert (report["quantize"], report["kept"]) == ("int8-full", ["layer.ffn=int16"])
    assert report["task"] == "token-classification"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("-o", "depth.pdf"), 1, "a plot must be a file in .svg or .png, not in .pdf"),
        (("-o", "no/depth.svg"), 1, "the directory no does not exist"),
        (("--calibration", "none.txt"), 1, "cannot read none.txt"),
        (("--quantize", "float32"), 2, "'float32' is not one of"),
        (("--with", "prune"), 2, "--with cannot be combined with --sensitivity"),
        (("--seed", "1"), 2, "--seed cannot be combined with --sensitivity"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_measured(
    arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = measure(SOURCE, *arguments)
    assert done.exit_code == code
    assert message in done.output


def test_a_picture_is_kept_unless_forced(tmp_path: Path) -> None:
    picture = tmp_path / "depth.png"
    picture.write_text("mine")
    done = measure(SOURCE, "-o", picture)
    assert done.exit_code == 1
    assert "depth.png exists; give --force to replace it" in done.output
    assert picture.read_text() == "mine"


def test_training_still_needs_what_it_needs() -> None:
    done = CliRunner().invoke(cli._group, ["compress", "default", "--data", "d", "-o", "new"])
    assert done.exit_code == 2
    assert "Missing option '--with'" in done.output
    command = ["compress", "default", "--with", "qat", "--data", "d", "-o", "new", "--keep", "a=b"]
    done = CliRunner().invoke(cli._group, command)
    assert done.exit_code == 2
    assert "--keep is for --sensitivity" in done.output
