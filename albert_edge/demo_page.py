"""The page that runs models in the browser: its files, and the server on this machine.

`page_files` puts them together: the page, the package for web pages, LiteRT.js and the models, with
`files.js`, which lists their SHA-256 for the service worker.  `PageServer` serves them, and nothing
else; `write_page` writes them into a folder, for any other server.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote

from albert_edge.bundle import bundle
from albert_edge.errors import InputError, OutputError
from albert_edge.files import dump_json, embedded_model, read_input
from albert_edge.litert_js import litert_files

if TYPE_CHECKING:
    from importlib.abc import Traversable

__all__ = ["PageServer", "page_files", "write_page"]

_EMBEDDED = "web.tflite"
_CODE_FOLDER = "albert-edge/src"
_LICENSE = "LICENSE"
_LATER = ("litert/core/wasm/", "models/")  # are not loaded before the page needs them
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".tflite": "application/octet-stream",
    ".wasm": "application/wasm",
}
# No inline code; WebAssembly, which a policy counts as code, is allowed.  So says `index.html`.
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self' 'wasm-unsafe-eval'",
    "worker-src": "'self'",
    "connect-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    # These two isolate the page from others, without which browsers give WebAssembly no threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def page_files(
    models: Sequence[str | os.PathLike[str]], announce: Callable[[str], None]
) -> dict[str, bytes]:
    """Put the page together.

    Args:
        models: Files that the page offers; none for the embedded sentiment model.
        announce: Gets a line before anything is fetched.

    Returns:
        The files by path, `index.html` among them.

    Raises:
        InputError: A model cannot be read.
        BundleError: A model is damaged, or not a file of albert_edge.
        DeviceError: LiteRT.js cannot be fetched.
    """
    files = dict(_own_files())
    listed = []
    for number, path in enumerate(models or [embedded_model() / _EMBEDDED]):
        place = f"models/{number}.tflite"
        files[place] = _read_model(path)
        name = Path(path).name if models else "sentiment.tflite"
        listed.append({"name": name, "path": place})
    files["models.json"] = dump_json(listed).encode()
    files |= {f"litert/{name}": content for name, content in litert_files(announce).items()}
    return files | {"files.js": _listed(files)}


def _read_model(path: str | os.PathLike[str]) -> bytes:
    try:
        content = read_input(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.") from error
    bundle.read(path)
    return content


def _own_files() -> Iterator[tuple[str, bytes]]:
    package = resources.files("albert_edge")
    page, code, license_file = (package / "page" / name for name in ("web_demo", "src", _LICENSE))
    if isinstance(package, Path) and not page.is_dir():  # in the project's own tree
        root = package.parent
        page, code, license_file = root / "web_demo", root / "web" / "src", root / _LICENSE
    yield from _tree(page, "")
    yield from _tree(code, f"{_CODE_FOLDER}/")
    yield _LICENSE, license_file.read_bytes()  # of the package


def _tree(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.is_dir():
            yield from _tree(entry, f"{prefix}{entry.name}/")
        elif Path(entry.name).suffix in _TYPES:
            yield prefix + entry.name, entry.read_bytes()  # of the package


def _listed(files: Mapping[str, bytes]) -> bytes:
    """Return the script that tells the service worker which files there are."""
    entries = {
        path: {
            "sha256": hashlib.sha256(content).hexdigest(),
            "first": not path.startswith(_LATER) and path != _LICENSE,
        }
        for path, content in files.items()
        if path != "service_worker.js"
    }
    return f"self.FILES = {dump_json(entries, indent=1)};\n".encode()


def write_page(files: Mapping[str, bytes], folder: str | os.PathLike[str]) -> None:
    """Write the page's files into a folder, which any web server can serve.

    Raises:
        OutputError: The folder exists and is not empty, or it cannot be written.
    """
    root = Path(folder)
    try:
        if root.exists() and any(root.iterdir()):
            raise OutputError(f"{root} is not empty: remove it, or name another folder.")
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
    except OSError as error:
        raise OutputError(f"cannot write {root}: {error.strerror}.") from error


class PageServer(ThreadingHTTPServer):
    """Serves files from memory, each at its path, and nothing else.

    Attributes:
        url: Where the page is.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, files: Mapping[str, bytes], host: str, port: int) -> None:
        """Open the port.

        Args:
            files: The files by path.
            host: Name or address of this machine's interface, such as `127.0.0.1`.
            port: Number of the port; 0 for a free one.

        Raises:
            InputError: The port is taken or not allowed, or there is no such interface.
        """
        self.files = files
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            advice = {
                errno.EADDRINUSE: "another program has it: choose another, or --port 0.",
                errno.EACCES: "it needs root: choose one of at least 1024 with --port.",
            }
            reason = advice.get(error.errno or 0, f"{error.strerror or error}.")
            raise InputError(f"cannot listen on port {port} of {host}: {reason}") from error
        self.url = f"http://{host}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing of a browser that went away before it had all of a file."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    server: PageServer
    protocol_version = "HTTP/1.1"
    server_version = "albert_edge"
    sys_version = ""
    timeout: ClassVar[float] = 60.0  # seconds that a connection may be idle

    def do_GET(self) -> None:
        """Send a file."""
        if (content := self._send_head()) is not None:
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        """Send only the headers of a file."""
        self._send_head()

    def _send_head(self) -> bytes | None:
        path = unquote(self.path.partition("?")[0].removeprefix("/")) or "index.html"
        content = self.server.files.get(path)
        if content is None:
            self.send_error(HTTPStatus.NOT_FOUND, "No such file")
            return None
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", _TYPES.get(Path(path).suffix, "text/plain; charset=utf-8"))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return content

    def end_headers(self) -> None:
        """Send the headers that every answer has."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        """Print nothing: the terminal shows the address of the page."""
