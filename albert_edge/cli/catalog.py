"""`albert-edge presets`, `recipes` and `targets`: configurations, recipes, layouts, targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from albert_edge.cli.options import json_option
from albert_edge.config import LAYOUTS, PRESETS
from albert_edge.quantization.recipes import PARTS, RECIPES, recipe_figures
from albert_edge.targets import TARGETS, target_figures

if TYPE_CHECKING:
    from rich.table import Table


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
    from albert_edge.cli.console import print_report

    rows = [_describe(name) for name in PRESETS]
    print_report(rows, as_json=as_json, render=lambda rows: [_table(rows)])


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
    from albert_edge.cli.console import print_report

    rows = [
        {"name": name, **entry.describe(), "summary": entry.summary, **recipe_figures(name)}
        for name, entry in RECIPES.items()
    ]
    found = {"recipes": rows, "layouts": LAYOUTS, "parts": PARTS}
    print_report(found, as_json=as_json, render=_render_recipes)


def _render_recipes(found: Mapping[str, Any]) -> Iterator[Any]:
    from rich.table import Table
    from rich.text import Text

    rows = found["recipes"]
    table = Table("recipe", "use", title="--quantize", show_lines=True)
    for row in rows:
        stored = f"weights: {row['weights']}; activations: {row['activations']}"
        table.add_row(row["name"], Text.assemble(f"{row['summary']}\n", (stored, "dim")))
    yield table
    table = Table(title="measured")
    for column in ("recipe", "MB", "RAM MB", "ms", "cosine", "accuracy"):
        table.add_column(column, justify="left" if column == "recipe" else "right")
    for row in rows:
        table.add_row(row["name"], *_measured(row))
    yield table
    yield (
        "  MB, RAM, ms: ALBERT-base, 128 tokens, one thread\n"
        "  cosine: hidden states of a trained encoder against float32\n"
        "  accuracy: the embedded model on held-out sentences\n"
    )
    table = Table("layout", "use", title="--layout")
    for name, summary in found["layouts"].items():
        table.add_row(name, summary)
    yield table
    yield (f"--keep PART=TYPE: PART is {', '.join(PARTS)}, or a common prefix of several")


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


@click.command("targets")
@json_option
def targets(as_json: bool) -> None:
    """List the targets of --target: what each chooses, why, and what that comes to.

    \b
    albert-edge targets
    albert-edge targets --json
    """
    from albert_edge.cli.console import print_report

    rows = [
        {
            "name": name,
            "summary": entry.summary,
            "layout": entry.layouts[0],
            "quantize": entry.recipes[0],
            "recipes": list(entry.recipes),
            "seq_len": entry.seq_len,
            "seq_len_of_task": dict(entry.seq_len_of_task),
            "rows": entry.rows,
            "shorter": {str(most): less for most, less in entry.shorter.items()},
            "graph": entry.graph,
            "compat": entry.compat,
            "reasons": dict(entry.reasons),
            **target_figures(name),
        }
        for name, entry in TARGETS.items()
    ]
    print_report(rows, as_json=as_json, render=_render_targets)


def _render_targets(rows: list[dict[str, Any]]) -> Iterator[Any]:
    from rich.table import Table
    from rich.text import Text

    for row in rows:
        yield Text.assemble((row["name"], "bold"), f"  {row['summary']}")
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(style="dim")
        chosen = {
            "layout": row["layout"],
            "seq-len": _describe_lengths(row),
            "quantize": row["quantize"],
            "compat": row["compat"],
        }
        for option, value in chosen.items():
            if value is not None:
                table.add_row(f"  {option}", value, row["reasons"].get(option, ""))
        yield table
        yield ""
    measured = Table(title="measured: the embedded model at 128 tokens")
    for title in ("target", "file MB", "CPU ms", "error", "on the GPU"):
        measured.add_column(title, justify="left" if title == "target" else "right")
    for row in rows:
        measured.add_row(row["name"], *_measured_target(row))
    yield measured
    yield (
        "  CPU ms: one thread; error: of the logits, against float32 Keras\n"
        "  on the GPU: the other operators look up tables, or unpack float16 weights once"
    )


def _describe_lengths(row: Mapping[str, Any]) -> str:
    def lengths(longest: int | None) -> str:
        shorter = row["shorter"].get(str(longest))
        return (f"{shorter}, " if shorter else "") + str(longest or "any")

    of_task = row["seq_len_of_task"].items()
    between = "; " if row["shorter"] else ", "
    others = [f"{between}{lengths(length)} for {task}" for task, length in of_task]
    parts = [] if row["rows"] is None else [f", in parts of {row['rows']}"]
    return "".join([lengths(row["seq_len"]), *others, *parts])


def _measured_target(row: Mapping[str, Any]) -> tuple[str, ...]:
    if "size_bytes" not in row:
        return ("-",) * 4
    nodes = row["accelerated_nodes"]
    return (
        f"{row['size_bytes'] / 1e6:.1f}",
        f"{row['cpu_latency_ms']:.2f}",
        f"{row['error']:.4f}",
        "-" if nodes is None else f"{nodes} of {row['nodes']}",
    )
