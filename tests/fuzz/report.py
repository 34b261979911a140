"""Damage benchmark reports that are shown, compared or resumed.

`from`      show it in the terminal and as a page
`compare`   compare it with the whole one, as the old report and as the new one
`resume`    continue the run; measurements return what was recorded
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import random
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

_USES = ("from", "compare", "resume")
_CHANGES = ("bits", "bytes", "cut", "replace", "delete", "copy", "lengths", "keys")
KINDS = tuple(f"{use}/{change}" for use in _USES for change in _CHANGES)
_FILES = Path(__file__).parents[1] / "data" / "written_by_0_1" / "files"
_SETTINGS: dict[str, Any] = {"rounds": 2, "seq_lens": (4,), "runs": 2, "warmup": 0, "min_time_s": 0}
_ODD = (
    *(None, True, False, 0, 1, -1, 2, 300, 2**63, -(2**63), 10**40, 0.5, 1e-320, 1e18, 1e999),
    *("", "x", "[b]", "\x1b[31m", "\ud800", "ok", "error", "pending", "wrong", "benchmark", "demo"),
    *([], {}, [1], [[]], [None], {"a": 1}, {"error": None}, {"outputs": {"a": {"error": "b"}}}),
)


class Seeds(NamedTuple):
    """A report, its files, and the results of the worker by its job."""

    text: bytes
    paths: list[Path]
    results: dict[str, Any]
    shown: dict[str, str]


class Case(NamedTuple):
    """A damaged report and what is done with it."""

    use: str
    text: bytes


def prepare(folder: Path) -> None:
    """Measure two files, and record what the worker returned."""
    from albert_edge.benchmark.devices.device import Local

    paths, results = sorted(_FILES.glob("*.tflite"))[:2], {}
    run = Local.run

    def record(self: Local, job: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        result = run(self, job, timeout_s=timeout_s)
        results[_job_name(job)] = copy.deepcopy(result)
        return result

    with _replaced(Local, "run", record):
        _benchmark(paths, folder / "report.json")
    (folder / "results.json").write_text(json.dumps(results))


def load(folder: Path) -> Seeds:
    text = (folder / "report.json").read_bytes()
    results = json.loads((folder / "results.json").read_text())
    seeds = Seeds(text, sorted(_FILES.glob("*.tflite"))[:2], results, {})
    seeds.shown.update({use: _use(Case(use, text), seeds) for use in _USES})
    return seeds


def mutate(kind: str, rng: random.Random, seeds: Seeds) -> Case:
    use, _, change = kind.partition("/")
    if change in ("bits", "bytes", "cut"):
        return Case(use, _change_bytes(change, bytearray(seeds.text), rng))
    document = json.loads(seeds.text)
    for _ in range(rng.choice((1, 1, 2, 3))):
        change_field(change, document, rng)
    return Case(use, json.dumps(document).encode())


def run(case: Case, seeds: Seeds) -> bool:
    return _use(case, seeds) == seeds.shown[case.use]


def _use(case: Case, seeds: Seeds) -> str:
    from albert_edge.benchmark.compare import compare_reports
    from albert_edge.benchmark.console import render_comparison, render_report
    from albert_edge.benchmark.devices.device import Local
    from albert_edge.benchmark.html import render_page
    from albert_edge.benchmark.report_file import read_report, to_json

    with tempfile.TemporaryDirectory() as at:
        path, whole = Path(at) / "report.json", Path(at) / "whole.json"
        path.write_bytes(case.text)
        whole.write_bytes(seeds.text)
        if case.use == "from":
            report = read_report(path)
            return _shown(render_report(report)) + render_page(report)
        if case.use == "compare":
            pairs = ((path, whole), (whole, path))
            found = [compare_reports(*map(read_report, pair)) for pair in pairs]
            return "".join(_shown(render_comparison(one)) + to_json(one) for one in found)
        recorded = seeds.results
        with _replaced(Local, "run", lambda _, job, **__: copy.deepcopy(recorded[_job_name(job)])):
            report = _benchmark(seeds.paths, path, resume=True)
        assert all(len(row["rounds"]) == _SETTINGS["rounds"] for row in report["rows"])
        return _shown(render_report(report)) + to_json(report)


def _benchmark(paths: list[Path], json_path: Path, *, resume: bool = False) -> dict[str, Any]:
    from rich.progress import Progress

    from albert_edge.benchmark.config import BenchmarkConfig
    from albert_edge.benchmark.run import benchmark

    return benchmark(
        paths,
        settings=BenchmarkConfig(**_SETTINGS),
        json_path=json_path,
        resume=resume,
        progress=Progress(disable=True),
    )


def _shown(renderable: Any) -> str:
    from rich.console import Console

    file = io.StringIO()
    Console(file=file, width=80).print(renderable)
    return file.getvalue()


def _job_name(job: Mapping[str, Any]) -> str:
    return f"{job['do']} {Path(job.get('path', '')).name}"


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _change_bytes(change: str, text: bytearray, rng: random.Random) -> bytes:
    at = rng.randrange(len(text))
    if change == "cut":
        return bytes(text[:at])
    for _ in range(rng.choice((1, 2, 8))):
        at = rng.randrange(len(text))
        text[at] = text[at] ^ 1 << rng.randrange(8) if change == "bits" else rng.randrange(256)
    return bytes(text)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from _places(value[key])


def change_field(change: str, document: Any, rng: random.Random) -> None:
    places = list(_places(document))
    # Most places are in the lists of samples and token ids, so the name of a field is drawn first.
    names = sorted({key for _, key in places if isinstance(key, str)})
    if not names:
        return
    name = rng.choice(names)
    holder, key = rng.choice([place for place in places if place[1] == name])
    if isinstance(holder[key], list) and holder[key] and rng.random() < 0.3:
        holder, key = holder[key], rng.randrange(len(holder[key]))
    if change == "delete":
        del holder[key]
    elif change == "copy":
        other, place = rng.choice(places)
        holder[key] = copy.deepcopy(other[place])
    elif change == "lengths" and isinstance(holder[key], list):
        holder[key] = rng.choice((holder[key][:-1], holder[key] * 2, [], holder[key][::-1]))
    elif change == "keys" and isinstance(holder, dict):
        holder[rng.choice((*names, "", "\ud800", "x"))] = holder.pop(key)
    else:
        holder[key] = copy.deepcopy(rng.choice(_ODD))
