"""`albert-edge compress --sensitivity`: how much each part and pass adds to a recipe's error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from albert_edge.cli.options import read_lines, read_source

_BAR = 16  # characters: the longest bar


def analyse_sensitivity(
    source: str,
    *,
    quantize: str,
    keep: Sequence[str],
    calibration: str | None,
    output: Path | None,
    force: bool,
) -> dict[str, Any]:
    """Measure a checkpoint's sensitivity to a recipe, and draw it if there is an output.

    Args:
        source: As for `read_checkpoint`.
        quantize: The recipe.
        keep: Overrides, each such as `layer.ffn_output=float32`.
        calibration: A file of texts, one per line.
        output: A `.svg` or `.png` file to write: the error over the depth.
        force: Whether to replace the output.

    Returns:
        The report of `measure_sensitivity`.
    """
    from albert_edge.cli.console import bars, step

    if output is not None:
        _check_output(output, force)
    texts = None if calibration is None else read_lines(calibration)
    with step("Loading TensorFlow"):
        from albert_edge.modeling import from_checkpoint
        from albert_edge.quantization.sensitivity import measure_sensitivity
    model = from_checkpoint(read_source(source))
    with bars() as shown:
        bar = shown.add_task("Measuring", total=1)
        report = measure_sensitivity(
            model,
            quantize=quantize,
            kept=keep,
            calibration=texts,
            advance=lambda share: shown.advance(bar, share),
        )
    if output is not None:
        _draw(report, output, force)
    return report


def _check_output(output: Path, force: bool) -> None:
    from albert_edge.files import check_writable
    from albert_edge.quantization.sensitivity_plot import check_plot_path

    check_plot_path(_kind(output))
    check_writable(output, force=force)


def _draw(report: Mapping[str, Any], output: Path, force: bool) -> None:
    from albert_edge.files import write_file
    from albert_edge.quantization.sensitivity_plot import plot_sensitivity

    write_file(output, plot_sensitivity(report, kind=_kind(output)), force=force)


def _kind(output: Path) -> str:
    return output.suffix[1:].lower()


def render_sensitivity(report: dict[str, Any]) -> Iterator[Any]:
    """Render the errors by part and by depth, and the override that lowers them most."""
    from rich.text import Text

    whole = report["whole"]
    kept = "".join(f", {entry}" for entry in report["kept"])
    yield Text.assemble(
        (f"{report['quantize']}{kept}", "bold"),
        f": {whole['error']:.2%} error against float32 on {report['texts']} texts of "
        f"{report['tokens']} tokens",
    )
    yield _by_part(report)
    yield f"  {report['sum_of_squares']:.2%} expected if the parts' errors were independent"
    yield _by_depth(report)
    yield f"  {whole['sum_of_squares']:.2%} expected if the errors by depth were independent"
    if best := report["suggestion"]:
        more = (best["size_bytes"] - whole["size_bytes"]) / 1e6
        yield f"  best override: --keep {best['keep']}: {best['error']:.2%}, {more:+.2f} MB"


def _by_part(report: Mapping[str, Any]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("this part quantized alone", no_wrap=True)
    table.add_column("error", justify="right")
    table.add_column("")
    table.add_column("total error with", justify="right", no_wrap=True)
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
    table.add_column("only at\ndepth", justify="right", vertical="bottom")
    for name in ("all parts", *(part["part"].removeprefix("layer.") for part in several)):
        table.add_column(name.replace("_", "\n"), justify="right", vertical="bottom")
    columns = [report["whole"]["by_depth"], *(part["by_depth"] for part in several)]
    for depth, *errors in zip(report["depths"], *columns, strict=True):
        table.add_row(depth, *("" if error is None else f"{error:.2%}" for error in errors))
    return table


def _numbers(part: Mapping[str, Any]) -> list[float]:
    return [error for error in part["by_depth"] if error is not None]
