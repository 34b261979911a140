"""The picture of a sensitivity report."""

from __future__ import annotations

import sys
from xml.etree import ElementTree

import pytest

from albert_edge.errors import InputError, MissingExtraError
from albert_edge.quantization.sensitivity_plot import FORMATS, check_plot_path, plot_sensitivity

REPORT = {
    "quantize": "int8-full",
    "kept": ["layer.ffn_output=int16"],
    "depths": ["embed", "1", "2", "head"],
    "whole": {"error": 0.2, "by_depth": [0.01, 0.1, 0.05, 0.0]},
    "parts": [
        {"part": "layer.ffn_intermediate", "error": 0.1, "by_depth": [None, 0.1, 0.05, None]},
        {"part": "embed.projection", "error": 0.01, "by_depth": [0.01, None, None, None]},
    ],
}


def test_a_vector_picture_holds_its_text():
    root = ElementTree.fromstring(plot_sensitivity(REPORT, kind="svg"))  # noqa: S314
    texts = {"".join(node.itertext()).strip() for node in root.iter() if node.tag.endswith("text")}
    assert {"embed", "1", "2", "head", "10%", "1%"} <= texts
    assert {"20.00%  all parts", "10.00%  layer.ffn_intermediate"} <= texts
    assert "int8-full, layer.ffn_output=int16: where the error comes from" in texts


def test_the_same_report_gives_the_same_bytes():
    for kind in FORMATS:
        assert plot_sensitivity(REPORT, kind=kind) == plot_sensitivity(REPORT, kind=kind)


def test_a_raster_picture_is_a_png():
    assert plot_sensitivity(REPORT, kind="png").startswith(b"\x89PNG\r\n")


def test_more_parts_than_colours_look_different():
    part = REPORT["parts"][0]
    many = [{**part, "part": f"part {index}"} for index in range(16)]
    svg = plot_sensitivity({**REPORT, "parts": many}).decode()
    assert "part 15" in svg


def test_another_format_is_refused():
    with pytest.raises(InputError, match=r"a file in \.svg or \.png, not in \.pdf"):
        check_plot_path("pdf")


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'albert_edge\[plot\]'"):
        check_plot_path("svg")
