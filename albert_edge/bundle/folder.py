"""The folder of the target `edgetpu`: a host graph, products, and a script that compiles these.

`host.tflite` is a file like any other of this project, and its manifest has the digests of the
products.  Each product is a file of its own, for `edgetpu_compiler`; `compile.sh` compiles all of
them together, so that the compiler gives each a part of the chip's memory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from albert_edge.bundle.archive import HOST
from albert_edge.config import PRODUCTS
from albert_edge.errors import OutputError
from albert_edge.files import check_writable, recover_folder, write_folder

__all__ = ["check_product_folder", "compiled_file", "product_file", "write_product_folder"]

_SCRIPT = "compile.sh"
_ANY_PRODUCT = re.compile(rf"(layer_\d+_)?({'|'.join(PRODUCTS)})_\d+(_edgetpu)?\.(tflite|log)")


def product_file(name: str, rows: int) -> str:
    """Return the file name of a product that multiplies so many rows at once."""
    return f"{name}_{rows}.tflite"


def compiled_file(name: str, rows: int) -> str:
    """Return the name that the compiler gives the compiled file of a product."""
    return f"{name}_{rows}_edgetpu.tflite"


def compile_script(names: list[str]) -> bytes:
    """Return a shell script that compiles the files of all products together."""
    files = " \\\n  ".join(names)
    return (
        "#!/bin/sh\n"
        "# Compile the products for the Edge TPU.  In one call: the compiler then gives each of\n"
        "# them a part of the chip's memory, where their weights stay as long as they fit.\n"
        'cd "$(dirname "$0")" || exit 1\n'
        f"exec edgetpu_compiler --show_operations \\\n  {files}\n"
    ).encode()


def check_product_folder(path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Check that a folder of the target `edgetpu` can be written, before the work of making it.

    Args:
        path: The folder, which need not exist.
        force: Whether a folder of this kind may be replaced.

    Raises:
        OutputError: There is one and `force` is false, there is a file or another folder, or it
            cannot be written.
    """
    folder = Path(path)
    recover_folder(folder)
    if not folder.exists():
        return check_writable(folder)
    if not folder.is_dir():
        raise OutputError(f"{folder} is a file; --target edgetpu writes a folder: name another.")
    if any(folder.iterdir()) and not (folder / HOST).is_file():
        raise OutputError(
            f"{folder} has other files and no {HOST}: it is no folder of --target edgetpu. Name a "
            "new one."
        )
    if (folder / HOST).exists() and not force:
        raise OutputError(f"{folder} exists; give --force to replace it.")
    return check_writable(folder / HOST, force=force).parent


def write_product_folder(
    path: str | os.PathLike[str],
    host: bytes,
    products: Mapping[int, Mapping[str, bytes]],
    *,
    force: bool = False,
) -> Path:
    """Write a folder of the target `edgetpu`, all of it or nothing.

    Args:
        path: The folder.  Files of others in it are kept; what was compiled of earlier products is
            not.
        host: The content of the host graph's file.
        products: How many rows → name → the content of a product's file.
        force: Whether a folder of this kind may be replaced.

    Raises:
        OutputError: See `check_product_folder`.
    """
    folder = check_product_folder(path, force=force)
    files = {
        product_file(name, rows): content
        for rows, contents in sorted(products.items(), reverse=True)
        for name, content in contents.items()
    }
    present = [one.name for one in folder.iterdir()] if folder.is_dir() else []
    stale = [name for name in present if _ANY_PRODUCT.fullmatch(name) and name not in files]
    # The host graph last: without it the folder is not read.
    script = compile_script(list(files))
    write_folder(folder, {**files, _SCRIPT: script, HOST: host}, remove=stale)
    return folder
