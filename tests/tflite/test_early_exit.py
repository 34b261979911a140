"""Files with early exit: off, they equal the ordinary file; on, they exit where the rule says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_edge.bundle import bundle
from albert_edge.config import LAYOUTS
from albert_edge.conversion import convert
from albert_edge.early_exit import NEVER, EarlyExit
from albert_edge.errors import BundleError, ConversionError
from albert_edge.inspection import inspect
from albert_edge.quantization.recipes import RECIPES, get_recipe
from albert_edge.runtime import Model, open_model
from albert_edge.tasks import TASKS
from albert_edge.tflite.graph import parse
from albert_edge.tflite.legacy_runtimes import RUNTIMES
from albert_edge.tflite.legalize import legalize
from albert_edge.verification import verify
from exits import passes_by_hand

PASSES = 6
# So small that later passes change the label: in 40 of 64 rows.
DEEP: dict[str, Any] = {"num_hidden_layers": PASSES, "initializer_range": 0.2}
ROWS = [np.random.default_rng(seed).integers(0, 60, 3 + seed % 7) for seed in range(64)]
LEAVING = ("loop", "split")
EXITING = [name for name, task in TASKS.items() if task.can_exit_early]


@pytest.fixture(scope="module", params=EXITING)
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def keras(tiny_albert: Callable[..., Any]) -> Any:
    return tiny_albert(early_exit=True, **DEEP)


@pytest.fixture(scope="module")
def leaving(tiny_tflite: Callable[..., bytes]) -> Callable[..., Model]:
    return lambda *task, **how: open_model(tiny_tflite(*task, early_exit=True, **DEEP, **how))


def predicted(task: str, logits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a row for each thing that a pass predicts, of its logits [L, ..., K]."""
    if task == "classification":
        return logits[:, None]
    return logits if task == "token-classification" else logits.transpose(0, 2, 1)


def stacked(task: str, outputs: Any) -> npt.NDArray[Any]:
    """Return the logits [..., K] of a file's outputs."""
    values = [outputs[name][0] for name in TASKS[task].outputs]
    return values[0] if len(values) == 1 else np.stack(values, axis=-1)


@pytest.mark.parametrize("seq_len", [None, 12])
@pytest.mark.parametrize("quantize", RECIPES)
def test_off_it_is_the_ordinary_file_bit_for_bit(
    tiny_tflite: Callable[..., bytes],
    leaving: Callable[..., Model],
    task: str,
    quantize: str,
    seq_len: int | None,
) -> None:
    how: dict[str, Any] = {"quantize": quantize, "seq_len": seq_len}
    ordinary = open_model(tiny_tflite(task, **DEEP, **how))
    for layout in LEAVING:
        model = leaving(task, layout=layout, **how)
        for row in ROWS[:7]:  # seven lengths, one after the other
            off, whole = model.run(row, early_exit=NEVER), ordinary.run(row)
            np.testing.assert_array_equal(off["layers_used"], [PASSES])
            # As many passes as there are cannot all repeat the one before them.
            rule = EarlyExit(patience=PASSES, threshold=1.01)
            other = model.run(row, early_exit=rule)
            for name in TASKS[task].outputs:
                np.testing.assert_array_equal(off[name], whole[name])
                np.testing.assert_array_equal(other[name], off[name])
    assert set(model.run_all_layers(row)) == set(TASKS[task].outputs)


@pytest.mark.parametrize("seq_len", [None, 12])
@pytest.mark.parametrize("quantize", RECIPES)
def test_made_to_leave_it_says_what_keras_says_there(
    tiny_albert: Callable[..., Any],
    leaving: Callable[..., Model],
    task: str,
    quantize: str,
    seq_len: int | None,
) -> None:
    how: dict[str, Any] = {"quantize": quantize, "seq_len": seq_len}
    loop, split = (leaving(task, layout=one, **how) for one in LEAVING)
    got = []
    for made in range(1, PASSES):
        rule = replace(NEVER, max_layers=made)
        one, other = (model.run(ROWS[6], early_exit=rule) for model in (loop, split))
        assert one["layers_used"] == other["layers_used"] == made
        for name in TASKS[task].outputs:
            np.testing.assert_array_equal(one[name], other[name])
        got.append(stacked(task, one))
    keras = tiny_albert(task, early_exit=True, **DEEP)
    want = keras.exits({"input_ids": ROWS[6][None]})[0, :-1]
    error = np.linalg.norm(np.stack(got) - want) / np.linalg.norm(want)
    assert error <= get_recipe(quantize).max_error


@pytest.fixture(scope="module")
def said(tiny_albert: Callable[..., Any], task: str) -> list[npt.NDArray[Any]]:
    """Keras' logits of every row after every pass, float32 [L, ..., K]."""
    mask = np.array([[at < len(row) for at in range(12)] for row in ROWS], np.int32)
    ids = np.zeros_like(mask)
    ids[mask > 0] = np.concatenate(ROWS)
    keras = tiny_albert(task, early_exit=True, **DEEP)
    exits = keras.exits({"input_ids": ids, "attention_mask": mask}).numpy()
    if not TASKS[task].per_token:
        return list(exits)
    return [logits[:, : len(row)] for logits, row in zip(exits, ROWS, strict=True)]


def test_the_rows_change_their_answers(task: str, said: list[npt.NDArray[Any]]) -> None:
    # All labels of a row of random tokens are hardly ever unchanged.
    rule = EarlyExit(patience=2, threshold=0.5 if task == "token-classification" else 2.0)
    used = [passes_by_hand(predicted(task, logits), rule) for logits in said]
    assert len(set(used)) >= 3


@settings(max_examples=40)
@given(
    index=st.integers(0, len(ROWS) - 1),
    patience=st.integers(1, PASSES + 1),
    threshold=st.floats(0, 1.2),
    max_layers=st.none() | st.integers(1, PASSES + 1),
)
def test_it_leaves_where_the_rule_says(
    leaving: Callable[..., Model],
    task: str,
    said: list[npt.NDArray[Any]],
    index: int,
    patience: int,
    threshold: float,
    max_layers: int | None,
) -> None:
    rule = EarlyExit(patience=patience, threshold=threshold, max_layers=max_layers)
    logits = predicted(task, said[index])  # [L, D, C]
    made = passes_by_hand(logits, rule)
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    if np.abs(shares.max(axis=-1) - threshold).min() < 1e-5:
        return  # so close that float32 may see it either way
    for layout in LEAVING:
        for seq_len in (None, 12):  # every row is padded
            model = leaving(task, layout=layout, seq_len=seq_len)
            outputs = model.run(ROWS[index], early_exit=rule)
            assert outputs["layers_used"].tolist() == [made]
            assert outputs["layers_used"].dtype == np.int32
            # Sums in another order: a few float32 roundings of values around 1.
            want = said[index][made - 1]
            np.testing.assert_allclose(stacked(task, outputs), want, atol=2e-5)


def test_nothing_that_a_host_may_pass_is_an_error(leaving: Callable[..., Model], task: str) -> None:
    interpreter = leaving(task)._forward.__closure__[0].cell_contents  # the bare signature
    ids = np.array([ROWS[0]], np.int32)
    for patience in (-(2**31), 0, 2**31 - 1):
        for threshold in (-1.0, np.nan, np.inf):
            for most in (-(2**31), 0, 2**31 - 1):
                outputs = interpreter(
                    input_ids=ids,
                    token_type_ids=0 * ids,
                    patience=np.array([patience], np.int32),
                    threshold=np.array([threshold], np.float32),
                    max_layers=np.array([most], np.int32),
                )
                # No probability is below NaN, as none is below 0: it exits.
                stays = patience > 0 and threshold == np.inf and most > 0
                assert outputs["layers_used"].tolist() == [PASSES if stays else 1]


def test_unrolled_makes_all_passes(tiny_tflite: Callable[..., bytes], keras: Any) -> None:
    plain, early = (tiny_tflite(layout="unrolled", early_exit=one, **DEEP) for one in (False, True))
    assert bundle.model_bytes(plain) == bundle.model_bytes(early)
    assert bundle.read(early).early_exit is None
    with pytest.raises(ConversionError, match="early exit needs layout loop or split"):
        convert(keras, layout="unrolled", early_exit=NEVER)


def test_a_model_without_exits_takes_no_rule(tiny_albert: Callable[..., Any]) -> None:
    with pytest.raises(ConversionError, match="trained with early_exit"):
        convert(tiny_albert(), early_exit=NEVER)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_default_travels_in_the_bundle(keras: Any, layout: str) -> None:
    rule = EarlyExit(patience=2, threshold=0.75)
    made = convert(keras, layout=layout, early_exit=rule if layout in LEAVING else None)
    inside = bundle.read(made.blob)
    assert inside.early_exit == (rule if layout in LEAVING else None)
    assert bundle.pack(bundle.model_bytes(made.blob), inside) == made.blob
    assert made.report["verification"]["passed"]
    found = inspect(made.blob)
    assert found["bundle"].get("early_exit") == made.report.get("early_exit")
    assert ("exit_logits" in made.report["verification"]["outputs"]) == (layout in LEAVING)
    if layout in LEAVING:
        assert made.report["early_exit"] == {**made.report["early_exit"], "patience": 2}
        model = open_model(made.blob)
        used = [int(model.run(row)["layers_used"][0]) for row in ROWS]
        given = [int(model.run(row, early_exit=rule)["layers_used"][0]) for row in ROWS]
        assert used == given
        assert len(set(used)) > 1


def test_a_rule_and_a_configuration_that_contradict_each_other(
    tiny_tflite: Callable[..., bytes],
) -> None:
    for early in (False, True):
        inside = bundle.read(tiny_tflite(early_exit=early, **DEEP))
        with pytest.raises(BundleError, match="early_exit cannot be"):
            replace(inside, early_exit=None if early else NEVER)


def test_an_exit_that_is_wrong_fails_verification(
    keras: Any, leaving: Callable[..., Model]
) -> None:
    from albert_edge.modeling import Albert
    from albert_edge.modeling.layers import assign, tensors

    blob = convert(keras, quantize="float32", verified=False).blob
    other = Albert(keras.config, task="classification")
    weights = tensors(keras)
    weights["exits/bias"] = weights["exits/bias"] + np.float32(0.1)
    assign(other, weights)
    figures = verify(blob, other)
    assert not figures["passed"]
    assert figures["outputs"]["logits"]["error"] < 1e-4 < figures["outputs"]["exit_logits"]["error"]


def test_what_is_stored_more_is_the_exits(tiny_tflite: Callable[..., bytes]) -> None:
    plain, early = (inspect(tiny_tflite(early_exit=one, **DEEP)) for one in (False, True))
    more = early["weights"]["stored_bytes"] - plain["weights"]["stored_bytes"]
    exits = 4 * (32 + 1) * (PASSES - 1) * 3  # float32: so few numbers are not quantized
    assert exits <= more <= exits + 100  # and a few constants of the decision
    assert early["weights"]["duplication"] <= 1.01
    assert early["pieces"]["head_exits"]["passes"] == PASSES
    assert early["pieces"]["decision"]["passes"] == PASSES
    signature = early["signatures"]["serving_default"]
    assert signature["inputs"]["patience"] == {"dtype": "int32", "shape": [1]}
    assert signature["inputs"]["threshold"] == {"dtype": "float32", "shape": [1]}
    assert signature["inputs"]["max_layers"] == {"dtype": "int32", "shape": [1]}
    assert signature["outputs"]["layers_used"] == {"dtype": "int32", "shape": [1]}


@pytest.mark.parametrize("quantize", RUNTIMES["tflite-runtime-2.14"].recipes)
def test_an_old_runtime_knows_the_decision(
    tiny_tflite: Callable[..., bytes], leaving: Callable[..., Model], task: str, quantize: str
) -> None:
    blob = tiny_tflite(task, early_exit=True, quantize=quantize, **DEEP)
    lowered = legalize(parse(bundle.model_bytes(blob)), RUNTIMES["tflite-runtime-2.14"])
    old = open_model(bundle.pack(lowered, bundle.read(blob)))
    for row in ROWS[:16]:
        got, want = old.run(row), leaving(task, quantize=quantize).run(row)
        np.testing.assert_array_equal(got["layers_used"], want["layers_used"])
        # Scales of rows are multiplied in after the product: float32 roundings of values around 1.
        np.testing.assert_allclose(stacked(task, got), stacked(task, want), atol=1e-4)
