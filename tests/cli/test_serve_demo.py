"""`albert-edge serve-demo`: the page is where it says, until the user stops it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from albert_edge.demo_page import HEADERS
from albert_edge.files import embedded_model
from cli.commands import albert_edge
from rigs.litert_js import LITERT_JS

ROOT = Path(__file__).parents[2]
SERVE = (sys.executable, "-c", "from albert_edge.cli import main; main()", "serve-demo")
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Return a function that starts the command on a free port."""
    LITERT_JS.use(monkeypatch)
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [*SERVE, "--port", "0", "--no-open", *arguments]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def get(url: str) -> tuple[dict[str, str], bytes]:
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 (of this machine)
        return dict(answer.headers), answer.read()


def test_it_serves_the_embedded_model_until_control_c(start: Start) -> None:
    process = start()
    url = line_of(process).split()[0]
    headers, content = get(f"{url}models/0.tflite")
    assert HEADERS.items() <= headers.items()
    assert content == (embedded_model() / "web.tflite").read_bytes()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert process.communicate()[1] == "albert-edge: interrupted.\n"


def test_a_second_one_on_the_same_port_is_refused(start: Start) -> None:
    url = line_of(start()).split()[0]
    port = url.rstrip("/").rpartition(":")[2]
    second = albert_edge("serve-demo", "--port", port, "--no-open")
    assert second.exit_code == 1
    assert f"port {port} of 127.0.0.1: another program has it" in second.output


def test_it_writes_a_folder_for_another_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LITERT_JS.use(monkeypatch)
    site = tmp_path / "site"
    done = albert_edge("serve-demo", "-o", site, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    sizes = [path.stat().st_size for path in site.rglob("*") if path.is_file()]
    assert report == {"files": len(sizes), "size_bytes": sum(sizes), "folder": str(site)}
    again = albert_edge("serve-demo", "-o", site)
    assert (again.exit_code, again.output.count("is not empty")) == (1, 1)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    refused = albert_edge("serve-demo", ROOT / "README.md", "-o", tmp_path / "site")
    assert refused.exit_code == 1
    assert "README.md" in refused.output
    assert not (tmp_path / "site").exists()
