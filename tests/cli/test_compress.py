"""`albert-edge compress`: what it trains, and what it reports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from albert_edge.cli.compress import _summary, command

COMMON = ("source", "--data", "d.tsv", "-o", "out")


def _albert_edge(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from albert_edge.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "compress", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_compresses_and_reports(toy_model: Path, toy_table: Path, tmp_path: Path) -> None:
    done = _albert_edge(
        *(str(toy_model), "--with", "cluster", "--clusters", "8", "--data", str(toy_table)),
        *("--dev", str(toy_table), "-o", str(tmp_path / "new"), "--max-length", "32"),
        *("--epochs", "1", "--json"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no progress where there is no terminal, and no chatter of TensorFlow
    report = json.loads(done.stdout)
    assert report["clusters"] == 8
    assert max(matrix["int8_codes"] for matrix in report["tensors"].values()) <= 8
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_says_how_narrow_it_became() -> None:
    file = {"num_attention_heads": 4, "intermediate_size": 64, "parameters": 9000}
    file |= {"multiply_adds": 2_000_000, "size_bytes": 2_000_000}
    file |= {"metrics": {"f1": {"value": 0.75}}}
    small = {"num_attention_heads": 2, "intermediate_size": 40, "parameters": 5000}
    change = {"value": -0.005, "low": -0.01, "high": 0.0021, "share": True}
    report = {
        "output": "new",
        "method": "narrow",
        "quantize": "int8",
        "int8": {"before": file, "removed": file | small, "after": file | small},
        "changes": {"removed": None, "after": {"f1": change}},
        "notes": ["40 is odd."],
        "warnings": [],
    }
    shapes, sizes, size, score, note = "\n".join(map(str, _summary(report))).splitlines()
    assert shapes == "new: 2 of 4 heads, 40 of 64 FFN channels"
    assert sizes == (
        "parameters: 9,000 before, 5,000 after; multiply-adds of 128 tokens: 2.0 M before, 2.0 M "
        "after"
    )
    assert size == "int8 file without tokenizer: 2.00 MB before, 2.00 MB after"
    assert score == (
        "dev f1 of the int8 file: 75.00% before, 75.00% at the end: -0.50% (95%: -1.00% to +0.21%)"
    )
    assert note == "warning: 40 is odd."


def test_says_what_came_of_it() -> None:
    file = {"size_bytes": 2_000_000, "zip_bytes": 1_500_000, "accuracy": 0.75, "interval": [0, 1]}
    file |= {"source_agreement": 0.99, "source_difference": 0.01}
    report = {
        "output": "new",
        "method": "prune",
        "quantize": "int8",
        "int8": {"before": file, "after": {**file, "zip_bytes": 1_000_000, "accuracy": 0.745}},
        "zip_share": 0.5,
        "zip_share_of_zip": 0.6667,
        "warnings": [],
        "change": {"value": -0.005, "interval": [-0.01, 0.0021]},
        "tensors": {
            "a": {"numbers": 300, "sparsity": 0.5, "int8_codes": 9},
            "b": {"numbers": 100, "sparsity": 0.1, "int8_codes": 12},
        },
    }
    matrices, zips, accuracy, source = "\n".join(_summary(report)).splitlines()
    assert matrices == "new: 2 matrices, 40.0% zeros, at most 12 int8 codes in each"
    assert zips.endswith("1.50 MB before and 1.00 MB after: 50.0% of the file, 66.7% of the zip")
    assert accuracy == (
        "dev accuracy of the int8 file: 75.0% before, 74.5% after: -0.50% (95%: -1.00% to +0.21%)"
    )
    assert source == (
        "same prediction as the float32 source on 99.0% of texts before, 99.0% after; "
        "probabilities differ by 0.0100 before, 0.0100 after"
    )
    assert len("\n".join(_summary({**report, "change": None})).splitlines()) == 2
    trained = {**report, "method": "qat", "change": None}
    assert list(_summary(trained)) == ["new: trained for albert-edge convert --quantize int8"]
    *_, warning = _summary({**trained, "warnings": ["the training diverged."]})
    assert str(warning) == "warning: the training diverged."


def test_a_bad_number_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    done = _albert_edge("default", "--with", "prune", "--sparsity", "1", "--data", "d", "-o", "new")
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["albert-edge: sparsity must be in (0, 1), not 1.0."]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--with", "prune", "--clusters", "8"), "--clusters is for --with cluster, not for"),
        (("--with", "cluster", "--pattern", "2:4"), "--pattern is for --with prune, not for"),
        (("--with", "prune", "--quantize", "int4"), "--quantize is for --with qat, not for"),
        (("--with", "prune", "--heads", "2"), "--heads is for --with narrow, not for"),
        (("--with", "qat", "--window", "99"), "--window is for --with narrow, not for"),
        (("--with", "narrow"), "--with narrow needs --heads N, --ffn-channels M, or both"),
        (("--with", "qat", "--quantize", "int8"), "'int8' is not one of 'int8-full', 'int4'"),
        (("--with", "shrink"), "'shrink' is not one of"),
        ((), "Missing option '--with'"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str) -> None:
    result = CliRunner().invoke(command, [*COMMON, *arguments])
    assert result.exit_code == 2
    assert message in result.output
