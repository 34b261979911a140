"""The report in a file while it grows, and going on with one that was interrupted."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from albert_edge.benchmark.document import read_document, to_text
from albert_edge.errors import OutputError, ReportError
from albert_edge.files import check_writable, write_file

__all__ = ["check_same_run", "open_report", "save_report"]

_OF_A_RUN = ("kind", "device", "settings", "files", "machine")
# Of a machine, what another run of the same may not differ in.
_LASTING = ("model", "kernel", "python", "versions")


def open_report(
    path: str | os.PathLike[str] | None,
    measured: Sequence[Path],
    *,
    resume: bool = False,
    force: bool = False,
) -> dict[str, Any] | None:
    """Check that a report can be kept in `path`, and read the one there if it is to be resumed.

    Args:
        path: Where; None to keep none.
        measured: The files to be measured, which it must not replace.
        resume: Whether to read what is there, if anything is.
        force: Whether what is there may be replaced.

    Raises:
        OutputError: It cannot be written, or exists and neither `resume` nor `force` is given.
        ReportError: What is there cannot be resumed: it is no report, or of another version.
    """
    if path is None:
        return None
    target = Path(path)
    if target.resolve() in [file.resolve() for file in measured]:
        raise OutputError(
            f"{target} is one of the files to be measured; keep the report elsewhere."
        )
    resumes = resume and target.exists()
    check_writable(target, force=force or resumes)
    return read_document(target) if resumes else None


def check_same_run(document: Mapping[str, Any], kept: Mapping[str, Any], *, where: str) -> None:
    """Check that a report is of the same files, settings and machine as the run that goes on.

    Raises:
        ReportError: It is not.
    """
    for name in _OF_A_RUN:
        now, then = document[name], kept.get(name)
        if name == "machine":
            now, then = ({key: (one or {}).get(key) for key in _LASTING} for one in (now, then))
        if now != then:
            raise ReportError(
                f"{where} cannot be resumed, its {name} was another: {then}, and now {now}. "
                "Give what it was begun with, or --force to begin anew."
            )


def save_report(path: str | os.PathLike[str] | None, document: Mapping[str, Any]) -> None:
    """Write a report, whole or not at all, over the one that is there; nothing if `path` is None.

    Raises:
        OutputError: It cannot be written.
    """
    if path is not None:
        write_file(path, to_text(document).encode(), force=True)
