"""The script that people copy works as it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from albert_edge.bundle import bundle

ROOT = Path(__file__).parents[2]


def test_a_directory_becomes_a_file(tmp_path):
    source = ROOT / "tests/data/parity/two_groups_answers"
    output = tmp_path / "m.tflite"
    script = [sys.executable, ROOT / "converters/huggingface.py", source, output]
    done = subprocess.run(
        [*script, "--quantize", "float32"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "start_logits: cosine 1.000000" in done.stdout
    assert bundle.read(output).task == "question-answering"


def test_the_script_stays_short():
    assert len((ROOT / "converters/huggingface.py").read_text().splitlines()) < 60
