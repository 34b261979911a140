"""The page's files, and the server that serves them and nothing else."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from albert_edge.demo_page import HEADERS, PageServer, page_files, write_page
from albert_edge.errors import BundleError, InputError, OutputError
from albert_edge.files import embedded_model
from rigs.litert_js import LITERT_JS

ROOT = Path(__file__).parents[1]
SOME = {
    "index.html": b"<!doctype html><title>page</title>",
    "app.js": b"// code",
    "litert/core/wasm/a.wasm": b"\0asm",
    "models/0.tflite": bytes(range(256)),
    "models.json": b"[]",
    "style.css": b"",
    "icon.svg": b"<svg/>",
    "LICENSE": b"Apache",
}


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    with PageServer(SOME, "127.0.0.1", 0) as opened:
        thread = threading.Thread(target=opened.serve_forever)
        thread.start()
        yield opened
        opened.shutdown()
        thread.join()


def ask(server: PageServer, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/index.html?lang=en", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/litert/core/wasm/a.wasm", "application/wasm"),
        ("/models/0.tflite", "application/octet-stream"),
        ("/models%2F0.tflite", "application/octet-stream"),
        ("/models.json", "application/json"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/LICENSE", "text/plain; charset=utf-8"),
    ],
)
def test_a_file_comes_whole_with_its_type_and_all_headers(
    server: PageServer, path: str, kind: str
) -> None:
    name = path.partition("?")[0].replace("%2F", "/")[1:] or "index.html"
    status, headers, content = ask(server, path)
    assert (status, content, headers["Content-Type"]) == (200, SOME[name], kind)
    assert headers["Content-Length"] == str(len(content))
    assert HEADERS.items() <= headers.items()


def test_the_headers_isolate_the_page_and_allow_no_inline_code() -> None:
    assert HEADERS["Cross-Origin-Opener-Policy"] == "same-origin"
    assert HEADERS["Cross-Origin-Embedder-Policy"] == "require-corp"
    policy = HEADERS["Content-Security-Policy"]
    assert "script-src 'self' 'wasm-unsafe-eval';" in policy
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy
    page = (ROOT / "web_demo" / "index.html").read_text(encoding="utf-8")
    inside = re.search(r'Content-Security-Policy"\s+content="([^"]*)"', page)
    assert inside is not None
    # A policy in a page cannot say who may frame it.
    assert " ".join(inside[1].split()) == policy.replace("; frame-ancestors 'none'", "")


def test_a_head_request_gets_the_headers_only(server: PageServer) -> None:
    status, headers, content = ask(server, "/models/0.tflite", "HEAD")
    assert (status, headers["Content-Length"], content) == (200, "256", b"")


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/..%2Fpyproject.toml",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/models/../index.html",
        "/models/",
        "/models",
        "/index.html/",
        "/./index.html",
        "/index.html%00",
        "/\\index.html",
        "http://[::1/",
    ],
)
def test_nothing_else_is_served(server: PageServer, path: str) -> None:
    # As it is: a client would shorten the path.
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as client:
        client.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 404 " in head.splitlines()[0]
    for name, value in HEADERS.items():
        assert f"{name}: {value}\r\n".encode() in head + b"\r\n"
    assert all(content not in body for content in SOME.values() if content)


def test_a_browser_that_goes_away_is_no_error(
    server: PageServer, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as client:
            linger = struct.pack("ii", 1, 0)  # closes with a reset
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            client.sendall(b"GET /index.html HTTP/1.1\r\n\r\n" * 3)
    assert ask(server, "/")[0] == 200
    assert capfd.readouterr().err == ""


def test_only_reading_is_allowed(server: PageServer) -> None:
    assert ask(server, "/index.html", "POST")[0] == 501
    assert ask(server, "/index.html", "DELETE")[0] == 501


def test_a_port_that_is_taken_is_named(server: PageServer) -> None:
    port = server.server_port
    with pytest.raises(
        InputError, match=f"port {port} of 127.0.0.1: another program has it: .*--port"
    ):
        PageServer(SOME, "127.0.0.1", port)


def test_an_address_of_no_interface_is_named() -> None:
    with pytest.raises(InputError, match=r"cannot listen on port 0 of 192\.0\.2\.1: "):
        PageServer(SOME, "192.0.2.1", 0)


def test_a_folder_gets_the_same_files(tmp_path: Path) -> None:
    write_page(SOME, tmp_path / "site")
    found = {
        str(path.relative_to(tmp_path / "site")): path.read_bytes()
        for path in (tmp_path / "site").rglob("*")
        if path.is_file()
    }
    assert found == SOME
    with pytest.raises(OutputError, match="site is not empty: remove it, or name another"):
        write_page(SOME, tmp_path / "site")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*site: Not a directory"):
        write_page(SOME, tmp_path / "file" / "site")


def test_the_page_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    LITERT_JS.use(monkeypatch)
    files = page_files([], print)
    web = embedded_model() / "web.tflite"
    assert files["models/0.tflite"] == web.read_bytes()
    assert json.loads(files["models.json"]) == [
        {"name": "sentiment.tflite", "path": "models/0.tflite"}
    ]
    listed = json.loads(files["files.js"].decode().removeprefix("self.FILES = ")[:-2])
    assert set(listed) == set(files) - {"files.js", "service_worker.js"}
    for path, entry in listed.items():
        assert entry["sha256"] == hashlib.sha256(files[path]).hexdigest()
    first = sum(len(files[path]) for path, entry in listed.items() if entry["first"])
    assert first < 600_000  # the wait for the service worker is for these bytes
    # Whatever a module imports is there.
    for path in (path for path in files if path.endswith(".js") and "/wasm/" not in path):
        for name in re.findall(r"""(?:from |import\()['"](\..*?)['"]""", files[path].decode()):
            imported = (Path("/", path).parent / name).resolve().relative_to("/")
            assert str(imported) in files, (path, name)


def test_models_are_offered_by_their_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    LITERT_JS.use(monkeypatch)
    names = ["a b.tflite", "ü#?.tflite"]
    for name in names:
        (tmp_path / name).write_bytes((embedded_model() / "web.tflite").read_bytes())
    files = page_files([tmp_path / name for name in names], print)
    assert [one["name"] for one in json.loads(files["models.json"])] == names
    assert files["models/0.tflite"] == files["models/1.tflite"]


def test_a_model_that_cannot_be_read_is_named_before_anything_is_fetched(tmp_path: Path) -> None:
    def fetched(_: str) -> None:
        raise AssertionError

    with pytest.raises(InputError, match=r"cannot read .*none\.tflite: No such file"):
        page_files([tmp_path / "none.tflite"], fetched)
    with pytest.raises(BundleError, match=r"README\.md"):
        page_files([ROOT / "README.md"], fetched)
