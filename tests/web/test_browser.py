"""The package and LiteRT.js in Chromium beside Python: ids, outputs and results.

The weights are trained; of masked words those of the encoder and the table, with a new layer
between the two.  WebGPU is compared with float arithmetic on the stored weights.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert_edge import convert, load_keras
from albert_edge.bundle.bundle import read
from albert_edge.checkpoints import read_checkpoint
from albert_edge.modeling import from_checkpoint
from albert_edge.pipelines import load
from albert_edge.runtime import interpreter_forward, open_interpreter
from albert_edge.runtime.compiled_model import with_float_weights
from bench_process import BenchError, BenchProcess
from pipelines.ports import Input, call, difference
from tokenizer.port_tests import Library, Ported, assert_same_tokens
from tokenizer.ports import chinese_files, embedded_files, texts, tokenizer_from_files
from web.browser import open_page
from web.node import arguments, decoded, moved

TASKS = ("classification", "question-answering", "feature-extraction", "token-classification")
ALL = (*TASKS, "fill-mask")
# Tokens on WebGPU, of the others 32: SwiftShader takes half a minute for the longest.
LENGTHS = {("question-answering", recipe): 64 for recipe in ("float16", "int8")}
LENGTHS["question-answering", "float32"] = LONG = 384
NAMES = ("input_ids", "token_type_ids", "attention_mask")
PASSAGE = (
    "Mount Everest is Earth's highest mountain above sea level, located in the Himalayas. Its "
    "elevation of 8,848 metres was established by surveys of China and Nepal in 2020."
)
# Texts by task, with options.
INPUTS: dict[str, list[tuple[Input, dict[str, Any]]]] = {
    "classification": [
        ({"text": "A quiet, moving film 🎬 about grief."}, {}),
        ({"text": "Dull, and far too long."}, {}),
    ],
    "question-answering": [
        ({"question": "How high is Mount Everest?", "context": PASSAGE}, {}),
        ({"question": "Where is the 🏔 located?", "context": PASSAGE}, {"top_k": 2}),
    ],
    "feature-extraction": [({"text": "How do I reset my password?"}, {"pooling": "mean"})],
    "token-classification": [
        ({"text": "🎉 Justin Bieber flew from London to New York."}, {"entities": True}),
        ({"text": "Watching Toy Story on the BBC"}, {"aggregation": "max"}),
    ],
    "fill-mask": [({"text": "The film was [MASK] and [MASK]."}, {"top_k": 3})],
}
# Of the largest output.  What LiteRT computes with the same kernels in another order; a GPU, in
# float32 on the weights as they are stored, with GELU of other operators.
WASM, WEBGPU = 1e-5, {"float32": 1e-4, "float16": 1e-3, "int8": 5e-3}


def train_words(folder: Path, data: Path) -> Path:
    """Train the embedded encoder on the first sentences of WNUT 2017 for a few seconds."""
    lines = (data / "labelled/ner_wnut17/data.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    chosen = [row for row in rows if {*row["tags"]} != {"O"}][:150]
    sentences = [
        "".join(f"{word} {tag}\n" for word, tag in zip(row["tokens"], row["tags"], strict=True))
        for row in chosen
    ]
    table = folder / "words.conll"
    table.write_text("\n".join(sentences))
    options = ("--from", "default", "--init-head", "--epochs", "1", "--max-length", "64")
    start = [sys.executable, "-c", "from albert_edge.cli import main; main()", "finetune"]
    subprocess.run([*start, table, "-o", folder / "words", *options], check=True)
    return folder / "words"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> dict[str, Any]:
    """The models by task."""
    masked = read_checkpoint("default", task="fill-mask", init_head=True)
    words = train_words(tmp_path_factory.mktemp("words"), data_folder)
    return {
        "classification": load_keras("default"),
        "question-answering": load_keras(data_folder / "albert_minilm/qa"),
        "feature-extraction": load_keras(data_folder / "albert_minilm/encoder_small"),
        "token-classification": load_keras(words),
        "fill-mask": from_checkpoint(masked),
    }


@pytest.fixture(scope="module")
def files(sources: dict[str, Any]) -> dict[str, bytes]:
    """The files: those of `--target web` in float32, and short ones of every recipe."""
    made = {}
    for task, model in sources.items():
        made[f"{task}.tflite"] = convert(
            model, target="web", quantize="float32", verified=False
        ).blob
        for recipe in WEBGPU:
            length = LENGTHS.get((task, recipe), 32)
            short = convert(model, target="web", quantize=recipe, seq_len=length, verified=False)
            made[f"{task}-{recipe}.tflite"] = short.blob
    loop = convert(sources["classification"], target="web", quantize="float32", layout="loop")
    return made | {"loop.tflite": loop.blob}


@pytest.fixture(scope="module")
def page(files: dict[str, bytes]) -> Iterator[BenchProcess]:
    with open_page(files) as opened:
        yield opened


# Tokenizers.


@pytest.mark.parametrize("vocabulary", [embedded_files, chinese_files])
def test_ids_and_offsets_of_2000_texts(page: BenchProcess, vocabulary: Any) -> None:
    library = Library(
        process=page,
        prefix="",
        load="loadTokenizer",
        kinds=("input", "file"),
        names={},
        truncations=(),
    )
    given = vocabulary()
    pair = tokenizer_from_files(given), Ported(library, given)
    assert_same_tokens(pair, texts(2000, seed=1))


# Models.


@pytest.fixture
def opened(page: BenchProcess) -> Iterator[Any]:
    """A function that compiles a file for an accelerator."""
    handles = []

    def open_file(name: str, accelerator: str) -> dict[str, Any]:
        found: dict[str, Any] = page.call("open", url=name, accelerator=accelerator)
        handles.append(found["handle"])
        return found

    yield open_file
    for handle in handles:
        page.call("close", handle=handle)


def ids_of(content: bytes, length: int) -> list[int]:
    """Draw ids, of which the file pads some."""
    vocabulary = read(content).config.vocab_size
    return np.random.default_rng(length).integers(5, vocabulary, length * 3 // 4).tolist()


def outputs_of(page: BenchProcess, handle: int, ids: list[int]) -> dict[str, np.ndarray]:
    found = page.call("outputs", handle=handle, ids=ids, types=[0] * len(ids))
    return {
        name: np.frombuffer(base64.b64decode(text), np.float32 if name != "layers_used" else "i4")
        for name, text in found.items()
    }


def in_floats(content: bytes, ids: list[int]) -> dict[str, np.ndarray]:
    """Run a file of one length in Python, in float arithmetic."""
    bundle = read(content)
    interpreter = open_interpreter(with_float_weights(content), threads=1)
    inputs = {name: np.zeros((1, bundle.seq_len or 0), np.int32) for name in NAMES}
    inputs["input_ids"][0, : len(ids)] = ids
    inputs["attention_mask"][0, : len(ids)] = 1
    outputs = interpreter_forward(bundle, interpreter)(inputs, None)
    return {
        name: values[:, : len(ids)] if values.shape[1] == bundle.seq_len else values
        for name, values in outputs.items()
    }


def worst(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    """Return the largest difference over the largest output."""
    assert found.keys() == expected.keys()
    return max(
        float(np.abs(found[name] - values.ravel()).max() / np.abs(values).max())
        for name, values in expected.items()
    )


@pytest.mark.parametrize("task", ALL)
def test_webassembly(page: BenchProcess, opened: Any, files: dict[str, bytes], task: str) -> None:
    content = files[f"{task}.tflite"]
    pipe, handle = load(content), opened(f"{task}.tflite", "wasm")["handle"]
    lengths = read(content).seq_lens
    assert lengths == ((128, 384) if task == "question-answering" else (32, 128))
    for length in lengths[:1] if task == "fill-mask" else lengths:
        ids = ids_of(content, length)
        assert worst(outputs_of(page, handle, ids), dict(pipe.model.run(np.array(ids)))) < WASM
    results = call_all(page, handle, INPUTS[task])
    for (given, options), found in zip(INPUTS[task], results, strict=True):
        assert difference(found, moved(call(pipe, given, **options), given)) < WASM


def call_all(page: BenchProcess, handle: int, inputs: Any) -> list[Any]:
    """Call a pipeline in the page."""
    given = [arguments(*one) for one in inputs]
    return [decoded(one) for one in page.call("callPipeline", handle=handle, inputs=given)]


def test_webassembly_exits_a_loop_early(page: BenchProcess, opened: Any, files: Any) -> None:
    pipe, handle = load(files["loop.tflite"]), opened("loop.tflite", "wasm")["handle"]
    for options in ({}, {"patience": 1}, {"max_layers": 1}):
        inputs = [(given, options) for given, _ in INPUTS["classification"]]
        found = call_all(page, handle, inputs)
        expected = [call(pipe, given, **options) for given, _ in inputs]
        assert difference(found, expected) < WASM


def shown(result: Any) -> Any:
    """Return what a result shows of text: labels, answers and words."""
    if isinstance(result, dict):
        kept = {name: shown(one) for name, one in result.items() if name not in ("score", "logits")}
        return {name: one for name, one in kept.items() if not isinstance(one, (float, np.ndarray))}
    return [shown(one) for one in result] if isinstance(result, list) else result


@pytest.mark.parametrize("task", ALL)
@pytest.mark.parametrize("recipe", WEBGPU)
def test_webgpu(
    page: BenchProcess, opened: Any, files: dict[str, bytes], task: str, recipe: str
) -> None:
    name = f"{task}-{recipe}.tflite"
    compiled = opened(name, "webgpu")
    assert compiled["isFullyAccelerated"]
    length = LENGTHS.get((task, recipe), 32)
    ids = ids_of(files[name], length)
    found, expected = outputs_of(page, compiled["handle"], ids), in_floats(files[name], ids)
    assert worst(found, expected) < WEBGPU[recipe]
    if length == LONG:
        assert all(found[side].argmax() == expected[side].argmax() for side in expected)
        return
    if recipe == "int8":  # Python's kernels quantize the activations
        return
    for (given, options), result in zip(
        INPUTS[task], call_all(page, compiled["handle"], INPUTS[task]), strict=True
    ):
        assert shown(result) == shown(moved(call(load(files[name]), given, **options), given))


def test_webgpu_refuses_a_loop(page: BenchProcess) -> None:
    with pytest.raises(BenchError, match="on WebAssembly only: it has layout loop"):
        page.call("open", url="loop.tflite", accelerator="webgpu")
