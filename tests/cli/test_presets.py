"""`albert-edge presets`."""

from __future__ import annotations

import json

from click.testing import CliRunner

from albert_edge.cli.catalog import presets


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
