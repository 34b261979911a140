"""`albert-edge convert`: a checkpoint to a .tflite file, or to another checkpoint format."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from albert_edge.cli.options import (
    calibration_option,
    force_option,
    given_parameters,
    init_head_option,
    json_option,
    keep_option,
    read_lines,
    read_source,
)
from albert_edge.config import LAYOUTS
from albert_edge.quantization.recipes import RECIPES
from albert_edge.targets import TARGETS
from albert_edge.tasks import TASKS
from albert_edge.tflite.legacy_runtimes import RUNTIMES

_FORMATS = (
    "huggingface",
    "tensorflow1",
    "keras",
)  # checkpoints.formats.FORMATS, which imports more
_TFLITE_ONLY = ("target", "quantize", "keep", "calibration", "layout", "seq_len", "compat",
                "verify", "exit_patience", "exit_threshold", "sentence_embedding")  # fmt: skip


def _seq_len(_: click.Context, __: click.Parameter, value: str | None) -> list[int] | str | None:
    if value in (None, "any"):
        return value
    numbers = value.split(",")
    if not all(number.isascii() and number.isdecimal() for number in numbers):
        raise click.BadParameter(f"{value!r} is neither 'any' nor whole numbers, as in 32,128.")
    return [int(number) for number in numbers]


@click.command()
@click.argument("source")
@click.option("-o", "--output", required=True, metavar="PATH", help="File or directory to write.")
@click.option(
    "--to",
    type=click.Choice(["tflite", *_FORMATS]),
    default="tflite",
    help="Format to write: one .tflite file, or a checkpoint directory.",
)
@click.option(
    "--task",
    type=click.Choice(["auto", *TASKS]),
    default="auto",
    metavar="TASK",
    help=f"Task of the head: {', '.join(TASKS)}; auto: that of the checkpoint's head.",
)
@init_head_option
@click.option(
    "--target",
    type=click.Choice(list(TARGETS)),
    default="cpu",
    help="Where the file is to run; chooses layout, length, recipe and operators: albert-edge "
    "targets.",
)
@click.option(
    "--quantize",
    type=click.Choice(list(RECIPES)),
    help="Quantization recipe; see albert-edge recipes.",
    show_default="the target's; int8",
)
@keep_option
@calibration_option
@click.option(
    "--layout",
    type=click.Choice(list(LAYOUTS)),
    show_default="the target's; loop",
    help="Layout of the passes in the file; see albert-edge recipes.",
)
@click.option(
    "--seq-len",
    callback=_seq_len,
    show_default="the target's; any",
    metavar="any|N,...",
    help="Sequence length: any, or every text padded to N tokens, or to the least of several.",
)
@click.option(
    "--compat",
    type=click.Choice(list(RUNTIMES)),
    help="Use only operators that this older runtime supports.",
)
@click.option(
    "--verify/--no-verify",
    default=True,
    help="Compare the file with the checkpoint; if it differs too much, write nothing.",
)
@click.option(
    "--exit-patience",
    type=int,
    metavar="N",
    help="Default early exit: stop when nothing predicted changed for N layers.",
    show_default="half of all layers",
)
@click.option(
    "--exit-threshold",
    type=float,
    metavar="P",
    help="Default early exit: stop when all that is predicted is this probable.",
    show_default="never",
)
@click.option(
    "--sentence-embedding",
    is_flag=True,
    help="Of an encoder, also return the mean over all tokens, scaled to length 1.",
)
@click.option(
    "--trim-vocabulary",
    "corpus",
    metavar="CORPUS",
    help="Keep only the vocabulary that these texts need (UTF-8, one text per line).",
)
@click.option(
    "--vocabulary-size",
    "pieces",
    type=int,
    metavar="N",
    help="Keep the N most useful pieces for CORPUS; its tokenization may then change.",
)
@click.option("--allow-nan", is_flag=True, help="Accept weights that are NaN or infinite.")
@force_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    source: str,
    output: str,
    to: str,
    force: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Convert SOURCE into one .tflite file that includes its tokenizer.

    With --target edgetpu it is a folder: a host graph, and products for the chip's compiler.

    SOURCE is a directory of Hugging Face (safetensors, pytorch_model.bin, tf_model.h5), of
    Google's ALBERT (albert_config.json, model.ckpt-best) or of Keras weights; a model on the
    Hugging Face Hub; a .tflite file of albert_edge, whose weights are read back; an embedded model
    ("default", "questions", "embeddings"); or a preset's name for random weights.

    \b
    albert-edge convert ./my-albert -o my.tflite
    albert-edge convert ./my-albert -o gpu.tflite --target gpu --seq-len 32,128
    albert-edge convert ./my-albert -o app.tflite --target android
    albert-edge convert ./my-albert -o tasks.tflite --target mediapipe
    albert-edge convert ./my-encoder -o vectors.tflite --sentence-embedding
    albert-edge convert ./my-albert -o coral --target edgetpu --calibration texts.txt
    albert-edge convert ./my-albert -o npu.tflite --quantize int8-full --calibration texts.txt
    albert-edge convert albert-base-v2 -o shape.tflite --task classification --json
    albert-edge convert albert/albert-base-v2 -o google-albert --to tensorflow1
    albert-edge convert ./my-albert -o small.tflite --trim-vocabulary texts.txt
    """
    from albert_edge.cli.console import print_report, render_checkpoint, render_conversion

    reading = {name: settings.pop(name) for name in _READING}
    if to == "tflite":
        report = _make_file(source, output, force, reading, **settings)
    else:
        _refuse_options(ctx, to)
        report = _make_checkpoint(source, output, to, force, reading)
    render = render_conversion if to == "tflite" else render_checkpoint
    print_report(report, as_json=as_json, render=render)


_READING = ("task", "init_head", "allow_nan", "corpus", "pieces")


def _make_file(
    source: str,
    output: str,
    force: bool,
    reading: dict[str, Any],
    *,
    keep: tuple[str, ...],
    calibration: str | None,
    verify: bool,
    exit_patience: int | None,
    exit_threshold: float | None,
    **settings: Any,
) -> dict[str, Any]:
    from albert_edge.bundle.folder import check_product_folder
    from albert_edge.cli.console import step
    from albert_edge.early_exit import default_exit
    from albert_edge.files import check_writable

    texts = None if calibration is None else read_lines(calibration)
    check = check_product_folder if TARGETS[settings["target"]].rows else check_writable
    check(output, force=force)
    checkpoint = read_source(source, **reading)
    with step("Loading TensorFlow"):
        from albert_edge.conversion import convert
        from albert_edge.modeling import from_checkpoint
    rule: dict[str, Any] = {"patience": exit_patience, "threshold": exit_threshold}
    if given := {name: value for name, value in rule.items() if value is not None}:
        usual = default_exit(checkpoint.config.num_hidden_layers)
        settings["early_exit"] = replace(usual, **given)
    with step("Converting"):
        model = from_checkpoint(checkpoint)
        made = convert(model, kept=keep, calibration=texts, verified=verify, **settings)
        made.save(output, force=force)
    return {"output": output, **made.report}


def _make_checkpoint(
    source: str, output: str, to: str, force: bool, reading: dict[str, Any]
) -> dict[str, Any]:
    from albert_edge.cli.console import step

    checkpoint = read_source(source, **reading)
    with step("Converting"):
        from albert_edge.checkpoints import write_checkpoint

        write_checkpoint(output, checkpoint, to=to, force=force)
    return {
        "output": output,
        "format": to,
        "source": checkpoint.source,
        "task": checkpoint.task,
        "tensors": len(checkpoint.tensors),
        "left_out": list(checkpoint.unused),
        "drawn": list(checkpoint.randomly_initialized),
        "notes": list(checkpoint.notes),
        "changes": dict(checkpoint.changes),
    }


def _refuse_options(ctx: click.Context, to: str) -> None:
    for name, flag in given_parameters(ctx).items():
        if name in _TFLITE_ONLY:
            raise click.UsageError(f"{flag} is for --to tflite, not for --to {to}.")
