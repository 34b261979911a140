"""`albert-edge presets` and `albert-edge recipes`: published configurations, recipes, layouts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from albert_edge.cli.options import json_option
from albert_edge.config import PRESETS
from albert_edge.quantization.recipes import PARTS, RECIPES, recipe_figures
from albert_edge.tflite.layouts import LAYOUTS

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["presets", "recipes"]


@click.command("presets")
@json_option
def presets(as_json: bool) -> None:
    """List the published ALBERT configurations and their parameter counts.

    Parameters are those of the encoder and its pooler.  Unshared is the same encoder with separate
    weights for every layer and embeddings as wide as the hidden layers, as in BERT.

    \b
    albert-edge presets
    albert-edge presets --json
    """
    from rich.console import Console

    rows = [_describe(name) for name in PRESETS]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        Console().print(_table(rows))


def _describe(name: str) -> dict[str, Any]:
    from albert_edge.checkpoints.init import count_parameters, count_unshared

    config = PRESETS[name]
    parameters, unshared = count_parameters(config), count_unshared(config)
    return {
        "name": name,
        "num_hidden_layers": config.num_hidden_layers,
        "hidden_size": config.hidden_size,
        "num_attention_heads": config.num_attention_heads,
        "parameters": parameters,
        "unshared_parameters": unshared,
        "ratio": round(unshared / parameters, 1),
        "float32_bytes": 4 * parameters,
    }


def _table(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, collapse_padding=True)
    table.add_column("name", no_wrap=True)
    for title in ("layers", "hidden", "heads", "parameters", "unshared", "ratio", "float32 MB"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        *numbers, ratio, size = list(row.values())[1:]
        table.add_row(
            row["name"], *(f"{number:,}" for number in numbers), f"{ratio}×", f"{size / 1e6:.1f}"
        )
    return table


@click.command("recipes")
@json_option
def recipes(as_json: bool) -> None:
    """List the recipes of --quantize, the layouts of --layout and the parts of --keep.

    \b
    albert-edge recipes
    albert-edge recipes --json
    """
    rows = [
        {"name": name, **entry.describe(), "summary": entry.summary, **recipe_figures(name)}
        for name, entry in RECIPES.items()
    ]
    if as_json:
        found = {"recipes": rows, "layouts": LAYOUTS, "parts": PARTS}
        click.echo(json.dumps(found, indent=2))
    else:
        _print_recipes(rows)


def _print_recipes(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table("recipe", "use", title="--quantize", show_lines=True)
    for row in rows:
        stored = f"[dim]weights: {row['weights']}; activations: {row['activations']}[/]"
        table.add_row(row["name"], f"{row['summary']}\n{stored}")
    console.print(table)
    table = Table(title="measured")
    for column in ("recipe", "MB", "RAM MB", "ms", "cosine", "accuracy"):
        table.add_column(column, justify="left" if column == "recipe" else "right")
    for row in rows:
        table.add_row(row["name"], *_measured(row))
    console.print(table)
    console.print(
        "  MB, RAM, ms: ALBERT-base, 128 tokens, one thread\n"
        "  cosine: hidden states of a trained encoder against float32\n"
        "  accuracy: the embedded model on held-out sentences\n"
    )
    table = Table("layout", "use", title="--layout")
    for name, summary in LAYOUTS.items():
        table.add_row(name, summary)
    console.print(table)
    console.print(f"--keep PART=TYPE: PART is {', '.join(PARTS)}, or a common prefix of several")


def _measured(row: Mapping[str, Any]) -> tuple[str, ...]:
    if "albert_base_bytes" not in row:
        return ("-",) * 5
    return (
        f"{row['albert_base_bytes'] / 1e6:.1f}",
        f"{row['albert_base_rss_bytes'] / 1e6:.0f}",
        f"{row['albert_base_latency_ms']:.0f}",
        f"{row['trained_encoder_cosine']:.4f}",
        f"{row['default_accuracy']:.1%}",
    )
