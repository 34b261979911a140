"""The layouts: how a file runs the passes of the shared layer."""

from __future__ import annotations

__all__ = ["LAYOUTS"]

LAYOUTS: dict[str, str] = {
    "loop": "A loop over one layer: least RAM; for CPUs.",
    "unrolled": "A copy of the operators per pass, over the same weights; for GPUs and NPUs.",
    "split": "Signatures embed, layer and head; the host runs the passes; for Edge TPU.",
}
