"""Write the tables of both READMEs, and what `albert-edge recipes` quotes, from reference/*.json.

\b
python -m benchmarks.readme            rewrite README.md, benchmarks/README.md and figures.json
python -m benchmarks.readme --check    exit with 1 if they are not what the newest reports say
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from albert_edge.quantization.recipes import RECIPES
from benchmarks import bert, lengths, scaling

ROOT = Path(__file__).parents[1]
README, GUIDE = ROOT / "README.md", ROOT / "benchmarks" / "README.md"
REFERENCE = ROOT / "benchmarks" / "reference"
FIGURES = ROOT / "albert_edge" / "compression" / "figures.json"
SHOWN = [("int8", "loop"), ("int8", "stock"), ("float32", "loop"), ("float32", "stock")]
NAMES = {"loop": "albert_edge, `loop`", "stock": "stock TFLite converter"}


def newest(kind: str) -> dict[str, Any]:
    """Read the newest report of a kind; their names end in the date."""
    paths = sorted(REFERENCE.glob(f"{kind}-*.json"), key=lambda path: path.stem[-10:])
    report: dict[str, Any] = json.loads(paths[-1].read_text(encoding="utf-8"))
    return report


def make_table() -> str:
    """Make the table of ALBERT-base's shape, beside the stock converter's graph."""
    report = newest("base_shape")
    rows = {(row["name"], row["layout"]): row for row in report["rows"]}
    lines = [
        "| ALBERT-base shape, 128 tokens | file MB | RAM MB | load + first ms | median ms |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for key in SHOWN:
        row = rows[key]
        cells = (
            f"{row['size_bytes'] / 1e6:.1f}",
            f"{row['model_rss_bytes'] / 1e6:.0f}",
            f"{row['load_ms'] + row['first_ms']:.0f}",
            f"{row['latency_ms']:.0f}",
        )
        lines.append(f"| `{key[0]}`, {NAMES[key[1]]} | {' | '.join(cells)} |")
    machine = report["machine"]
    where = (
        f"Random weights, classification head, one thread of {machine['model']}, LiteRT, "
        f"{report['date']}; RAM is over the empty process. Conversion takes "
        f"{report['conversion']['median_s']:.0f} s. `python -m benchmarks.base_shape` repeats it. "
        f"{_describe_depths()}"
    )
    return "\n".join([*lines, "", where, ""])


def _describe_depths() -> str:
    shared: dict[int, float] = {}
    stock: dict[int, float] = {}
    for row in newest("scaling")["rows"]:
        size, passes = row["name"].split(", ")
        if (size, row["seq_len"], row["threads"]) == ("base", 128, 1):
            found = shared if row["layout"] == "loop" else stock
            found[int(passes)] = row["model_rss_bytes"] / 1e6
    least, most = min(shared), max(shared)
    others = ", ".join(f"{memory:.0f} with {passes}" for passes, memory in sorted(stock.items()))
    return (
        f"With {least} pass `int8` takes {shared[least]:.0f} MB of RAM, with {most} passes "
        f"{shared[most]:.0f} (the stock converter's: {others}): `python -m benchmarks.scaling`."
    )


def recipe_figures() -> dict[str, dict[str, float]]:
    """Collect what was measured of every recipe, in layout loop."""
    shape = {row["name"]: row for row in newest("base_shape")["rows"] if row["layout"] == "loop"}
    encoder = newest("trained_encoder")["results"]
    cosines = {row["quantize"]: row["mean_cosine"] for row in encoder if row["layout"] == "loop"}
    accuracies = {row["quantize"]: row["accuracy"] for row in newest("default_accuracy")["results"]}
    return {
        name: {
            "albert_base_bytes": shape[name]["size_bytes"],
            "albert_base_rss_bytes": shape[name]["model_rss_bytes"],
            "albert_base_latency_ms": round(shape[name]["latency_ms"], 1),
            "trained_encoder_cosine": round(cosines[name], 5),
            "default_accuracy": round(accuracies[name], 4),
        }
        for name in RECIPES
    }


def make_recipes() -> str:
    """Make the table of recipes."""
    lines = [
        "| recipe | weights | computes with | MB | RAM MB | ms | cosine | accuracy |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in recipe_figures().items():
        entry = RECIPES[name]
        cells = (
            f"{row['albert_base_bytes'] / 1e6:.1f}",
            f"{row['albert_base_rss_bytes'] / 1e6:.0f}",
            f"{row['albert_base_latency_ms']:.0f}",
            f"{row['trained_encoder_cosine']:.4f}",
            f"{row['default_accuracy']:.1%}",
        )
        first = f"`{name}` | {entry.products.weights} | {entry.activations}"
        lines.append(f"| {first} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def make_peers() -> str:
    """Make the table of other people's runtimes, the fastest first."""
    report = newest("peers")
    ranked = sorted(
        (row for row in report["rows"] if row["status"] == "ok" and row["seq_len"] == 128),
        key=lambda row: row["latency_ms"],
    )
    lines = [
        "| the same ALBERT-base, 128 tokens | file MB | RAM MB | load + first ms | median ms |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in ranked:
        cells = (
            f"{row['size_bytes'] / 1e6:.1f}",
            f"{row['model_rss_bytes'] / 1e6:.0f}",
            f"{row['load_and_first_ms']:.0f}",
            f"{row['latency_ms']:.0f}",
        )
        lines.append(f"| {row['name']} `{row['recipe']}` | {' | '.join(cells)} |")
    left = [f"{row['name']} {row['recipe']}" for row in report["rows"] if row["status"] != "ok"]
    where = (
        f"One thread of {report['machine']['model']}, {report['date']}, random weights; RAM is over"
        " the process with the runtime imported. Wrong or not run, and so not ranked: "
        f"{', '.join(left) or 'none'}. `python -m benchmarks.peers` repeats it."
    )
    return "\n".join([*lines, "", where, ""])


def make_exits() -> str:
    """Make the table of when the embedded model leaves: the rules that nothing else beats."""
    report = newest("early_exit")
    whole, passes = report["off"], report["num_hidden_layers"]
    lines = [
        "| patience | threshold | accuracy | layers used | ms | of all layers' |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    rules = sorted(report["rules"], key=lambda rule: (rule["mean_layers"], -rule["accuracy"]))
    early = [rule for rule in rules if rule["mean_layers"] < passes]
    best = [max(one["accuracy"] for one in early[: at + 1]) for at in range(len(early))]
    shown = [one for at, one in enumerate(early) if one["accuracy"] > ([0.0, *best])[at]]
    for rule in [*shown, {**whole, "patience": "never", "threshold": "never"}]:
        cells = (
            str(rule["patience"]),
            str(rule["threshold"]),
            f"{rule['accuracy']:.2%}",
            f"{rule['mean_layers']:.2f} of {passes}",
            f"{rule['mean_latency_ms']:.2f}",
            f"{rule['mean_latency_ms'] / whole['mean_latency_ms']:.0%}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    where = (
        f"`int8`, {report['examples']:,} sentences, one thread of {report['machine']['model']}, "
        f"{report['date']}. `python -m benchmarks.early_exit` repeats it."
    )
    return "\n".join([*lines, "", where, ""])


def make_summaries() -> str:
    """Make the table of summaries of one sentence, the best first."""
    report = newest("summarize")
    figures = ("rouge1", "rouge2", "rougeL")
    ranked = sorted(
        (one for one in report["results"] if one["sentences"] == 1),
        key=lambda one: -one["metrics"]["rouge1"]["value"],
    )
    lines = [
        "| a sentence of a paper's abstract | ROUGE-1 | ROUGE-2 | ROUGE-L |",
        "| --- | ---: | ---: | ---: |",
    ]
    for one in ranked:
        cells = (f"{100 * one['metrics'][name]['value']:.1f}" for name in figures)
        lines.append(f"| {one['system']} | {' | '.join(cells)} |")
    where = (
        f"SciTLDR's test set, {report['examples']} abstracts, without stemming, {report['date']}. "
        "`python -m benchmarks.summarize` repeats it."
    )
    return "\n".join([*lines, "", where, ""])


def _fill(path: Path, blocks: Mapping[str, Callable[[], str]]) -> str:
    text = path.read_text(encoding="utf-8")
    for name, make in blocks.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}{make()}{end}{after}"
    return text


BLOCKS: dict[Path, dict[str, Callable[[], str]]] = {
    README: {
        "measured": make_table,
        "recipes": make_recipes,
        "peers": make_peers,
        "exits": make_exits,
        "summaries": make_summaries,
    },
    GUIDE: {
        "scaling": lambda: scaling.make_markdown(newest("scaling")),
        "bert": lambda: bert.make_markdown(newest("bert")),
        "lengths": lambda: lengths.make_markdown(newest("lengths")),
    },
}


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if it is out of date.")
def main(check: bool) -> None:
    """Replace what stands between the marks of every block."""
    written = {path: _fill(path, blocks) for path, blocks in BLOCKS.items()}
    written[FIGURES] = json.dumps(recipe_figures(), indent=1) + "\n"
    for path, content in written.items():
        if not check:
            path.write_text(content, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != content:
            sys.exit(f"{path.relative_to(ROOT)} is out of date; run: python -m benchmarks.readme")


if __name__ == "__main__":
    main()
