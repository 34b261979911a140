"""Count instructions on the processors of the Raspberry Pi 3, 4 and 5, which qemu emulates.

\b
python -m benchmarks.arm                       writes reference/arm-*.json; takes an hour
python -m benchmarks.arm --part counts         every recipe and layout of the embedded model, and
                                               ALBERT-base's shape, on the three processors
python -m benchmarks.arm --part operators      where int8 gains or loses against float32
python -m benchmarks.arm --part answers        200 sentences: the same answers as on this machine?
python -m benchmarks.arm --part float16        what XNNPACK's float16 arithmetic saves, and breaks
python -m benchmarks.arm --part counts --cpu cortex-a76 --recipe int8 -o /tmp --json

All at 128 tokens and on one thread, without early exits.  A count is the same from run to run,
and is no time.  ALBERT-base's floats are counted with one pass and with two, because emulated
floats are slow: each further pass runs the same instructions.  The instructions of an operator are
those of the graph that is cut after it, less those of the graph that is cut before it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from albert_edge import load, load_keras
from albert_edge.benchmark.devices.device import Device, open_device
from albert_edge.benchmark.devices.qemu import CPUS
from albert_edge.benchmark.measure import Count, count
from albert_edge.benchmark.outputs import decode_outputs
from albert_edge.benchmark.report_file import report_header, save_dated_report
from albert_edge.benchmark.system import describe_machine
from albert_edge.benchmark.worker import random_ids
from albert_edge.bundle import read
from albert_edge.bundle.bundle import model_bytes
from albert_edge.bundle.bundle import pack as seal
from albert_edge.checkpoints import read_checkpoint
from albert_edge.conversion import convert
from albert_edge.early_exit import NEVER
from albert_edge.modeling import Albert, from_checkpoint
from albert_edge.quantization.recipes import RECIPES
from albert_edge.tflite.graph import pack
from benchmarks.markdown_table import MarkdownTable, cell
from benchmarks.trained_encoder import calibration, compare

REFERENCE = Path(__file__).parent / "reference"
BASE = "albert-base-v2"
SOURCES = {"default": "the embedded model", BASE: "ALBERT-base's shape"}
LAYOUTS = ("loop", "unrolled", "split")
PARTS = ("counts", "operators", "answers", "float16")
SECTIONS = ("rows", *PARTS[1:])  # of the report
FLOAT16_CPU = "cortex-a76"  # the only one of the three with float16 arithmetic
T = 128
TIMEOUT_S = 7200.0
ENCODER_TEXT = 12  # of phonemes.txt: the shortest with a token that float16 arithmetic breaks
# Kernels of another processor add in another order; those of int8 and int4 also round otherwise.
FLOAT32_LIMIT = 1e-5
LIMITS = {"float32": FLOAT32_LIMIT, "float16": FLOAT32_LIMIT}
INTEGER_LIMIT = 0.05
SENTENCES = 200
HEAVY = ("FULLY_CONNECTED", "BATCH_MATMUL", "SOFTMAX", "GELU")
OTHERS = "others"
FIRST_PASS = 5  # products: of the embedding, of query, key and value, of attention, two of the FFN
ENGINE = "benchmarks.graph_engine:open_graph"


class Files:
    """The files of a source, converted where they are needed."""

    def __init__(self, source: str, folder: Path) -> None:
        self.source, self._folder = source, folder

    @cached_property
    def _checkpoint(self) -> Any:
        return read_checkpoint(self.source, task="classification", init_head=True)

    @property
    def passes(self) -> int:
        """How many times the model applies its layer."""
        return int(self._checkpoint.config.num_hidden_layers)

    def _model(self, passes: int) -> Albert:
        if self.source == "default" and passes == self.passes:
            return load_keras("default")
        config = replace(self._checkpoint.config, num_hidden_layers=passes)
        return from_checkpoint(replace(self._checkpoint, config=config))

    def path(self, quantize: str, layout: str = "loop", passes: int | None = None) -> Path:
        """Return the file; the weights do not depend on the number of passes."""
        passes = passes or self.passes
        path = self._folder / f"{self.source}_{quantize}_{layout}_{passes}.tflite"
        if not path.exists():
            model = self._model(passes)
            exits = model.config.early_exit and layout != "unrolled"
            options: dict[str, Any] = {"early_exit": NEVER} if exits else {}
            if layout == "unrolled":  # it has no early exit, and only fixed lengths
                options["seq_len"] = T
            made = convert(model, quantize=quantize, layout=layout, verified=False, **options)
            made.save(path)
        return path


def predict(device: Device, path: Path, ids: Sequence[int]) -> Mapping[str, Any]:
    """Return the outputs of a file on a device."""
    engine = device.engines["cpu"]
    job = {"do": "predict", "path": str(path), "engine": engine, "threads": 1, "sha256": None}
    result = device.run({**job, "inputs": [list(ids)]}, timeout_s=TIMEOUT_S)
    return decode_outputs(result["outputs"][0])


@cache
def logits_here(path: Path, ids: tuple[int, ...]) -> Any:
    """Return the logits on this machine."""
    with closing(open_device("local")) as device:
        return predict(device, path, ids)["logits"]


def count_file(path: Path, device: Device) -> tuple[Count, float]:
    """Count the instructions of a file, and compare its logits with this machine's."""
    ids = random_ids(read(path).config.vocab_size, T, seed=T)
    counted = count(
        path, device=device, input_ids=ids.tolist(), runs=1, warmup=0, timeout_s=TIMEOUT_S
    )
    expected = logits_here(path, tuple(ids.tolist()))
    apart = np.abs(counted.outputs[0]["logits"] - expected).max() / np.abs(expected).max()
    return counted, float(apart)


def count_all(
    files: Files, recipes: Iterable[str], layouts: Iterable[str], cpu: str, device: Device
) -> Iterator[dict[str, Any]]:
    """Yield a row for each recipe and layout of a source."""
    whole = files.source == "default"
    for layout in layouts:
        for quantize in recipes:
            summed = not whole and quantize == "float32"
            passes = (1, 2) if summed else (files.passes,)
            found = [count_file(files.path(quantize, layout, n), device) for n in passes]
            last, difference = found[-1][0], max(apart for _, apart in found)
            more = (files.passes - 2) if summed else 0
            step = last.instructions_inference - found[0][0].instructions_inference
            limit = LIMITS.get(quantize, INTEGER_LIMIT)
            yield {
                "source": files.source,
                "quantize": quantize,
                "layout": layout,
                "cpu": cpu,
                "seq_len": T,
                "passes": files.passes,
                "passes_counted": list(passes),
                "instructions_load": last.instructions_load,
                "instructions_first": last.instructions_first,
                "instructions_inference": last.instructions_inference + more * step,
                "runtime": last.runtime,
                "delegate": last.delegate,
                "difference": difference,
                "limit": limit,
                "status": "right" if difference <= limit else "WRONG",
            }


def cut_after(model: bytes, end: int) -> bytes:
    """Return a graph that ends with its operator number `end`, whose output is its own."""
    opened = schema.ModelT.InitFromPackedBuf(model, 0)
    graph = opened.subgraphs[0]
    graph.operators = graph.operators[: end + 1]
    graph.outputs = [int(graph.operators[-1].outputs[0])]
    opened.subgraphs, opened.signatureDefs, opened.metadata = [graph], [], []
    return pack(opened)


def operator_names(model: bytes) -> list[str]:
    """Return the type of every operator, and of a product the shape of its weights."""
    opened = schema.ModelT.InitFromPackedBuf(model, 0)
    codes = {number: name for name, number in vars(schema.BuiltinOperator).items()}
    graph, names = opened.subgraphs[0], []
    for operator in graph.operators:
        name = codes[opened.operatorCodes[operator.opcodeIndex].builtinCode]
        if name == "FULLY_CONNECTED":
            name += " {}×{}".format(*graph.tensors[int(operator.inputs[1])].shape)
        names.append(name)
    return names


def profile(files: Files, quantize: str, device: Device, folder: Path) -> dict[str, int]:
    """Count the instructions of the operators of the embedding and the first pass, by type.

    Those of `HEAVY` are counted alone, the others together, but for the last norm.
    """
    model = model_bytes(files.path(quantize, "unrolled").read_bytes())
    ids, graph = random_ids(1000, T, seed=T).tolist(), folder / "cut.tflite"
    names = operator_names(model)
    products = [at for at, name in enumerate(names) if name.startswith("FULLY_CONNECTED")]
    last = products[FIRST_PASS - 1]

    @cache
    def count_up_to(end: int) -> int:
        graph.write_bytes(cut_after(model, end))
        counted = count(graph, device=device, engine=ENGINE, input_ids=ids, runs=1, warmup=1)
        return counted.instructions_inference

    found: dict[str, int] = {}
    for end, name in enumerate(names[: last + 1]):
        if name.startswith(HEAVY):
            alone = count_up_to(end) - (count_up_to(end - 1) if end else 0)
            found[name] = found.get(name, 0) + alone
    return {**found, OTHERS: count_up_to(last) - sum(found.values())}


def profile_all(
    files: Files, cpus: Iterable[str], folder: Path, recipes: Sequence[str] = ("int8", "float32")
) -> Iterator[dict[str, Any]]:
    """Yield a row for each type of operator."""
    for cpu in cpus:
        with closing(open_device(f"qemu://{cpu}")) as device:
            found = {quantize: profile(files, quantize, device, folder) for quantize in recipes}
        for name in dict.fromkeys(name for one in found.values() for name in one):
            counts = {f"instructions_{quantize}": one.get(name) for quantize, one in found.items()}
            yield {"source": files.source, "cpu": cpu, "operator": name, **counts}


def answer_files(files: Files, embedder: Path | None, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files whose answers are compared, and the recipe of each."""
    for quantize in ("float32", "int8"):
        yield quantize, files.path(quantize)
        if embedder is not None:
            path = folder / f"embedder_{quantize}.tflite"
            model = load_keras(embedder, task="feature-extraction")
            convert(model, quantize=quantize, verified=False).save(path)
            yield quantize, path


def compare_answers(
    answering: Iterable[tuple[str, Path]], cpus: Sequence[str], sentences: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield how the answers of files on sentences differ from this machine's."""
    for quantize, path in answering:
        tokenizer = load(path).tokenizer
        ids = [tokenizer.encode(text).input_ids for text in sentences]
        job = {"do": "predict", "path": str(path), "threads": 1, "sha256": None, "inputs": ids}
        here, expected = _answer(job, "local")
        for cpu in cpus:
            found, labels = _answer(job, f"qemu://{cpu}")
            apart = float(np.abs(found - here).max() / np.abs(here).max())
            same = float((labels == expected).mean())
            holds = same == 1 and (quantize != "float32" or apart <= FLOAT32_LIMIT)
            yield {
                "source": "default" if path.stem.startswith("default") else "embedder",
                "cpu": cpu,
                "quantize": quantize,
                "sentences": len(ids),
                "difference": apart,
                "same_labels": same,
                "status": "right" if holds else "WRONG",
            }


def _answer(job: Mapping[str, Any], address: str) -> tuple[Any, Any]:
    """Return the values of all sentences, and their labels: of vectors the nearest sentence."""
    with closing(open_device(address)) as device:
        ready = {**job, "engine": device.engines["cpu"]}
        made = device.run(ready, timeout_s=TIMEOUT_S)["outputs"]
    outputs = [decode_outputs(text) for text in made]
    if "logits" in outputs[0]:
        values = np.concatenate([one["logits"] for one in outputs])  # [sentences, C]
        return values, values.argmax(1)
    values = np.stack([one["last_hidden_state"][0].mean(0) for one in outputs])  # [sentences, H]
    units = values / np.linalg.norm(values, axis=1, keepdims=True)
    cosines = units @ units.T
    np.fill_diagonal(cosines, -1)
    return values, cosines.argmax(1)


def allow_float16(path: Path) -> Path:
    """Let XNNPACK compute a file in float16 where the processor can, by TFLite's metadata."""
    model = schema.ModelT.InitFromPackedBuf(model_bytes(path), 0)
    entry, buffer = schema.MetadataT(), schema.BufferT()
    buffer.data = np.frombuffer(b"fp16accfp16", np.uint8)
    entry.name, entry.buffer = "reduced_precision_support", len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    allowed = path.with_stem(f"{path.stem}_allowed")
    allowed.write_bytes(seal(model, read(path)))
    return allowed


def compare_float16(files: Files, encoder: Path | None, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield what float16 arithmetic changes: of the embedded model, and of a trained encoder."""
    plain = files.path("float16")
    with closing(open_device(f"qemu://{FLOAT16_CPU}")) as device:
        for name, path in (("float32", plain), ("float16", allow_float16(plain))):
            counted, difference = count_file(path, device)
            one = counted.instructions_inference
            found = {"instructions_inference": one, "difference": difference}
            yield {"source": "default", "cpu": FLOAT16_CPU, "arithmetic": name, **found}
        if encoder is not None:
            path = folder / "encoder.tflite"
            model = load_keras(encoder, task="feature-extraction")
            convert(model, quantize="float16", verified=False).save(path)
            ids = [int(one) for one in calibration(encoder)[ENCODER_TEXT].split()]
            states = [
                predict(device_, file, ids)["last_hidden_state"]
                for device_, file in ((open_device("local"), path), (device, allow_float16(path)))
            ]
            figures = compare(states[1], states[0])
            yield {"source": "PL-BERT", "cpu": FLOAT16_CPU, "tokens": len(ids), **figures}


def make_markdown(report: Mapping[str, Any]) -> str:
    """Return the tables, and how to reproduce them."""
    rows = report["rows"]
    parts = [make_table(rows).markdown()] if rows else []
    worst = {name: _worst(rows, name) for name in dict.fromkeys(row["quantize"] for row in rows)}
    apart = ", ".join(f"{worst[name]:.0e} in `{name}`" for name in worst)
    summed = (
        "ALBERT-base's shape has random weights; its `float32` follows from counts of one and of "
        "two passes. "
    )
    about_base = summed if any(row["source"] == BASE for row in rows) else ""
    parts.append(
        f"Millions of instructions of one inference of {T} tokens on one thread, ai-edge-litert "
        f"under qemu, {report['date']}. {about_base}The worst difference from x86-64, of the "
        f"largest logit: {apart}. Reproduce with `python -m benchmarks.arm`.\n"
    )
    if report["operators"]:
        parts.append(make_operators(report["operators"]).markdown())
        parts.append(
            "The same of the operators of the embedding and the first pass of the embedded model, "
            "in layout `unrolled`.\n"
        )
    if answers := report["answers"]:
        cpus = dict.fromkeys(row["cpu"] for row in answers)
        same = min(row["same_labels"] for row in answers)
        most = max(row["difference"] for row in answers if row["quantize"] == "float32")
        models = "the embedded model"
        if any(row.get("source") == "embedder" for row in answers):
            models += ", and of a sentence encoder (whose labels are the nearest sentences),"
        parts.append(
            f"On {answers[0]['sentences']} sentences ({', '.join(cpus)}) the `float32` outputs of "
            f"{models} differ from x86-64's by at most {most:.0e} of the largest, and {same:.1%} "
            "of the labels of `float32` and `int8` are the same.\n"
        )
    parts += _describe_float16(report["float16"])
    return "\n".join(parts)


def _describe_float16(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    counts = {row["arithmetic"]: row for row in rows if "arithmetic" in row}
    encoders = [row for row in rows if "min_cosine" in row]
    if counts and encoders:
        without, with_it = (counts[name] for name in ("float32", "float16"))
        yield (
            f"XNNPACK computes a `float16` file in float16 arithmetic on a {FLOAT16_CPU} if its "
            f"metadata allow it (`reduced_precision_support`): "
            f"{with_it['instructions_inference'] / 1e6:.1f} instead of "
            f"{without['instructions_inference'] / 1e6:.1f} million instructions of the embedded "
            f"model, whose logits then differ by {with_it['difference']:.0e}. A trained encoder "
            f"(PL-BERT, {encoders[0]['tokens']} tokens) is wrong in it: the cosine of its worst "
            f"token is {encoders[0]['min_cosine']:.2f}. So files do not carry these metadata.\n"
        )


def _worst(rows: Iterable[Mapping[str, Any]], quantize: str) -> float:
    return max(row["difference"] for row in rows if row["quantize"] == quantize)


def make_table(rows: Sequence[Mapping[str, Any]]) -> MarkdownTable:
    """Make the table: a row for each file, a column for each processor."""
    cpus = tuple(dict.fromkeys(row["cpu"] for row in rows))
    found = {
        (row["source"], row["quantize"], row["layout"], row["cpu"]): row["instructions_inference"]
        for row in rows
    }
    lines = []
    for source, quantize, layout in dict.fromkeys(key[:3] for key in found):
        counts = [found.get((source, quantize, layout, cpu)) for cpu in cpus]
        cells = [cell(None if one is None else one / 1e6, ",.1f") for one in counts]
        lines.append((f"{SOURCES[source]}, `{quantize}`, `{layout}`", *cells))
    return MarkdownTable("file", cpus, tuple(lines))


def make_operators(rows: Sequence[Mapping[str, Any]]) -> MarkdownTable:
    """Make the table of operators: of each processor `int8` and `float32`."""
    cpus = tuple(dict.fromkeys(row["cpu"] for row in rows))
    recipes = ("int8", "float32")
    found = {
        (row["operator"], row["cpu"], name): row[f"instructions_{name}"]
        for row in rows
        for name in recipes
    }
    lines = []
    for operator in dict.fromkeys(row["operator"] for row in rows):
        counts = [found.get((operator, cpu, name)) for cpu in cpus for name in recipes]
        cells = ["-" if one is None else f"{one / 1e6:,.2f}" for one in counts]
        lines.append((operator if operator == OTHERS else f"`{operator}`", *cells))
    headings = tuple(f"{cpu} `{name}`" for cpu in cpus for name in recipes)
    return MarkdownTable("operator", headings, tuple(lines))


def _merge(old: Path | None, report: dict[str, Any]) -> dict[str, Any]:
    """Keep from an earlier report the parts that were not measured now."""
    before = json.loads(old.read_text()) if old else {}
    kept = {name: before.get(name, []) for name in SECTIONS}
    return {**report, **{name: report[name] or kept[name] for name in kept}}


def _choices(flag: str, name: str, choices: Iterable[str]) -> Callable[..., Any]:
    return click.option(
        flag, name, multiple=True, type=click.Choice([*choices]), default=[*choices]
    )


@click.command(help=__doc__)
@_choices("--part", "parts", PARTS)
@_choices("--source", "sources", SOURCES)
@_choices("--recipe", "recipes", RECIPES)
@_choices("--layout", "layouts", LAYOUTS)
@_choices("--cpu", "cpus", CPUS)
@click.option(
    "--texts",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A table with sentences in its first column, for the answers.",
)
@click.option(
    "--encoder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="PL-BERT (see trained_encoder), for float16.",
)
@click.option(
    "--embedder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A checkpoint that makes vectors of sentences, for the answers too.",
)
@click.option(
    "--add",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An earlier report, whose other parts are kept.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option(
    "-o",
    "--output",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=REFERENCE,
    help="Folder of the report.",
)
def main(
    parts: tuple[str, ...],
    sources: tuple[str, ...],
    recipes: tuple[str, ...],
    layouts: tuple[str, ...],
    cpus: tuple[str, ...],
    texts: Path | None,
    encoder: Path | None,
    embedder: Path | None,
    add: Path | None,
    as_json: bool,
    output: Path,
) -> None:
    if "answers" in parts and texts is None:
        raise click.UsageError("--part answers needs --texts TABLE.")
    report: dict[str, Any] = {
        **report_header("arm", describe_machine()),
        "complete": True,
        **{name: [] for name in SECTIONS},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        embedded = Files("default", folder)
        for part, row in _measure(
            parts, sources, recipes, layouts, cpus, texts, encoder, embedder, folder, embedded
        ):
            report[part].append(row)
            click.echo(json.dumps(row), err=True)
            save_dated_report(_merge(add, {**report, "complete": False}), output)
    report = _merge(add, report)
    path = save_dated_report(report, output)
    click.echo(json.dumps(report) if as_json else f"{make_markdown(report)}\n{path}")


def _measure(
    parts: Sequence[str],
    sources: Sequence[str],
    recipes: Sequence[str],
    layouts: Sequence[str],
    cpus: Sequence[str],
    texts: Path | None,
    encoder: Path | None,
    embedder: Path | None,
    folder: Path,
    embedded: Files,
) -> Iterator[tuple[str, dict[str, Any]]]:
    if "answers" in parts and texts is not None:
        lines = texts.read_text(encoding="utf-8").splitlines()[1 : SENTENCES + 1]
        sentences = [line.split("\t")[0] for line in lines]
        answering = answer_files(embedded, embedder, folder)
        yield from (("answers", row) for row in compare_answers(answering, cpus, sentences))
    if "float16" in parts:
        yield from (("float16", row) for row in compare_float16(embedded, encoder, folder))
    if "operators" in parts:
        yield from (("operators", row) for row in profile_all(embedded, cpus, folder))
    for source in sources if "counts" in parts else ():
        files = embedded if source == "default" else Files(source, folder)
        few = source == BASE
        chosen = [name for name in recipes if not few or name in ("int8", "float32")]
        for layout, cpu in product(layouts[:1] if few else layouts, cpus):
            with closing(open_device(f"qemu://{cpu}")) as device:
                for row in count_all(files, chosen, [layout], cpu, device):
                    yield "rows", row


if __name__ == "__main__":
    main()
