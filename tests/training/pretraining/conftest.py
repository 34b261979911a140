"""One short training, whole and interrupted, for all tests that look at what it leaves."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from albert_edge.training.pretraining.options import PretrainOptions
from albert_edge.training.pretraining.pretrain_files import pretrain_files
from language import SHAPE, language, words

OPTIONS = PretrainOptions(
    steps=60, batch_size=8, max_length=24, examine_every=5, mixed_precision="off"
)
_ARGUMENTS = (
    *("--steps", "60", "--batch-size", "8", "--max-length", "24", "--examine-every", "5"),
    *("--mixed-precision", "off"),
)


@dataclass(frozen=True)
class Project:
    """A folder with a text, a text held out, a shape and a tokenizer."""

    folder: Path
    options: PretrainOptions = OPTIONS

    def train(self, output: Path, **changes: Any) -> dict[str, Any]:
        """Pre-train in this process."""
        arguments = {
            "texts": [self.folder / "text.txt"],
            "config": self.folder / "shape.json",
            "tokenizer": self.folder / "vocab.txt",
            "dev": [self.folder / "dev.txt"],
            "options": self.options,
        }
        return pretrain_files(output=output, **{**arguments, **changes})

    def start(
        self, output: Path, *more: str, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Pre-train in a process of its own."""
        return subprocess.Popen(
            [
                *(sys.executable, "-c", "from albert_edge.cli import main; main()", "pretrain"),
                *("text.txt", "-o", str(output), "--config", "shape.json"),
                *("--tokenizer", "vocab.txt", "--dev", "dev.txt", *_ARGUMENTS, *more),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[3]),
                **(environment or {}),
            },
        )


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("project")
    for name, count, seed in (("text.txt", 60, 0), ("dev.txt", 20, 1)):
        documents = ["\n".join(document) for document in language(count, seed=seed)]
        (folder / name).write_text("\n\n".join(documents))
    (folder / "shape.json").write_text(json.dumps({"model_type": "albert", **SHAPE}))
    (folder / "vocab.txt").write_bytes(words().files()["vocab.txt"])
    return Project(folder)


@pytest.fixture(scope="session")
def whole(project: Project) -> tuple[Path, dict[str, Any]]:
    """What an uninterrupted training wrote and reported."""
    return project.folder / "whole", project.train(project.folder / "whole")


@pytest.fixture(scope="session")
def killed(project: Project) -> Path:
    """What a training left that was killed in the middle, as by a power failure."""
    output = project.folder / "killed"
    process = project.start(output, "--save-every", "0.2")
    kill_once(output, [process])
    process.communicate()
    assert process.returncode == -9  # it was not done yet
    return output


@pytest.fixture
def interrupted(killed: Path, tmp_path: Path) -> Path:
    """A copy of what the killed training left."""
    return Path(shutil.copytree(killed, tmp_path / "interrupted"))


def kill_once(output: Path, processes: Sequence[subprocess.Popen[str]]) -> None:
    """Kill the last of some processes as soon as two examinations were written."""
    curve, state = output / "curve.jsonl", output / "training.npz"
    while not (state.exists() and curve.exists() and curve.read_text().count("\n") >= 2):
        assert all(process.poll() is None for process in processes)
        time.sleep(0.002)
    processes[-1].kill()


def worker_configs(count: int) -> list[str]:
    """Return the TF_CONFIG of each of some workers on this machine."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    cluster = {"worker": [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]}
    for one in sockets:
        one.close()
    return [
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        for index in range(count)
    ]
