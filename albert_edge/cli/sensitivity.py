"""`albert-edge compress --sensitivity`: where would an integer file's error come from?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from albert_edge.cli.options import force_option, json_option
from albert_edge.quantization.recipes import RECIPES

__all__ = ["command"]

_BAR = 16  # characters: the longest bar


@click.command(short_help="Show which parts and passes a recipe's error comes from.")
@click.argument("source")
@click.option("--sensitivity", is_flag=True, expose_value=False, help="Train nothing; measure.")
@click.option(
    "--quantize",
    type=click.Choice([name for name in RECIPES if name != "float32"]),
    default="int8-full",
    show_default=True,
    help="The recipe to look into.",
)
@click.option(
    "--keep",
    multiple=True,
    metavar="PART=TYPE",
    help="Another precision for a part, as for convert; may be repeated.",
)
@click.option(
    "--calibration",
    metavar="FILE",
    help="Texts like those to come, one a line; every fourth is measured on.  [default: a dozen "
    "built-in sentences]",
)
@click.option("-o", "--output", metavar="PATH", help="Draw depth against error: a .svg or .png.")
@force_option
@json_option
def command(
    source: str,
    quantize: str,
    keep: tuple[str, ...],
    calibration: str | None,
    output: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Show the error that each part of SOURCE, and each pass, adds in a recipe.

    Each part is put in its precision alone, in all passes and in one at a time; all else stays in
    float32. An error is the root mean square of the answer's difference from float32, as a share
    of the answer's own.

    \b
    albert-edge compress ./my-albert --sensitivity --calibration texts.txt
    albert-edge compress ./my-albert --sensitivity --quantize int4 -o depth.svg
    albert-edge compress ./my-albert --sensitivity --keep layer.attention_scores=int16 --json
    """
    from albert_edge.cli.console import bars, read_lines, step
    from albert_edge.cli.options import read_source

    if output is not None:
        _check_output(output, force)
    texts = None if calibration is None else read_lines(calibration)
    with step("Loading TensorFlow"):
        from albert_edge.modeling.load import from_checkpoint
        from albert_edge.quantization.sensitivity import measure_sensitivity
    checkpoint = read_source(source, corpus=None, pieces=None)
    with bars() as shown:
        bar = shown.add_task("Measuring", total=1)
        report = measure_sensitivity(
            from_checkpoint(checkpoint),
            quantize=quantize,
            kept=keep,
            calibration=texts,
            advance=lambda share: shown.advance(bar, share),
        )
    if output is not None:
        _draw(report, output, force)
    click.echo(json.dumps(report, indent=2)) if as_json else _print(report)


def _check_output(output: str, force: bool) -> None:
    from albert_edge.files import check_writable
    from albert_edge.quantization.sensitivity_plot import check_plot_path

    check_plot_path(_kind(output))
    check_writable(output, force=force)


def _draw(report: Mapping[str, Any], output: str, force: bool) -> None:
    from albert_edge.files import write_file
    from albert_edge.quantization.sensitivity_plot import plot_sensitivity

    write_file(output, plot_sensitivity(report, kind=_kind(output)), force=force)


def _kind(output: str) -> str:
    return Path(output).suffix[1:].lower()


def _print(report: Mapping[str, Any]) -> None:
    from rich.console import Console

    whole = report["whole"]
    kept = "".join(f", {entry}" for entry in report["kept"])
    print_ = Console(highlight=False).print
    print_(f"[bold]{report['quantize']}{kept}[/]: {whole['error']:.2%} off float32", end=" ")
    print_(f"on {report['texts']} texts of {report['tokens']} tokens")
    print_(_by_part(report))
    print_(f"  {report['sum_of_squares']:.2%} if the errors of the parts were independent")
    print_(_by_depth(report))
    print_(f"  {whole['sum_of_squares']:.2%} if the errors of these places were independent")
    if best := report["suggestion"]:
        more = (best["size_bytes"] - whole["size_bytes"]) / 1e6
        print_(f"  --keep {best['keep']} helps most: {best['error']:.2%}, {more:+.2f} MB")


def _by_part(report: Mapping[str, Any]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("only this part, in all places", no_wrap=True)
    table.add_column("error", justify="right")
    table.add_column("")
    table.add_column("all, but this in", justify="right", no_wrap=True)
    most = max(part["error"] for part in report["parts"])
    for part in report["parts"]:
        finer = part["finer"]
        left = f"{finer['keep'].partition('=')[2]} {finer['error']:.2%}" if finer else ""
        bar = "█" * round(_BAR * part["error"] / most)
        table.add_row(part["part"], f"{part['error']:.2%}", f"{bar:{_BAR}}", left)
    return table


def _by_depth(report: Mapping[str, Any]) -> Any:
    from rich import box
    from rich.table import Table

    several = [part for part in report["parts"] if len(_numbers(part)) > 1]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    table.add_column("only in", justify="right")
    for name in ("all parts", *(part["part"].removeprefix("layer.") for part in several)):
        table.add_column(name.replace("_", "\n"), justify="right", vertical="bottom")
    columns = [report["whole"]["by_depth"], *(part["by_depth"] for part in several)]
    for depth, *errors in zip(report["depths"], *columns, strict=True):
        table.add_row(depth, *("" if error is None else f"{error:.2%}" for error in errors))
    return table


def _numbers(part: Mapping[str, Any]) -> list[float]:
    return [error for error in part["by_depth"] if error is not None]
