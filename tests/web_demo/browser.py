"""Chromium with the page open: what a user does in it, and what it shows.

with open_browser() as browser:
    browser.open(url)
    browser.answers()
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench_process import BenchProcess
from rigs.chromium import chromium_command
from rigs.node import NODE

WAIT_S = 60.0
# The rows of the lists with bars: name, number, whether it is the best.
_ROWS = """[...document.querySelectorAll('#answer .bars li')].map((row) => [
  row.querySelector('.name').textContent, row.querySelector('.value').textContent,
  row.classList.contains('best')])"""
_MARKS = """[...document.querySelectorAll('#answer mark')].map((mark) => [
  mark.firstChild.textContent, mark.querySelector('.label')?.textContent ?? null])"""
_IS_OPEN = """document.querySelector('main').ariaBusy === 'false' && (
  document.querySelector('#answer').children.length > 0 ||
  document.querySelector('[role=alert]:not([hidden])') !== null)"""
_TEXT = "document.querySelector({selector!r}).textContent"


class Browser(BenchProcess):
    """A window of Chromium."""

    def open(self, url: str, *, first_time: bool = False) -> None:
        """Open the page, and wait until it has answered or failed.

        Args:
            url: Its address.
            first_time: Whether the browser forgets all that it has stored.
        """
        self.call("open", url=url, isFirstTime=first_time)
        self.wait_for_model()

    def wait_for_model(self) -> None:
        """Wait until a model is open and has answered, or cannot be opened."""
        self.until(lambda: bool(self.evaluate(_IS_OPEN)), lambda: self.text("main"))

    def choose(self, path: Path) -> None:
        """Open a file from disk."""
        self.call("choose", selector="#file", path=str(path))
        self.wait_for_model()

    def evaluate(self, code: str) -> Any:
        """Evaluate an expression in the page; again if the page is loaded anew meanwhile."""
        try:
            return self.call("evaluate", code=code)
        except RuntimeError as error:
            if "because of a navigation" not in str(error):
                raise
            return self.evaluate(code)

    def text(self, selector: str) -> str:
        return str(self.evaluate(_TEXT.format(selector=selector)))

    def fill(self, **values: str) -> None:
        """Write into fields of the form."""
        for name, value in values.items():
            self.call("fill", selector=f"#field-{name}", text=value)

    def rows(self) -> list[tuple[str, str, bool]]:
        return [tuple(row) for row in self.evaluate(_ROWS)]

    def marks(self) -> list[tuple[str, str | None]]:
        return [tuple(mark) for mark in self.evaluate(_MARKS)]

    def until(self, is_so: Callable[[], bool], what: Callable[[], object]) -> None:
        """Wait until the page shows what is expected.

        Args:
            is_so: Whether it does.
            what: What it shows, for the message.
        """
        end = time.monotonic() + WAIT_S
        while not is_so():
            assert time.monotonic() < end, what()
            time.sleep(0.05)


def open_browser() -> Browser:
    """Start Chromium; skip the test where a rig is missing."""
    script = Path(__file__).with_name("browser.mjs")
    return Browser(chromium_command(NODE.require() / "node", script))
