"""The package and LiteRT.js in Chromium beside Python: ids, outputs and results.

All weights are trained.  WebGPU is compared with float arithmetic on the stored weights.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert_edge import convert, load_keras, load_tokenizer
from albert_edge.bundle.bundle import read
from albert_edge.evaluation.evaluate import evaluate
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
from web.trained_heads import (
    ENCODER,
    masked_documents,
    read_trained,
    tagged_sentences,
    write_sentences,
)

QUESTIONS, WORDS, MASKED = "question-answering", "token-classification", "fill-mask"
TASKS = ("classification", QUESTIONS, "feature-extraction", WORDS, MASKED)
# Tokens on WebGPU, where SwiftShader takes half a minute for the longest.
SHORT, LONG = 32, 384
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
    "fill-mask": [
        ({"text": "User: I would like to [MASK] a table at a [MASK]."}, {"top_k": 3}),
        ({"text": "User: 🎬 Find me a movie. Assistant: What [MASK] do you like?"}, {"top_k": 5}),
    ],
}
# Of the largest output.  What LiteRT computes with the same kernels in another order; a GPU, in
# float32 on the weights as they are stored, with GELU of other operators.
WASM, WEBGPU = 1e-5, {"float32": 1e-4, "float16": 1e-3, "int8": 5e-3}


@pytest.fixture(scope="module")
def sources(data_folder: Path) -> dict[str, Any]:
    """The models by task."""
    trained = {task: from_checkpoint(read_trained(task, data_folder)) for task in (WORDS, MASKED)}
    return trained | {
        "classification": load_keras("default"),
        "question-answering": load_keras(data_folder / "albert_minilm/qa"),
        "feature-extraction": load_keras(data_folder / ENCODER),
    }


@pytest.fixture(scope="module")
def inputs(data_folder: Path) -> dict[str, list[tuple[Input, dict[str, Any]]]]:
    """Texts by task, with options: of words, sentences of their dev set with several entities."""
    options = ({"entities": True}, {"entities": True, "aggregation": "max"})
    named = [
        " ".join(row["tokens"])
        for row in tagged_sentences(data_folder, "dev")
        if sum(tag.startswith("B") for tag in row["tags"]) >= 2 and len(row["tokens"]) <= 20
    ]
    words = [({"text": text}, options[at % 2]) for at, text in enumerate(named[:60])]
    return INPUTS | {WORDS: words}


@pytest.fixture(scope="module")
def files(sources: dict[str, Any]) -> dict[str, bytes]:
    """The files: those of `--target web` in float32, and short ones of every recipe."""
    made = {}
    for task, model in sources.items():
        made[f"{task}.tflite"] = convert(
            model, target="web", quantize="float32", verified=False
        ).blob
        for recipe in WEBGPU:
            length = LONG if task == QUESTIONS else SHORT
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


def test_words_and_masked_words_are_trained(
    files: dict[str, bytes], data_folder: Path, tmp_path: Path
) -> None:
    write_sentences(tmp_path / f"{WORDS}.conll", tagged_sentences(data_folder, "dev")[:300])
    turns = [text.split(" User:")[0] for text in masked_documents(data_folder)[1]]
    held_out = [text for text in turns if len(text) < 160 and "\n" not in text][:24]
    (tmp_path / f"{MASKED}.txt").write_text("\n".join(held_out), encoding="utf-8")
    found = {}
    for data in list(tmp_path.iterdir()):
        model = data.with_suffix(".tflite")
        model.write_bytes(files[model.name])
        (report,) = evaluate(model, data)["models"]
        found[data.stem] = report["metrics"]
    assert found[WORDS]["f1"]["value"] > 0.3  # 0.34 of the whole dev set
    encode = load_tokenizer("default").encode
    tokens = Counter(one for text in held_out for one in encode(text).input_ids[1:-1])
    most_frequent = max(tokens.values()) / tokens.total()
    assert found[MASKED]["accuracy"]["low"] > 2 * most_frequent


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


@pytest.mark.parametrize("task", TASKS)
def test_webassembly(
    page: BenchProcess, opened: Any, files: dict[str, bytes], inputs: Any, task: str
) -> None:
    content = files[f"{task}.tflite"]
    pipe, handle = load(content), opened(f"{task}.tflite", "wasm")["handle"]
    lengths = read(content).seq_lens
    assert lengths == ((128, 384) if task == QUESTIONS else (32, 128))
    for length in lengths[:1] if task == MASKED else lengths:
        ids = ids_of(content, length)
        assert worst(outputs_of(page, handle, ids), dict(pipe.model.run(np.array(ids)))) < WASM
    results = call_all(page, handle, inputs[task])
    for (given, options), found in zip(inputs[task], results, strict=True):
        assert difference(found, moved(call(pipe, given, **options), given)) < WASM
    if task == WORDS:
        entities = [one["label"] for found in results for one in found["entities"]]
        assert len(entities) >= 50


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


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("recipe", WEBGPU)
def test_webgpu(
    page: BenchProcess, opened: Any, files: Any, inputs: Any, task: str, recipe: str
) -> None:
    name = f"{task}-{recipe}.tflite"
    compiled = opened(name, "webgpu")
    assert compiled["isFullyAccelerated"]
    ids = ids_of(files[name], LONG if task == QUESTIONS else SHORT)
    found, expected = outputs_of(page, compiled["handle"], ids), in_floats(files[name], ids)
    assert worst(found, expected) < WEBGPU[recipe]
    if task == QUESTIONS:
        assert all(found[side].argmax() == expected[side].argmax() for side in expected)
        return
    if recipe == "int8":  # Python's kernels quantize the activations
        return
    few = inputs[task][:6]
    for (given, options), result in zip(few, call_all(page, compiled["handle"], few), strict=True):
        assert shown(result) == shown(moved(call(load(files[name]), given, **options), given))


def test_webgpu_refuses_a_loop(page: BenchProcess) -> None:
    with pytest.raises(BenchError, match="on WebAssembly only: it has layout loop"):
        page.call("open", url="loop.tflite", accelerator="webgpu")
