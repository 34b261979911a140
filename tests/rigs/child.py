"""A child process that runs a file on a rig: how it is asked, and how it answers.

The runtimes of rigs may crash, and some need environment variables from the start. The request and
the answer are JSON, inputs and outputs are `.npz`, all of them files in a temporary folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .install import RigError

Inputs = Mapping[str, np.ndarray] | Sequence[Mapping[str, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a child process answered.

    Attributes:
        outputs: For each of the inputs, the outputs by name. Empty if there was an error.
        error: The runtime's error, or empty.
        facts: What else the script wrote in its answer.
        log: All that the process printed.
    """

    outputs: list[dict[str, np.ndarray]]
    error: str
    facts: dict[str, Any]
    log: str


def ask(
    python: Path,
    script: str,
    request: Mapping[str, Any],
    inputs: Inputs,
    *,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 600,
) -> Answer:
    """Run a script beside this file as `python SCRIPT FOLDER` and read its answer.

    Args:
        python: The interpreter that runs the script.
        script: File name of the script.
        request: What it reads as `request.json`, beside the number of `runs`.
        inputs: Arrays by the signature's input names, or several of these; the file is loaded once.
        env: Environment variables beside those of this process.
        timeout_s: Seconds after which the process is ended.

    Raises:
        RigError: if the process died, or was ended, without an answer.
    """
    batches = [inputs] if isinstance(inputs, Mapping) else list(inputs)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "request.json").write_text(json.dumps({**request, "runs": len(batches)}))
        for index, batch in enumerate(batches):
            np.savez(folder / f"in_{index}.npz", **batch)
        path = Path(__file__).with_name(script)
        code, log = _run([python, path, folder], {**os.environ, **(env or {})}, timeout_s)
        if not (folder / "answer.json").exists():
            raise RigError(f"{script} ended with exit code {code} and no answer:\n{log[-2000:]}")
        facts = json.loads((folder / "answer.json").read_text())
        error = facts.pop("error")
        outputs = [] if error else [_read(folder / f"out_{i}.npz") for i in range(len(batches))]
        return Answer(outputs=outputs, error=error, facts=facts, log=log)


def _run(command: list[Path], env: dict[str, str], timeout_s: float) -> tuple[int, str]:
    try:
        done = subprocess.run(
            command,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RigError(f"{command[1].name} gave no answer in {timeout_s:.0f} s") from error
    return done.returncode, done.stdout.decode(errors="replace")


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as stored:
        return dict(stored)
