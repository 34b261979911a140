"""Figures as people read them, the same in every table and page."""

from __future__ import annotations

import math

__all__ = [
    "format_count",
    "format_figure",
    "format_megabytes",
    "format_percent",
    "format_ratio",
    "round_significant",
]

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def format_figure(value: float | None) -> str:
    """Write a figure with three significant digits, or `-` where there is none.

    Raises:
        ValueError: It is infinite or not a number.

    Example:
        >>> figure(0.15), figure(27.44), figure(23456.7), figure(2.32e-7)
        ('0.150', '27.4', '23457', '2.32×10⁻⁷')
    """
    if value is None:
        return "-"
    if not math.isfinite(value):
        raise ValueError(f"{value} is no figure")
    if abs(value) >= 99.95 or value == 0:
        return f"{value:.0f}"
    if abs(value) >= 1e-3:
        return f"{value:#.3g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}×10{str(int(exponent)).translate(_RAISED)}"


def round_significant(value: float) -> str:
    """Write a figure that has few digits, such as an axis has.

    Example:
        >>> round_figure(0.5), round_figure(200.0), round_figure(1e-5)
        ('0.5', '200', '10⁻⁵')
    """
    if 1e-3 <= abs(value) < 1e6 or value == 0:
        return f"{value:.6g}"
    mantissa, exponent = f"{value:e}".split("e")
    power = f"10{str(int(exponent)).translate(_RAISED)}"
    return power if float(mantissa) == 1 else f"{float(mantissa):g}×{power}"


def format_megabytes(size_bytes: int | None) -> str:
    """Write bytes as MB of 10⁶.

    Example:
        >>> megabytes(11_791_096)
        '11.8'
    """
    return format_figure(None if size_bytes is None else size_bytes / 1e6)


def format_percent(share: float | None) -> str:
    """Write a share in hundredths.

    Example:
        >>> percent(0.00874)
        '0.874%'
    """
    return "-" if share is None else f"{format_figure(100 * share)}%"


def format_count(count: int, noun: str) -> str:
    """Write a count and what is counted.

    Example:
        >>> plural(1, "thread"), plural(2, "thread")
        ('1 thread', '2 threads')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def format_ratio(ratio: float) -> str:
    """Write a ratio.

    Example:
        >>> times(1.0526), times(12.5)
        ('×1.053', '×12.5')
    """
    return f"×{ratio:.3f}" if ratio < 10 else f"×{format_figure(ratio)}"
