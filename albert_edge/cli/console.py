"""Print results as text and tables, and show progress, on a terminal.

All that a verb prints goes through `print_report`: names in a report are shown as they are, never
obeyed, and a table that is wider than the terminal becomes a list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO, cast

import click
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.progress import Progress, ProgressColumn, Task
from rich.table import Table
from rich.text import Text

from albert_edge.benchmark.format import format_acceleration, format_precision
from albert_edge.cli import quiet_stderr
from albert_edge.errors import printable, printable_values
from albert_edge.files import dump_json

_SIDES = ("inputs", "outputs")
_UNLIMITED = 10_000  # columns of a terminal, more than any table needs
_FOLDED = 12  # columns: text may be folded to this width
_RANDOM = {"all": "random weights: the whole model is", "head": "the head is"}
_LOUD_SHARE = 0.5  # of unknown tokens in a corpus


def print_report(
    report: Any, *, as_json: bool, render: Callable[[Any], Iterable[RenderableType]]
) -> None:
    """Print the result of a verb on standard output.

    Args:
        report: The result, ready for JSON.
        as_json: Whether to print it as one JSON document.
        render: Makes what is printed otherwise, from the report with all control characters in it
            escaped: lines of text, which are not wrapped, and what rich can print.
    """
    if as_json:
        click.echo(dump_json(report, indent=2))
        return
    console = Console(markup=False, emoji=False, highlight=False)
    for part in render(printable_values(report)):
        for each in part.renderables if isinstance(part, Group) else [part]:
            shown = fit_table(each) if isinstance(each, Table) else each
            console.print(shown, soft_wrap=each is part and isinstance(part, (str, Text)))


def fit_table(table: Table) -> RenderableType:
    """Return a table whose figures are never cut: where it does not fit the terminal, a list.

    Figures, which are aligned to the right, and columns with `no_wrap` need their whole width; the
    text of the others is folded.
    """
    return cast("RenderableType", _FittedTable(table))


@dataclass(frozen=True, slots=True)
class _FittedTable:
    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Any]:
        wide = options.update(max_width=_UNLIMITED)
        needed = Measurement.get(console, wide, self.table).minimum
        for column in self.table.columns:
            column.no_wrap = column.no_wrap or column.justify == "right"
            column.overflow = "fold"
            cells = [column.header, *column.cells]
            sizes = [Measurement.get(console, wide, cell) for cell in cells]
            least = max(size.minimum for size in sizes)
            most = max(size.maximum for size in sizes)
            needed += (most if column.no_wrap else min(least, _FOLDED)) - least
        yield from [self.table] if needed <= options.max_width else _list_rows(self.table)


def _list_rows(table: Table) -> Iterator[Text]:
    """List a table: of every row the first cell, and below it the others with their headings."""

    def text(cell: Any) -> Text:
        found = cell.copy() if isinstance(cell, Text) else Text(str(cell))
        found.overflow = "fold"
        return found

    if table.title:
        yield text(table.title)
    headings = [" ".join(text(column.header).plain.split()) for column in table.columns]
    for row in zip(*(column.cells for column in table.columns), strict=True):
        filled = [
            (heading, cell)
            for heading, cell in zip(headings, map(text, row), strict=True)
            if cell.plain.strip()
        ]
        for number, (heading, cell) in enumerate(filled):
            start = f"{'  ' if number else ''}{heading and f'{heading}: '}"
            yield Text(start, overflow="fold") + cell


def render_warnings(warnings: Iterable[str]) -> Iterator[RenderableType]:
    """Render what a training warns of."""
    for warning in warnings:
        yield Text.assemble(("warning: ", "red"), warning)


def render_conversion(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Render the report of a conversion."""
    yield Text.assemble(
        (report["output"], "bold"),
        f"  {_megabytes(report['size_bytes'])}  "
        f"{report['task']}, {report['quantize']}, {report['layout']}, {_lengths(report)}, target "
        f"{report['target']}",
    )
    if "early_exit" in report:
        yield f"  {_rule(report['early_exit'])}"
    yield (
        f"  each weight stored {report['duplication']:.2f} times and used "
        f"{report['sharing']:.1f} times; converted in {report['conversion_s']:.1f} s"
    )
    if "products" in report:
        yield from _render_products(report["products"])
    yield from _render_random(report["provenance"].get("drawn"))
    for note in report["provenance"].get("notes", ()):
        yield f"  {note}"
    yield from _render_changes(report["provenance"].get("changes", {}))
    if calibrated := report["provenance"].get("calibration"):
        unknown = calibrated.get("unknown_share", 0)
        yield (
            f"  calibrated on {calibrated['texts']} texts"
            + (f"; {unknown:.1%} of their tokens are unknown" if unknown else "")
        )
    if report["provenance"].get("ranges"):
        yield "  int8 activations use the ranges learned in quantization-aware training"
    if not report["tokenizer"]:
        yield "  no tokenizer in the checkpoint: albert-edge run takes --ids, not text"
    yield from _render_verification(report["verification"])


def _render_products(products: Mapping[str, Any]) -> Iterator[RenderableType]:
    rows = " or ".join(map(str, products["rows"]))
    sizes = [f"{products[key] / 2**20:.2f} MiB" for key in ("weight_bytes", "cache_bytes")]
    yield (
        f"  {products['files']} products of {rows} rows for the Edge TPU; sh compile.sh compiles "
        "them"
    )
    if products["resident"]:
        yield f"  their weights, {sizes[0]}, stay on the chip, which has about {sizes[1]} for them"
        return
    several = len(products["rows"]) > 1
    yield Text.assemble(
        (f"  their weights, {sizes[0]}, do not fit on the chip", "red"),
        f", which has about {sizes[1]} for them: the rest is sent again in every pass"
        + (" (each length has weights of its own; give one: --seq-len N)" if several else ""),
    )


def _render_random(drawn: Sequence[str] | None) -> Iterator[RenderableType]:
    if part := random_part(drawn):
        yield Text.assemble(
            "  ",
            (f"{_RANDOM[part]} random", "red"),
            ": its outputs are meaningless until it is trained",
        )


def random_part(drawn: Sequence[str] | None) -> str:
    """Return which weights are random, "all" or "head", or an empty string.

    Args:
        drawn: The canonical names of the random tensors.
    """
    if not drawn:
        return ""
    return "all" if "embeddings/word_embeddings" in drawn else "head"


def render_checkpoint(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Render the report of a checkpoint written in another format."""
    yield Text.assemble(
        (report["output"], "bold"),
        f"  {report['task']}, {report['format']}, "
        f"{report['tensors']} tensors from {report['source']}",
    )
    for note in report["notes"]:
        yield f"  {note}"
    yield from _render_random(report["drawn"])
    if report["left_out"]:
        yield f"  unused tensors: {', '.join(report['left_out'])}"
    yield from _render_changes(report["changes"])


def _render_changes(changes: Mapping[str, Any]) -> Iterator[RenderableType]:
    if not (trimmed := changes.get("vocabulary")):
        return
    saved = trimmed["float32_bytes_saved"], trimmed["tokenizer_bytes_saved"]
    changed = trimmed["tokens_changed"] / trimmed["tokens_before"]
    yield (
        f"  vocabulary trimmed from {trimmed['pieces_before']:,} to {trimmed['pieces_after']:,} "
        f"pieces; {f'{changed:.2%} of the tokens change' if changed else 'no token changes'}\n"
        f"  saves {_megabytes(saved[0])} of float32 weights and {_megabytes(saved[1])} of tokenizer"
    )
    if unknown := trimmed.get("unknown_share"):
        loud = unknown > _LOUD_SHARE
        yield Text.assemble(
            f"  {unknown:.1%} of the corpus's tokens are unknown to the vocabulary",
            (": the corpus is in another language or script than the model" * loud, "red"),
        )


def _render_verification(figures: Mapping[str, Any] | None) -> Iterator[RenderableType]:
    if figures is None:
        yield "  not verified"
    else:
        yield from render_verification(figures)


def render_verification(figures: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Render the comparison of a file with its reference."""
    verdict = Text("passed", "green") if figures["passed"] else Text("FAILED", "red")
    title = Text.assemble(verdict, f" against {figures['reference']} on {figures['inputs']}")
    table = Table(title=title)
    table.add_column("output")
    for name in ("max difference", "error", "cosine"):
        table.add_column(name, justify="right")
    for name, row in figures["outputs"].items():
        values = f"{row['max_difference']:.2e}", f"{row['error']:.2e}", f"{row['cosine']:.6f}"
        table.add_row(name, *values)
    yield table
    if figures["agreement"] is not None:
        yield f"  same prediction on {figures['agreement']:.0%} of the inputs"
    if "acceleration" in figures:
        yield f"  {describe_acceleration(figures['acceleration'])}"


def describe_acceleration(acceleration: Mapping[str, Any]) -> str:
    """Return a line about what a GPU runs of a file, and how."""
    how = format_precision(acceleration["accelerator"])
    return printable(f"{how}, {format_acceleration(acceleration)}")


def render_inspection(path: str, figures: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Render the report of an inspection."""
    yield Text(printable(path), "bold")
    yield from _render_bundle(figures["bundle"])
    yield from _render_signatures(figures["signatures"])
    yield from _render_stages(figures["pieces"])
    weights = figures["weights"]
    types = ", ".join(f"{kind} {_megabytes(size)}" for kind, size in weights["by_type"].items())
    yield (
        f"  weights {_megabytes(weights['stored_bytes'])} ({types}), stored "
        f"{weights['duplication']:.2f} times; without sharing they would take "
        f"{_megabytes(weights['logical_bytes'])}, {weights['sharing']:.1f} times as much"
    )
    if "edgetpu" in figures:
        yield from _render_edgetpu(figures["edgetpu"])
    if "gpu" in figures:
        yield from _render_gpu(figures["gpu"]["kinds"])
        if "bisect" in figures["gpu"]:
            yield from _render_bisection(figures["gpu"]["bisect"])


def _render_gpu(kinds: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    if not kinds:
        yield Text.assemble("  on a GPU: ", ("nothing found", "green"))
        return
    table = Table("operator", title="on a GPU")
    table.add_column("count", justify="right")
    for column in ("first", "what is found", "effect", "in", "what to do"):
        table.add_column(column)
    for kind in kinds:
        first = kind["first"]
        shapes = ", ".join("×".join(map(str, shape)) or "scalar" for shape in first["inputs"])
        table.add_row(
            *(
                kind["name"],
                str(kind["count"]),
                f"{first['operator']} {first['tensor']} of {shapes}",
            ),
            *(kind["what"], kind["effect"], "\n".join(kind["runtimes"]), kind["remedy"]),
        )
    yield table


def _render_edgetpu(figures: Mapping[str, Any]) -> Iterator[RenderableType]:
    by_rule: dict[tuple[str, ...], list[str]] = {}
    for kind in figures["kinds"]:
        why = (kind["runs_on"], *(kind.get(key, "") for key in ("what", "reason", "remedy")))
        by_rule.setdefault(why, []).append(f"{kind['count']} {kind['name']}")
    table = Table("runs on", title="on an Edge TPU, once compiled")
    for column in ("operators", "what is found", "why", "what to do"):
        table.add_column(column)
    for (runs_on, *found), operators in by_rule.items():
        table.add_row(runs_on, ", ".join(operators), *found)
    yield table
    weights, moved = figures["weights"], figures["transfers"]
    if not figures["compiles"]:
        yield Text("  the compiler refuses the file", "red")
    elif not figures["mapped"]:
        yield Text("  the compiler maps nothing", "red")
    else:
        stored = ", each stored for every operator that reads it" if weights["duplicated"] else ""
        streamed = weights["streamed_bytes"]
        calls = f", in {moved['calls']} calls for {figures.get('rows')} tokens"
        sent = f"do not all fit: at least {_megabytes(streamed)} are sent again in an inference"
        yield (
            f"  {figures['mapped']} of {figures['operators']} operators on the Edge TPU, with "
            f"weights of {_megabytes(weights['bytes'])}{stored}, "
            f"which {sent if streamed else 'may all stay there'}; "
            f"{moved['input_bytes']:,} bytes in, {moved['output_bytes']:,} out"
            f"{calls if 'rows' in figures else ''}"
        )
        yield from _render_estimate(figures["time"])


_FASTER = {"cpu": "the CPU", "edgetpu": "the Edge TPU", None: "too close to say"}


def _render_estimate(figures: Mapping[str, Any]) -> Iterator[RenderableType]:
    table = Table("on", title="an estimate of these operators' time, not measured")
    table.add_column("Edge TPU, ms", justify="right")
    table.add_column("its CPU, ms", justify="right")
    table.add_column("faster")
    for board in figures["boards"]:
        bounds = " to ".join(f"{bound:,.1f}" for bound in board["edgetpu_ms"])
        style = "yellow" if board["faster"] == "cpu" else ""
        name = f"{board['name']}, {board['link']}"
        faster = Text(_FASTER[board["faster"]], style)
        table.add_row(name, bounds, f"{board['cpu_ms']:,.1f}", faster)
    yield table
    yield f"  {figures['formula']}"
    yield "  The constants follow from published times; --json has their sources."


def _render_bisection(figures: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield f"  compared with the CPU: {figures['device']}, on {figures['inputs']}"
    if (found := figures["divergence"]) is None:
        yield Text.assemble("  ", ("every output is the CPU's", "green"))
        return
    shapes = [", ".join("×".join(map(str, one)) for one in found[side]) for side in _SIDES]
    error = "" if found["error"] is None else f", {found['error']:.2g} of the largest value off"
    yield Text.assemble(
        "  first operator that differs: ",
        (f"{found['name']} {found['effect']}", "red"),
        f"{error}\n    operator {found['operator']}, {found['tensor']}: {shapes[0]} → {shapes[1]}\n"
        f"    found in {found['cuts']} parts of the graph",
    )
    if found["message"]:
        yield f"    {found['message']}"


def _render_signatures(signatures: Mapping[str, Any]) -> Iterator[RenderableType]:
    for name, signature in signatures.items():
        yield Text.assemble("  signature ", (name, "bold"))
        for side in ("inputs", "outputs"):
            for tensor, kind in signature[side].items():
                shape = "×".join("any" if size < 0 else str(size) for size in kind["shape"])
                yield f"    {side[:-1]:>6} {tensor}: {kind['dtype']} {shape}"


def _render_stages(stages: Mapping[str, Any]) -> Iterator[RenderableType]:
    table = Table("stage", title="stages")
    for column in ("passes", "weights"):
        table.add_column(column, justify="right")
    table.add_column("operators")
    for name, stage in stages.items():
        operators = ", ".join(f"{count} {kind}" for kind, count in stage["operators"].items())
        table.add_row(name, str(stage["passes"]), _megabytes(stage["weight_bytes"]), operators)
    yield table
    in_float = {name: ", ".join(stage["float_operators"]) for name, stage in stages.items()}
    floats = "; ".join(f"{name} {operators}" for name, operators in in_float.items() if operators)
    yield f"  computed in float: {floats or 'nothing'}"


def _render_bundle(bundle: Mapping[str, Any] | None) -> Iterator[RenderableType]:
    if bundle is None:
        yield "  no albert_edge metadata: the file is from another tool"
        return
    yield from _render_random(bundle["provenance"].get("drawn"))
    source, compat = (bundle["provenance"].get(key) for key in ("source", "compat"))
    yield (
        f"  {bundle['task']}, {bundle['quantize']}, {bundle['layout']}, {_lengths(bundle)}, target "
        f"{bundle['target']}; from {source or 'unknown'}" + (f"; for {compat}" if compat else "")
    )
    if "early_exit" in bundle:
        yield f"  {_rule(bundle['early_exit'])}"
        yield "  the early-exit decision is computed in float"
    if bundle["labels"]:
        yield f"  labels {', '.join(bundle['labels'])}"
    if "product_rows" in bundle:
        rows = " or ".join(map(str, bundle["product_rows"]))
        yield f"  the host graph of products of {rows} rows, in files beside it"
    files = ", ".join(f"{name} {_megabytes(n)}" for name, n in bundle["tokenizer_files"].items())
    yield f"  tokenizer {files or 'none; takes token ids'}"
    yield from _render_verification(bundle["verification"])


def _lengths(report: Mapping[str, Any]) -> str:
    return f"length {', '.join(map(str, report['seq_lens'])) or 'any'}"


def _rule(rule: Mapping[str, Any]) -> str:
    layers = "1 layer" if rule["patience"] == 1 else f"{rule['patience']} layers"
    when = [f"prediction unchanged for {layers}"]
    when += [f"probability {rule['threshold']:g}"] if rule["threshold"] <= 1 else []
    when += [f"{rule['max_layers']} layers run"] if rule["max_layers"] else []
    return f"default early exit: {' or '.join(when)}"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.2f} MB"


@contextmanager
def quiet() -> Iterator[Console]:
    """Keep the messages of TensorFlow and LiteRT off standard error.

    Yields:
        A console on the real standard error, for progress.
    """
    with quiet_stderr() as terminal:
        yield console_on(terminal)


def console_on(stream: TextIO) -> Console:
    """Return a console that shows text as it is."""
    return Console(file=stream, markup=False, emoji=False, highlight=False)


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
            _Description(),
            *Progress.get_default_columns()[1:],
            console=console,
            transient=True,
            disable=not console.is_terminal,
            refresh_per_second=refresh_per_second,
        ) as shown,
    ):
        yield shown


class _Description(ProgressColumn):
    """What a bar is about: text, in which a file name may contain anything."""

    def render(self, task: Task) -> Text:
        return Text(printable(task.description), "progress.description")
