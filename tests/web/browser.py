"""Calls the package for web pages in Chromium, with LiteRT.js on WebAssembly and on WebGPU.

    with open_page({"model.tflite": content}) as page:
        handle = page.call("open", url="model.tflite", accelerator="webgpu")["handle"]

WebGPU computes on SwiftShader, a GPU in software.  `browser_page.js` has the functions.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from albert_edge.demo_page import PageServer
from albert_edge.litert_js import litert_files
from bench_process import BenchProcess
from rigs.chromium import CHROMIUM, chromium_command
from rigs.litert_js import LITERT_JS
from rigs.node import NODE
from web.node import WEB

HERE = Path(__file__).parent
_PAGE = b'<!doctype html><meta charset="utf-8"><script type="module" src="page.js"></script>'


@contextmanager
def open_page(files: Mapping[str, bytes]) -> Iterator[BenchProcess]:
    """Open a page that can fetch files; skip the test where a rig is missing."""
    for rig in (NODE, CHROMIUM, LITERT_JS):
        rig.require()
    served = {"index.html": _PAGE, "page.js": (HERE / "browser_page.js").read_bytes(), **files}
    for path in (WEB / "src").rglob("*.js"):
        served[f"albert-edge/{path.relative_to(WEB).as_posix()}"] = path.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        LITERT_JS.use(patch)
        served |= {f"litert/{name}": content for name, content in litert_files(print).items()}
    with PageServer(served, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/"
            command = chromium_command(NODE.path / "node", HERE / "browser.mjs")
            with BenchProcess([*command, url]) as process:
                yield process
        finally:
            server.shutdown()
            thread.join()
