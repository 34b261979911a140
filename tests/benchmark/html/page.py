"""A page as a browser parses it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from albert_edge.benchmark import html as module

CSS = Path(module.__file__).with_name("page.css").read_text()

VOID = {"meta", "br"}


class Page(HTMLParser):
    """A page as a browser parses it: elements with attributes, text and ancestors."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[dict[str, Any]] = []
        self._open: list[dict[str, Any]] = []
        self.feed(text)
        self.close()
        assert not self._open, "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        one = {"tag": tag, "text": "", "in": [up["tag"] for up in self._open], **dict(attrs)}
        self.elements.append(one)
        if tag not in VOID:
            self._open.append(one)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()["tag"] == tag

    def handle_data(self, data: str) -> None:
        for one in self._open:
            one["text"] += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, Any]]:
        wanted = attributes.items()
        return [one for one in self.elements if one["tag"] == tag and wanted <= one.items()]

    @property
    def text(self) -> str:
        return self.all("body")[0]["text"]
