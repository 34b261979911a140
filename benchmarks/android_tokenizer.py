"""Tokenize text with the Kotlin library on a desktop's JVM, beside Python: MB a second and core.

\b
python -m tests.rigs install kotlin               once
python -m benchmarks.android_tokenizer TEXT.txt   writes reference/android_tokenizer-*.json
python -m benchmarks.android_tokenizer TEXT.txt --vocabulary spiece.model --vocabulary vocab.txt

The text is UTF-8, with paragraphs between empty lines, of which the first `--megabytes` are
tokenized one after the other, over and over: by Python, by Kotlin in a JVM of its own, and again.
Each process's CPU time counts, of all its threads: in Kotlin, also of those that compile and that
collect garbage.  The fastest round counts, since other programs, and the JVM while it still
compiles, only slow a round down.  Both give the same tokens, or the benchmark fails.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

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


def time_python(vocabulary: str, paragraphs: Sequence[str], rounds: int) -> dict[str, Any]:
    """Tokenize all paragraphs in rounds of at least a second.

    Returns:
        The seconds that each round took for the paragraphs, the milliseconds of loading, and the
        ids' digest.
    """
    begin = time.process_time()
    tokenizer = load_tokenizer(vocabulary)
    load_ms = 1e3 * (time.process_time() - begin)
    seconds = []
    for _ in range(rounds):
        begin, passes = time.process_time(), 0
        while passes == 0 or time.process_time() - begin < 1:
            for paragraph in paragraphs:
                tokenizer.tokenize(paragraph)
            passes += 1
        seconds.append((time.process_time() - begin) / passes)
    ids = [token for paragraph in paragraphs for token in tokenizer.tokenize(paragraph).ids]
    digest = hashlib.sha256(np.asarray(ids, ">i4").tobytes()).hexdigest()
    return {"load_ms": load_ms, "seconds": seconds, "tokens": len(ids), "sha256": digest}


def time_bench(
    command: Sequence[str | Path], functions: tuple[str, str], vocabulary: str,
    paragraphs: Sequence[str], rounds: int,
) -> dict[str, Any]:  # fmt: skip
    """Do the same in a process in another language, which answers lines of JSON.

    Args:
        command: The program.
        functions: Its functions that load a tokenizer, and that time it.
        vocabulary: What `load_tokenizer` loads.
        paragraphs: The text.
        rounds: How many.
    """
    files = load_tokenizer(vocabulary).files()
    encoded = {name: base64.b64encode(content).decode() for name, content in files.items()}
    load, timing = functions
    calls = (
        {"call": load, "arguments": {"files": encoded}},
        {"call": timing, "arguments": {"handle": 0, "texts": paragraphs, "rounds": rounds}},
    )
    done = subprocess.run(
        command,
        input="".join(f"{json.dumps(call)}\n" for call in calls),
        capture_output=True,
        text=True,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    wrong = [answer for answer in answers if "result" not in answer]
    if done.returncode or wrong or len(answers) < len(calls):
        raise click.ClickException(f"{command[0]} failed: {wrong or done.stderr[-2000:]}")
    loaded, timed = (answer["result"] for answer in answers)
    return {"load_ms": loaded["milliseconds"], **timed}


def time_kotlin(vocabulary: str, paragraphs: Sequence[str], rounds: int) -> dict[str, Any]:
    """Do the same in a JVM of its own."""
    command = ("java", "-Xmx512m", "-cp", class_path("none"), "org.albertedge.bench.Bench")
    functions = ("Tokenizers.load", "Tokenizers.time")
    return time_bench(command, functions, vocabulary, paragraphs, rounds)


def measure(
    vocabulary: str,
    paragraphs: Sequence[str],
    rounds: int,
    processes: int,
    *,
    others: Mapping[str, Callable[[str, Sequence[str], int], dict[str, Any]]],
) -> dict[str, Any]:
    """Return the row of a vocabulary: Python and the others in turn, `processes` times."""
    size = sum(len(paragraph.encode()) for paragraph in paragraphs)
    tokenizer = load_tokenizer(vocabulary)
    kind = type(tokenizer).__name__.removesuffix("Tokenizer")
    row: dict[str, Any] = {"vocabulary": Path(vocabulary).name, "kind": kind}
    row |= {"pieces": tokenizer.vocab_size, "size_bytes": size}
    timed = {"python": time_python, **others}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in timed}
    for _ in range(processes):
        for name, function in timed.items():
            found[name].append(function(vocabulary, paragraphs, rounds))
    if len({one["sha256"] for several in found.values() for one in several}) > 1:
        raise click.ClickException(f"{vocabulary}: the tokenizers give different tokens.")
    tokens = found["python"][0]["tokens"]
    for name, several in found.items():
        seconds = [one["seconds"] for one in several]
        fastest = min(map(min, seconds))
        row[name] = {
            "load_ms": min(one["load_ms"] for one in several),
            "seconds": seconds,
            "mb_per_second": size / 1e6 / fastest,
            "tokens_per_second": tokens / fastest,
        }
    return {**row, "tokens": tokens}


def make_markdown(report: Mapping[str, Any]) -> str:
    """Return the table, and how to reproduce it."""
    machine, rows = report["machine"], report["rows"]
    text = (
        f"MB of text a second of CPU time, the fastest round, {report['text']} of "
        f"{rows[0]['size_bytes'] / 1e6:.1f} MB, {machine['model']}, {report['java']}, "
        f"{report['date']}. Reproduce with `python -m benchmarks.android_tokenizer TEXT`."
    )
    return f"{make_table(report).markdown()}\n{text}\n"


def make_table(report: Mapping[str, Any]) -> MarkdownTable:
    """Make the table: a row for each vocabulary."""
    columns = ("Python, MB/s", "Kotlin, MB/s", "loading in Python, ms", "in Kotlin, ms")
    lines = []
    for row in report["rows"]:
        both = [row[name] for name in ("python", "kotlin")]
        rates = (f"{one['mb_per_second']:.1f}" for one in both)
        loads = (f"{one['load_ms']:.0f}" for one in both)
        lines.append((f"{row['kind']}, {row['pieces']:,} pieces", *rates, *loads))
    return MarkdownTable("vocabulary", columns, tuple(lines))


def java_version() -> str:
    """Return the JVM's name and version, such as `OpenJDK 17.0.15`."""
    command = ("java", "-version")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    name, version = re.findall(r'^(\w+) version "([^"]+)"', done.stderr)[0]
    return f"{'OpenJDK' if name == 'openjdk' else name} {version}"


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
@click.option("--rounds", default=8, show_default=True, help="Of a second, in each process.")
@click.option("--processes", default=3, show_default=True, help="Of Python, and of Kotlin.")
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
    rounds: int,
    processes: int,
    as_json: bool,
    output: Path,
) -> None:
    KOTLIN.install()
    paragraphs = read_paragraphs(text, 1e6 * megabytes)
    others = {"kotlin": time_kotlin}
    rows = [measure(one, paragraphs, rounds, processes, others=others) for one in vocabularies]
    header = report_header("android_tokenizer", describe_machine())
    about = {"text": text.name, "java": java_version()}
    report = {**header, "complete": True, **about, "rows": rows}
    path = save_dated_report(report, output)
    click.echo(json.dumps(report) if as_json else f"{make_markdown(report)}\n{path}")


if __name__ == "__main__":
    main()
