"""One call for every layout and length, with the same outputs."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from albert_edge.bundle.bundle import model_bytes, pack, read
from albert_edge.config import LAYOUTS
from albert_edge.errors import BundleError, ConfigError, DeviceError, InputError
from albert_edge.runtime import Model, interpreter, open_model
from albert_edge.tasks import TASKS

IDS = [2, 17, 5, 44, 9, 3, 31, 8, 3]
TYPES = [0, 0, 0, 0, 0, 0, 1, 1, 1]


@pytest.fixture(scope="module")
def tiny(tiny_tflite: Callable[..., bytes]) -> Model:
    return open_model(tiny_tflite("classification"))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("task", TASKS)
def test_layouts_agree_bit_for_bit(
    tiny_tflite: Callable[..., bytes], task: str, groups: int
) -> None:
    loop, *others = (
        open_model(tiny_tflite(task, layout=layout, num_hidden_groups=groups)).run(IDS, TYPES)
        for layout in LAYOUTS
    )
    assert all(np.isfinite(values).all() and values.std() > 0 for values in loop.values())
    for other in others:
        assert other.keys() == loop.keys()
        for name, values in loop.items():
            np.testing.assert_array_equal(other[name], values)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("task", TASKS)
def test_padding_changes_nothing(tiny_tflite: Callable[..., bytes], task: str, layout: str) -> None:
    free = open_model(tiny_tflite(task, layout=layout)).run(IDS, TYPES)
    model = open_model(tiny_tflite(task, layout=layout, seq_len=16))
    assert model.max_tokens == 16
    padded = model.run(IDS, TYPES)
    for name, values in free.items():
        assert padded[name].shape == values.shape
        # Sums of 16 terms instead of 9 are rounded differently: a few float32 steps at values of 1.
        np.testing.assert_allclose(padded[name], values, atol=2e-5)


def test_outputs_have_their_names_and_shapes(tiny_tflite: Callable[..., bytes]) -> None:
    shapes = {
        task: {k: values.shape for k, values in open_model(tiny_tflite(task)).run(IDS).items()}
        for task in TASKS
    }
    assert shapes == {
        "classification": {"logits": (1, 3)},
        "question-answering": {"start_logits": (1, 9), "end_logits": (1, 9)},
        "feature-extraction": {"last_hidden_state": (1, 9, 32), "pooler_output": (1, 32)},
        "token-classification": {"logits": (1, 9, 3)},
        "summarization": {"sentence_logits": (1, 9)},
        "fill-mask": {"logits": (1, 9, 60)},
        "sentence-order": {"sop_logits": (1, 2)},
        "pretraining": {"prediction_logits": (1, 9, 60), "sop_logits": (1, 2)},
    }


def test_every_length_up_to_the_last_position(tiny: Model) -> None:
    assert tiny.max_tokens == 40
    first = {length: tiny.run(IDS[:1] * length)["logits"] for length in (1, 40, 7, 39)}
    again = {length: tiny.run(IDS[:1] * length)["logits"] for length in (39, 7, 40, 1)}
    for length, logits in first.items():
        np.testing.assert_array_equal(logits, again[length])


def test_results_belong_to_the_caller(tiny: Model) -> None:
    kept = tiny.run(IDS)["logits"]
    copy = kept.copy()
    tiny.run(IDS[::-1])
    np.testing.assert_array_equal(kept, copy)
    kept += 1  # and may be written to
    np.testing.assert_array_equal(tiny.run(IDS)["logits"], copy)


def test_forms_of_ids(tiny: Model) -> None:
    want = tiny.run(IDS)["logits"]
    for ids in (np.array(IDS), np.array([IDS], np.uint8), np.array(IDS, ">i4"), tuple(IDS), [IDS]):
        np.testing.assert_array_equal(tiny.run(ids, [0] * 9)["logits"], want)
    assert not np.array_equal(tiny.run(IDS, TYPES)["logits"], want)


def test_a_path_and_bytes_and_threads(
    tiny: Model, tiny_tflite: Callable[..., bytes], tmp_path: Path
) -> None:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tiny_tflite("classification"))
    for source in (path, str(path)):
        model = open_model(source, threads=2)
        np.testing.assert_array_equal(model.run(IDS)["logits"], tiny.run(IDS)["logits"])
    assert tiny.runtime.startswith(("ai-edge-litert 2", "tflite-runtime 2"))


@pytest.mark.parametrize("size", [2, 500])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_not_finite(tiny: Model, size: int, wrong: float) -> None:
    logits = np.ones((1, size), np.float32)
    model = Model(tiny.bundle, lambda inputs, rule: {"logits": logits}, "a runtime")
    assert model.run(IDS)["logits"] is logits
    logits[0, -1] = wrong
    with pytest.raises(BundleError, match="NaN or infinity in logits"):
        model.run(IDS)


@pytest.mark.parametrize(
    ("ids", "types", "says"),
    [
        ([], None, r"input_ids must be \[T\] or \[1, T\] with T at least 1"),
        ([[2], [3]], None, "input_ids must be"),
        ([2.0, 3.0], None, "whole numbers, not float64"),
        ([2, 60], None, r"in \[0, 60\); there is 60"),
        ([2, -1], None, r"in \[0, 60\); there is -1"),
        ([2] * 41, None, "41 tokens are too many; this model supports at most 40"),
        ([2, 3], [0, 2], r"token_type_ids must be in \[0, 2\)"),
        ([2, 3], [0], "token_type_ids has 1 entries for 2 input_ids"),
        ([2, 2**40], None, "there is 1099511627776"),
        (np.array([2, 2**63], np.uint64), None, "there is 9223372036854775808"),
        (np.array([2, -3], ">i2"), None, "there is -3"),
        (["a"], None, "whole numbers"),
        ([[2], [3, 4]], None, "input_ids"),
        ([2**70], None, "input_ids"),
    ],
)
def test_ids_that_cannot_be(
    tiny: Model, ids: list[int], types: list[int] | None, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        tiny.run(ids, types)
    assert tiny.run(IDS)["logits"].shape == (1, 3)  # and the model still works


def test_fixed_length_is_a_limit(tiny_tflite: Callable[..., bytes]) -> None:
    with pytest.raises(InputError, match="9 tokens are too many; this model supports at most 8"):
        open_model(tiny_tflite("classification", seq_len=8)).run(IDS)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"layout": "split"}, "no signature embed, layer, head, only serving_default"),
        ({"seq_len": 16}, "has inputs input_ids, token_type_ids, not attention_mask"),
    ],
)
def test_bundle_contradicts_its_model(
    tiny_tflite: Callable[..., bytes], changes: dict[str, object], says: str
) -> None:
    blob = tiny_tflite("classification")
    with pytest.raises(BundleError, match=says):
        open_model(pack(model_bytes(blob), dataclasses.replace(read(blob), **changes)))


def test_bundle_contradicts_its_models_length(tiny_tflite: Callable[..., bytes]) -> None:
    blob = tiny_tflite("classification", seq_len=16)
    changed = dataclasses.replace(read(blob), seq_len=17)
    with pytest.raises(BundleError, match=r"seq_len 17: its input_ids are \[1, 16\]"):
        open_model(pack(blob, changed))


def test_damaged_model(tiny_tflite: Callable[..., bytes], tmp_path: Path) -> None:
    blob = bytearray(tiny_tflite("classification"))
    blob[:4] = b"\xff\xff\xff\x7f"  # the root lies behind the end
    path = tmp_path / "damaged.tflite"
    path.write_bytes(blob)
    for source, where in ((bytes(blob), "the model"), (path, str(path))):
        with pytest.raises(BundleError, match=f"{where} is damaged: .*its SHA-256 differs"):
            open_model(source)
        with pytest.raises(BundleError, match=f"cannot load {where}: .*It is damaged"):
            open_model(source, check=False)


def test_config_wider_than_the_model(tiny_tflite: Callable[..., bytes]) -> None:
    blob = tiny_tflite("classification")
    config = dataclasses.replace(read(blob).config, vocab_size=99)
    wider = pack(blob, dataclasses.replace(read(blob), config=config))
    with pytest.raises(BundleError, match=r"\(GATHER\): .* rows 0 to 98 of \[60, 16\]"):
        open_model(wider)
    model = open_model(wider, check=False)
    with pytest.raises(DeviceError, match="failed on 2 tokens"):
        model.run([2, 98])


def test_auto_threads_are_for_a_file_on_the_cpu(tiny_tflite: Callable[..., bytes]) -> None:
    with pytest.raises(ConfigError, match="is for one file on the CPU"):
        open_model(tiny_tflite("classification"), threads="auto", isolated=True)
    outputs = open_model(tiny_tflite("classification"), threads="auto").run([2, 7, 3])
    whole = open_model(tiny_tflite("classification")).run([2, 7, 3])
    np.testing.assert_array_equal(outputs["logits"], whole["logits"])


@pytest.mark.parametrize("threads", [0, -1, True, 1.5, None])
def test_threads_that_cannot_be(tiny_tflite: Callable[..., bytes], threads: int) -> None:
    with pytest.raises(DeviceError, match="threads must be a whole number of at least 1"):
        open_model(tiny_tflite("classification"), threads=threads)


def test_no_runtime(tiny_tflite: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "_PACKAGES", (("none-such", "none_such.interpreter"),))
    with pytest.raises(DeviceError, match="pip install ai-edge-litert"):
        open_model(tiny_tflite("classification"))


def test_no_tensorflow(tiny_tflite: Callable[..., bytes], tmp_path: Path) -> None:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tiny_tflite("classification"))
    code = (
        "import sys; from albert_edge import load; load(sys.argv[1])(input_ids=[2, 5, 3]);"
        "print([name for name in ('tensorflow', 'tf_keras', 'keras') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("layout", "quantize", "seq_len", "early_exit"),
    [
        ("loop", "float32", None, False),
        ("loop", "int8", None, False),
        ("split", "float32", None, False),
        ("unrolled", "float32", 12, False),
        ("loop", "int8", None, True),
        ("split", "float32", None, True),
    ],
)
def test_many_threads_get_the_outputs_of_one(
    tiny_tflite: Callable[..., bytes],
    layout: str,
    quantize: str,
    seq_len: int | None,
    early_exit: bool,
) -> None:
    config = {"early_exit": True} if early_exit else {}
    model = open_model(
        tiny_tflite(layout=layout, quantize=quantize, seq_len=seq_len, **config), threads=1
    )
    rows = [[2, *(7 + (5 * row + at) % 50 for at in range(row % 9)), 3] for row in range(40)]
    wanted = [model.run(row) for row in rows]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(model.run, rows * 10))
    for outputs, one in zip(found, wanted * 10, strict=True):
        for name, values in one.items():
            assert np.array_equal(outputs[name], values)
