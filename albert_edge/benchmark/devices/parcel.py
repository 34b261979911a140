"""This package, made ready to be sent to a device."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import albert_edge

__all__ = ["pack_package"]


def pack_package() -> bytes:
    """Return the modules of this package as a zip file: those that are running, without models.

    The package's name and version are in it, as in a wheel, so that the worker tells them.
    """
    root = Path(albert_edge.__file__).parent
    about = f"Metadata-Version: 2.1\nName: albert_edge\nVersion: {albert_edge.__version__}\n"
    blob = io.BytesIO()
    with zipfile.ZipFile(blob, "w", zipfile.ZIP_DEFLATED) as parcel:
        parcel.writestr(f"albert_edge-{albert_edge.__version__}.dist-info/METADATA", about)
        for path in sorted(root.rglob("*.py")):
            parcel.write(path, path.relative_to(root.parent))
    return blob.getvalue()
