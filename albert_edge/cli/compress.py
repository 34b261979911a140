"""`albert-edge compress`: a model becomes smaller while it trains."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from albert_edge.cli import sensitivity
from albert_edge.cli.options import force_option, json_option
from albert_edge.training.compression.methods import CENTROIDS, METHODS, PATTERNS, TRAINABLE

__all__ = ["command"]


class _Compress(click.Command):
    """A command whose place another takes where nothing is to be trained."""

    def make_context(
        self, info_name: str | None, args: list[str], *rest: Any, **extra: Any
    ) -> click.Context:
        if "--sensitivity" in args:
            return sensitivity.command.make_context(info_name, args, *rest, **extra)
        return super().make_context(info_name, args, *rest, **extra)


@click.command(cls=_Compress, short_help="Make an ALBERT smaller while it trains.")
@click.argument("source")
@click.option(
    "--sensitivity",
    is_flag=True,
    expose_value=False,
    help="Train nothing: show where a recipe's error comes from; see --sensitivity --help.",
)
@click.option(
    "--with",
    "method",
    required=True,
    type=click.Choice(list(METHODS)),
    help="Make numbers zero, let them share few values, or get used to integers.",
)
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="Labelled texts to train on, a table as for finetune.",
)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="The directory to write."
)
@click.option("--dev", type=click.Path(path_type=Path), help="Measure the accuracy on this table.")
@click.option("--sparsity", default=0.5, show_default=True, help="prune: the share of zeros.")
@click.option(
    "--pattern",
    type=click.Choice(list(PATTERNS)),
    default="unstructured",
    show_default=True,
    help="prune: any numbers, two of every four (zips worse), or four at a time (zips better).",
)
@click.option("--clusters", default=32, show_default=True, help="cluster: values in a matrix.")
@click.option(
    "--centroids",
    type=click.Choice(list(CENTROIDS)),
    default="linear",
    show_default=True,
    help="cluster: where they begin; evenly spaced ones zip best.",
)
@click.option(
    "--quantize",
    type=click.Choice(list(TRAINABLE)),
    default="int8-full",
    show_default=True,
    help="qat: the recipe that the model gets used to.",
)
@click.option(
    "--distill",
    "share",
    default=1.0,
    show_default=True,
    help="The share of the targets that SOURCE says itself; labels are the rest.",
)
@click.option("--epochs", default=2, show_default=True, help="How often the data are seen.")
@click.option("--batch-tokens", default=2048, show_default=True, help="Tokens in a batch.")
@click.option("--max-length", default=128, show_default=True, help="Cut training texts to this.")
@click.option(
    "--learning-rate", type=float, help="The highest one.  [default: 3e-4; with qat 3e-5]"
)
@click.option("--seed", default=0, show_default=True, help="Another seed, another model.")
@click.option("--resume", is_flag=True, help="Go on with a training that was interrupted.")
@force_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    source: str,
    method: str,
    data: Path,
    output: Path,
    dev: Path | None,
    share: float,
    resume: bool,
    force: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train SOURCE, a text classifier, into one whose file zips to less or loses less.

    The output is a checkpoint; albert-edge convert keeps its zeros, its codes and its ranges.

    With prune and cluster the .tflite is as large and as fast as before: LiteRT's int8 kernels
    multiply zeros like any number, in any pattern. What shrinks is what is downloaded: a zip, an
    .apk. With qat nothing shrinks: the file of albert-edge convert --quantize int8-full (or int4)
    says more nearly what SOURCE says.

    \b
    albert-edge compress default --with prune --data reviews.tsv -o pruned
    albert-edge compress my-albert --with prune --pattern 2:4 --data reviews.tsv -o pruned
    albert-edge compress my-albert --with cluster --clusters 16 --data a.tsv --dev b.tsv -o small
    albert-edge compress my-albert --with cluster --data a.tsv -o small --resume
    albert-edge compress my-albert --sensitivity --quantize int8-full -o depth.svg
    albert-edge compress my-albert --with qat --quantize int8-full --data a.tsv -o integers
    """
    chosen = METHODS[method](**_take(ctx, method, settings))
    settings = {name: value for name, value in settings.items() if value is not None}
    from albert_edge.cli.console import quiet

    with quiet() as console:
        from albert_edge.training.compression.compress import compress_files, default_options

        report = compress_files(
            source,
            data,
            output,
            method=chosen,
            share=share,
            dev=dev,
            options=dataclasses.replace(default_options(chosen), **settings),
            resume=resume,
            force=force,
            console=console,
        )
    click.echo(json.dumps(report, indent=2) if as_json else _summary(report))


def _take(ctx: click.Context, method: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Take the options of all methods out of `settings`; return those of the one that is asked."""
    taken: dict[str, dict[str, Any]] = {}
    for name, kind in METHODS.items():
        taken[name] = {f.name: settings.pop(f.name) for f in dataclasses.fields(kind)}
        for option in taken[name] if name != method else ():
            if ctx.get_parameter_source(option) == ParameterSource.COMMANDLINE:
                raise click.UsageError(f"--{option} is for --with {name}, not for --with {method}.")
    return taken[method]


def _summary(report: dict[str, Any]) -> str:
    recipe = report["quantize"]
    old, new = report[recipe]["before"], report[recipe]["after"]
    trained = f"trained for albert-edge convert --quantize {recipe}"
    what = trained if report["method"] == "qat" else _savings(report, old, new)
    text = f"{report['output']}: {what}"
    if change := report["change"]:
        low, high = change["interval"]
        text += (
            f"\ndev accuracy of the {recipe} file: {old['accuracy']:.1%} before, "
            f"{new['accuracy']:.1%} after: {change['value']:+.2%} (95%: {low:+.2%} to {high:+.2%})"
            f"\nit answers what the source does in float32 on {old['source_agreement']:.1%} of the "
            f"texts before, {new['source_agreement']:.1%} after; probabilities are off by "
            f"{old['source_difference']:.4f} before, {new['source_difference']:.4f} after"
        )
    return text


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
