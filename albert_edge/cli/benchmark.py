"""`albert-edge benchmark`: how fast, how large, and whether right."""

from __future__ import annotations

from typing import Any

import click

from albert_edge.cli.options import force_option

__all__ = ["command"]


def _list(kind: type) -> Any:
    def split(_: click.Context, __: click.Parameter, value: str | None) -> tuple[Any, ...] | None:
        try:
            return None if value is None else tuple(kind(part.strip()) for part in value.split(","))
        except ValueError as error:
            raise click.BadParameter(
                f"{value!r} is no list of whole numbers such as 1,2."
            ) from error

    return split


@click.command(
    short_help="Measure .tflite files: time, memory, energy, and whether they are right."
)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--device", default="local", show_default=True, help="Where to measure.")
@click.option(
    "--accelerator",
    "accelerators",
    callback=_list(str),
    default="cpu",
    show_default=True,
    help="What computes; several with commas between.",
)
@click.option(
    "--threads",
    callback=_list(int),
    default="1",
    show_default=True,
    metavar="N,...",
    help="Numbers of CPU threads.",
)
@click.option(
    "--seq-len",
    "seq_lens",
    callback=_list(int),
    metavar="N,...",
    help="Numbers of tokens.  [default: the file's own, or 128]",
)
@click.option("--rounds", default=3, show_default=True, help="How often all take turns.")
@click.option("--runs", default=20, show_default=True, help="Warm runs a round, at least.")
@click.option(
    "--min-time", "min_time_s", default=0.5, show_default=True, help="Seconds a round, at least."
)
@click.option(
    "--timeout", "timeout_s", default=600.0, show_default=True, help="Seconds a process may take."
)
@click.option(
    "--json",
    "json_path",
    is_flag=False,
    flag_value="-",
    metavar="F",
    help="Keep the report in F, also while measuring; alone, or with '-', print it instead.",
)
@click.option("--resume", is_flag=True, help="Go on with the report in --json F.")
@force_option
def command(
    models: tuple[str, ...],
    device: str,
    json_path: str | None,
    resume: bool,
    force: bool,
    **settings: Any,
) -> None:
    """Measure every MODEL in every combination of the options, each in fresh processes.

    Exits with 1 if a file fails or answers other than its reference; the rest is measured anyway.

    \b
    albert-edge benchmark my.tflite
    albert-edge benchmark int8.tflite float32.tflite --threads 1,2,4 --seq-len 32,128
    albert-edge benchmark *.tflite --json report.json --resume
    """
    from rich.console import Console
    from rich.progress import Progress

    from albert_edge.benchmark.document import to_text
    from albert_edge.benchmark.harness import benchmark
    from albert_edge.benchmark.plan import Settings
    from albert_edge.benchmark.table import render_report
    from albert_edge.benchmark.verdict import check_all_right
    from albert_edge.cli.progress import quiet

    path = None if json_path == "-" else json_path
    if resume and path is None:
        raise click.UsageError("--resume needs --json F, the report to go on with.")
    with (
        quiet() as terminal,
        # Drawing takes time from what is measured.
        Progress(
            console=terminal,
            transient=True,
            disable=not terminal.is_terminal,
            refresh_per_second=1,
        ) as progress,
    ):
        report = benchmark(
            models,
            settings=Settings(**settings),
            device=device,
            json_path=path,
            resume=resume,
            force=force,
            progress=progress,
        )
    if json_path == "-":
        click.echo(to_text(report), nl=False)
    else:
        Console().print(render_report(report))
    check_all_right(report)
