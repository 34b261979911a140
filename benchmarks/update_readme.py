"""Fill the measured tables of README.md, docs/ and benchmarks/README.md from reference/*.json.

It also writes figures.json, from which `albert-edge recipes` reads its figures.

\b
python -m benchmarks.update_readme            rewrite the tables and figures.json
python -m benchmarks.update_readme --check    exit with 1 if they differ from the newest reports
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from albert_edge import benchmark
from albert_edge.benchmark.system import INT8_DOTS
from albert_edge.quantization.recipes import RECIPES
from benchmarks import (
    android_arm64,
    android_tokenizer,
    arm,
    bert,
    edgetpu,
    gpu,
    lengths,
    peers,
    scaling,
)

ROOT = Path(__file__).parents[1]
README, GUIDE, DOCS = ROOT / "README.md", ROOT / "benchmarks" / "README.md", ROOT / "docs"
REFERENCE = ROOT / "benchmarks" / "reference"
FIGURES = Path(inspect.getfile(type(RECIPES["int8"]))).with_name("figures.json")
SCHEMA = Path(inspect.getfile(benchmark)).with_name("schema.json")
WIDTH = 100  # characters of a line of text; tables are wider
SHOWN = [("int8", "loop"), ("int8", "stock"), ("float32", "loop"), ("float32", "stock")]
NAMES = {"loop": "albert_edge, `loop`", "stock": "stock TFLite converter"}


def newest(kind: str) -> dict[str, Any]:
    """Read the newest report of a kind; file names end with the date."""
    paths = sorted(REFERENCE.glob(f"{kind}-*.json"), key=lambda path: path.stem[-10:])
    report: dict[str, Any] = json.loads(paths[-1].read_text(encoding="utf-8"))
    return report


def newest_of_each(kind: str) -> list[dict[str, Any]]:
    """Read the newest report of a kind of each processor, the newest first."""
    paths = sorted(REFERENCE.glob(f"{kind}-*.json"), key=lambda path: path.stem[-10:])
    each = {path.stem[:-11]: path for path in paths}
    ordered = sorted(each.values(), key=lambda path: path.stem[-10:], reverse=True)
    return [json.loads(path.read_text(encoding="utf-8")) for path in ordered]


def make_table() -> str:
    """Make the table of ALBERT-base's shape, with the stock converter's graph beside it."""
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
        f"{report['date']}. RAM excludes the empty process. Conversion takes "
        f"{report['conversion']['median_s']:.0f} s. {_describe_depths()} "
        "Reproduce with `python -m benchmarks.base_shape` and `python -m benchmarks.scaling`."
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
    others = " and ".join(
        f"{memory:.0f} MB with {passes} passes" for passes, memory in sorted(stock.items())
    )
    return (
        f"With {least} pass `int8` takes {shared[least]:.0f} MB of RAM, and with {most} passes "
        f"{shared[most]:.0f} MB; the stock converter's file takes {others}."
    )


def recipe_figures() -> dict[str, dict[str, float]]:
    """Collect the measured figures of every recipe in layout `loop`."""
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
        "| recipe | weights | arithmetic | MB | RAM MB | ms | cosine | accuracy |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in recipe_figures().items():
        described = RECIPES[name].describe()
        cells = (
            f"{row['albert_base_bytes'] / 1e6:.1f}",
            f"{row['albert_base_rss_bytes'] / 1e6:.0f}",
            f"{row['albert_base_latency_ms']:.0f}",
            f"{row['trained_encoder_cosine']:.4f}",
            f"{row['default_accuracy']:.1%}",
        )
        first = f"`{name}` | {described['weights']} | {described['activations']}"
        lines.append(f"| {first} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def make_peers() -> str:
    """Make the tables of other runtimes on each processor."""
    return "\n".join(map(_peers_of, newest_of_each("peers")))


def _peers_of(report: Mapping[str, Any]) -> str:
    """Make the table of other runtimes, the fastest first."""

    def is_wanted(row: dict[str, Any]) -> bool:
        return row.get("condition", f"{row['seq_len']} tokens") == "128 tokens"

    ranked = sorted(
        (row for row in report["rows"] if row["status"] == "ok" and is_wanted(row)),
        key=lambda row: row["latency_ms"],
    )
    lines = [
        "| ALBERT-base's shape, 128 tokens | MB | RAM MB | load + first ms | median ms | error % |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in ranked:
        cells = (
            f"{row['size_bytes'] / 1e6:.1f}",
            f"{row['model_rss_bytes'] / 1e6:.0f}",
            f"{row['load_and_first_ms']:.0f}",
            f"{row['latency_ms']:.0f}",
            f"{100 * row['fidelity']['outputs']['logits']['error']:.1f}",
        )
        lines.append(f"| {row['name']} `{row['recipe']}` | {' | '.join(cells)} |")
    left = dict.fromkeys(
        f"{row['name']} {row['recipe']}" for row in report["rows"] if row["status"] != "ok"
    )
    machine = report["machine"]
    dots = sorted(INT8_DOTS & set(machine["instructions"]))
    where = (
        f"One thread of {machine['model']}, {machine['cores']} cores "
        f"({', '.join(dots) or 'no dot products of int8'}), {report['date']}, random weights. "
        "RAM excludes the process with the runtime imported; the error is the root mean square of "
        "the difference from Keras in float32, over that of the logits. "
        f"Not ranked, because wrong or not run: {', '.join(left) or 'none'}. Reproduce with "
        "`python -m benchmarks.peers`."
    )
    return "\n".join([*lines, "", where, "", *_ratios(report)])


def _ratios(report: Mapping[str, Any]) -> list[str]:
    """Make the table of our ratios to the best other runtime."""
    if "conditions" not in report:
        return []
    lines = [
        "| this project's | over the best of the others | ratio | 95% interval |",
        "| --- | --- | ---: | ---: |",
    ]
    for (what, over), _, (ratio, low, high) in peers.compare(report):
        lines.append(f"| {what} | {over} | {ratio:.2f} | {low:.2f} to {high:.2f} |")
    rounds = max(len(row.get("rounds", ())) for row in report["rows"])
    note = (
        f"{rounds} rounds, each with a fresh process for every file, in a new order; a ratio is "
        "the median of those of the rounds, with the interval of Wilcoxon's signed ranks. Others "
        f"whose error is above {peers.MOST_ERROR:.0%} do not count."
    )
    return [*lines, "", note, ""]


def make_report_fields() -> str:
    """Make the tables of the fields of a benchmark report, from its JSON Schema."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    parts = {"the report": schema}
    for name in ("machine", "settings"):
        parts[f"`{name}`"] = schema["properties"][name]
    parts |= {f"`{name}`": part for name, part in schema["$defs"].items()}
    lines: list[str] = []
    for title, part in parts.items():
        whole = part.get("oneOf", [part])[0]  # or else it is null
        lines += [f"### {title.capitalize()}", "", whole["description"], ""]
        if fields := whole.get("properties"):
            lines += ["| field | type | meaning |", "| --- | --- | --- |"]
            lines += [
                f"| `{name}` | {_type_of(field)} | {field.get('description', '')} |"
                for name, field in fields.items()
            ]
            lines.append("")
    return "\n".join(lines)


def _type_of(field: Mapping[str, Any]) -> str:
    if reference := field.get("$ref"):
        name = reference.rpartition("/")[2]
        return f"[{name}](#{name})"
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{choice}`" if choice else "null" for choice in field["enum"])
    kinds = field.get("type", "any")
    named = " or ".join([kinds] if isinstance(kinds, str) else kinds)
    return f"{named} of {_type_of(field['items'])}" if "items" in field else named


def make_exits() -> str:
    """Make the table of the embedded model's early exit: the Pareto-optimal rules."""
    report = newest("early_exit")
    whole, passes = report["off"], report["num_hidden_layers"]
    lines = [
        "| patience | threshold | accuracy | layers used | ms | share of full ms |",
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
        f"{report['date']}. Reproduce with `python -m benchmarks.early_exit`."
    )
    return "\n".join([*lines, "", where, ""])


def make_devices() -> str:
    """Make the table of a real GPU."""
    report = newest("gpu_device")
    rows = {(row["name"], row["accelerator"]): row for row in report["rows"]}
    lines = [
        "| file | tokens | CPU ms | GPU ms, float32 | error | GPU ms, default | error |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in dict.fromkeys(row["name"] for row in report["rows"]):
        cpu = rows[name, "cpu"]
        cells = [f"`{name}`", str(cpu["seq_len"]), f"{cpu['latency_ms']:.1f}"]
        for accelerator in ("gpu:float32", "gpu:default"):
            row = rows[name, accelerator]
            worst = max(one["error"] for one in row["fidelity"]["outputs"].values())
            cells += [f"{row['latency_ms']:.1f}", f"{worst:.0e}"]
        lines.append(f"| {' | '.join(cells)} |")
    device = next(row["acceleration"]["device"] for row in report["rows"] if "acceleration" in row)
    where = (
        f"{device} in CompiledModel, {report['date']}; the CPU is one thread of "
        f"{report['machine']['model']}. The error is the root mean square of the outputs' "
        "difference from the CPU's own kernels on the same file, over that of the latter; for "
        "`int8` those quantize the activations. `base` has random weights, the others are trained."
    )
    return "\n".join([*lines, "", where, ""])


def make_summaries() -> str:
    """Make the table of one-sentence summaries, the best first."""
    report = newest("summarize")
    figures = ("rouge1", "rouge2", "rougeL")
    ranked = sorted(
        (one for one in report["results"] if one["sentences"] == 1),
        key=lambda one: -one["metrics"]["rouge1"]["value"],
    )
    lines = [
        "| one sentence of a paper's abstract | ROUGE-1 | ROUGE-2 | ROUGE-L |",
        "| --- | ---: | ---: | ---: |",
    ]
    for one in ranked:
        cells = (f"{100 * one['metrics'][name]['value']:.1f}" for name in figures)
        lines.append(f"| {one['system']} | {' | '.join(cells)} |")
    where = (
        f"SciTLDR's test set, {report['examples']} abstracts, without stemming, {report['date']}. "
        "Reproduce with `python -m benchmarks.summarize`."
    )
    return "\n".join([*lines, "", where, ""])


def _fill(path: Path, blocks: Mapping[str, Callable[[], str]]) -> str:
    text = path.read_text(encoding="utf-8")
    for name, make in blocks.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
        if text.count(begin) != 1 or text.count(end) != 1:
            sys.exit(f"{path.relative_to(ROOT)}: expected the marks of {name!r} once.")
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}{_wrap(make())}{end}{after}"
    return text


def _wrap(block: str) -> str:
    """Break the lines of text, but not those of tables, and not inside `code`."""
    lines = (line if line.startswith("|") else _fill_line(line) for line in block.splitlines())
    return "".join(f"{line}\n" for line in lines)


def _fill_line(line: str) -> str:
    joined = re.sub("`[^`]*`", lambda code: code[0].replace(" ", "\0"), line)
    options = {"width": WIDTH, "break_on_hyphens": False, "break_long_words": False}
    return textwrap.fill(joined, **options).replace("\0", " ")


BLOCKS: dict[Path, dict[str, Callable[[], str]]] = {
    README: {"measured": make_table},
    DOCS / "quantization.md": {"recipes": make_recipes},
    DOCS / "evaluation.md": {"summaries": make_summaries},
    DOCS / "gpu.md": {"gpu": lambda: gpu.make_markdown(newest("gpu")), "gpu_device": make_devices},
    DOCS / "edgetpu.md": {"edgetpu": lambda: edgetpu.make_markdown(newest("edgetpu"))},
    DOCS / "android.md": {
        "android_arm64": lambda: android_arm64.make_markdown(newest("android_arm64")),
        "android_tokenizer": lambda: android_tokenizer.make_markdown(newest("android_tokenizer")),
    },
    DOCS / "benchmarking.md": {
        "arm": lambda: arm.make_markdown(newest("arm")),
        "exits": make_exits,
    },
    DOCS / "comparison.md": {"peers": make_peers},
    DOCS / "report.md": {"fields": make_report_fields},
    GUIDE: {
        "scaling": lambda: scaling.make_markdown(newest("scaling")),
        "bert": lambda: bert.make_markdown(newest("bert")),
        "lengths": lambda: lengths.make_markdown(newest("lengths")),
    },
}


@click.command(help=__doc__)
@click.option(
    "--check", is_flag=True, help="Change nothing; exit with 1 if a table is out of date."
)
def main(check: bool) -> None:
    """Replace the text between the marks of every block."""
    written = {path: _fill(path, blocks) for path, blocks in BLOCKS.items()}
    written[FIGURES] = json.dumps(recipe_figures(), indent=1) + "\n"
    for path, content in written.items():
        if not check:
            path.write_text(content, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != content:
            sys.exit(
                f"{path.relative_to(ROOT)} is out of date; run: python -m benchmarks.update_readme"
            )


if __name__ == "__main__":
    main()
