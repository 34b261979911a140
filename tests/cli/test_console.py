"""Reports as text, and the messages of libraries kept off the terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest

from albert_edge.cli.console import (
    bars,
    print_report,
    quiet,
    random_part,
    render_checkpoint,
    render_conversion,
    render_inspection,
    render_verification,
    step,
)
from albert_edge.errors import InputError

VERIFICATION = {
    "passed": False,
    "reference": "Keras",
    "inputs": "3 texts",
    "outputs": {"logits": {"max_difference": 0.00123, "error": 0.5, "cosine": 0.25}},
    "agreement": 2 / 3,
}
CONVERSION: dict[str, Any] = {
    "output": "m.tflite",
    "size_bytes": 1_234_567,
    "task": "classification",
    "quantize": "int8",
    "layout": "loop",
    "seq_len": None,
    "seq_lens": [],
    "target": "cpu",
    "duplication": 1.0,
    "sharing": 11.96,
    "conversion_s": 2.34,
    "provenance": {},
    "tokenizer": True,
    "verification": None,
}


def print_as(render: Callable[[Any], Iterable[Any]], report: dict[str, Any]) -> None:
    print_report(report, as_json=False, render=render)


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_a_conversion_in_units_that_people_read(capsys: pytest.CaptureFixture[str]) -> None:
    print_as(render_conversion, CONVERSION)
    text = shown(capsys)
    assert text.startswith("m.tflite 1.23 MB classification, int8, loop, length any")
    assert "stored 1.00 times and used 12.0 times; converted in 2.3 s" in text
    assert text.endswith("not verified")
    assert "random" not in text
    assert "no tokenizer" not in text


def test_what_a_user_has_to_know_of_a_conversion(capsys: pytest.CaptureFixture[str]) -> None:
    vocabulary = {
        "pieces_before": 30_000,
        "pieces_after": 1_000,
        "tokens_before": 200,
        "tokens_changed": 3,
        "float32_bytes_saved": 14_848_000,
        "tokenizer_bytes_saved": 700_000,
    }
    provenance = {"drawn": ["qa_outputs/kernel"], "ranges": True, "changes": {}}
    provenance["changes"] = {"vocabulary": vocabulary}
    rule = {"patience": 1, "threshold": 0.9, "max_layers": 4}
    report = {**CONVERSION, "provenance": provenance, "early_exit": rule, "tokenizer": False}
    print_as(render_conversion, {**report, "verification": VERIFICATION, "seq_lens": [64]})
    text = shown(capsys)
    for part in (
        "length 64",
        "prediction unchanged for 1 layer or probability 0.9 or 4 layers run",
        "the head is random",
        "from 30,000 to 1,000 pieces; 1.50% of the tokens change",
        "saves 14.85 MB of float32 weights and 0.70 MB of tokenizer",
        "int8 activations use the ranges learned",
        "no tokenizer in the checkpoint",
        "FAILED against Keras on 3 texts",
        "same prediction on 67% of the inputs",
    ):
        assert part in text


def test_a_threshold_that_is_never_met_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    rule = {"patience": 6, "threshold": 2.0, "max_layers": None}
    print_as(render_conversion, {**CONVERSION, "early_exit": rule})
    assert "default early exit: prediction unchanged for 6 layers each weight" in shown(capsys)


def test_a_verification_has_a_row_for_every_output(capsys: pytest.CaptureFixture[str]) -> None:
    print_as(render_verification, {**VERIFICATION, "passed": True, "agreement": None})
    text = shown(capsys)
    assert "passed against Keras on 3 texts" in text
    assert "logits │ 1.23e-03 │ 5.00e-01 │ 0.250000" in text
    assert "same prediction" not in text


def test_a_name_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    report: dict[str, Any] = {
        "output": "x",
        "task": "fill-mask",
        "format": "keras",
        "tensors": 25,
        "source": "y",
    }
    notes = ["the names [bold] and [/] are no markup"]
    print_as(
        render_checkpoint,
        {**report, "notes": notes, "left_out": ["a[0]", "b"], "changes": {}, "drawn": []},
    )
    text = shown(capsys)
    assert "x fill-mask, keras, 25 tensors from y" in text
    assert notes[0] in text
    assert "unused tensors: a[0], b" in text


def test_an_inspection_of_a_file_of_another_tool(capsys: pytest.CaptureFixture[str]) -> None:
    tensor = {"dtype": "int32", "shape": [1, -1]}
    stage = {
        "passes": 12,
        "weight_bytes": 7_100_000,
        "operators": {"FULLY_CONNECTED": 4, "ADD": 2},
        "float_operators": ["SOFTMAX"],
    }
    weights = {
        "by_type": {"int8": 7_000_000, "float32": 100_000},
        "stored_bytes": 7_100_000,
        "duplication": 1.0,
        "logical_bytes": 85_200_000,
        "sharing": 12.0,
    }
    signature = {"inputs": {"ids": tensor}, "outputs": {"logits": {**tensor, "shape": [1, 2]}}}
    figures = {"bundle": None, "signatures": {"serve": signature}, "pieces": {"layer_0": stage}}
    print_as(partial(render_inspection, "m.tflite"), {**figures, "weights": weights})
    text = shown(capsys)
    for part in (
        "no albert_edge metadata: the file is from another tool",
        "signature serve input ids: int32 1×any output logits: int32 1×2",
        "layer_0 │ 12 │ 7.10 MB │ 4 FULLY_CONNECTED, 2 ADD",
        "computed in float: layer_0 SOFTMAX",
        "weights 7.10 MB (int8 7.00 MB, float32 0.10 MB), stored 1.00 times",
        "they would take 85.20 MB, 12.0 times as much",
    ):
        assert part in text


def fail(error: Exception) -> None:
    os.write(2, b"chatter\n")
    raise error


def test_messages_of_libraries_are_shown_only_with_an_unexpected_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with quiet() as console:
        os.write(2, b"chatter\n")
        console.print("progress")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "progress\nafter\n"
    with pytest.raises(InputError), quiet():
        fail(InputError("the user's mistake"))
    assert capfd.readouterr().err == ""
    with pytest.raises(ValueError, match="a bug"), quiet():
        fail(ValueError("a bug"))
    assert capfd.readouterr().err == "chatter\n"


def test_there_is_no_progress_where_there_is_no_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with bars() as shown_bars:
        shown_bars.add_task("training", total=2, completed=1)
    with step("Comparing"):
        pass
    assert capfd.readouterr().err == ""


def test_random_weights_are_announced() -> None:
    assert random_part(None) == random_part([]) == ""
    assert random_part(["classifier/kernel", "classifier/bias"]) == "head"
    assert random_part(["embeddings/word_embeddings", "classifier/kernel"]) == "all"
