"""`albert-edge serve-demo`: run models in a page of the browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from albert_edge.cli.options import json_option


@click.command()
@click.argument("models", nargs=-1)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="Port; 0 for a free one.")
@click.option(
    "--host",
    default="127.0.0.1",
    metavar="ADDRESS",
    help="Address to listen on.  Other machines reach the page only by https, behind a proxy.",
)
@click.option("--open/--no-open", "opens", default=True, help="Open the page in the browser.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the page into a new directory for another server, and serve nothing.",
)
@json_option
def command(
    models: tuple[str, ...],
    port: int,
    host: str,
    opens: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Serve a page that runs MODELS in the browser: the embedded sentiment model if none is named.

    MODELS are .tflite files of `albert-edge convert --target web`; the page opens files from disk
    too.  It answers while you type, and no text leaves the browser.  The server runs until
    Control-C, for this machine only.

    \b
    albert-edge serve-demo
    albert-edge serve-demo qa.tflite names.tflite
    albert-edge serve-demo --port 0 --no-open
    albert-edge serve-demo -o site
    """
    from albert_edge.cli.console import print_report
    from albert_edge.demo_page import PageServer, page_files, write_page

    files = page_files(models, lambda line: click.echo(line, err=True))
    report: dict[str, Any] = {"files": len(files), "size_bytes": sum(map(len, files.values()))}
    if output is not None:
        write_page(files, output)
        report["folder"] = str(output)
        print_report(report, as_json=as_json, render=lambda made: [f"{made['folder']} is written."])
        return
    with PageServer(files, host, port) as server:
        report["url"] = server.url
        print_report(
            report, as_json=as_json, render=lambda made: [f"{made['url']} (Control-C ends)"]
        )
        if opens:
            _open(server.url)
        server.serve_forever()


def _open(url: str) -> None:
    import webbrowser

    # Without a screen it would start a browser in this terminal, and wait for its end.
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(url)
