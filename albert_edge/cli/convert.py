"""`albert-edge convert`: a checkpoint becomes one file, or a checkpoint of another format."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import click
from click.core import ParameterSource

from albert_edge.cli.options import force_option, init_head_option, json_option, seq_len_option
from albert_edge.quantization.recipes import RECIPES
from albert_edge.tasks import TASKS
from albert_edge.tflite.layouts import LAYOUTS
from albert_edge.tflite.legacy_runtimes import RUNTIMES

__all__ = ["command"]

_FORMATS = ("huggingface", "tensorflow1", "keras")  # checkpoints.write.FORMATS, which imports more
_TFLITE_ONLY = ("quantize", "keep", "calibration", "layout", "seq_len", "compat", "verify",
                "exit_patience", "exit_threshold")  # fmt: skip


@click.command(short_help="Turn a checkpoint into one .tflite file.")
@click.argument("source")
@click.option("-o", "--output", required=True, metavar="PATH", help="The file to write.")
@click.option(
    "--to",
    type=click.Choice(["tflite", *_FORMATS]),
    default="tflite",
    show_default=True,
    help="Make a .tflite file, or the directory of a checkpoint.",
)
@click.option(
    "--task",
    type=click.Choice(["auto", *TASKS]),
    default="auto",
    show_default=True,
    help="What the head answers; auto takes the head that the checkpoint has.",
)
@init_head_option
@click.option(
    "--quantize",
    type=click.Choice(list(RECIPES)),
    default="int8",
    show_default=True,
    help="How weights are stored; see albert-edge recipes.",
)
@click.option(
    "--keep",
    multiple=True,
    metavar="PART=TYPE",
    help="Another precision for a part, such as layer.ffn_output=float32; may be repeated.",
)
@click.option(
    "--calibration",
    metavar="FILE",
    help="Texts like those to come, one a line, for a recipe that needs them.  [default: a dozen "
    "built-in sentences]",
)
@click.option(
    "--layout",
    type=click.Choice(list(LAYOUTS)),
    default="loop",
    show_default=True,
    help="How the passes are laid out; see albert-edge recipes.",
)
@seq_len_option
@click.option(
    "--compat",
    type=click.Choice(list(RUNTIMES)),
    help="Use only operators that a runtime of years ago has.",
)
@click.option(
    "--verify/--no-verify",
    default=True,
    show_default=True,
    help="Compare the file with the checkpoint, and refuse to write one that fails.",
)
@click.option(
    "--exit-patience",
    type=int,
    metavar="N",
    help="Of a model with early exit: leave when N layers in a row confirm the answer, if its "
    "caller says nothing else.  [default: half of all layers]",
)
@click.option(
    "--exit-threshold",
    type=float,
    metavar="P",
    help="The same: leave when a label has this probability.  [default: never]",
)
@click.option(
    "--trim-vocabulary",
    "corpus",
    metavar="CORPUS",
    help="Keep only the pieces that these texts need: UTF-8, one text a line.",
)
@click.option(
    "--vocabulary-size",
    "pieces",
    type=int,
    metavar="N",
    help="Keep the N most useful pieces for CORPUS, which may then be cut differently.",
)
@click.option("--allow-nan", is_flag=True, help="Take weights that are NaN or infinite.")
@force_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    source: str,
    output: str,
    to: str,
    task: str,
    init_head: bool,
    quantize: str,
    keep: tuple[str, ...],
    calibration: str | None,
    layout: str,
    seq_len: int | None,
    compat: str | None,
    verify: bool,
    exit_patience: int | None,
    exit_threshold: float | None,
    corpus: str | None,
    pieces: int | None,
    allow_nan: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Turn SOURCE into one .tflite file that carries its tokenizer.

    SOURCE is a directory of Hugging Face (safetensors, pytorch_model.bin, tf_model.h5), of
    Google's ALBERT (albert_config.json, model.ckpt-best) or of Keras weights; a model of the
    Hugging Face Hub; "default" for the embedded model; or a preset's name for random weights.

    \b
    albert-edge convert ./my-albert -o my.tflite
    albert-edge convert ./my-albert -o gpu.tflite --quantize float16 --layout unrolled --seq-len 128
    albert-edge convert ./my-albert -o npu.tflite --quantize int8-full --calibration texts.txt
    albert-edge convert albert-base-v2 -o shape.tflite --task classification --json
    albert-edge convert albert/albert-base-v2 -o google-albert --to tensorflow1
    albert-edge convert ./my-albert -o small.tflite --trim-vocabulary texts.txt
    """
    from albert_edge.cli.console import print_conversion, print_rewritten, read_lines

    reading = {"task": task, "init_head": init_head, "allow_nan": allow_nan}
    reading |= {"corpus": corpus, "pieces": pieces}
    if to == "tflite":
        making: dict[str, Any] = {"quantize": quantize, "layout": layout, "seq_len": seq_len}
        making |= {"compat": compat, "verified": verify, "kept": keep}
        making["calibration"] = None if calibration is None else read_lines(calibration)
        making["early_exit"] = {"patience": exit_patience, "threshold": exit_threshold}
        report = _make_file(source, output, force, reading, making)
    else:
        _refuse_options(ctx, to)
        report = _make_checkpoint(source, output, to, force, reading)
    show = print_conversion if to == "tflite" else print_rewritten
    click.echo(json.dumps(report, indent=2)) if as_json else show(report)


def _make_file(
    source: str, output: str, force: bool, reading: dict[str, Any], making: dict[str, Any]
) -> dict[str, Any]:
    from albert_edge.cli.console import step
    from albert_edge.cli.options import read_source
    from albert_edge.early_exit import default_exit
    from albert_edge.files import check_writable

    check_writable(output, force=force)
    with step("Loading TensorFlow"):
        from albert_edge.conversion import convert
        from albert_edge.modeling.load import from_checkpoint
    checkpoint = read_source(source, **reading)
    given = {name: one for name, one in making["early_exit"].items() if one is not None}
    usual = default_exit(checkpoint.config.num_hidden_layers)
    making["early_exit"] = replace(usual, **given) if given else None
    with step("Converting"):
        made = convert(from_checkpoint(checkpoint), **making)
        made.save(output, force=force)
    return {"output": output, **made.report}


def _make_checkpoint(
    source: str, output: str, to: str, force: bool, reading: dict[str, Any]
) -> dict[str, Any]:
    from albert_edge.cli.console import step
    from albert_edge.cli.options import read_source

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
        "left_out": list(checkpoint.left_out),
        "drawn": list(checkpoint.drawn),
        "notes": list(checkpoint.notes),
        "changes": dict(checkpoint.changes),
    }


def _refuse_options(ctx: click.Context, to: str) -> None:
    for parameter in ctx.command.params:
        given = ctx.get_parameter_source(str(parameter.name)) == ParameterSource.COMMANDLINE
        if given and parameter.name in _TFLITE_ONLY:
            raise click.UsageError(f"{parameter.opts[0]} is for --to tflite, not for --to {to}.")
