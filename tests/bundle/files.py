"""Files that are remade with other members, and the members of a file."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from albert_edge.bundle.archive import append_archive

TOKENIZER = {"spiece.model": b"not read here", "tokenizer_config.json": b"{}"}


PARTS = ("albert_edge.json", "config.json", "labels.txt", "spiece.model", "tokenizer_config.json")


def remade(blob: bytes, **changes: bytes | None) -> bytes:
    """Write the archive anew with members changed, or left out where the change is None."""
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
        front = blob[: min(info.header_offset for info in archive.infolist())]
    members |= {name: value for name, value in changes.items() if value is not None}
    for name in [name for name, value in changes.items() if value is None]:
        del members[name]
    return append_archive(front, members)


def with_manifest(blob: bytes, **changes: Any) -> bytes:
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        manifest = json.loads(archive.read("albert_edge.json"))
    return remade(blob, **{"albert_edge.json": json.dumps(manifest | changes).encode()})
