"""`albert-edge presets`, `recipes` and `targets`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from albert_edge import cli
from albert_edge.bundle import bundle
from albert_edge.cli.catalog import presets
from albert_edge.config import LAYOUTS
from albert_edge.quantization.recipes import PARTS, RECIPES


def test_table_fits_eighty_columns() -> None:
    result = CliRunner().invoke(presets, env={"COLUMNS": "80"})
    assert result.exit_code == 0
    lines = [line.rstrip() for line in result.output.splitlines()]
    assert " ".join(lines[5].split()) == (
        "albert-base-v2 12 768 12 11,683,584 109,081,344 9.3× 46.7"
    )
    assert len(lines) == 9
    assert "…" not in result.output


def test_json_has_units_in_its_names() -> None:
    rows = json.loads(CliRunner().invoke(presets, ["--json"]).output)
    assert len(rows) == 8
    assert rows[-1] == {
        "name": "albert-xxlarge-v2",
        "num_hidden_layers": 12,
        "hidden_size": 4096,
        "num_attention_heads": 64,
        "parameters": 222595584,
        "unshared_parameters": 2558332928,
        "ratio": 11.5,
        "float32_bytes": 890382336,
    }


SOURCE = Path(__file__).parents[1] / "data/parity/odd_one_type_answers"  # without a tokenizer


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(cli._group, [*map(str, arguments)])


@pytest.fixture
def ids(tmp_path: Path) -> Path:
    path = tmp_path / "ids.txt"
    path.write_text("2 7 9 11 5 3\n2 4 6 3\n")
    return path


def test_a_calibrated_file_says_what_it_is(tmp_path: Path, ids: Path) -> None:
    output = tmp_path / "m.tflite"
    options = ("--quantize", "int8-full", "--calibration", ids, "--keep", "layer.ffn_output=int16")
    done = invoke("convert", SOURCE, "-o", output, *options, "--no-verify", "--json")
    assert done.exit_code == 0, done.output
    recipe = json.loads(done.stdout)["provenance"]["recipe"]
    assert recipe["activations"].startswith("int8 products, int16 between")
    assert recipe["layer.ffn_output"] == "int8 weights, int16"
    assert bundle.read(output).provenance["recipe"] == recipe


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n \n", "holds no text"),
        ("2 3\n", "fewer than 8 ids"),
        ("a film\n", "expects ids, not text"),
    ],
)
def test_calibration_data_that_is_none_is_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "texts.txt").write_text(content)
    options = ("--quantize", "int16x8", "--calibration", tmp_path / "texts.txt")
    done = invoke("convert", SOURCE, "-o", tmp_path / "m.tflite", *options)
    assert done.exit_code == 1
    assert message in done.stderr
    assert not (tmp_path / "m.tflite").exists()


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    done = invoke("convert", SOURCE, "-o", tmp_path / "m.tflite", "--keep", "layer.fnn=float32")
    assert done.exit_code == 1
    assert "did you mean layer.ffn_" in done.stderr


def test_a_checkpoint_is_not_quantized(tmp_path: Path) -> None:
    options = ("--to", "huggingface", "--keep", "layer=float32")
    done = invoke("convert", SOURCE, "-o", tmp_path / "out", *options)
    assert done.exit_code == 2
    assert "--keep is for --to tflite" in done.stderr


def test_recipes_tells_all_there_is() -> None:
    shown = invoke("recipes").stdout
    assert all(name in shown for name in (*RECIPES, *LAYOUTS))
    found = json.loads(invoke("recipes", "--json").stdout)
    assert [entry["name"] for entry in found["recipes"]] == list(RECIPES)
    assert found["parts"] == list(PARTS)


def test_targets_say_what_they_choose_and_why() -> None:
    done = CliRunner().invoke(cli._group, ["targets", "--json"])
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["gpu"]["seq_len_of_task"] == {"question-answering": 384}
    assert rows["android"]["compat"] == "tflite-runtime-2.14"
    shown = " ".join(CliRunner().invoke(cli._group, ["targets"]).stdout.split())
    assert "GPUs have no loops." in shown
    assert "seq-len 128, 384 for question-answering" in shown
