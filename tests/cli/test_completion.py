"""`albert-edge completion`: what the scripts complete, in the shells that are here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.commands import albert_edge

SHELLS = ("bash", "zsh", "fish")


def complete(*words: str) -> list[str]:
    """Return what is offered for the last of these words."""
    program = "from albert_edge.cli import main; main()"
    environment = {
        **os.environ,
        "COMP_WORDS": " ".join(["albert-edge", *words]),
        "COMP_CWORD": str(len(words)),
        "_ALBERT_EDGE_COMPLETE": "bash_complete",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("ben",), {"plain,benchmark"}),
        (("run", "def"), {"plain,default", "file,def"}),
        (("run", "--near"), {"plain,--nearest-in"}),
        (("evaluate", "default", "dev"), {"file,dev"}),
    ],
)
def test_what_is_offered(words: tuple[str, ...], offered: set[str]) -> None:
    assert {*complete(*words)} == offered


def test_targets_are_offered() -> None:
    assert {"plain,cpu", "plain,gpu", "plain,android"} <= {*complete("convert", "--target", "")}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script(shell: str) -> None:
    done = albert_edge("completion", shell)
    assert done.exit_code == 0
    assert f"_ALBERT_EDGE_COMPLETE={shell}_complete" in done.stdout


def test_bash_completes(tmp_path: Path) -> None:
    script = tmp_path / "completion"
    script.write_text(albert_edge("completion", "bash").stdout)
    program = tmp_path / "albert-edge"
    program.write_text(f"#!{sys.executable}\nfrom albert_edge.cli import main\nmain()\n")
    program.chmod(0o755)
    line = (
        f"PATH={tmp_path}:$PATH; source {script}; COMP_WORDS=(albert-edge insp); COMP_CWORD=1; "
        '_albert_edge_completion albert-edge; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["inspect"]
