"""`albert_edge.benchmark.html`: one self-contained page, safe and readable."""

from __future__ import annotations

import base64
import copy
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from albert_edge.benchmark.html import render_page, write_page
from albert_edge.errors import OutputError, ReportError
from benchmark.html.page import CSS, Page
from benchmark.samples import HOSTILE


def test_the_page_loads_nothing_and_runs_no_script(page: Page) -> None:
    assert not {"script", "img", "link", "iframe", "object", "base", "form"} & {
        one["tag"] for one in page.elements
    }
    ids = [one["id"] for one in page.elements if "id" in one]
    assert len(ids) == len(set(ids))
    for one in page.elements:
        assert not [name for name in one if name.startswith("on") or name in ("src", "style")]
        assert one.get("href", "#")[1:] in ["", *ids]
    assert not re.search(r"url\(|@import", CSS)


def test_the_policy_allows_this_style_and_nothing_else(page: Page) -> None:
    [policy] = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    [style] = page.all("style")
    digest = base64.b64encode(hashlib.sha256(style["text"].encode()).digest()).decode()
    assert policy["content"].startswith(f"default-src 'none'; style-src 'sha256-{digest}';")


def test_a_hostile_name_is_only_a_name(page: Page) -> None:
    assert page.text.count(HOSTILE) > 3
    assert all(one["in"].count("bdi") == 0 for one in page.all("bdi"))
    named = [one for one in page.elements if one["text"] == HOSTILE]
    assert any(one["tag"] == "bdi" for one in named)


def test_charts_and_tables_are_accessible_to_screen_readers(page: Page) -> None:
    for one in page.all("svg"):
        inner = "svg" in one["in"]
        assert inner or one.get("role") == "img" or one.get("aria-hidden") == "true"
        assert one.get("role") != "img" or one["aria-label"]
    assert page.all("th")
    assert {one["scope"] for one in page.all("th")} == {"col", "row", "rowgroup"}
    assert page.all("html")[0]["lang"] == "en"
    assert page.all("div", role="region", tabindex="0")


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """List where the parts of a document are; of a list only the first."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value[:1])
    for key, part in pairs:
        yield (*at, key)
        if isinstance(part, (dict, list)):
            yield from paths(part, (*at, key))


@pytest.mark.parametrize("put", ["<script>alert(1)</script>", None, -1, float("nan"), [], {}])
def test_a_damaged_report_is_refused_or_shown_but_never_run(
    put: Any, report: dict[str, Any]
) -> None:
    small = {
        **report,
        "rows": [report["rows"][0], report["rows"][-1]],
        "files": report["files"][:1],
    }
    refused = 0
    for *way, last in paths(small):
        damaged = copy.deepcopy(small)
        part = damaged
        for key in way:
            part = part[key]
        part[last] = put
        try:
            text = render_page(damaged)
        except ReportError as error:
            assert "the report is damaged" in str(error)  # noqa: PT017 (some pass, some do not)
            refused += 1
        else:
            # Inside an attribute's quotes it is only text, as a browser parses it.
            assert "<script" not in text or not Page(text).all("script")
    assert refused > 5


def test_one_length_one_file_nothing_measured_nothing_at_all(report: dict[str, Any]) -> None:
    one = [row for row in report["rows"] if row["name"] == "int8" and row["seq_len"] == 8]
    failed = [row for row in report["rows"] if row["status"] == "error"]
    waiting = [{**failed[0], "status": "pending", "error": None}]
    assert "Latency by length" not in render_page({**report, "rows": one})
    assert "Cost of accuracy" not in render_page({**report, "rows": one})
    assert "Every sample" not in render_page({**report, "rows": failed})
    assert "1 of 1 configuration not measured yet" in render_page(
        {**report, "rows": waiting, "complete": False}
    )
    assert "0 files" in render_page({**report, "rows": []})


def test_reports_of_other_programs_are_shown_too(report: dict[str, Any]) -> None:
    left_out = ("path", "sha256", "source", "source_sha256", "spread", "rounds")
    rows = [
        {key: value for key, value in row.items() if key not in left_out} | {"layout": layout}
        for row in report["rows"][:1]
        for layout in ("loop", "unrolled")
    ]
    other = {
        key: value for key, value in report.items() if key not in ("settings", "files", "device")
    }
    text = Page(render_page({**other, "kind": "demo", "rows": rows})).text
    assert "albert-edge demo" in text
    assert f"{HOSTILE}, unrolled" in text


def test_a_path_that_is_not_unicode_is_escaped(report: dict[str, Any], tmp_path: Path) -> None:
    odd = copy.deepcopy(report)
    odd["files"][0]["path"] = "caf\udce9.tflite"
    path = write_page(odd, tmp_path / "page.html")
    assert "caf\\udce9.tflite" in path.read_text(encoding="utf-8")
    with pytest.raises(OutputError, match="give --force"):
        write_page(odd, path)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_markers_have_enough_contrast(scheme: str) -> None:
    schemes = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): #(\w{6});", schemes[scheme == "dark"]))
    pairs = [("ink", "paper"), ("ink", "panel"), ("soft", "paper"), ("soft", "panel")]
    pairs += [("bad", "paper"), ("bad", "bad-panel"), ("soft", "bad-panel"), ("ink", "bad-panel")]
    pairs += [("warning", "warning-panel"), *((f"c{n}", "paper") for n in range(7))]
    for front, back in pairs:
        light, dark = sorted((luminance(colours[front]), luminance(colours[back])), reverse=True)
        # WCAG 2.2, 1.4.3: 4.5 for text; marks, held to the same, need 3 only.
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (front, back)


def luminance(colour: str) -> float:
    """Return the relative luminance as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_instructions_take_the_place_of_times(counted_report: dict[str, Any]) -> None:
    page = Page(render_page(counted_report))
    assert "Fewest instructions with correct outputs" in page.text
    assert "M instructions" in page.text
    assert "Every sample" not in page.text
    assert "Instructions by length" in page.text
    assert "RAM against error" not in page.text
    assert not re.search(r"\d ms\b|latency", page.text, re.IGNORECASE)
