"""The folder of the target `edgetpu` is written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from albert_edge.bundle.folder import check_product_folder, write_product_folder
from albert_edge.errors import OutputError

PRODUCTS = {16: {"ffn_output": b"16"}, 128: {"ffn_output": b"128"}}


def test_a_folder_has_the_host_graph_the_products_and_a_script(tmp_path: Path) -> None:
    folder = write_product_folder(tmp_path / "new", b"host", PRODUCTS)
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    script = contents.pop("compile.sh").decode()
    expected = {"host.tflite": b"host", "ffn_output_16.tflite": b"16"}
    assert contents == {**expected, "ffn_output_128.tflite": b"128"}
    assert script.startswith("#!/bin/sh\n")
    # The longest first: the compiler gives the first file its part of the chip's memory first.
    assert script.split("edgetpu_compiler")[1].split() == [
        *("--show_operations", "\\", "ffn_output_128.tflite", "\\", "ffn_output_16.tflite")
    ]


def test_what_was_compiled_of_earlier_products_is_removed(tmp_path: Path) -> None:
    folder = write_product_folder(tmp_path / "new", b"host", PRODUCTS)
    for name in ("ffn_output_16_edgetpu.tflite", "ffn_output_16_edgetpu.log", "notes.txt"):
        (folder / name).write_bytes(b"old")
    with pytest.raises(OutputError, match="new exists; give --force to replace it"):
        write_product_folder(folder, b"other", PRODUCTS)
    write_product_folder(folder, b"other", {8: {"ffn_output": b"8"}}, force=True)
    names = {path.name for path in folder.iterdir()}
    assert names == {"compile.sh", "ffn_output_8.tflite", "host.tflite", "notes.txt"}
    assert (folder / "host.tflite").read_bytes() == b"other"


def test_no_other_folder_is_written_into(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("")
    with pytest.raises(OutputError, match="file is a file; --target edgetpu writes a folder"):
        check_product_folder(tmp_path / "file", force=True)
    with pytest.raises(OutputError, match=r"full has other files and no host\.tflite"):
        check_product_folder(tmp_path / "full", force=True)
    with pytest.raises(OutputError, match="does not exist; create it first"):
        check_product_folder(tmp_path / "missing" / "new")
    (tmp_path / "empty").mkdir()
    assert check_product_folder(tmp_path / "empty") == tmp_path / "empty"
