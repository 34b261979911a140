"""`albert-edge sweep`: many ways to compress one model, and which of them are worth it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from albert_edge.cli.options import force_option, json_option, note_resumable

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("plan", type=_PATH, metavar="PLAN.toml")
@click.option("-o", "--output", required=True, type=_PATH, help="Folder to write.")
@click.option(
    "--ray",
    default="off",
    metavar="off|local|auto|ADDRESS",
    help="What runs the trials: off for this process alone, local for a Ray cluster of this "
    "machine, auto for the one that runs here, or the address of one.",
)
@click.option(
    "--device",
    default="local",
    help="Device to measure the files on, one at a time, as for benchmark.",
)
@click.option(
    "--measure/--no-measure", "measured", default=True, help="Measure the latency and the RAM."
)
@click.option(
    "--resume",
    is_flag=True,
    callback=note_resumable,
    help="Continue the sweep in the folder; failed trials run again.",
)
@force_option
@json_option
def command(plan: Path, output: Path, as_json: bool, **settings: Any) -> None:
    """Run every combination in PLAN.toml, measure the files, and show the Pareto fronts.

    Each trial changes the model, converts it and scores the file on the dev set.  The folder gets a
    file and a row for every trial, report.json, and the page report.html.  Exits with 1 if a trial
    failed; the others are still run.  Paths in the plan are relative to it.

    \b
    albert-edge sweep plan.toml -o sweep
    albert-edge sweep plan.toml -o sweep --ray auto --device ssh://pi@raspberrypi.local --resume

    A plan, of which only model and dev are required:

    \b
    model = "default"                 # as for convert
    dev = "dev.tsv"                   # as for evaluate
    train = "train.tsv"               # for finetune and compress
    corpus = "texts.txt"              # for vocabulary
    calibration = "texts.txt"         # for recipes that need it

    \b
    [knobs]                           # every combination is a trial
    quantize = ["int8", "int4"]
    keep = [[], ["layer.ffn_output=float32"]]
    passes = ["all", 3]               # the first passes of the shared layer
    vocabulary = ["all", "needed", 4000]
    finetune = [false, {epochs = 2, learning_rate = 1e-4}]
    compress = [false, {with = "prune", sparsity = 0.5, epochs = 1}]
    seed = [0, 1]                     # of what is trained

    \b
    [search]                          # for options of finetune, by Optuna
    trials = 8
    learning_rate = [1e-5, 1e-3]
    epochs = [1, 4]

    \b
    [evaluate]                        # options of evaluate
    limit = 500
    [benchmark]                       # options of benchmark
    seq_lens = [64]
    """
    from albert_edge.cli.console import bars, print_report

    with bars() as progress:
        from albert_edge.sweep.plan import read_plan
        from albert_edge.sweep.report import render_report
        from albert_edge.sweep.run import raise_on_failed_trials, sweep

        report = sweep(read_plan(plan), output, progress=progress, **settings)
    report = {"output": str(output), **report}
    print_report(report, as_json=as_json, render=render_report)
    raise_on_failed_trials(report)
