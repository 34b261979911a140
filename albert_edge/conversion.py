"""Convert a Keras ALBERT to one `.tflite` file: export, quantize, link, bundle and verify.

One parsed model flows through the stages; `bundle.pack` is the only place where it becomes bytes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

from albert_edge import __version__
from albert_edge.bundle.bundle import Bundle, add_verification, model_bytes, pack
from albert_edge.bundle.folder import write_product_folder
from albert_edge.early_exit import EarlyExit, default_exit
from albert_edge.errors import ConversionError, list_choices
from albert_edge.files import write_file
from albert_edge.modeling import Albert
from albert_edge.quantization.calibration import MOST_TEXTS, describe_texts
from albert_edge.quantization.model import quantize_exported, quantize_stages
from albert_edge.quantization.products import fit_products
from albert_edge.quantization.recipes import Recipe, get_recipe, override_precision
from albert_edge.targets import Target, get_target
from albert_edge.tasks import TASKS
from albert_edge.tflite.edgetpu_graph import export_host_steps, link_host, product_graph
from albert_edge.tflite.edgetpu_rules import check_edgetpu, require_edgetpu
from albert_edge.tflite.export import export_stages
from albert_edge.tflite.gpu_rules import check_gpu, describe_findings, require_gpu
from albert_edge.tflite.graph import Stages, parse
from albert_edge.tflite.graph import pack as pack_graph
from albert_edge.tflite.legacy_runtimes import Runtime, check_recipe, get_runtime
from albert_edge.tflite.link import LinkedModel, check_layout, link
from albert_edge.tokenizer import library_files
from albert_edge.verification import check_fidelity, verify

__all__ = ["convert"]

# The files of products: how many rows → name → content.
Products: TypeAlias = Mapping[int, Mapping[str, bytes]]


@dataclass(frozen=True, slots=True)
class Conversion:
    """A finished file and its report.

    Attributes:
        blob: The `.tflite` file's content.
        products: Of the target `edgetpu`, whose result is a folder, the files of the products
            beside the host graph `blob`: how many rows → name → content.
        report: Figures ready for JSON: `task`, `quantize`, `layout`, `target`, `seq_len`,
            `seq_lens`, `size_bytes`, `model_bytes` (without tokenizer and metadata),
            `duplication`, `sharing`, `conversion_s`, `provenance` and `verification` (None if
            `verified` was false); of the target `edgetpu` also `products`, see
            `_describe_products`.
    """

    blob: bytes
    report: dict[str, Any]
    products: Products = field(default_factory=dict)

    def __bytes__(self) -> bytes:
        return self.blob

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the file, or of the target `edgetpu` the folder, completely or not at all.

        Raises:
            OutputError: It exists and `force` is false, or it cannot be written.
        """
        if self.products:
            return write_product_folder(path, self.blob, self.products, force=force)
        return write_file(path, self.blob, force=force)


def convert(
    model: Albert,
    *,
    target: str = "cpu",
    quantize: str | None = None,
    layout: str | None = None,
    seq_len: int | Sequence[int] | Literal["any"] | None = None,
    calibration: Iterable[str] | None = None,
    kept: Sequence[str] = (),
    compat: str | None = None,
    verified: bool = True,
    early_exit: EarlyExit | None = None,
    sentence_embedding: bool = False,
    export: Callable[..., Stages] = export_stages,
) -> Conversion:
    """Convert a Keras ALBERT to one self-contained `.tflite` file.

    Args:
        model: A model from `load_keras`; its tokenizer and provenance go into the file.
        target: A target of `targets.TARGETS`, which chooses what is left out below.
        quantize: A recipe of `quantization.recipes.RECIPES`.
        layout: A layout of `config.LAYOUTS`.
        seq_len: Pad every input to this many tokens, or to the least of several numbers that
            holds it; "any" for none.
        calibration: Texts like those that the file will read, for a calibrated recipe; a dozen
            built-in sentences if left out.
        kept: Entries `PART=TYPE` for `override_precision`: parts in another precision.
        compat: A runtime of `RUNTIMES` that the file must run in.
        verified: Whether to compare the file with `model`, and raise if it fails.
        early_exit: The file's default rule, for a model with `early_exit`; `default_exit` if left
            out.
        sentence_embedding: Whether an encoder also returns `sentence_embedding`, float32 [1, H]:
            the mean over all tokens, scaled to length 1.
        export: What exports the stages: `functools.cache(export_stages)` exports those of a model
            once for several files, as long as its weights stay as they are.

    Raises:
        ConversionError: The recipe, layout or length is invalid, or `target` or `compat` does not
            support it.
        FidelityError: The file's outputs differ from the model's by more than the recipe allows.

    Example:
        >>> from albert_edge import convert, load_keras
        >>> convert(load_keras("default"), quantize="int8").report["verification"]["passed"]
        True
    """
    place = get_target(target)
    quantize, layout = quantize or place.recipes[0], layout or place.layouts[0]
    chosen = override_precision(get_recipe(quantize), kept)
    check_layout(layout)
    lengths = _lengths(seq_len, place, model, layout)
    place.check(layout=layout, quantize=quantize, fixed=bool(lengths), compat=compat)
    if compat := compat or place.compat:
        check_recipe(compat, quantize)
    if place.rows:
        _check_kept(chosen, place)
    if place.libraries:
        _check_libraries(model, place, lengths)
    if sentence_embedding:
        _check_sentence_embedding(model, place, lengths, chosen)
    early_exit = _early_exit(early_exit, model, layout)
    texts = None if calibration is None else list(islice(calibration, MOST_TEXTS))
    start = time.monotonic()
    runtime = None if compat is None else get_runtime(compat)
    products: Products = {}
    graph = place.graph if layout == "unrolled" else "cpu"
    if place.rows:
        linked, products = _split_products(
            model, chosen, texts, runtime, rows=lengths, export=export
        )
        lengths = ()  # the host graph takes any
    else:
        options: Any = {
            "layout": layout,
            "calibration": texts,
            "graph": graph,
            "libraries": place.libraries,
            "sentence_embedding": sentence_embedding,
            "export": export,
        }
        stages = {
            length: quantize_stages(model, chosen, seq_len=length or None, **options)
            for length in lengths or (0,)
        }
        linked = link(stages, model.config, layout=layout, runtime=runtime)
    if graph != "cpu":
        where = f"the {quantize} file of this checkpoint"
        require_gpu(describe_findings(check_gpu(linked.model)), where=where, whole=graph == "web")
    tokenizer_files = model.tokenizer_files
    if place.libraries:
        tokenizer_files = library_files(tokenizer_files)
    bundle = Bundle(
        task=model.task,
        layout=layout,
        quantize=quantize,
        seq_len=max(lengths, default=None),
        config=model.config,
        tokenizer_files=tokenizer_files,
        provenance=_provenance(model, chosen, compat, texts, calibrated=bool(products)),
        verification=None,
        early_exit=early_exit,
        target=target,
        seq_lens=lengths,
        products=_digests(products),
        sentence_embedding=sentence_embedding,
    )
    blob = pack(linked.model, bundle)
    seconds = time.monotonic() - start
    if verified:
        figures = _verify(blob, products, model)
        check_fidelity(figures, where=f"the {quantize} file in layout {layout}")
        bundle = replace(bundle, verification=figures)
        blob = add_verification(blob, figures)
    return Conversion(blob, _report(blob, linked, bundle, seconds, products), products)


def _check_kept(recipe: Recipe, target: Target) -> None:
    """Check that no part that the chip computes is to have another precision."""
    parts = [part for part in recipe.overrides if part.startswith("layer.")]
    if parts:
        raise ConversionError(
            f"--keep {parts[0]} contradicts --target {target.name}: {target.reasons['quantize']} "
            "Keep only parts of the embedding and the head."
        )


def _check_libraries(model: Albert, target: Target, lengths: tuple[int, ...]) -> None:
    """Check that MediaPipe Tasks or Task Library performs a model's task, on one length."""
    tasks = [name for name, task in TASKS.items() if task.library_outputs]
    if model.task not in tasks:
        raise ConversionError(
            f"--task {model.task} contradicts --target {target.name}: neither MediaPipe Tasks nor "
            f"Task Library performs it. Choose --task {', '.join(tasks)}, or another target."
        )
    if model.task == "classification" and model.config.kind == "regression":
        raise ConversionError(
            f"a regression contradicts --target {target.name}: the numbers of its classifiers are "
            "probabilities. Choose another target."
        )
    if len(lengths) > 1:
        given = ",".join(map(str, lengths))
        raise ConversionError(
            f"--seq-len {given} contradicts --target {target.name}: {target.reasons['layout']} "
            "Choose one length, or another target."
        )
    exact = target.seq_len_of_task.get(model.task)
    if exact is not None and lengths != (exact,):
        raise ConversionError(
            f"--seq-len {lengths[0]} contradicts --target {target.name}: Task Library's question "
            f"answerer always writes {exact} tokens into the input. Choose --seq-len {exact} of a "
            "model with as many positions, or another target."
        )


def _check_sentence_embedding(
    model: Albert, target: Target, lengths: tuple[int, ...], recipe: Recipe
) -> None:
    """Check that a file can return the vector of a whole text beside those of its tokens."""
    if model.task != "feature-extraction":
        raise ConversionError(
            f"--sentence-embedding contradicts --task {model.task}: only an encoder, --task "
            "feature-extraction, returns it."
        )
    if target.libraries:
        raise ConversionError(f"leave --sentence-embedding out: {target.name} files return it.")
    if lengths or target.rows:
        raise ConversionError(
            "--sentence-embedding needs --seq-len any, and no --target that pads texts: it is the "
            "mean over all tokens."
        )
    if recipe.calibrated:
        raise ConversionError(
            f"--sentence-embedding contradicts --quantize {recipe.name}: a length of 1 needs "
            "floats. Choose --quantize int8, or another recipe with float activations."
        )


def _split_products(
    model: Albert,
    recipe: Recipe,
    texts: Sequence[str] | None,
    runtime: Runtime | None,
    *,
    rows: Sequence[int],
    export: Callable[..., Stages],
) -> tuple[LinkedModel, dict[int, dict[str, bytes]]]:
    """Return a host graph, and the files of the products that it needs.

    Raises:
        UnsupportedOpError: The Edge TPU's compiler would not map a product.
    """
    stages = export(model)
    fitted = fit_products(model, stages, calibration=texts)
    host = quantize_exported(replace(stages, layers=()), model.config, recipe)
    steps = export_host_steps(model, fitted)
    linked = link_host(host, steps, model.config, runtime=runtime)
    graphs = {n: {name: product_graph(one, n) for name, one in fitted.items()} for n in rows}
    for n, graphs_of_rows in graphs.items():
        for name, graph in graphs_of_rows.items():
            require_edgetpu(check_edgetpu(graph), where=f"the product {name} of {n} rows")
    return linked, {
        n: {name: pack_graph(graph) for name, graph in one.items()} for n, one in graphs.items()
    }


def _digests(products: Products) -> dict[int, dict[str, str]]:
    return {
        rows: {name: sha256(content).hexdigest() for name, content in contents.items()}
        for rows, contents in products.items()
    }


def _verify(blob: bytes, products: Products, model: Albert) -> dict[str, Any]:
    if not products:
        return verify(blob, model)
    with TemporaryDirectory() as folder:
        return verify(write_product_folder(Path(folder, "products"), blob, products), model)


def _lengths(
    seq_len: int | Sequence[int] | Literal["any"] | None,
    target: Target,
    model: Albert,
    layout: str,
) -> tuple[int, ...]:
    """Return the fixed lengths, ascending; none for any length."""
    most = model.config.max_position_embeddings
    if seq_len is None:
        usual = target.seq_len_of_task.get(model.task, target.seq_len or target.rows)
        if usual is None:
            return ()
        shorter = target.shorter.get(usual, most) if layout == "unrolled" else most
        return (*((shorter,) if shorter < min(usual, most) else ()), min(usual, most))
    if seq_len == "any":
        return ()
    lengths = (seq_len,) if isinstance(seq_len, int) else tuple(sorted(set(seq_len)))
    if not lengths or not all(1 <= length <= most for length in lengths):
        raise ConversionError(
            f"seq_len must be in [1, {most}] for this model, not {list_choices(map(str, lengths))}."
        )
    if len(lengths) > 1 and layout != "unrolled" and not target.rows:
        raise ConversionError(
            f"--seq-len {','.join(map(str, lengths))} contradicts --layout {layout}: only layout "
            "unrolled has several lengths in one file; give one length, or any."
        )
    return lengths


def _early_exit(rule: EarlyExit | None, model: Albert, layout: str) -> EarlyExit | None:
    """Return the file's default rule; None for a file that always runs all layers."""
    supported = model.config.early_exit and layout != "unrolled"
    if rule is not None and not supported:
        raise ConversionError(
            "early exit needs layout loop or split, and a model that was trained with early_exit; "
            "leave the patience and the threshold out."
        )
    return rule or (default_exit(model.config.num_hidden_layers) if supported else None)


def _provenance(
    model: Albert,
    recipe: Recipe,
    compat: str | None,
    texts: Sequence[str] | None,
    *,
    calibrated: bool,
) -> dict[str, Any]:
    calibrated = calibrated or recipe.calibrated or recipe.uses_hessians
    uses_texts = texts is not None and calibrated
    tools = {name: version(name) for name in ("tensorflow", "ai-edge-litert", "flatbuffers")}
    return {
        **model.provenance,
        **({"compat": compat} if compat is not None else {}),
        "recipe": recipe.describe(),
        **(
            {"calibration": describe_texts(texts or (), model.tokenizer_files)}
            if uses_texts
            else {}
        ),
        **({"ranges": "trained"} if recipe.calibrated and model.ranges else {}),
        "tools": {"albert_edge": __version__, **tools},
    }


def _report(
    blob: bytes, linked: LinkedModel, bundle: Bundle, seconds: float, products: Products
) -> dict[str, Any]:
    files = [content for contents in products.values() for content in contents.values()]
    return {
        "task": bundle.task,
        "quantize": bundle.quantize,
        "layout": bundle.layout,
        "target": bundle.target,
        "seq_len": bundle.seq_len,
        "seq_lens": list(bundle.seq_lens),
        **({"early_exit": asdict(bundle.early_exit)} if bundle.early_exit else {}),
        "tokenizer": sorted(bundle.tokenizer_files),
        "size_bytes": len(blob) + sum(map(len, files)),
        "model_bytes": len(model_bytes(blob)),
        "duplication": linked.duplication,
        "sharing": linked.sharing,
        "conversion_s": round(seconds, 3),
        "provenance": dict(bundle.provenance),
        "verification": bundle.verification,
        **({"products": _describe_products(products)} if products else {}),
    }


def _describe_products(products: Products) -> dict[str, Any]:
    """Describe the products of the target `edgetpu`, ready for JSON.

    Returns:
        `rows`, how many each multiplies at once; `files`, how many there are;
        `weight_bytes` of all of them, as the compiler stores them, and `cache_bytes`, what the
        chip's memory holds beside the smallest programs; `resident`, whether the weights fit there.
    """
    checks = [
        check_edgetpu(parse(content))["weights"]
        for contents in products.values()
        for content in contents.values()
    ]
    weights, cache = sum(one["bytes"] for one in checks), checks[0]["cache_bytes"]
    return {
        "rows": sorted(products),
        "files": len(checks),
        "weight_bytes": weights,
        "cache_bytes": cache,
        "resident": weights <= cache,
    }
