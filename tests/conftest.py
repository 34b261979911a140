"""What several test files need: small models, converted once a session."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("tokenizer.port_tests", "android.task_tests")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
_PARALLEL = "PYTEST_XDIST_WORKER" in os.environ

# A deadline is a timed assertion: it fails on a busy machine.
settings.register_profile("albert_edge", deadline=None)
settings.load_profile("albert_edge")

TINY = {
    "vocab_size": 60,
    "embedding_size": 16,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
    "initializer_range": 0.3,  # so that outputs depend on their inputs
    "labels": ("negative", "neutral", "positive"),
}


# A task that a tiny ALBERT learns in seconds.
_GOOD = ("good", "great", "fine", "lovely")
_BAD = ("bad", "dull", "weak", "poor")
_OTHER = ("film", "plot", "cast", "story", "the", "a", "of", "is")

_TOY_SHAPE = {
    "model_type": "albert",
    "vocab_size": 80,
    "embedding_size": 16,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "initializer_range": 0.1,
    "hidden_dropout_prob": 0.0,
    "classifier_dropout_prob": 0.0,
}


# How long each test function takes, in seconds per test. The longest of equal names counts.
_DURATIONS = Path(__file__).parent / "durations.json"
_took: dict[str, float] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-durations",
        action="store_true",
        help=f"write what every test took to {_DURATIONS.name}, which `make test` orders them by",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no worker is left with one at the end."""
    if not _PARALLEL:
        return
    known = json.loads(_DURATIONS.read_text())
    total: Counter[Path] = Counter()
    for item in items:
        total[item.path] += known.get(_function(item.nodeid), 0.0)
    items.sort(key=lambda item: -total[item.path])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _took[report.nodeid] = _took.get(report.nodeid, 0.0) + report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not session.config.getoption("record_durations") or _PARALLEL:
        return
    longest: dict[str, float] = {}
    for nodeid, seconds in _took.items():
        longest[_function(nodeid)] = max(seconds, longest.get(_function(nodeid), 0.0))
    kept = {name: round(longest[name], 1) for name in sorted(longest) if longest[name] >= 0.5}
    _DURATIONS.write_text(json.dumps(kept, indent=2) + "\n")


def _function(nodeid: str) -> str:
    return nodeid.split("::", 1)[1].split("[", 1)[0]


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data and weights, or a skip."""
    folder = os.environ.get("ALBERT_EDGE_DATA")
    if not folder:
        pytest.skip("ALBERT_EDGE_DATA is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def tiny_albert() -> Callable[..., Any]:
    """A function `tiny_albert(task, **config)` that makes a random Keras model, always the same."""

    @cache
    def make(task: str = "classification", **config: Any) -> Any:
        import tf_keras

        from albert_edge.config import AlbertConfig
        from albert_edge.modeling import Albert

        tf_keras.utils.set_random_seed(7)
        model = Albert(AlbertConfig(**{**TINY, **config}), task=task)
        for variable in model.weights:
            # Biases begin at 0, where a mistake in them would not show.
            variable.assign_add(0.05 * tf_keras.backend.random_normal(variable.shape, seed=1))
        return model

    return make


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that returns what `build(path)` writes, once for all workers of pytest-xdist.

    Two workers that need it at the same time both build it, and the first one's is kept: waiting
    would take as long.
    """
    ours = tmp_path_factory.getbasetemp()
    shared = ours.parent if _PARALLEL else ours

    def once(name: str, build: Callable[[Path], Any]) -> Path:
        path = shared / name
        if not path.exists():
            new = tmp_path_factory.mktemp("built") / name
            build(new)
            with suppress(OSError):  # a folder of the other worker's is there by now
                new.rename(path)
        return path

    return once


@pytest.fixture(scope="session")
def tiny_floats(
    tiny_albert: Callable[..., Any], built_once: Callable[..., Path]
) -> Callable[..., Any]:
    """A function that converts the stages of `tiny_albert(task, **config)` to float32."""

    @cache
    def make(task: str, seq_len: int | None, **config: Any) -> Any:
        from albert_edge.tflite.export import export_stages

        def build(path: Path) -> None:
            stages = export_stages(tiny_albert(task, **config), seq_len=seq_len)
            path.write_bytes(pickle.dumps(stages))

        what = hashlib.sha256(repr((task, seq_len, sorted(config.items()))).encode()).hexdigest()
        return pickle.loads(built_once(f"stages_{what}", build).read_bytes())  # noqa: S301

    return make


@pytest.fixture(scope="session")
def tiny_stages(
    tiny_albert: Callable[..., Any], tiny_floats: Callable[..., Any]
) -> Callable[..., Any]:
    """A function that makes the stages of `tiny_albert(task, **config)` by a recipe.

    Whatever the recipe and the layout, they are made of the same float32 stages: TensorFlow's
    converter takes most of the time.
    """

    @cache
    def make(
        task: str = "classification",
        *,
        layout: str = "loop",
        quantize: str = "float32",
        seq_len: int | None = None,
        **config: Any,
    ) -> Any:
        from albert_edge.quantization.model import quantize_stages
        from albert_edge.quantization.recipes import get_recipe

        def floats(model: Any, *, seq_len: int | None, **_: Any) -> Any:
            return tiny_floats(task, seq_len, **config)

        model = tiny_albert(task, **config)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("albert_edge.quantization.model.export_stages", floats)
            return quantize_stages(model, get_recipe(quantize), layout=layout, seq_len=seq_len)

    return make


@pytest.fixture(scope="session")
def tiny_tflite(
    tiny_albert: Callable[..., Any], tiny_stages: Callable[..., Any]
) -> Callable[..., bytes]:
    """A function that makes the file of `tiny_albert(task, **config)`, without a tokenizer."""

    @cache
    def make(
        task: str = "classification",
        *,
        layout: str = "loop",
        quantize: str = "float32",
        seq_len: int | None = None,
        **config: Any,
    ) -> bytes:
        from albert_edge.bundle.bundle import Bundle, pack
        from albert_edge.early_exit import default_exit
        from albert_edge.tflite.link import link

        shape = tiny_albert(task, **config).config
        stages = tiny_stages(task, layout=layout, quantize=quantize, seq_len=seq_len, **config)
        bundle = Bundle(
            task=task,
            layout=layout,
            quantize=quantize,
            seq_len=seq_len,
            config=shape,
            tokenizer_files={},
            provenance={"source": "random weights"},
            verification=None,
            early_exit=default_exit(3) if shape.early_exit and layout != "unrolled" else None,
        )
        return pack(link(stages, shape, layout=layout).model, bundle)

    return make


@pytest.fixture(scope="session")
def tiny_gpu(tiny_albert: Callable[..., Any]) -> Callable[..., bytes]:
    """A function that makes the file of `tiny_albert(task)` for GPUs, without a tokenizer."""

    @cache
    def make(
        task: str = "classification", *, quantize: str = "float32", seq_len: Any = 12
    ) -> bytes:
        from albert_edge.conversion import convert

        lengths = list(seq_len) if isinstance(seq_len, tuple) else seq_len
        options: dict[str, Any] = {"quantize": quantize, "seq_len": lengths}
        return convert(tiny_albert(task), target="gpu", **options).blob

    return make


@pytest.fixture
def software_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A GPU for child processes: SwiftShader, or a skip."""
    from rigs.swiftshader import RIG, environment

    RIG.require()
    with _gpu_of(monkeypatch, **environment()):
        yield


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No GPU for child processes: the loader of Vulkan is told of a driver that is not there."""
    missing = "/nonexistent.json"
    with _gpu_of(monkeypatch, VK_ICD_FILENAMES=missing, VK_DRIVER_FILES=missing):
        yield


@contextmanager
def _gpu_of(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Iterator[None]:
    from albert_edge.runtime import compiled_model

    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    compiled_model._probe.cache_clear()
    yield
    compiled_model._probe.cache_clear()


@pytest.fixture(scope="session")
def toy_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 texts with one word that tells their class, 0 or 1."""
    drawn = random.Random(3)
    rows = ["text\tlabel"]
    for index in range(120):
        words = [drawn.choice(_OTHER) for _ in range(drawn.randint(1, 9))]
        telling = drawn.choice(_GOOD if index % 2 else _BAD)
        words.insert(drawn.randint(0, len(words)), telling)
        rows.append(f"{' '.join(words)}\t{index % 2}")
    path = tmp_path_factory.mktemp("toy") / "toy.tsv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="session")
def toy_shape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `config.json` of a model that is large enough for `toy_table`."""
    path = tmp_path_factory.mktemp("shape") / "config.json"
    path.write_text(json.dumps(_TOY_SHAPE))
    return path


@pytest.fixture(scope="session")
def toy_model(toy_table: Path, built_once: Callable[..., Path]) -> Path:
    """A checkpoint that knows `toy_table`, as large as it takes for the converter to quantize."""
    from albert_edge.training.finetune_files import finetune_files
    from albert_edge.training.options import FinetuneOptions

    def build(path: Path) -> None:
        config = path.with_name("config.json")
        wide = {"embedding_size": 32, "hidden_size": 32, "intermediate_size": 64}
        config.write_text(json.dumps({**_TOY_SHAPE, **wide}))
        finetune_files(
            toy_table,
            path,
            config=config,
            labels=("negative", "positive"),
            options=FinetuneOptions(
                epochs=20,
                batch_tokens=256,
                learning_rate=0.01,
                max_length=32,
                averaging=0.9,
                sampling=1,
            ),
        )

    return built_once("toy", build)


@pytest.fixture(scope="session")
def swept(toy_model: Path, toy_table: Path, built_once: Callable[..., Path]) -> Path:
    """A folder with `plan.toml` of a small sweep, and `out`, what it made in one process."""
    from sweep.samples import run, write_plan

    def build(path: Path) -> None:
        run(write_plan(path, toy_model, toy_table), path / "out", measured=True)

    return built_once("swept", build)


@pytest.fixture(scope="session")
def ordinary_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model's checkpoint without its exits."""
    from dataclasses import replace

    from albert_edge.checkpoints import read_checkpoint, write_checkpoint

    whole = read_checkpoint("default")
    tensors = {k: v for k, v in whole.tensors.items() if not k.startswith("exits/")}
    folder = tmp_path_factory.mktemp("ordinary") / "checkpoint"
    config = replace(whole.config, early_exit=False)
    write_checkpoint(folder, replace(whole, config=config, tensors=tensors))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """A function that writes a data file."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
