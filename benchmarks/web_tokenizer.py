"""Tokenize text with the package for web pages in Node.js, beside Python: MB a second.

\b
python -m tests.rigs install node             once
python -m benchmarks.web_tokenizer TEXT.txt   prints a table, and saves no report
python -m benchmarks.web_tokenizer TEXT.txt --vocabulary spiece.model --vocabulary vocab.txt

The text is UTF-8, with paragraphs between empty lines, of which the first `--megabytes` are
tokenized one after the other, over and over: by Python, by Node.js in a process of its own, and
again.  The fastest round counts, since other programs, and the compiler of Node.js while it works,
only slow a round down.  Both give the same tokens, or the benchmark fails.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from albert_edge.benchmark.system import describe_machine
from benchmarks.android_tokenizer import measure, read_paragraphs, time_bench
from benchmarks.markdown_table import MarkdownTable
from tests.rigs.install import call
from tests.rigs.node import NODE

BENCH = Path(__file__).parents[1] / "tests/web/bench.mjs"


def time_web(vocabulary: str, paragraphs: Sequence[str], rounds: int) -> dict[str, Any]:
    """Tokenize all paragraphs in rounds of at least a second, in a process of its own."""
    functions = ("loadTokenizer", "timeTokenizer")
    return time_bench((NODE.path / "node", BENCH), functions, vocabulary, paragraphs, rounds)


def make_table(rows: Sequence[dict[str, Any]]) -> MarkdownTable:
    """Make the table: a row for each vocabulary."""
    columns = ("Python, MB/s", "JavaScript, MB/s", "tokens/s", "loading in Python, ms", "here, ms")
    lines = []
    for row in rows:
        python, web = row["python"], row["web"]
        lines.append(
            (
                f"{row['kind']}, {row['pieces']:,} pieces",
                f"{python['mb_per_second']:.1f}",
                f"{web['mb_per_second']:.1f}",
                f"{web['tokens_per_second']:,.0f}",
                f"{python['load_ms']:.0f}",
                f"{web['load_ms']:.0f}",
            )
        )
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
@click.option("--rounds", default=8, show_default=True, help="Of a second, in each process.")
@click.option("--processes", default=3, show_default=True, help="Of Python, and of Node.js.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, not a table.")
def main(
    text: Path,
    vocabularies: tuple[str, ...],
    megabytes: float,
    rounds: int,
    processes: int,
    as_json: bool,
) -> None:
    NODE.install()
    paragraphs = read_paragraphs(text, 1e6 * megabytes)
    others = {"web": time_web}
    rows = [measure(one, paragraphs, rounds, processes, others=others) for one in vocabularies]
    machine = describe_machine()
    version = call(NODE.path / "node", "--version").strip()
    if as_json:
        click.echo(json.dumps({"machine": machine, "node": version, "rows": rows}))
        return
    click.echo(f"{make_table(rows).markdown()}\n\nNode.js {version}, {machine['model']}")


if __name__ == "__main__":
    main()
