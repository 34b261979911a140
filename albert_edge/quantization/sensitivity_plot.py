"""Plot a sensitivity report: error by depth."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

from albert_edge.errors import InputError, requires_extra

__all__ = ["check_plot_path", "plot_sensitivity"]

FORMATS = ("svg", "png")
# Okabe and Ito 2008: colours that are distinct for colour-blind readers; black is all parts.
_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKERS = "osD^vPX"  # 7 markers and 6 colours make 42 pairs
_STYLE = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "albert_edge",  # so that equal reports give equal bytes
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}


def check_plot_path(kind: str) -> None:
    """Check that a plot can be drawn, before the work that it shows.

    Raises:
        InputError: There is no such format.
        MissingExtraError: matplotlib is not installed.
    """
    if kind not in FORMATS:
        raise InputError(f"a plot must be a file in .{' or .'.join(FORMATS)}, not in .{kind}.")
    with requires_extra():
        import matplotlib  # noqa: F401


def plot_sensitivity(report: Mapping[str, Any], *, kind: str = "svg") -> bytes:
    """Plot the error of each part at each depth.

    Args:
        report: The result of `measure_sensitivity`.
        kind: One of `FORMATS`.

    Returns:
        The content of the file.

    Raises:
        InputError: There is no such format.
        MissingExtraError: matplotlib is not installed.
    """
    check_plot_path(kind)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    file = io.BytesIO()
    with rc_context(_STYLE):
        figure = Figure(figsize=(6 + 0.3 * len(report["depths"]), 5), layout="constrained")
        _draw(figure.add_subplot(), report)
        stamp = {"Date": None} if kind == "svg" else None
        figure.savefig(file, format=kind, dpi=144, metadata=stamp)
    return file.getvalue()


def _draw(axes: Any, report: Mapping[str, Any]) -> None:
    whole = report["whole"]
    axes.axhline(whole["error"], color="black", linewidth=1, linestyle=":")
    _line(axes, "all parts", whole, color="black", linestyle="--", marker=".")
    for index, part in enumerate(report["parts"]):
        look = {"color": _COLOURS[index % len(_COLOURS)], "marker": _MARKERS[index % len(_MARKERS)]}
        _line(axes, part["part"], part, **look)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.4%}".rstrip("0%").rstrip(".") + "%")
    axes.yaxis.set_minor_formatter("")
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_xticks(range(len(report["depths"])), report["depths"])
    axes.set_xlim(-0.5, len(report["depths"]) - 0.5)
    axes.set_xlabel("the one place that is not in float32")
    axes.set_ylabel("error of the answer")
    kept = "".join(f", {entry}" for entry in report["kept"])
    axes.set_title(f"{report['quantize']}{kept}: where the error comes from", loc="left")
    axes.get_figure().legend(
        loc="outside right upper", frameon=False, title="in all places at once", alignment="left"
    )


def _line(axes: Any, name: str, figures: Mapping[str, Any], **look: Any) -> None:
    # A logarithmic axis cannot show 0.
    errors = [error if error else math.nan for error in figures["by_depth"]]
    axes.plot(
        range(1, len(errors) - 1),
        errors[1:-1],
        markersize=5,
        label=f"{figures['error']:.2%}  {name}",
        **look,
    )
    ends = [0, len(errors) - 1]  # embed and head are not passes: no line to them
    look = {**look, "linestyle": "none"}
    axes.plot(ends, [errors[end] for end in ends], markersize=5, **look)
