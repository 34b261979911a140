"""`albert-edge benchmark`: latency, memory and energy of files, and whether outputs are right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from albert_edge.benchmark.config import BenchmarkConfig
from albert_edge.cli.options import (
    force_option,
    given_parameters,
    note_resumable,
    options_from,
    take_fields,
)
from albert_edge.files import EMBEDDED_MODELS


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL...]")
@click.option(
    "--device",
    "devices",
    multiple=True,
    default=("local",),
    help="Device to measure on; repeat it for several side by side: local, "
    "ssh://[USER@]HOST[:PORT][?python=PATH], a phone: adb://[SERIAL][?cores=N,...][&adb=PATH], or "
    "a Raspberry Pi's processor, emulated to count instructions: "
    "qemu://cortex-a53, qemu://cortex-a72, qemu://cortex-a76 (Pi 3, 4, 5).",
)
@click.option(
    "--runtime",
    multiple=True,
    metavar="FILE.aar",
    help="For a phone: the archive of TFLite's library; may be repeated, for the GPU delegate's. "
    "Without it Maven fetches both.",
)
@options_from(
    BenchmarkConfig(),
    *("accelerators", "threads", "seq_lens", "rounds", "runs", "min_time_s", "timeout_s"),
    flags={
        "accelerators": "--accelerator",
        "seq_lens": "--seq-len",
        "min_time_s": "--min-time",
        "timeout_s": "--timeout",
    },
)
@click.option(
    "--json",
    "json_path",
    is_flag=False,
    flag_value="-",
    metavar="F",
    help="Save the report to F, updated while measuring; without F, or with '-', print it.",
)
@click.option("--html", "html_path", metavar="F", help="Save the report to F as one HTML page.")
@click.option(
    "--resume", is_flag=True, callback=note_resumable, help="Continue the benchmark in --json F."
)
@click.option(
    "--from", "kept", metavar="REPORT.json", help="Show a saved report instead of measuring."
)
@click.option(
    "--compare",
    "compared",
    nargs=2,
    metavar="OLD NEW",
    help="Compare two saved reports instead of measuring; or two .tflite files, which are called "
    "in turns in the same processes, on a CPU.",
)
@click.option(
    "--fail-on-regression", is_flag=True, help="With --compare: exit with 1 on any regression."
)
@force_option
def command(
    models: tuple[str, ...],
    kept: str | None,
    compared: tuple[str, str] | None,
    json_path: str | None,
    html_path: str | None,
    fail_on_regression: bool,
    force: bool,
    **settings: Any,
) -> None:
    """Measure every MODEL in every combination of settings, each in fresh processes.

    MODEL is a .tflite file, or an embedded model, such as "default".  Exits with 1 if a file fails
    or its outputs differ from the reference; the others are still measured.

    \b
    albert-edge benchmark my.tflite
    albert-edge benchmark int8.tflite float32.tflite --threads 1,2,4 --seq-len 32,128
    albert-edge benchmark *.tflite --json report.json --html report.html --resume
    albert-edge benchmark gpu.tflite --accelerator cpu,gpu
    albert-edge benchmark my.tflite --device ssh://pi@raspberrypi.local
    albert-edge benchmark my.tflite --device 'ssh://pi@10.0.0.7:2222?python=~/venv/bin/python'
    albert-edge benchmark android.tflite --device adb://
    albert-edge benchmark gpu.tflite --device 'adb://R58M12ABCDE?cores=4-7' --accelerator cpu,gpu
    albert-edge benchmark int8.tflite float32.tflite --device qemu://cortex-a72
    albert-edge benchmark my.tflite --device ssh://pi@pi4.local --device ssh://pi@pi5.local
    albert-edge benchmark --from report.json --html report.html
    albert-edge benchmark --compare before.json after.json
    albert-edge benchmark --compare before.tflite after.tflite --seq-len 32,128 --rounds 12
    """
    _check_usage(click.get_current_context())
    if compared:
        _compare(*compared, json_path, force=force, strict=fail_on_regression, **settings)
    elif kept is not None:
        _show(kept, html_path, force=force)
    else:
        _measure(models, json_path, html_path, force=force, **settings)


# What may be given beside each of the two options that take the place of measuring.
_BESIDE = {"compared": ("json_path", "fail_on_regression", "force"), "kept": ("html_path", "force")}
# What may be given beside two files to compare.
_OF_FILES = ("devices", "threads", "seq_lens", "rounds", "runs", "min_time_s", "timeout_s")


def _are_models(compared: Sequence[str]) -> bool:
    return all(one in EMBEDDED_MODELS or one.endswith(".tflite") for one in compared)


def _check_usage(context: click.Context) -> None:
    given = given_parameters(context)
    way = next((one for one in _BESIDE if one in given), None)
    if way is None and "models" not in given:
        raise click.UsageError("name at least one MODEL, or give --from or --compare.")
    if way is None and "fail_on_regression" in given:
        raise click.UsageError("--fail-on-regression needs --compare.")
    beside = _BESIDE.get(way or "", ())
    if way == "compared" and _are_models(context.params["compared"]):
        beside += _OF_FILES
        if len(context.params["devices"]) > 1:
            raise click.UsageError("--compare takes one --device.")
    for name, option in given.items():
        if way and name not in (way, *beside):
            raise click.UsageError(f"{option} cannot be combined with {given[way]}.")


def _check_output(path: str | None, inputs: Sequence[str | None], *, force: bool) -> None:
    from albert_edge.errors import OutputError
    from albert_edge.files import check_writable

    if path is None:
        return
    if Path(path).resolve() in [Path(one).resolve() for one in inputs if one is not None]:
        raise OutputError(f"{path} is one of the other files given; choose another output path.")
    check_writable(path, force=force)


def _compare(
    old: str,
    new: str,
    json_path: str | None,
    *,
    devices: tuple[str, ...],
    force: bool,
    strict: bool,
    **settings: Any,
) -> None:
    from albert_edge.benchmark.boards import (
        compare_any_reports,
        raise_on_any_regression,
        read_any_report,
    )
    from albert_edge.benchmark.console import render_comparison
    from albert_edge.benchmark.paired import compare_files
    from albert_edge.benchmark.report_file import to_json
    from albert_edge.cli.console import bars, print_report
    from albert_edge.files import write_file

    path = None if json_path == "-" else json_path
    _check_output(path, [old, new], force=force)
    if _are_models([old, new]):
        chosen = take_fields(BenchmarkConfig(), settings)
        with bars(refresh_per_second=1) as progress:
            found = compare_files(old, new, settings=chosen, device=devices[0], progress=progress)
    else:
        found = compare_any_reports(read_any_report(Path(old)), read_any_report(Path(new)))
    if path is not None:
        write_file(path, to_json(found).encode(), force=force)
    if json_path == "-":
        click.echo(to_json(found), nl=False)
    else:
        print_report(found, as_json=False, render=lambda found: [render_comparison(found)])
    if strict:
        raise_on_any_regression(found)


def _show(kept: str, html_path: str | None, *, force: bool) -> None:
    from albert_edge.benchmark.boards import read_any_report
    from albert_edge.benchmark.console import render_report
    from albert_edge.benchmark.html import write_page
    from albert_edge.benchmark.report_file import reraise_as_report_error
    from albert_edge.cli.console import print_report

    _check_output(html_path, [kept], force=force)
    report = read_any_report(Path(kept))
    with reraise_as_report_error():
        render_report(report)
    if html_path is not None:
        write_page(report, html_path, force=force)
    print_report(report, as_json=False, render=lambda report: [render_report(report)])


def _measure(
    models: tuple[str, ...],
    json_path: str | None,
    html_path: str | None,
    *,
    devices: tuple[str, ...],
    resume: bool,
    force: bool,
    **settings: Any,
) -> None:
    from albert_edge.benchmark.boards import benchmark_boards, raise_on_any_failure
    from albert_edge.benchmark.console import render_report
    from albert_edge.benchmark.html import write_page
    from albert_edge.benchmark.report_file import to_json
    from albert_edge.benchmark.run import benchmark
    from albert_edge.cli.console import bars, print_report

    path = None if json_path == "-" else json_path
    if resume and path is None:
        raise click.UsageError("--resume needs --json F, the report to continue.")
    _check_output(html_path, [*models, path], force=force)
    several = len(devices) > 1
    where: dict[str, Any] = {"devices": devices} if several else {"device": devices[0]}
    chosen = take_fields(BenchmarkConfig(), settings)
    options = {"json_path": path, "resume": resume, "force": force, **where, **settings}
    with bars(refresh_per_second=1) as progress:  # drawing takes CPU time from what is measured
        run = benchmark_boards if several else benchmark
        report = run(models, settings=chosen, progress=progress, **options)
    if html_path is not None:
        write_page(report, html_path, force=force)
    if json_path == "-":
        click.echo(to_json(report), nl=False)
    else:
        print_report(report, as_json=False, render=lambda report: [render_report(report)])
    raise_on_any_failure(report)
