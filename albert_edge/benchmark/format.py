"""Numbers as text, the same in every table and HTML page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = [
    "format_acceleration",
    "format_cores",
    "format_count",
    "format_megabytes",
    "format_metric",
    "format_millions",
    "format_percent",
    "format_precision",
    "format_products",
    "format_ratio",
    "format_setting",
    "format_tick",
]

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def format_metric(value: float | None) -> str:
    """Format a number with three significant digits; `-` for None.

    Raises:
        ValueError: It is infinite or NaN.

    Example:
        >>> [format_metric(value) for value in (0.15, 27.44, 23456.7, 2.32e-7)]
        ['0.150', '27.4', '23457', '2.32×10⁻⁷']
    """
    if value is None:
        return "-"
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    if abs(value) >= 99.95 or value == 0:
        return f"{value:.0f}"
    if abs(value) >= 1e-3:
        return f"{value:#.3g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}×10{str(int(exponent)).translate(_SUPERSCRIPT)}"


def format_tick(value: float) -> str:
    """Format the round number at a tick of an axis.

    Example:
        >>> format_tick(0.5), format_tick(200.0), format_tick(1e-5)
        ('0.5', '200', '10⁻⁵')
    """
    if 1e-3 <= abs(value) < 1e6 or value == 0:
        return f"{value:.6g}"
    mantissa, exponent = f"{value:e}".split("e")
    power = f"10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    return power if float(mantissa) == 1 else f"{float(mantissa):g}×{power}"


def format_acceleration(acceleration: Mapping[str, Any]) -> str:
    """Say what an accelerator runs of a file.

    Args:
        acceleration: `runtime.compiled_model.Acceleration`, as a dictionary.

    Example:
        >>> format_acceleration({"device": "Mali-G78", "is_software": False, "operators": 182,
        ...     "operators_accelerated": 178, "on_cpu": ["GATHER"]})
        '178 of 182 operators on Mali-G78; on the CPU: GATHER'
    """
    return (
        f"{acceleration['operators_accelerated']} of {acceleration['operators']} operators on "
        f"{acceleration['device']}{' (software)' * acceleration['is_software']}"
        + (f"; on the CPU: {', '.join(acceleration['on_cpu'])}" if acceleration["on_cpu"] else "")
    )


def format_precision(accelerator: str) -> str:
    """Say how an accelerator computes.

    Example:
        >>> format_precision("gpu:float32"), format_precision("gpu:default")
        ('float32 arithmetic', 'default precision')
        >>> format_precision("edgetpu:usb")
        'products of 8 bits'
    """
    if accelerator.startswith("edgetpu"):
        return "products of 8 bits"
    return "float32 arithmetic" if accelerator == "gpu:float32" else "default precision"


def format_products(row: Mapping[str, Any]) -> str:
    """Say what the products of a row took of an inference.

    Example:
        >>> format_products({"latency_ms": 20.14, "products": {"calls": 48.0, "ms": 12.25}})
        '48 products took 12.2 of 20.1 ms'
    """
    products = row["products"]
    times = [format_metric(ms) for ms in (products["ms"], row["latency_ms"])]
    return f"{format_count(products['calls'], 'product')} took {' of '.join(times)} ms"


def format_setting(row: Mapping[str, Any]) -> str:
    """Format the accelerator and threads of a row, such as `2 threads`."""
    threads = format_count(row["threads"], "thread")
    return threads if row["accelerator"] == "cpu" else f"{row['accelerator']}, {threads}"


def format_megabytes(size_bytes: int | None) -> str:
    """Format bytes in MB of 10⁶.

    Example:
        >>> format_megabytes(11_791_096)
        '11.8'
    """
    return format_metric(None if size_bytes is None else size_bytes / 1e6)


def format_millions(count: int | None) -> str:
    """Format a count in millions.

    Example:
        >>> format_millions(85_214_333)
        '85.2'
    """
    return format_metric(None if count is None else count / 1e6)


def format_percent(proportion: float | None) -> str:
    """Format a proportion as a percentage; `-` for None.

    Example:
        >>> format_percent(0.00874)
        '0.874%'
    """
    return "-" if proportion is None else f"{format_metric(100 * proportion)}%"


def format_count(count: float, noun: str) -> str:
    """Format a count and its noun.

    Example:
        >>> format_count(1, "thread"), format_count(2, "thread")
        ('1 thread', '2 threads')
    """
    return f"{count:.10g} {noun}{'' if count == 1 else 's'}"


def format_cores(machine: Mapping[str, Any]) -> str:
    """Format the number of cores that a process may use, and the CPU quota of its container.

    Example:
        >>> format_cores({"cores": 2, "conditions": {"cpu_quota": {"cores": 0.2}}})
        '2 cores (CPU quota 0.2)'
    """
    quota = machine["conditions"].get("cpu_quota")  # absent from older reports
    limit = "" if quota is None else f" (CPU quota {format_tick(quota['cores'])})"
    return format_count(machine["cores"], "core") + limit


def format_ratio(ratio: float) -> str:
    """Format a ratio.

    Example:
        >>> format_ratio(1.0526), format_ratio(12.5)
        ('×1.053', '×12.5')
    """
    return f"×{ratio:.3f}" if ratio < 10 else f"×{format_metric(ratio)}"
