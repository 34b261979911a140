"""Compare a file with another converter's, called in turns in one process.

\b
python -m benchmarks.in_turns OURS.tflite OTHERS.tflite                    128 tokens, one thread
python -m benchmarks.in_turns OURS.tflite OTHERS.tflite --seq-len 32 --threads 2

`benchmarks.peers` measures each runtime in processes of its own, which a shared machine disturbs by
a tenth.  Files for LiteRT also run in ours, where both meet the same state of the machine.  Prints
the medians, and the ratio with its 95% interval over rounds.  OTHERS has inputs of one fixed
length, as `benchmarks.peers` makes them; `albert-edge benchmark --compare` compares two files of
this project.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from albert_edge.runtime import open_interpreter, open_model
from benchmarks.peers import paired_ratio

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


def time_in_turns(calls: Sequence[Callable[[], object]], rounds: int) -> Any:
    """Time each call once a round, forwards and backwards in turns: ms [rounds, calls].

    Two rounds before are not counted: in the first the weights are packed.
    """
    taken = np.zeros((rounds + 2, len(calls)))
    for number in range(rounds + 2):
        for which in range(len(calls))[:: 1 if number % 2 else -1]:
            start = time.perf_counter()
            calls[which]()
            taken[number, which] = (time.perf_counter() - start) * 1e3
    return taken[2:]


@click.command(help=__doc__)
@click.argument("ours", type=_FILE)
@click.argument("others", type=_FILE)
@click.option("--seq-len", default=128, show_default=True, help="Tokens.")
@click.option("--threads", default=1, show_default=True, help="CPU threads.")
@click.option("--rounds", default=50, show_default=True, type=click.IntRange(5))
def main(ours: Path, others: Path, seq_len: int, threads: int, rounds: int) -> None:
    """Time both in turns."""
    ids = np.random.default_rng(0).integers(5, 29_000, (1, seq_len)).astype(np.int32)
    model = open_model(ours, threads=threads)
    interpreter = open_interpreter(others, threads=threads)
    runner = interpreter.get_signature_runner()
    given = {
        name: np.zeros_like(ids) if "type" in name else ids for name in runner.get_input_details()
    }
    calls = (lambda: model.run(ids), lambda: runner(**given))
    ours_ms, others_ms = time_in_turns(calls, rounds).T
    ratio, low, high = paired_ratio(list(ours_ms), list(others_ms))
    click.echo(
        f"{seq_len} tokens, {threads} threads: {np.median(ours_ms):.1f} ms and "
        f"{np.median(others_ms):.1f} ms, ratio {ratio:.3f} [{low:.3f}, {high:.3f}]"
    )


if __name__ == "__main__":
    main()
