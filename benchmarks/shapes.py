"""Models of any shape with random weights, each created and converted in its own process.

python -m benchmarks.shapes CONFIG.json FOLDER     write a checkpoint of that shape to FOLDER
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from albert_edge.benchmark.system import read_text
from albert_edge.checkpoints import Checkpoint, write_checkpoint
from albert_edge.checkpoints.init import init_model
from albert_edge.checkpoints.tensor_names import tensor_names
from albert_edge.config import AlbertConfig

__all__ = ["LOG", "STOCK", "TASK", "free_bytes", "make", "needed_bytes", "run", "write_random"]

TASK, STOCK = "classification", "stock"
LOG = Console(stderr=True)
_COMMAND = Path(sys.executable).with_name("albert-edge")
# The peak memory of a conversion, fitted to the shapes of ALBERT-base (1.5 GB), ALBERT-xxlarge (20)
# and BERT-large (9.1): TensorFlow, copies of every parameter, and further copies of the largest
# stage inside the TensorFlow converter.
_BYTES_OF_TENSORFLOW, _BYTES_PER_PARAMETER, _BYTES_PER_LARGEST = 10**9, 20, 72


def run(*command: str | Path) -> dict[str, Any]:
    """Run a command in its own process.

    Returns:
        `seconds`, `cpu_s` (CPU time), `peak_rss_bytes` and `output`, the text on standard output.

    Raises:
        subprocess.CalledProcessError: The command failed or was killed.
    """
    words = [str(word) for word in command]
    LOG.print(f"$ {' '.join(words)}", style="dim", highlight=False, soft_wrap=True)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        start = time.monotonic()
        process = subprocess.Popen(words, stdout=output)
        # Not `communicate`: only wait4 reports the resources of this one child.
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, words)
        output.seek(0)
        return {
            "seconds": seconds,
            "cpu_s": used.ru_utime + used.ru_stime,
            "peak_rss_bytes": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            "output": output.read(),
        }


def write_random(config: AlbertConfig, folder: Path) -> None:
    """Write a checkpoint of a shape with random weights, from another process.

    A child's peak memory starts at its parent's resident memory, so the parent must stay small.
    """
    shape = folder.with_suffix(".json")
    shape.write_text(config.to_json(), encoding="utf-8")
    run(sys.executable, "-m", "benchmarks.shapes", shape, folder)


def make(config: AlbertConfig, layout: str, path: Path, *, seq_len: int = 128) -> dict[str, Any]:
    """Convert a random model of a shape to `int8`, if the memory is enough.

    Args:
        config: The shape.
        layout: One of our layouts, for a verified file of any length; or `STOCK`, the TensorFlow
            converter's graph of `seq_len` tokens, without verification.
        path: The file to write.
        seq_len: As above.

    Returns:
        Figures ready for JSON: `seconds`, `cpu_s` and `peak_rss_bytes` of the whole command,
        `conversion_s` and `verification` as `convert` reports them; or `not_made`, the reason.
    """
    need, free = needed_bytes(config), free_bytes()
    if free is not None and free < need:
        reason = f"needs about {need / 1e9:.0f} GB of memory; {free / 1e9:.0f} GB are free"
        LOG.print(f"{path.name} is not made: {reason}", style="yellow")
        return {"not_made": reason}
    checkpoint = path.with_suffix(".checkpoint")
    options = ("-o", path, "--quantize", "int8")
    try:
        write_random(config, checkpoint)
        if layout == STOCK:
            stock = (sys.executable, "-m", "benchmarks.stock_converter", checkpoint, *options)
            used = run(*stock, "--seq-len", str(seq_len))
        else:
            used = run(_COMMAND, "convert", checkpoint, *options, "--layout", layout, "--json")
    except subprocess.CalledProcessError as error:
        LOG.print(str(error), style="yellow")
        return {"not_made": f"the process ended with {error.returncode}"}
    finally:
        shutil.rmtree(checkpoint, ignore_errors=True)
    report = json.loads(used.pop("output") or "{}")
    return {**used, **{name: report.get(name) for name in ("conversion_s", "verification")}}


def needed_bytes(config: AlbertConfig) -> int:
    """Estimate the peak memory of the conversion of a shape."""
    stages: Counter[str] = Counter()
    for tensor in tensor_names(config, TASK):
        stage = "/".join(tensor.name.split("/")[:2]) if "encoder" in tensor.name else "ends"
        stages[stage] += math.prod(tensor.shape)
    return (
        _BYTES_OF_TENSORFLOW
        + _BYTES_PER_PARAMETER * stages.total()
        + _BYTES_PER_LARGEST * max(stages.values())
    )


def free_bytes() -> int | None:
    """Return the memory available without swapping; None if the kernel does not report it."""
    lines = (read_text(Path("/proc/meminfo")) or "").splitlines()
    available = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(available[0]) * 1024 if available else None


@click.command(help=__doc__)
@click.argument("shape", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def main(shape: Path, folder: Path) -> None:
    """Write a classification model with random weights."""
    config = AlbertConfig.read(shape)
    tensors = init_model(config, TASK)
    write_checkpoint(
        folder, Checkpoint(config=config, task=TASK, tensors=tensors, source="random weights")
    )


if __name__ == "__main__":
    main()
