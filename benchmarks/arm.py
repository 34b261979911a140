"""Count instructions on the processors of the Raspberry Pi 3, 4 and 5, which qemu emulates.

\b
python -m benchmarks.arm --texts DEV.tsv --encoder DIR --classifier DIR
                                               writes reference/arm-*.json; takes two hours
python -m benchmarks.arm --part counts         every recipe of the embedded model, its layouts, and
                                               ALBERT-base's shape, on the three processors
python -m benchmarks.arm --part operators      where int8 gains or loses against float32
python -m benchmarks.arm --part answers ...    200 sentences: the same answers as on this machine?
python -m benchmarks.arm --part float16 ...    what XNNPACK's float16 arithmetic saves, and breaks
python -m benchmarks.arm --part counts --cpu cortex-a76 --recipe int8 -o /tmp --json
python -m benchmarks.arm --add counts.json --add answers.json --join

All at 128 tokens and on one thread, without early exits.  A count is the same from run to run,
and is no time.  Emulation is slow: ALBERT-base's shape is counted with one pass and with two, since
each further pass runs the same instructions, and not on all processors; the sentences are the
shortest ones of the table.  The instructions of an operator are those of the graph that is
cut after it, less those of the graph that is cut before it.  A report is complete when every part
and every file has been measured, in one run or in several (--add).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
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
MAIN_RECIPES = ("int8", "float32")
SOURCES = {"default": "the embedded model", BASE: "ALBERT-base's shape"}
LAYOUTS = ("loop", "unrolled", "split")
# Emulation is slow, so not everything is counted: of a source, and what else a row is of.
COUNTED = {
    *(("default", recipe, "loop", cpu) for recipe in RECIPES for cpu in CPUS),
    *product(("default",), MAIN_RECIPES, ("unrolled", "split"), CPUS),
    *product((BASE,), ("int8", "int4"), ("loop",), ("cortex-a72", "cortex-a76")),
    (BASE, "float32", "loop", "cortex-a53"),
}
PARTS = ("counts", "operators", "answers", "float16")
# Of the report, and the fields, if a row has them, that tell the rows of each apart.
SECTIONS = {
    "rows": ("source", "quantize", "layout", "cpu"),
    "operators": ("source", "cpu", "operator"),
    "answers": ("source", "quantize", "cpu"),
    "float16": ("source", "cpu", "arithmetic"),
}
MODELS = {  # that answer
    "default": "the embedded model",
    "classifier": "another classifier",
    "embeddings": "the embedded sentence encoder",
}
ANSWERED = {"default": MAIN_RECIPES, "classifier": MAIN_RECIPES, "embeddings": ("int8",)}
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
    files: Files, every: Iterable[tuple[str, str]], cpu: str, device: Device
) -> Iterator[dict[str, Any]]:
    """Yield a row for each layout and recipe of a source."""
    for layout, quantize in every:
        summed = files.source == BASE
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
    files: Files, cpus: Iterable[str], folder: Path, recipes: Sequence[str] = MAIN_RECIPES
) -> Iterator[dict[str, Any]]:
    """Yield a row for each type of operator."""
    for cpu in cpus:
        with closing(open_device(f"qemu://{cpu}")) as device:
            found = {quantize: profile(files, quantize, device, folder) for quantize in recipes}
        for name in dict.fromkeys(name for one in found.values() for name in one):
            counts = {f"instructions_{quantize}": one.get(name) for quantize, one in found.items()}
            yield {"source": files.source, "cpu": cpu, "operator": name, **counts}


@dataclass(frozen=True, slots=True)
class Answers:
    """What a file answers to sentences.

    Attributes:
        values: float32 [sentences, C], the logits; or [sentences, H], the mean vectors.
        scores: float32 [sentences, L], by which a label is chosen: the logits; or the cosines with
            the vectors of all sentences, -1 with its own.
    """

    values: Any
    scores: Any

    @property
    def labels(self) -> Any:
        """The labels, int64 [sentences]: of vectors the nearest of the other sentences."""
        return self.scores.argmax(1)


def answer(path: Path, sentences: Sequence[str], address: str) -> Answers:
    """Run a file on sentences, on a device."""
    tokenizer = load(path).tokenizer
    ids = [tokenizer.encode(text).input_ids for text in sentences]
    job = {"do": "predict", "path": str(path), "threads": 1, "sha256": None, "inputs": ids}
    with closing(open_device(address)) as device:
        ready = {**job, "engine": device.engines["cpu"]}
        made = device.run(ready, timeout_s=TIMEOUT_S)["outputs"]
    outputs = [decode_outputs(text) for text in made]
    if "logits" in outputs[0]:
        logits = np.concatenate([one["logits"] for one in outputs])
        return Answers(logits, logits)
    vectors = np.stack([one["last_hidden_state"][0].mean(0) for one in outputs])
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = units @ units.T
    np.fill_diagonal(cosines, -1)
    return Answers(vectors, cosines)


def compare_answers(
    source: str,
    files: Mapping[str, Path],
    recipes: Iterable[str],
    cpus: Sequence[str],
    sentences: Sequence[str],
) -> Iterator[dict[str, Any]]:
    """Yield how the answers of a model's files differ from this machine's.

    Args:
        source: The model, one of `MODELS`.
        files: The files by recipe, `float32` among them.
        recipes: Those whose answers are compared.
        cpus: The processors.
        sentences: The texts.
    """
    exact = answer(files["float32"], sentences, "local")
    for quantize in recipes:
        path = files[quantize]
        here = exact if quantize == "float32" else answer(path, sentences, "local")
        # What the recipe changes here; labels whose scores are nearer to each other are a tie.
        tie = float(np.sqrt(np.square(here.scores - exact.scores).mean()))
        for cpu in cpus:
            found = answer(path, sentences, f"qemu://{cpu}")
            every = np.arange(len(sentences))
            lost = here.scores[every, here.labels] - here.scores[every, found.labels]
            apart = float(np.abs(found.values - here.values).max() / np.abs(here.values).max())
            limit = LIMITS.get(quantize, INTEGER_LIMIT)
            yield {
                "source": source,
                "quantize": quantize,
                "cpu": cpu,
                "sentences": len(sentences),
                "difference": apart,
                "limit": limit,
                "least_cosine": _least_cosine(found.values, here.values),
                "least_cosine_of_recipe": _least_cosine(here.values, exact.values),
                "same_labels": int((found.labels == here.labels).sum()),
                "same_labels_or_tie": int((lost <= tie).sum()),
                "tie": tie,
                "status": "right" if apart <= limit and (lost <= tie).all() else "WRONG",
            }


def _least_cosine(found: Any, expected: Any) -> float:
    """Return the least cosine of two rows, of float32 [sentences, C]."""
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return float(((found * expected).sum(1) / norms).min())


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
        "ALBERT-base's shape has random weights; its counts follow from those of one pass and of "
        "two. "
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
    if report["answers"]:
        parts.append(make_answers(report["answers"]).markdown())
        parts.append(
            "The answers to the shortest sentences of a dev set beside x86-64's: the largest "
            "difference, of the largest logit or value of a vector, and how many labels are the "
            "same. A sentence encoder's label is the nearest "
            "of the other sentences. In a tie the scores of the two labels are nearer to each "
            "other than what the recipe changes in such scores (root mean square, on x86-64).\n"
        )
    parts += _describe_float16(report["float16"])
    return "\n".join(parts)


def _describe_float16(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    counts = {row["arithmetic"]: row for row in rows if row["source"] == "default"}
    encoders = [row for row in rows if row["source"] == "PL-BERT"]
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
    cpus = _cpus_of(rows)
    found = {_key("rows", row): row["instructions_inference"] / 1e6 for row in rows}
    lines = []
    for source, layout, quantize in product(SOURCES, LAYOUTS, RECIPES):
        counts = [found.get((source, quantize, layout, cpu)) for cpu in cpus]
        if counts != [None] * len(cpus):
            cells = [cell(one, ",.1f") for one in counts]
            lines.append((f"{SOURCES[source]}, `{quantize}`, `{layout}`", *cells))
    return MarkdownTable("file", cpus, tuple(lines))


def _cpus_of(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(cpu for cpu in CPUS if any(row["cpu"] == cpu for row in rows))


def make_answers(rows: Sequence[Mapping[str, Any]]) -> MarkdownTable:
    """Make the table of answers: a row for each model, recipe and processor."""
    lines = []
    for row in rows:
        name = f"{MODELS[row['source']]}, `{row['quantize']}`, {row['cpu']}"
        same, or_tie, total = (
            row[key] for key in ("same_labels", "same_labels_or_tie", "sentences")
        )
        cells = (f"{row['difference']:.0e}", f"{same} of {total}", f"{or_tie} of {total}")
        lines.append((name, *cells))
    return MarkdownTable("answers of", ("difference", "same label", "or a tie"), tuple(lines))


def make_operators(rows: Sequence[Mapping[str, Any]]) -> MarkdownTable:
    """Make the table of operators: of each processor `int8` and `float32`."""
    cpus = _cpus_of(rows)
    found = {
        (row["operator"], row["cpu"], name): row[f"instructions_{name}"]
        for row in rows
        for name in MAIN_RECIPES
    }
    lines = []
    for operator in dict.fromkeys(row["operator"] for row in rows):
        counts = [found.get((operator, cpu, name)) for cpu in cpus for name in MAIN_RECIPES]
        cells = ["-" if one is None else f"{one / 1e6:,.2f}" for one in counts]
        lines.append((operator if operator == OTHERS else f"`{operator}`", *cells))
    headings = tuple(f"{cpu} `{name}`" for cpu in cpus for name in MAIN_RECIPES)
    return MarkdownTable("operator", headings, tuple(lines))


def _key(section: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in SECTIONS[section] if name in row)


def merge(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join reports; of rows of the same thing the last one is kept."""
    rows = {
        name: list({_key(name, row): row for one in reports for row in one[name]}.values())
        for name in SECTIONS
    }
    return {**reports[-1], **rows, "complete": is_complete(rows)}


def is_complete(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    """Return whether the rows of a report have every part, file and model."""
    counted = {_key("rows", row) for row in rows["rows"]}
    answered = {(row["source"], row["quantize"]) for row in rows["answers"]}
    models = {(name, quantize) for name, recipes in ANSWERED.items() for quantize in recipes}
    return all(rows.values()) and counted >= COUNTED and answered >= models


def _choices(flag: str, name: str, choices: Iterable[str]) -> Callable[..., Any]:
    return click.option(
        flag, name, multiple=True, type=click.Choice([*choices]), default=[*choices]
    )


def _folder(flag: str, text: str) -> Callable[..., Any]:
    return click.option(
        flag, type=click.Path(exists=True, file_okay=False, path_type=Path), help=text
    )


@click.command(help=__doc__)
@_choices("--part", "parts", PARTS)
@_choices("--source", "sources", SOURCES)
@_choices("--recipe", "recipes", RECIPES)
@_choices("--layout", "layouts", LAYOUTS)
@_choices("--cpu", "cpus", CPUS)
@_choices("--model", "models", MODELS)
@click.option(
    "--texts",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A table with sentences in its first column, for the answers.",
)
@_folder("--encoder", "PL-BERT (see trained_encoder), for float16.")
@_folder("--classifier", "A checkpoint that classifies sentences, for the answers too.")
@click.option(
    "--add",
    "earlier",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An earlier report, whose other rows are kept; may be repeated.",
)
@click.option("--join", is_flag=True, help="Measure nothing; only join the reports of --add.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option(
    "-o",
    "--output",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=REFERENCE,
    help="Folder of the report.",
)
def main(earlier: tuple[Path, ...], join: bool, as_json: bool, output: Path, **chosen: Any) -> None:
    options = Options(**{**chosen, **({"parts": ()} if join else {})})
    if "answers" in options.parts and options.texts is None:
        raise click.UsageError("--part answers needs --texts TABLE.")
    measured: dict[str, Any] = {
        **report_header("arm", describe_machine()),
        "complete": False,
        **{name: [] for name in SECTIONS},
    }
    reports = [*(json.loads(path.read_text(encoding="utf-8")) for path in earlier), measured]
    with tempfile.TemporaryDirectory() as name:
        for section, row in measure(options, Path(name)):
            measured[section].append(row)
            click.echo(json.dumps(row), err=True)
            save_dated_report(merge(reports), output)
    report = merge(reports)
    path = save_dated_report(report, output)
    click.echo(json.dumps(report) if as_json else f"{make_markdown(report)}\n{path}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is measured: the options of the command line."""

    parts: Sequence[str]
    sources: Sequence[str]
    recipes: Sequence[str]
    layouts: Sequence[str]
    cpus: Sequence[str]
    models: Sequence[str]
    texts: Path | None
    encoder: Path | None
    classifier: Path | None


def measure(options: Options, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the section of each row, and the row; files are written to a folder."""
    embedded = Files("default", folder)
    if "answers" in options.parts and options.texts is not None:
        sentences = shortest_sentences(options.texts)
        rows = measure_answers(options, embedded, folder, sentences)
        yield from (("answers", row) for row in rows)
    if "float16" in options.parts:
        rows = compare_float16(embedded, options.encoder, folder)
        yield from (("float16", row) for row in rows)
    if "operators" in options.parts:
        rows = profile_all(embedded, options.cpus, folder)
        yield from (("operators", row) for row in rows)
    for source in options.sources if "counts" in options.parts else ():
        files = embedded if source == "default" else Files(source, folder)
        for cpu in options.cpus:
            every = [
                (layout, quantize)
                for layout, quantize in product(options.layouts, options.recipes)
                if (source, quantize, layout, cpu) in COUNTED
            ]
            with closing(open_device(f"qemu://{cpu}")) as device:
                yield from (("rows", row) for row in count_all(files, every, cpu, device))


def shortest_sentences(table: Path) -> list[str]:
    """Return the shortest texts in the first column of a table, which has a heading."""
    lines = table.read_text(encoding="utf-8").splitlines()[1:]
    return sorted((line.split("\t")[0] for line in lines), key=len)[:SENTENCES]


def measure_answers(
    options: Options, embedded: Files, folder: Path, sentences: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of two embedded models, and of the classifier that is given."""
    for name in options.models:
        if name == "default":
            files = {quantize: embedded.path(quantize) for quantize in MAIN_RECIPES}
        elif name == "classifier" and options.classifier is None:
            continue
        else:
            encodes = name == "embeddings"
            task = "feature-extraction" if encodes else "classification"
            model = load_keras(name if encodes else str(options.classifier), task=task)
            files = {quantize: folder / f"{name}_{quantize}.tflite" for quantize in MAIN_RECIPES}
            for quantize, path in files.items():
                convert(model, quantize=quantize, verified=False).save(path)
        recipes = [one for one in ANSWERED[name] if one in options.recipes]
        yield from compare_answers(name, files, recipes, options.cpus, sentences)


if __name__ == "__main__":
    main()
