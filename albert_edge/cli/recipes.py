"""`albert-edge recipes`: what there is to choose from."""

from __future__ import annotations

import json

import click

from albert_edge.cli.options import json_option
from albert_edge.compression.recipes import LAYOUTS, PARTS, RECIPES, figures

__all__ = ["command"]


@click.command(short_help="List the quantization recipes and the layouts.")
@json_option
def command(as_json: bool) -> None:
    """List the values of --quantize and --layout, and the parts that --keep knows.

    \b
    albert-edge recipes
    albert-edge recipes --json
    """
    from albert_edge.cli.report import print_recipes

    recipes = [
        {"name": name, **entry.describe(), "summary": entry.summary, **figures(name)}
        for name, entry in RECIPES.items()
    ]
    if as_json:
        found = {"recipes": recipes, "layouts": LAYOUTS, "parts": PARTS}
        click.echo(json.dumps(found, indent=2))
    else:
        print_recipes(recipes, LAYOUTS)
