"""Print results as text and tables, and show progress, on a terminal."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from albert_edge.errors import AlbertEdgeError

__all__ = [
    "bars",
    "print_checkpoint",
    "print_conversion",
    "print_inspection",
    "print_verification",
    "quiet",
    "step",
]


_LOUD_SHARE = 0.5  # of unknown tokens in a corpus


def print_conversion(report: Mapping[str, Any]) -> None:
    """Print the report of a conversion."""
    length = report["seq_len"] or "any"
    print_ = Console(highlight=False).print
    print_(
        f"[bold]{report['output']}[/]  {_megabytes(report['size_bytes'])}  "
        f"{report['task']}, {report['quantize']}, {report['layout']}, length {length}"
    )
    if "early_exit" in report:
        print_(f"  {_rule(report['early_exit'])}")
    print_(
        f"  each weight stored {report['duplication']:.2f} times and used "
        f"{report['sharing']:.1f} times; converted in {report['conversion_s']:.1f} s"
    )
    if report["provenance"].get("drawn"):
        print_("  [red]the head is random[/]: its outputs are meaningless until it is trained")
    _print_changes(report["provenance"].get("changes", {}))
    if calibrated := report["provenance"].get("calibration"):
        unknown = calibrated.get("unknown_share", 0)
        print_(
            f"  calibrated on {calibrated['texts']} texts"
            + (f"; {unknown:.1%} of their tokens are unknown" if unknown else "")
        )
    if report["provenance"].get("ranges"):
        print_("  int8 activations use the ranges learned in quantization-aware training")
    if not report["tokenizer"]:
        print_("  no tokenizer in the checkpoint: albert-edge run takes --ids, not text")
    if report["verification"] is None:
        print_("  not verified")
    else:
        print_verification(report["verification"])


def print_checkpoint(report: Mapping[str, Any]) -> None:
    """Print the report of a checkpoint written in another format."""
    console = Console(highlight=False)
    console.print(
        f"[bold]{report['output']}[/]  {report['task']}, {report['format']}, "
        f"{report['tensors']} tensors from {report['source']}"
    )
    for note in report["notes"]:
        console.print(f"  {note}", markup=False)
    if report["left_out"]:
        console.print(f"  unused tensors: {', '.join(report['left_out'])}", markup=False)
    _print_changes(report["changes"])


def _print_changes(changes: Mapping[str, Any]) -> None:
    if not (trimmed := changes.get("vocabulary")):
        return
    saved = trimmed["float32_bytes_saved"], trimmed["tokenizer_bytes_saved"]
    changed = trimmed["tokens_changed"] / trimmed["tokens_before"]
    Console(highlight=False).print(
        f"  vocabulary trimmed from {trimmed['pieces_before']:,} to {trimmed['pieces_after']:,} "
        f"pieces; {f'{changed:.2%} of the tokens change' if changed else 'no token changes'}\n"
        f"  saves {_megabytes(saved[0])} of float32 weights and {_megabytes(saved[1])} of tokenizer"
    )
    if unknown := trimmed.get("unknown_share"):
        loud = unknown > _LOUD_SHARE
        Console(highlight=False).print(
            f"  {unknown:.1%} of the corpus's tokens are unknown to the vocabulary"
            + (": [red]the corpus is in another language or script than the model[/]" * loud)
        )


def print_verification(figures: Mapping[str, Any]) -> None:
    """Print the comparison of a file with its reference."""
    verdict = "[green]passed[/]" if figures["passed"] else "[red]FAILED[/]"
    table = Table(title=f"{verdict} against {figures['reference']} on {figures['inputs']}")
    table.add_column("output")
    for name in ("max difference", "error", "cosine"):
        table.add_column(name, justify="right")
    for name, row in figures["outputs"].items():
        values = f"{row['max_difference']:.2e}", f"{row['error']:.2e}", f"{row['cosine']:.6f}"
        table.add_row(name, *values)
    console = Console(highlight=False)
    console.print(table)
    if figures["agreement"] is not None:
        console.print(f"  same prediction on {figures['agreement']:.0%} of the inputs")


def print_inspection(path: str, figures: Mapping[str, Any]) -> None:
    """Print the report of an inspection."""
    console = Console(highlight=False)
    console.print(f"[bold]{path}[/]")
    _print_bundle(console, figures["bundle"])
    _print_signatures(console, figures["signatures"])
    _print_stages(console, figures["pieces"])
    weights = figures["weights"]
    types = ", ".join(f"{kind} {_megabytes(size)}" for kind, size in weights["by_type"].items())
    console.print(
        f"  weights {_megabytes(weights['stored_bytes'])} ({types}), stored "
        f"{weights['duplication']:.2f} times; without sharing they would take "
        f"{_megabytes(weights['logical_bytes'])}, {weights['sharing']:.1f} times as much"
    )


def _print_signatures(console: Console, signatures: Mapping[str, Any]) -> None:
    for name, signature in signatures.items():
        console.print(f"  signature [bold]{name}[/]")
        for side in ("inputs", "outputs"):
            for tensor, kind in signature[side].items():
                shape = "×".join("any" if size < 0 else str(size) for size in kind["shape"])
                console.print(f"    {side[:-1]:>6} {tensor}: {kind['dtype']} {shape}")


def _print_stages(console: Console, stages: Mapping[str, Any]) -> None:
    table = Table("stage", title="stages")
    for column in ("passes", "weights"):
        table.add_column(column, justify="right")
    table.add_column("operators")
    for name, stage in stages.items():
        operators = ", ".join(f"{count} {kind}" for kind, count in stage["operators"].items())
        table.add_row(name, str(stage["passes"]), _megabytes(stage["weight_bytes"]), operators)
    console.print(table)
    in_float = {name: ", ".join(stage["float_operators"]) for name, stage in stages.items()}
    floats = "; ".join(f"{name} {operators}" for name, operators in in_float.items() if operators)
    console.print(f"  computed in float: {floats or 'nothing'}")


def _print_bundle(console: Console, bundle: Mapping[str, Any] | None) -> None:
    if bundle is None:
        console.print("  no albert_edge metadata: the file is from another tool")
        return
    source, compat = (bundle["provenance"].get(key) for key in ("source", "compat"))
    console.print(
        f"  {bundle['task']}, {bundle['quantize']}, {bundle['layout']}, "
        f"length {bundle['seq_len'] or 'any'}; from {source or 'unknown'}"
        + (f"; for {compat}" if compat else "")
    )
    if "early_exit" in bundle:
        console.print(f"  {_rule(bundle['early_exit'])}")
        console.print("  the early-exit decision is computed in float")
    if bundle["labels"]:
        console.print(f"  labels {', '.join(bundle['labels'])}", markup=False)
    files = ", ".join(f"{name} {_megabytes(n)}" for name, n in bundle["tokenizer_files"].items())
    console.print(f"  tokenizer {files or 'none; takes token ids'}")
    if bundle["verification"] is None:
        console.print("  not verified")
    else:
        print_verification(bundle["verification"])


def _rule(rule: Mapping[str, Any]) -> str:
    layers = "1 layer" if rule["patience"] == 1 else f"{rule['patience']} layers"
    when = [f"label unchanged for {layers}"]
    when += [f"probability {rule['threshold']:g}"] if rule["threshold"] <= 1 else []
    when += [f"{rule['max_layers']} layers run"] if rule["max_layers"] else []
    return f"default early exit: {' or '.join(when)}"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.2f} MB"


@contextmanager
def quiet() -> Iterator[Console]:
    """Keep the messages of TensorFlow and LiteRT off standard error.

    Both write to file descriptor 2 from C++, at every log level.  Here that goes to a file, which
    is shown if the work ends in an error that is not an `AlbertEdgeError`.

    Yields:
        A console on the real standard error, for progress.
    """
    with os.fdopen(os.dup(2), "w") as terminal, tempfile.TemporaryFile("w+") as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            yield Console(file=terminal)
        except AlbertEdgeError:
            raise
        except Exception:
            chatter.seek(0)
            shutil.copyfileobj(chatter, terminal)
            raise
        finally:
            os.dup2(terminal.fileno(), 2)


@contextmanager
def step(what: str) -> Iterator[Console]:
    """Show a spinner on standard error; nothing if that is not a terminal."""
    with quiet() as console, console.status(f"{what} ..."):
        yield console


@contextmanager
def bars(*, refresh_per_second: float = 10) -> Iterator[Progress]:
    """Show progress bars on standard error; nothing if that is not a terminal."""
    with (
        quiet() as console,
        Progress(
            console=console,
            transient=True,
            disable=not console.is_terminal,
            refresh_per_second=refresh_per_second,
        ) as shown,
    ):
        yield shown
