"""Make the peers' environments and files once, in a folder that is kept between runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from albert_edge.errors import ConversionError
from benchmarks.runtimes.peers import ENVIRONMENTS, OURS, Peer

__all__ = ["OUR_COMMAND", "Workspace"]

OUR_COMMAND = str(Path(sys.executable).with_name("albert-edge"))
_ROOT = Path(__file__).parents[2]
_TIMEOUT_S = 1800  # for one command
_LINES = 4  # of its output are shown when it fails


class Workspace:
    """A folder with a checkpoint, environments, and the files that were converted in them.

    An environment is rebuilt if its packages change; a file, if they or its converter change; our
    own files are rebuilt on every run, because albert_edge itself changes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fresh: set[Path] = set()
        self.checkpoint = folder / "checkpoint"
        if not self.checkpoint.exists():
            folder.mkdir(parents=True, exist_ok=True)
            part = self._clean("checkpoint.part")
            shape = ("albert-base-v2", "--task", "classification")
            self._run(OUR_COMMAND, "convert", *shape, "--to", "huggingface", "-o", part)
            part.rename(self.checkpoint)

    def python(self, name: str) -> str:
        """Return the interpreter of a peer's environment; make it if it does not exist.

        Raises:
            ConversionError: pip failed; the message ends with its last lines.
        """
        if name not in ENVIRONMENTS:
            return sys.executable
        folder, wanted = self._folder / "environments" / name, "\n".join(ENVIRONMENTS[name])
        python, stamp = folder / "bin" / "python", folder / "installed.txt"
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
            self._run(sys.executable, "-m", "venv", "--clear", folder)
            self._run(python, "-m", "pip", "install", "--quiet", *ENVIRONMENTS[name])
            stamp.write_text(wanted, encoding="utf-8")
        return str(python)

    def file(self, peer: Peer, seq_len: int | None) -> Path:
        """Return a peer's file for T = `seq_len`, or any length; make it if it does not exist.

        Raises:
            ConversionError: The converter failed; the message ends with its last lines.
        """
        length = "any" if peer.any_length or seq_len is None else str(seq_len)
        name = f"{peer.name}-{peer.recipe}-{length}-{_version(peer)}"
        folder = self._folder / "files" / name
        if folder.exists() and (peer.name in ENVIRONMENTS or folder in self._fresh):
            return folder / peer.file
        part = self._clean(f"files/{folder.name}.{os.getpid()}.part")
        part.mkdir(parents=True)
        self._run(*self._recipe(peer, part, seq_len))
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
        self._fresh.add(folder)
        return folder / peer.file

    def _recipe(self, peer: Peer, folder: Path, seq_len: int | None) -> Sequence[str | Path]:
        if peer.name == OURS:
            options = ("--quantize", peer.recipe, "-o", folder / peer.file)
            return OUR_COMMAND, "convert", self.checkpoint, *options
        command = (self.python(peer.name), "-m", str(peer.module), self.checkpoint)
        length = () if seq_len is None else ("--seq-len", str(seq_len))
        if peer.name not in ENVIRONMENTS:
            return *command, "-o", folder / peer.file, "--quantize", peer.recipe, *length
        return *command, "-o", folder, "--recipe", peer.recipe, *length

    def _clean(self, name: str) -> Path:
        path = self._folder / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    def _run(self, *command: str | Path) -> None:
        words = [str(word) for word in command]
        try:
            done = subprocess.run(
                words, capture_output=True, encoding="utf-8", errors="replace", timeout=_TIMEOUT_S
            )
        except subprocess.TimeoutExpired as error:
            raise ConversionError(f"{' '.join(words)} took over {_TIMEOUT_S} s.") from error
        if done.returncode:
            last = "\n  ".join((done.stderr or done.stdout).strip().splitlines()[-_LINES:])
            said = f"{' '.join(words)}: exit code {done.returncode}; its last lines:\n  {last}"
            raise ConversionError(said.replace(str(self._folder), "WORK").replace(f"{_ROOT}/", ""))


def _version(peer: Peer) -> str:
    module = (peer.module or __name__).replace(".", "/")
    how = _ROOT.joinpath(f"{module}.py").read_bytes()
    packages = "\n".join(ENVIRONMENTS.get(peer.name, ()))
    return hashlib.sha256(how + packages.encode()).hexdigest()[:8]
