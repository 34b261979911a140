"""`--help` of every verb needs nothing heavy, and neither does what runs on a device."""

from __future__ import annotations

import subprocess
import sys

import pytest

from albert_edge import cli

# Seconds to import, or packages of an extra.
HEAVY = (
    "tensorflow",
    "tf_keras",
    "tensorflow_model_optimization",
    "matplotlib",
    "pandas",
    "asyncssh",
)
ON_DEVICE = (
    "albert_edge.runtime.model",
    "albert_edge.tokenizer",
    "albert_edge.pipelines",
    "albert_edge.benchmark.worker",
)


def imported(code: str, *packages: str) -> list[str]:
    """Return those of `packages` that a fresh process has imported after `code`, which may exit."""
    end = f"print([name for name in {packages!r} if name in sys.modules], file=sys.stderr)"
    program = f"import sys\ntry:\n    {code}\nfinally:\n    {end}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return [name for name in packages if repr(name) in done.stderr.splitlines()[-1]]


@pytest.mark.parametrize("verb", cli._VERBS)
def test_help_imports_nothing_heavy(verb: str) -> None:
    code = f"sys.argv[1:] = [{verb!r}, '--help']; from albert_edge.cli import main; main()"
    assert imported(code, *HEAVY, "numpy", "sentencepiece", "ai_edge_litert") == []


@pytest.mark.parametrize("module", ON_DEVICE)
def test_what_runs_on_a_device_imports_nothing_heavy(module: str) -> None:
    assert imported(f"import {module}", *HEAVY) == []
    assert imported(f"import {module}", module) == [module]  # the test finds what is imported
