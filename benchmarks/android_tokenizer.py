"""Tokenize text with the Kotlin library on a desktop's JVM, beside Python: MB a second and core.

\b
python -m tests.rigs install kotlin                          once
python -m benchmarks.android_tokenizer TEXT.txt              the embedded model's vocabulary
python -m benchmarks.android_tokenizer TEXT.txt --vocabulary spiece.model --vocabulary vocab.txt

The text is UTF-8, with paragraphs between empty lines, of which the first `--megabytes` are
tokenized one after the other, over and over.  The processor time of one thread counts, so other
programs on the machine do not matter much; Kotlin's rounds of the first half, in which the JVM
still compiles, do not count.  Both give the same number of tokens, or the benchmark fails.
"""

from __future__ import annotations

import base64
import json
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from albert_edge.benchmark.report_file import report_header, save_dated_report
from albert_edge.benchmark.system import describe_machine
from albert_edge.tokenizer import load_tokenizer
from benchmarks.markdown_table import MarkdownTable
from tests.rigs.kotlin import KOTLIN, class_path

REFERENCE = Path(__file__).parent / "reference"


def read_paragraphs(path: Path, size: float) -> list[str]:
    """Return the first `size` bytes of a text, at least one paragraph."""
    paragraphs: list[str] = []
    for paragraph in path.read_text("utf-8").split("\n\n"):
        if paragraphs and size <= 0:
            break
        paragraphs.append(paragraph)
        size -= len(paragraph.encode())
    return paragraphs


def time_python(vocabulary: str, paragraphs: Sequence[str], seconds: float) -> dict[str, Any]:
    """Tokenize all paragraphs in rounds; return how long each took, and how many tokens it gave."""
    begin = time.process_time()
    tokenizer = load_tokenizer(vocabulary)
    load_ms = 1e3 * (time.process_time() - begin)
    rounds: list[float] = []
    tokens = 0
    while sum(rounds) < seconds or len(rounds) < 3:
        begin = time.process_time()
        tokens = sum(len(tokenizer.tokenize(paragraph).ids) for paragraph in paragraphs)
        rounds.append(time.process_time() - begin)
    return {"load_ms": load_ms, "seconds": rounds[1:], "tokens": tokens}


def time_kotlin(vocabulary: str, paragraphs: Sequence[str], seconds: float) -> dict[str, Any]:
    """Do the same in a JVM of its own."""
    files = load_tokenizer(vocabulary).files()
    encoded = {name: base64.b64encode(content).decode() for name, content in files.items()}
    calls = (
        {"call": "Tokenizers.load", "arguments": {"files": encoded}},
        {
            "call": "Tokenizers.time",
            "arguments": {"handle": 0, "texts": paragraphs, "seconds": 2 * seconds},
        },
    )
    command = ("java", "-Xmx512m", "-cp", class_path("none"), "org.albertedge.bench.Bench")
    done = subprocess.run(
        command,
        input="".join(f"{json.dumps(call)}\n" for call in calls),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise click.ClickException(f"the JVM ended ({done.returncode}): {done.stderr[-2000:]}")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if wrong := [answer for answer in answers if "result" not in answer]:
        raise click.ClickException(f"the Kotlin library failed: {wrong[0]}")
    loaded, timed = (answer["result"] for answer in answers)
    rounds = timed["seconds"][len(timed["seconds"]) // 2 :]
    return {"load_ms": loaded["milliseconds"], "seconds": rounds, "tokens": timed["tokens"]}


def measure(vocabulary: str, paragraphs: Sequence[str], seconds: float) -> dict[str, Any]:
    """Return the row of a vocabulary."""
    size = sum(len(paragraph.encode()) for paragraph in paragraphs)
    row: dict[str, Any] = {"vocabulary": Path(vocabulary).name, "size_bytes": size}
    for name, timed in (("python", time_python), ("kotlin", time_kotlin)):
        found = timed(vocabulary, paragraphs, seconds)
        rates = [size / 1e6 / taken for taken in found["seconds"]]
        row[name] = {**found, "mb_per_second": statistics.median(rates)}
    if row["python"]["tokens"] != row["kotlin"]["tokens"]:
        raise click.ClickException(f"{vocabulary}: the two tokenizers give different tokens.")
    return row


def make_table(report: Mapping[str, Any]) -> MarkdownTable:
    """Make the table: a row for each vocabulary."""
    columns = ("Python, MB/s", "Kotlin, MB/s", "ratio", "loading in Kotlin, ms")
    lines = []
    for row in report["rows"]:
        python, kotlin = (row[name]["mb_per_second"] for name in ("python", "kotlin"))
        cells = (f"{python:.1f}", f"{kotlin:.1f}", f"{kotlin / python:.1f}")
        lines.append((f"`{row['vocabulary']}`", *cells, f"{row['kotlin']['load_ms']:.0f}"))
    return MarkdownTable("vocabulary", columns, tuple(lines))


@click.command(help=__doc__)
@click.argument("text", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--vocabulary",
    "vocabularies",
    multiple=True,
    default=["default"],
    help="What `load_tokenizer` loads; repeatable.",
)
@click.option("--megabytes", default=1.0, show_default=True, help="The part of the text.")
@click.option("--seconds", default=10.0, show_default=True, help="Of each measurement.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, not as a table.")
@click.option(
    "-o",
    "--output",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=REFERENCE,
    help="Folder of the report.",
)
def main(
    text: Path,
    vocabularies: tuple[str, ...],
    megabytes: float,
    seconds: float,
    as_json: bool,
    output: Path,
) -> None:
    KOTLIN.install()
    paragraphs = read_paragraphs(text, 1e6 * megabytes)
    rows = [measure(vocabulary, paragraphs, seconds) for vocabulary in vocabularies]
    header = report_header("android_tokenizer", describe_machine())
    report = {**header, "complete": True, "text": text.name, "rows": rows}
    path = save_dated_report(report, output)
    click.echo(json.dumps(report) if as_json else f"{make_table(report).markdown()}\n{path}")


if __name__ == "__main__":
    main()
