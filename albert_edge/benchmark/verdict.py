"""What a report comes to: which configuration is the fastest, and whether all is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from albert_edge.errors import DeviceError, FidelityError

__all__ = ["check_all_right", "float32_error", "rank"]


def rank(rows: Sequence[dict[str, Any]]) -> None:
    """Give every `ok` row its `rank` by median among the rows of its length, from 1."""
    for row in rows:
        row["rank"] = None
    for seq_len in {row["seq_len"] for row in rows}:
        right = [row for row in rows if row["seq_len"] == seq_len and row["status"] == "ok"]
        for place, row in enumerate(sorted(right, key=lambda row: row["latency_ms"]), 1):
            row["rank"] = place


def float32_error(row: Mapping[str, Any]) -> float | None:
    """Return how far a row's worst output is off from float32, as a share of float32's size.

    That is from the float32 file of the same checkpoint among the files, or else, as it was when
    the file was made, from the Keras model; None if neither is known or an output is not finite.
    """
    found = row["fidelity"]
    if found is None or found["reference"]["quantize"] != "float32":
        found = row["verification"]
    errors = [output["error"] for output in (found or {}).get("outputs", {}).values()]
    return None if not errors or None in errors else max(errors)


def check_all_right(document: Mapping[str, Any]) -> None:
    """Refuse a report in which something failed or answers wrongly.

    Raises:
        DeviceError: A configuration failed.
        FidelityError: None did, but an output is off by more than its recipe's limit.
    """
    rows = document["rows"]
    failed = [f"{_what(row)}: {row['error']['message']}" for row in rows if row["error"]]
    wrong = [f"{_what(row)}: {_wrong(row['fidelity'])}" for row in rows if row["status"] == "wrong"]
    if failed or wrong:
        kind = DeviceError if failed else FidelityError
        lines = "".join(f"\n  {line}" for line in failed + wrong)
        raise kind(f"{len(failed)} of {len(rows)} failed, {len(wrong)} answer wrongly:{lines}")


def _what(row: Mapping[str, Any]) -> str:
    return f"{row['name']} ({row['accelerator']}, {row['threads']} threads, T={row['seq_len']})"


def _wrong(fidelity: Mapping[str, Any]) -> str:
    errors = {name: one["error"] for name, one in fidelity["outputs"].items()}
    broken = [name for name, error in errors.items() if error is None]
    if broken:
        return f"{broken[0]} is not finite, or of another shape than the reference's."
    name = max(errors, key=lambda name: errors[name])
    return (
        f"{name} is off by {errors[name]:.3g} of the size of {fidelity['reference']['name']}'s; "
        f"at most {fidelity['limit']:g} is allowed."
    )
