"""The layouts: how a file runs the passes of the shared layer."""

from __future__ import annotations

from albert_edge.errors import ConversionError

__all__ = ["LAYOUTS", "check_layout"]

LAYOUTS: dict[str, str] = {
    "loop": "A loop over one layer: least RAM; for CPUs.",
    "unrolled": "A copy of the operators per pass, over the same weights; for GPUs and NPUs.",
    "split": "Signatures embed, layer and head; the host runs the passes; for Edge TPU.",
}


def check_layout(name: str) -> None:
    """Check that `name` is a layout.

    Raises:
        ConversionError: It is not.
    """
    if name not in LAYOUTS:
        raise ConversionError(f"unknown layout {name!r}; choose from {', '.join(LAYOUTS)}.")
