"""`albert-edge compress`: train a model that is smaller or faster, or loses less in a recipe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from albert_edge.cli.options import (
    calibration_option,
    force_option,
    given_parameters,
    json_option,
    keep_option,
    options_from,
    resume_option,
    take_fields,
)
from albert_edge.cli.sensitivity import analyse_sensitivity, render_sensitivity
from albert_edge.quantization.recipes import RECIPES
from albert_edge.training.compression.methods import (
    METHODS,
    OPTIONS,
    TRAINABLE,
    Cluster,
    Narrow,
    Prune,
    Qat,
    default_options,
)

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("source")
@click.option(
    "--sensitivity",
    is_flag=True,
    help="Train nothing: measure how much each part and pass adds to the error of --quantize.",
)
@click.option(
    "--with",
    "method",
    type=click.Choice(list(METHODS)),
    help="Prune weights, cluster weights, train quantization-aware, or narrow the layers; required "
    "for training.",
)
@click.option(
    "--data",
    type=_PATH,
    metavar="FILE",
    help="Labelled texts, a table as for finetune; with narrow, what finetune takes for the task; "
    "required for training.",
)
@click.option(
    "-o",
    "--output",
    type=_PATH,
    help="Directory to write, required for training; with --sensitivity, a .svg or .png chart.",
)
@click.option("--dev", type=_PATH, metavar="FILE", help="Dev set to measure on.")
@options_from(Prune(), "sparsity", "pattern")
@options_from(Cluster(), "clusters", "centroids")
@options_from(Narrow(), "heads", "ffn_channels", "outputs_weight")
@click.option(
    "--quantize",
    type=click.Choice([name for name in RECIPES if name != "float32"]),
    default=Qat().quantize,
    help="Recipe to train for (qat: int8-full or int4), or to analyse (sensitivity: any).",
)
@click.option(
    "--distill",
    "share",
    type=float,
    metavar="X",
    help="Weight of SOURCE's own predictions in the targets; the labels have the rest.",
    show_default=f"{Prune.share:g}; with narrow and --outputs-weight {Narrow.share:g}",
)
@options_from(
    OPTIONS, "epochs", unset=f"{OPTIONS.epochs}; with narrow {default_options(Narrow).epochs}"
)
@options_from(OPTIONS, "batch_tokens", "max_length", "window")
@options_from(
    OPTIONS,
    "learning_rate",
    unset=f"{OPTIONS.learning_rate:g}; with qat {default_options(Qat).learning_rate:g}, "
    f"with narrow {default_options(Narrow).learning_rate:g}",
)
@options_from(OPTIONS, "seed")
@resume_option
@keep_option
@calibration_option
@force_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, /, source: str, sensitivity: bool, as_json: bool, **settings: Any
) -> None:
    """Compress SOURCE, a text classifier or with narrow any task's model, by training it further.

    The output is a checkpoint; albert-edge convert keeps its zeros, clusters and activation ranges.

    With prune and cluster, the .tflite file is as large and as fast as before, because LiteRT's
    int8 kernels multiply zeros like any other weight.  Its download is smaller: a zip or an .apk.
    With qat nothing gets smaller, but the file of albert-edge convert --quantize int8-full (or
    int4) is closer to SOURCE.
    With narrow the file is smaller and faster: attention heads and FFN channels are removed, the
    least important first, from all passes.  The rest learns back from SOURCE: its hidden states
    after every pass and, with --outputs-weight, its predictions and the labels.

    With --sensitivity, each part of SOURCE is quantized alone, in all passes and in one at a time,
    while the rest stays float32.  An error is the root mean square of the difference from the
    float32 output, relative to that output.  Every fourth text of --calibration is measured on.

    \b
    albert-edge compress default --with prune --data reviews.tsv -o pruned
    albert-edge compress my-albert --with prune --pattern 2:4 --data reviews.tsv -o pruned
    albert-edge compress my-albert --with cluster --clusters 16 --data a.tsv --dev b.tsv -o small
    albert-edge compress my-albert --with cluster --data a.tsv -o small --resume
    albert-edge compress my-albert --with qat --quantize int8-full --data a.tsv -o integers
    albert-edge compress my-albert --with narrow --ffn-channels 50% --data a.tsv -o narrow
    albert-edge compress my-qa --with narrow --heads 4 --ffn-channels 1024 --data qa.json -o small
    albert-edge compress my-albert --sensitivity --quantize int4 --calibration texts.txt
    albert-edge compress my-albert --sensitivity --keep layer.attention_scores=int16 -o depth.svg
    """
    from albert_edge.cli.console import print_report

    _check_usage(ctx)
    measuring = {name: settings[name] for name in ("quantize", "output", "force")}
    measuring |= {name: settings.pop(name) for name in _SENSITIVITY}
    if sensitivity:
        report = analyse_sensitivity(source, **measuring)
        render: Any = render_sensitivity
    else:
        report = _train(source, **settings)
        render = _summary
    print_report(report, as_json=as_json, render=render)


_REQUIRED = ("method", "data", "output")  # for training
_SENSITIVITY = ("keep", "calibration")  # for nothing else
_EITHER = ("source", "sensitivity", "quantize", "output", "force", "as_json")


def _check_usage(ctx: click.Context) -> None:
    """Check that the given options go together, and that training has all that it requires."""
    given, method = given_parameters(ctx), ctx.params["method"]
    of = {field.name: name for name, kind in METHODS.items() for field in fields(kind)}
    of["window"] = Narrow.name  # the others train on no questions
    for name, flag in given.items():
        if name not in _EITHER and ctx.params["sensitivity"] != (name in _SENSITIVITY):
            verb = "cannot be combined with" if ctx.params["sensitivity"] else "is for"
            raise click.UsageError(f"{flag} {verb} --sensitivity.")
        if method and of.get(name, method) != method:
            raise click.UsageError(f"{flag} is for --with {of[name]}, not for --with {method}.")
    if method == Narrow.name and not given.keys() & {"heads", "ffn_channels"}:
        raise click.UsageError("--with narrow needs --heads N, --ffn-channels M, or both.")
    for one in () if ctx.params["sensitivity"] else ctx.command.params:
        if one.name in _REQUIRED and one.name not in given:
            raise click.MissingParameter(ctx=ctx, param=one)
        if one.name == "quantize":
            click.Choice(list(TRAINABLE)).convert(ctx.params["quantize"], one, ctx)


def _train(
    source: str, *, method: str, data: Path, output: Path, **settings: Any
) -> dict[str, Any]:
    methods = {name: take_fields(kind(), settings) for name, kind in METHODS.items()}
    options = take_fields(default_options(METHODS[method]), settings)
    from albert_edge.cli.console import quiet

    with quiet() as console:
        from albert_edge.training.compression.compress import compress_files

        chosen: Any = methods[method]
        return compress_files(
            source, data, output, method=chosen, options=options, console=console, **settings
        )


def _summary(report: dict[str, Any]) -> Iterator[Any]:
    from albert_edge.cli.console import render_warnings

    recipe = report["quantize"]
    old, new = report[recipe]["before"], report[recipe]["after"]
    if report["method"] == Narrow.name:
        yield from _narrowed(report, old, new)
        yield from render_warnings(report["warnings"] + report["notes"])
        return
    trained = f"trained for albert-edge convert --quantize {recipe}"
    what = trained if report["method"] == "qat" else _savings(report, old, new)
    text = f"{report['output']}: {what}"
    if change := report["change"]:
        low, high = change["interval"]
        text += (
            f"\ndev accuracy of the {recipe} file: {old['accuracy']:.1%} before, "
            f"{new['accuracy']:.1%} after: {change['value']:+.2%} (95%: {low:+.2%} to {high:+.2%})"
            f"\nsame prediction as the float32 source on {old['source_agreement']:.1%} of texts "
            f"before, {new['source_agreement']:.1%} after; probabilities differ by "
            f"{old['source_difference']:.4f} before, {new['source_difference']:.4f} after"
        )
    yield text
    yield from render_warnings(report["warnings"])


def _narrowed(report: dict[str, Any], old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    yield (
        f"{report['output']}: {new['num_attention_heads']} of {old['num_attention_heads']} heads, "
        f"{new['intermediate_size']} of {old['intermediate_size']} FFN channels"
        f"\nparameters: {old['parameters']:,} before, {new['parameters']:,} after; "
        f"multiply-adds of 128 tokens: {old['multiply_adds'] / 1e6:,.1f} M before, "
        f"{new['multiply_adds'] / 1e6:,.1f} M after"
        f"\nint8 file without tokenizer: {old['size_bytes'] / 1e6:.2f} MB before, "
        f"{new['size_bytes'] / 1e6:.2f} MB after"
    )
    for stage, when in (("removed", "after the removal"), ("after", "at the end")):
        changes: dict[str, Any] = report["changes"][stage] or {}
        name = next(iter(changes), "")
        change = changes.get(name, {})
        values = [change.get(key) for key in ("value", "low", "high")]
        if None in values:  # without --dev, or undefined
            continue
        first, last = (report["int8"][one]["metrics"][name]["value"] for one in ("before", stage))
        style = ".2%" if change["share"] else ".4f"
        value, low, high = (format(one, "+" + style) for one in values)
        yield (
            f"dev {name} of the int8 file: {first:{style}} before, {last:{style}} {when}: "
            f"{value} (95%: {low} to {high})"
        )


def _savings(report: dict[str, Any], old: dict[str, Any], new: dict[str, Any]) -> str:
    matrices = report["tensors"].values()
    numbers = sum(matrix["numbers"] for matrix in matrices)
    zeros = sum(matrix["sparsity"] * matrix["numbers"] for matrix in matrices) / numbers
    codes = max(matrix["int8_codes"] for matrix in matrices)
    return (
        f"{len(matrices)} matrices, {zeros:.1%} zeros, at most {codes} int8 "
        f"codes in each\nint8 file without tokenizer: {old['size_bytes'] / 1e6:.2f} MB; its zip "
        f"{old['zip_bytes'] / 1e6:.2f} MB before and {new['zip_bytes'] / 1e6:.2f} MB after: "
        f"{report['zip_share']:.1%} of the file, {report['zip_share_of_zip']:.1%} of the zip"
    )
