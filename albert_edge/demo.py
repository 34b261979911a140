"""Convert, verify and benchmark the embedded sentiment model, then run all embedded models.

`run_demo` does the work; `to_document` returns its results as a benchmark report, and `render` lays
them out for a terminal.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

import albert_edge
from albert_edge.benchmark.console import make_table
from albert_edge.benchmark.measure import interleave, measure
from albert_edge.benchmark.report_file import Row, make_report
from albert_edge.config import LAYOUTS
from albert_edge.early_exit import NEVER
from albert_edge.errors import OutputError
from albert_edge.files import check_writable
from albert_edge.quantization.recipes import RECIPES, get_recipe

__all__ = ["render", "run_demo", "to_document"]

SENTENCES = (
    "A warm, funny film that earns its tears.",
    "Two hours of stale jokes and a plot that goes nowhere.",
    "Not the masterpiece they promised, but I would see it again.",
)
QUESTION = "When was the first program written?"
PASSAGE = (
    "Ada Lovelace wrote the first program for a machine that was never built. It appeared in 1843, "
    "in her notes on the Analytical Engine of Charles Babbage."
)
# The first is compared with the others.
STATEMENTS = (
    "Where is the money that I sent?",
    "My transfer has not arrived.",
    "I lost my card.",
    "The exchange rate looks wrong.",
    "How do I change my address?",
)
# Rounds, least runs and least seconds per round: for a stable median, and for a short demo.
_FULL, _QUICK = (2, 20, 0.3), (1, 5, 0.0)
_CLASSIFIER = ("int8", "loop")  # the default of `albert-edge convert`


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """Results of the demo.

    Attributes:
        rows: Every recipe in every layout, verified and measured.
        answers: Predictions of the int8 loop file for `SENTENCES`: `text`, `label`, `score`, ....
        found: The answer of the embedded model "questions" to `QUESTION`: `answer`, `score`, ....
        nearest: The other `STATEMENTS` by similarity to the first: `text`, `score`.
    """

    rows: tuple[Row, ...]
    answers: tuple[dict[str, Any], ...]
    found: dict[str, Any]
    nearest: tuple[dict[str, Any], ...]


def run_demo(folder: Path, *, quick: bool = False, force: bool = False, progress: Progress) -> Demo:
    """Convert, verify and measure the embedded sentiment model; run all embedded models.

    Args:
        folder: Directory for the `.tflite` files; created if it does not exist.
        quick: Whether to measure only one short round.
        force: Whether to replace existing files.
        progress: Progress bars to add to.

    Raises:
        MissingExtraError: A package of the convert extra is not installed.
        OutputError: A file exists or cannot be written.
        FidelityError: The outputs of a converted file differ too much from the Keras model's.
    """
    paths = _paths(folder, force=force)
    verifications = _convert_all(paths, force=force, progress=progress)
    rows = _measure_all(paths, verifications, quick=quick, progress=progress)
    return Demo(
        rows=rows,
        answers=_classify(paths[_CLASSIFIER]),
        found=albert_edge.load("questions")(QUESTION, PASSAGE),
        nearest=_compare(),
    )


def _paths(folder: Path, *, force: bool) -> dict[tuple[str, str], Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create the directory {folder}: {error.strerror}.") from error
    return {
        (quantize, layout): check_writable(folder / f"{quantize}-{layout}.tflite", force=force)
        for quantize, layout in itertools.product(RECIPES, LAYOUTS)
    }


def _convert_all(
    paths: dict[tuple[str, str], Path], *, force: bool, progress: Progress
) -> dict[tuple[str, str], dict[str, Any]]:
    from albert_edge.tflite.export import export_stages

    task = progress.add_task("Loading the Keras model", total=len(paths))
    model, export = albert_edge.load_keras("default"), functools.cache(export_stages)
    verifications = {}
    for (quantize, layout), path in paths.items():
        progress.update(task, description=f"Converting to {quantize}, {layout}")
        # Without early exit, which unrolled files lack, so that the layouts are comparable.
        rule = None if layout == "unrolled" else NEVER
        conversion = albert_edge.convert(
            model, quantize=quantize, layout=layout, early_exit=rule, export=export
        )
        conversion.save(path, force=force)
        verifications[quantize, layout] = conversion.report["verification"]
        progress.advance(task)
    return verifications


def _measure_all(
    paths: dict[tuple[str, str], Path],
    verifications: dict[tuple[str, str], dict[str, Any]],
    *,
    quick: bool,
    progress: Progress,
) -> tuple[Row, ...]:
    rounds, runs, seconds = _QUICK if quick else _FULL
    task = progress.add_task("Measuring in fresh processes", total=rounds * len(paths))
    take = functools.partial(measure, seq_len=128, runs=runs, min_time_s=seconds)
    measurements = interleave(
        [functools.partial(take, path) for path in paths.values()],
        rounds=rounds,
        on_done=lambda: progress.advance(task),
    )
    return tuple(
        Row(name=key[0], layout=key[1], measurement=taken, verification=verifications[key])
        for key, taken in zip(paths, measurements, strict=True)
    )


def _classify(path: Path) -> tuple[dict[str, Any], ...]:
    pipe = albert_edge.load(path)
    return tuple({"text": text, **pipe(text)} for text in SENTENCES)


def _compare() -> tuple[dict[str, Any], ...]:
    pipe: Any = albert_edge.load("embeddings")
    first, *others = pipe.embed(STATEMENTS)
    scores = [float(vector @ first) for vector in others]
    order = sorted(range(len(scores)), key=lambda at: -scores[at])
    return tuple({"text": STATEMENTS[1 + at], "score": scores[at]} for at in order)


def to_document(demo: Demo) -> dict[str, Any]:
    """Return the JSON document of a demo: a benchmark report with the predictions."""
    return make_report(
        "demo",
        demo.rows,
        layouts_agree=_layouts_agree(demo.rows),
        answers=list(demo.answers),
        found=demo.found,
        nearest=list(demo.nearest),
    )


def _layouts_agree(rows: Sequence[Row]) -> bool:
    """Return whether the layouts of each recipe have the same logits, bit for bit.

    Unrolled files of calibrated recipes are left out: they have separate ranges for every pass.
    """
    first: dict[str, str] = {}
    return all(
        first.setdefault(row.name, logits) == logits
        for row in rows
        for logits in [row.measurement.outputs_sha256["logits"]]
        if not (get_recipe(row.name).calibrated and row.layout == "unrolled")
    )


def render(demo: Demo) -> Group:
    """Lay out the results for a terminal of 80 columns."""
    one = demo.rows[0].measurement
    title = (
        f"The embedded sentiment model, {len(one.input_ids)} tokens, 1 thread, "
        f"{to_document(demo)['machine']['model']}"
    )
    return Group(
        make_table(demo.rows, title=title),
        Text(_explain(demo.rows) + "\n", style="dim"),
        _columns(
            (Text(one["label"], "bold"), f"{one['score']:.1%}", one["text"]) for one in demo.answers
        ),
        Text(f"\n{PASSAGE}", style="dim"),
        _columns([(QUESTION, Text(demo.found["answer"], "bold"), f"{demo.found['score']:.1%}")]),
        Text(f"\nNearest to: {STATEMENTS[0]}"),
        _columns((f"{one['score']:.2f}", one["text"]) for one in demo.nearest),
        Text.assemble(
            "\nConvert a model:  ",
            ("albert-edge convert", "bold"),
            " CHECKPOINT -o model.tflite\nRun it:           ",
            ("albert-edge run", "bold"),
            ' model.tflite "a quiet, moving film"\nInspect it:       ',
            ("albert-edge inspect", "bold"),
            " model.tflite",
        ),
    )


def _columns(rows: Iterable[tuple[Any, ...]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for row in rows:
        table.add_row(*row)
    return table


def _explain(rows: Sequence[Row]) -> str:
    one, least = rows[0], min(len(row.measurement.samples_ns) for row in rows)
    empty, compared = one.measurement.empty_rss_bytes, one.verification or {}
    over = "" if empty is None else f" ({empty / 1e6:.0f} MB)"
    agree = "agree bit for bit" if _layouts_agree(rows) else "do NOT agree bit for bit"
    return (
        f"Each row: fresh processes, at least {least} warm runs. RAM: resident memory when warm, "
        f"minus that of an empty process{over}. Error and same argmax: against "
        f"{compared['reference']}, on {compared['inputs']}, of the worst output. The layouts "
        f"{agree}. Unrolled files have no early exits to compare, and those of calibrated recipes "
        "a range for every pass."
    )
