"""`albert-edge distill`: train a narrow ALBERT on what a larger model computes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from albert_edge.cli.options import (
    force_option,
    given_parameters,
    json_option,
    options_from,
    output_folder_option,
    resume_option,
    take_fields,
)
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.tasks import PROBLEM_TYPES
from albert_edge.training.distillation.options import (
    ON_TASK,
    ON_TEXT,
    STUDENTS,
    StudentShape,
    Teaching,
)
from albert_edge.training.options import BestCheckpoint

_PATH = click.Path(path_type=Path)
_TASKS = (*PROBLEM_TYPES, "question-answering", "summarization", "token-classification")
_SIZE = ("hidden_size", "num_hidden_layers")
_PARTS = ("embedding_size", "num_attention_heads", "intermediate_size")
_STEPS = ("steps", "batch_size", "accumulate", "warm_up", "examine_every")
_EPOCHS = ("epochs", "batch_tokens", "window", "class_weights")
_COLUMNS = ("text_column", "pair_column", "label_column", "bullets", "quoting", "skip_bad")
_SELECTION = ("keep", "patience_epochs")
_TEACHING = ("teacher_weight", "temperature")


@click.command()
@click.argument("teacher")
@output_folder_option
@click.option(
    "--text", "texts", multiple=True, type=_PATH, metavar="FILE", help="Plain text to distill on."
)
@click.option("--data", type=_PATH, metavar="FILE", help="Labelled data of a task to distill on.")
@click.option(
    "--task",
    type=click.Choice(_TASKS),
    metavar="TASK",
    help=f"Task of --data: {', '.join(_TASKS)}.",
    show_default="that of TEACHER's head",
)
@click.option(
    "--dev", multiple=True, type=_PATH, metavar="FILE", help="Held-out text or data to evaluate on."
)
@click.option(
    "--student",
    metavar="SOURCE",
    help="Checkpoint to start from, such as one that was distilled on text.",
    show_default="a new student",
)
@click.option(
    "--small",
    "preset",
    flag_value="small",
    help="A student of width 256 with 4 heads and 6 passes (the default).",
)
@click.option(
    "--medium",
    "preset",
    flag_value="medium",
    help="A student of width 512 with 8 heads and 8 passes.",
)
@options_from(StudentShape(), *_SIZE, unset="that of --small or --medium")
@options_from(StudentShape(), *_PARTS)
@click.option(
    "--trim-vocabulary",
    "trim",
    is_flag=True,
    help="Trim TEACHER's vocabulary to the words of --text or --data.",
)
@options_from(Teaching(), *_TEACHING)
@options_from(ON_TEXT, *_STEPS)
@options_from(ON_TASK, *_EPOCHS)
@options_from(ON_TEXT, "max_length")
@options_from(
    ON_TEXT,
    "learning_rate",
    unset=f"{ON_TEXT.learning_rate:g} on text, {ON_TASK.learning_rate:g} on data",
)
@options_from(ON_TEXT, "mixed_precision")
@options_from(BestCheckpoint(), *_SELECTION)
@options_from(EvaluateOptions(), *_COLUMNS)
@options_from(ON_TEXT, "save_every_s", "seed", flags={"save_every_s": "--save-every"})
@resume_option
@force_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    teacher: str,
    output: Path,
    preset: str | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Distill TEACHER into a narrow ALBERT, which applies one layer in all of its passes.

    TEACHER is a BERT, MiniLM, DistilBERT or ALBERT, as for albert-edge convert.  On plain text, the
    student learns the hidden states of TEACHER, and becomes an encoder for albert-edge finetune
    --from, or for sentence embeddings.  On the data of a task, it learns TEACHER's outputs beside
    the labels; TEACHER has the head of the task, and the data is as for albert-edge finetune.

    A text is UTF-8 with a blank line between documents.  The output's curve.jsonl holds the metrics
    of every evaluation, its logs/ is for TensorBoard.  If TF_CONFIG is set as TensorFlow documents
    it, several machines share every batch of text.

    \b
    albert-edge distill ./MiniLM --text books.txt --dev held_out.txt -o encoder
    albert-edge distill ./MiniLM --text books.txt -o encoder --medium --steps 20000 --json
    albert-edge distill ./MiniLM --text books.txt -o encoder --resume
    albert-edge distill ./my-bert --data topics.tsv --dev dev.tsv --student ./encoder -o topics
    albert-edge distill ./bert-squad --data train-v1.1.json -o qa --medium --trim-vocabulary
    """
    _check_usage(ctx)
    files: dict[str, Any] = {"text_options": take_fields(ON_TEXT, dict(settings))}
    files["task_options"] = take_fields(ON_TASK, settings)
    take_fields(ON_TEXT, settings)  # those that both have are gone already
    files["shape"] = take_fields(STUDENTS[preset or "small"], settings)
    files["teaching"] = take_fields(Teaching(), settings)
    files["selection"] = take_fields(BestCheckpoint(), settings)
    files["data_options"] = take_fields(EvaluateOptions(), settings)
    from albert_edge.cli.console import print_report, quiet

    with quiet() as console:
        from albert_edge.training.distillation.distill_files import distill

        report = distill(teacher, output, console=console, **files, **settings)
    print_report(report, as_json=as_json, render=_summary)


def _check_usage(ctx: click.Context) -> None:
    """Check that there is either text or data, and that the other options go with it."""
    given, on_text = given_parameters(ctx), bool(ctx.params["texts"])
    if on_text == (ctx.params["data"] is not None):
        raise click.UsageError("give either --text FILE, or --data FILE of a task.")
    for_data = ("task", *_TEACHING, *_EPOCHS, *_COLUMNS, *_SELECTION)
    wrong, what = (for_data, "--data") if on_text else (_STEPS, "--text")
    for name, flag in given.items():
        if name in wrong:
            raise click.UsageError(f"{flag} is for {what}.")
        if name in ("preset", *_SIZE, *_PARTS) and ctx.params["student"] is not None:
            raise click.UsageError(f"--student has a shape of its own; leave out {flag}.")


def _summary(report: dict[str, Any]) -> Iterator[Any]:
    from albert_edge.cli.console import render_warnings

    shape = report["shape"]
    text = (
        f"{report['output']}: {report['parameters']:,} parameters, {shape['num_hidden_layers']} "
        f"passes of width {shape['hidden_size']}; the teacher has "
        f"{report['teacher_parameters']:,} parameters\nstarted from {report['start']}\n"
    )
    if figures := report["vocabulary"]:
        text += f"vocabulary {figures['pieces_before']:,} to {figures['pieces_after']:,} pieces\n"
    yield text + (_on_text(report) if "curve" in report else _on_data(report))
    yield from render_warnings(report["warnings"])


def _on_text(report: dict[str, Any]) -> str:
    text = (
        f"{report['steps']:,} steps over {report['tokens']:,} tokens in "
        f"{report['duration_s']:.0f} s, {report['tokens_per_s']:,.0f} tokens/s"
    )
    for name in ("train", "held_out"):
        if found := report["curve"][-1].get(name):
            text += (
                f"\n{name:9} loss {found['loss']:.3f}  layers {found['layers']:.3f}  "
                f"similarities {found['similarities']:.4f}  pooled {found['pooled']:.3f}"
            )
    return text


def _on_data(report: dict[str, Any]) -> str:
    text = (
        f"{report['train_examples']:,} examples, {len(report['epochs'])} epochs in "
        f"{report['duration_s']:.0f} s"
    )
    if name := report["metric"]:
        text += f"; dev {name} {report['dev_metrics'][name]}"
    return text
