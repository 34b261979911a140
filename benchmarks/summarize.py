"""Score summaries of one to three sentences: rules, an encoder alone, and a trained head.

\b
python -m benchmarks.summarize TEST.jsonl --trained small=DIRECTORY --encoder small=DIRECTORY
python -m benchmarks.summarize TEST.jsonl --trained small=DIRECTORY -o /tmp

TEST.jsonl has a list of sentences under source and a list of summaries under target, as SciTLDR's
(Cachola et al. 2020, arXiv:2004.15011).  `benchmarks.train_summarizer` makes a trained checkpoint;
an encoder may have any task.  ROUGE is without stemming, the best over several references.
Intervals are 95% bootstrap intervals, and differences are from the first sentence.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

import albert_edge
from albert_edge.benchmark.report_file import make_report, save_dated_report
from albert_edge.checkpoints import read_checkpoint
from albert_edge.datasets.examples import Examples, read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.evaluation.evaluate import differences, score_metrics
from albert_edge.evaluation.intervals import bootstrap
from albert_edge.evaluation.rouge import rouge
from albert_edge.evaluation.task_metrics import compute_metrics
from albert_edge.pipelines import Pipeline, load
from benchmarks.markdown_table import MarkdownTable

REFERENCE = Path(__file__).parent / "reference"
QUANTIZED = ("float32", "int8")
TASKS = {"encoder": "feature-extraction", "trained": "summarization"}
# Phrases with which authors announce their contribution.
_CUE = re.compile(
    r"\bwe (propose|present|introduce|show|develop|describe|study|investigate)|\b(this|our) paper|"
    r"\bin this work",
    re.IGNORECASE,
)

# Maps an article's sentences, its reference summaries and a number k to at most k sentences.
System = Callable[[Sequence[str], Sequence[str], int], Sequence[str]]


def rules() -> dict[str, System]:
    """Return the untrained systems; the first is the baseline, the first sentences."""
    random = np.random.default_rng(0)

    def drawn(source: Sequence[str], _: Sequence[str], k: int) -> Sequence[str]:
        places = random.permutation(len(source))[:k]
        return [source[place] for place in sorted(places.tolist())]

    def cued(source: Sequence[str], _: Sequence[str], k: int) -> Sequence[str]:
        found = sorted(source, key=lambda sentence: not _CUE.search(sentence))[:k]
        return [sentence for sentence in source if sentence in found]

    def best(source: Sequence[str], summaries: Sequence[str], k: int) -> Sequence[str]:
        found = sorted(source, key=lambda sentence: -np.mean(rouge(sentence, summaries)))[:k]
        return [sentence for sentence in source if sentence in found]

    return {
        "first": lambda source, _, k: source[:k],
        "last": lambda source, _, k: source[-k:],
        "random": drawn,
        'with "we propose" and the like': cued,
        "oracle": best,
    }


def files(kind: str, name: str, source: str) -> dict[str, System]:
    """Convert a checkpoint, and return a system for each of its files."""
    model = albert_edge.load_keras(source, task=TASKS[kind])
    blobs = {quantize: albert_edge.convert(model, quantize=quantize).blob for quantize in QUANTIZED}
    return {
        f"{kind} {name}, {quantize}": partial(_chosen, load(blob, task="summarize"))
        for quantize, blob in blobs.items()
    }


def _chosen(pipe: Pipeline, source: Sequence[str], _: Sequence[str], k: int) -> Sequence[str]:
    return [bullet["text"] for bullet in pipe(source, bullets=k)["bullets"]]


def score(examples: Examples, systems: Mapping[str, System], k: int) -> list[dict[str, Any]]:
    """Score every system on every article with `k` sentences, and compare it with the first one."""
    metrics = [
        compute_metrics(
            examples,
            [
                " ".join(system(inputs["text"], summaries, k))
                for inputs, summaries in zip(examples.inputs, examples.targets, strict=True)
            ],
            EvaluateOptions(),
        )
        for system in systems.values()
    ]
    count = len(examples)
    samples = bootstrap([metric.statistic for each in metrics for metric in each], count)
    parts = samples.reshape(len(systems), -1, samples.shape[1])  # [systems, 3, 2000]
    return [
        {
            "system": name,
            "sentences": k,
            "metrics": score_metrics(each, part, count),
            "over_first": differences([metrics[0], each], np.stack([parts[0], part]), count),
        }
        for name, each, part in zip(systems, metrics, parts, strict=True)
    ]


def table(results: Sequence[Mapping[str, Any]], k: int) -> MarkdownTable:
    """Return a row for every system: figures times 100, and their intervals."""
    rows = [
        (
            row["system"],
            *(
                f"{100 * one['value']:.1f} ({100 * one['low']:.1f} to {100 * one['high']:.1f})"
                for one in row["metrics"].values()
            ),
        )
        for row in results
        if row["sentences"] == k
    ]
    return MarkdownTable(
        f"{k} of an article's sentences", ("ROUGE-1", "ROUGE-2", "ROUGE-L"), tuple(rows)
    )


def better(results: Sequence[Mapping[str, Any]]) -> bool:
    """Print whether every trained file is significantly better than the first sentence."""
    passed = True
    for row in results:
        if row["sentences"] == 1 and row["system"].startswith("trained"):
            low = min(one["low"] for one in row["over_first"].values())
            passed &= low > 0
            verdict = "PASS" if low > 0 else "FAIL"
            click.echo(f"{row['system']}: at least {100 * low:.1f} above the first {verdict}")
    return passed


@click.command(help=__doc__)
@click.argument("test", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--trained", multiple=True, metavar="NAME=DIRECTORY", help="A checkpoint with a trained head."
)
@click.option(
    "--encoder", multiple=True, metavar="NAME=DIRECTORY", help="A checkpoint without one."
)
@click.option("-o", "--output", default=REFERENCE, type=click.Path(path_type=Path, exists=True))
def main(test: Path, trained: Sequence[str], encoder: Sequence[str], output: Path) -> None:
    """Exit with 1 if a trained head is not significantly better than the first sentence."""
    from rich.console import Console

    examples = read_examples(test, "summarization", (), EvaluateOptions())
    systems = rules()
    checkpoints = {}
    for kind, given in (("encoder", encoder), ("trained", trained)):
        for name, _, source in (one.partition("=") for one in given):
            systems |= files(kind, name, source)
            checkpoints[f"{kind} {name}"] = read_checkpoint(source, task=TASKS[kind]).sha256
    results = [row for k in (1, 2, 3) for row in score(examples, systems, k)]
    for k in (1, 2, 3):
        Console().print(table(results, k).rich())
    more = {"data": test.name, "examples": len(examples), "checkpoints_sha256": checkpoints}
    report = make_report("summarize", [], **more, results=results)
    click.echo(f"Wrote {save_dated_report(report, output)}", err=True)
    sys.exit(not better(results))


if __name__ == "__main__":
    main()
