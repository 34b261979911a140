"""Pages of the site that are not in docs/: files that the pages link to, and executed notebooks.

A link from docs/ to a file elsewhere in the repository works on GitHub.  On the site that file is
below `repository/`, a page if it is Markdown.
"""

from __future__ import annotations

import base64
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from properdocs.config.defaults import ProperDocsConfig
from properdocs.structure.files import File, Files
from properdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
EXECUTED = ROOT / "build" / "notebooks"
ELSEWHERE = "repository/"
# A code block, in which nothing is a link; or a link's target that is a file.
_LINK = re.compile(
    r"^ *```.*?^ *```|(?<=\]\()(?!\w+:|#)(?P<file>[^)#\s]+)", re.MULTILINE | re.DOTALL
)
_COLOUR = re.compile(r"\x1b\[[\d;]*m")  # of a terminal, which notebooks show
# A link's text that is a file's name, as on GitHub; the site shows the page's title instead.
_NAMED_PAGE = re.compile(r"\[(?:docs/)?(\w+\.md)\](?=\()")


def on_files(files: Files, config: ProperDocsConfig) -> Files:
    """Add the notebooks, and the files elsewhere that the pages lead to."""
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        files.remove(notebook)
        for name, content in _render(Path(notebook.src_uri)).items():
            files.append(File.generated(config, name, content=content))
    pages = [f"docs/{page.src_uri}" for page in files.documentation_pages() if page.abs_src_path]
    for path in _linked(pages):
        if not path.startswith("docs/"):
            files.append(
                File.generated(config, ELSEWHERE + path, abs_src_path=os.fspath(ROOT / path))
            )
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Make the links of a page those of the site."""
    source = page.file.src_uri
    path = source.removeprefix(ELSEWHERE) if source.startswith(ELSEWHERE) else f"docs/{source}"

    def change(match: re.Match[str]) -> str:
        if (target := _resolve(path, match)) is None:
            return match[0]
        place = target.removeprefix("docs/") if target.startswith("docs/") else ELSEWHERE + target
        return posixpath.relpath(place.replace(".ipynb", ".md"), posixpath.dirname(source))

    return _NAMED_PAGE.sub(_title, _LINK.sub(change, markdown))


def _title(match: re.Match[str]) -> str:
    page = ROOT / "docs" / match[1]
    if not page.is_file():
        return match[0]
    return f"[{page.read_text(encoding='utf-8').partition(chr(10))[0].removeprefix('# ')}]"


def _linked(pages: list[str]) -> Iterator[str]:
    """Yield the files of the repository to which Markdown files lead, by way of any others."""
    found, waiting = set(pages), list(pages)
    while waiting:
        page = waiting.pop()
        for match in _LINK.finditer((ROOT / page).read_text(encoding="utf-8")):
            target = _resolve(page, match)
            if target is None or target in found:
                continue
            found.add(target)
            yield target
            if target.endswith(".md"):
                waiting.append(target)


def _resolve(page: str, link: re.Match[str]) -> str | None:
    """Return which file of the repository a page links to, if it is there."""
    if link["file"] is None:
        return None
    target = posixpath.normpath(posixpath.join(posixpath.dirname(page), link["file"]))
    return target if (ROOT / target).is_file() else None


def _render(source: Path) -> dict[str, str | bytes]:
    """Return the page of an executed notebook, and its pictures, by their places in the site."""
    executed = EXECUTED / source.name
    if not executed.is_file():
        raise FileNotFoundError(f"{executed} is missing: `make docs` executes the notebooks.")
    parts: list[str] = []
    made: dict[str, str | bytes] = {}
    for cell in nbformat.read(executed, as_version=4).cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{source.stem}_{len(made) + 1}.png"
                made[posixpath.join(source.parent.as_posix(), name)] = base64.b64decode(
                    data["image/png"]
                )
                parts.append(f"![The figure that this makes]({name})")
            elif text := output.get("text") or data.get("text/plain"):
                parts.append(f"```text\n{_COLOUR.sub('', text).rstrip()}\n```")
    return {source.with_suffix(".md").as_posix(): "\n\n".join(parts) + "\n", **made}
