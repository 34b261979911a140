"""Conversion: the file's contents, and options that are refused."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from albert_edge import convert, load_keras
from albert_edge.bundle import bundle
from albert_edge.errors import ConversionError, FidelityError, OutputError
from albert_edge.modeling import Albert
from albert_edge.modeling.layers import assign, tensors
from albert_edge.runtime import open_model
from albert_edge.tflite.export import export_stages
from albert_edge.verification import check_fidelity, verify


def test_the_file_carries_where_it_comes_from_and_how_it_was_verified(tiny_albert):
    made = convert(tiny_albert(), quantize="int8")
    inside = bundle.read(made.blob)
    assert inside.config == tiny_albert().config
    assert inside.verification == made.report["verification"]
    assert inside.verification["passed"]
    assert set(inside.provenance["tools"]) >= {"albert_edge", "tensorflow", "ai-edge-litert"}
    assert made.report["size_bytes"] == len(bytes(made))


def test_two_conversions_give_the_same_bytes(tiny_albert):
    first, second = (convert(tiny_albert(), verified=False).blob for _ in range(2))
    assert first == second


def test_stages_that_are_exported_once_give_the_same_files(tiny_albert):
    model, export = tiny_albert(), cache(export_stages)
    for quantize, layout in (("int8-full", "unrolled"), ("float32", "loop"), ("int8", "split")):
        options = {"quantize": quantize, "layout": layout, "verified": False}
        shared = convert(model, **options, export=export).blob
        assert shared == convert(model, **options).blob
    assert export.cache_info().hits == 1  # the graph of float32 has an FFN in blocks


def test_save_writes_the_file_and_keeps_an_older_one(tiny_albert, tmp_path):
    made = convert(tiny_albert(), verified=False)
    path = made.save(tmp_path / "m.tflite")
    assert path.read_bytes() == made.blob
    with pytest.raises(OutputError, match=r"m\.tflite exists; give --force"):
        made.save(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantize": "int9"}, "unknown recipe 'int9'; choose from float32"),
        ({"layout": "star"}, "unknown layout 'star'; choose from loop"),
        ({"seq_len": 41}, r"seq_len must be in \[1, 40\] for this model, not 41"),
        ({"seq_len": 0}, r"seq_len must be in \[1, 40\]"),
    ],
)
def test_impossible_options_are_refused(tiny_albert, options, message):
    with pytest.raises(ConversionError, match=message):
        convert(tiny_albert(), **options)


def test_a_file_of_other_weights_fails_verification(tiny_albert, tiny_tflite):
    model = tiny_albert()
    other = Albert(model.config, task=model.task)
    assign(other, {**tensors(model), "classifier/kernel": -tensors(model)["classifier/kernel"]})
    figures = verify(tiny_tflite(), other)
    assert not figures["passed"]
    with pytest.raises(FidelityError, match=r"m\.tflite: logits has an error of .*; at most 0\.0"):
        check_fidelity(figures, where="m.tflite")


def test_a_failing_conversion_is_not_returned(tiny_albert):
    broken = Albert(tiny_albert().config, task="classification")
    # float16 ends at 65504: the stored weight becomes infinite.
    pooler = np.full_like(tensors(broken)["pooler/kernel"], 7e4)
    assign(broken, {**tensors(tiny_albert()), "pooler/kernel": pooler})
    with pytest.raises(FidelityError, match="NaN or infinity in logits"):
        convert(broken, quantize="float16")


def test_another_model_is_not_compared(tiny_albert, tiny_tflite):
    with pytest.raises(FidelityError, match="the file is a classification of another shape"):
        verify(tiny_tflite(), tiny_albert("question-answering"))


@pytest.mark.parametrize(
    ("task", "config"),
    [
        ("token-classification", {}),
        ("fill-mask", {}),
        ("pretraining", {}),
        ("question-answering", {}),
        ("summarization", {}),
        ("classification", {"problem_type": "multi_label_classification"}),
    ],
)
def test_agreement_is_of_every_answer(tiny_albert, tiny_tflite, task, config):
    blob, model = tiny_tflite(task, **config), tiny_albert(task, **config)
    assert verify(blob, model)["agreement"] == 1.0
    other = Albert(model.config, task=task)
    assign(other, {name: -values for name, values in tensors(model).items()})
    assert verify(blob, other)["agreement"] < 0.9


def test_numbers_do_not_agree_or_differ(tiny_albert, tiny_tflite):
    config = {"labels": ("stars",)}
    figures = verify(
        tiny_tflite("classification", **config), tiny_albert("classification", **config)
    )
    assert figures["agreement"] is None
    assert figures["passed"]


def test_figures_are_of_every_output(tiny_albert, tiny_tflite):
    figures = verify(tiny_tflite("feature-extraction"), tiny_albert("feature-extraction"))
    assert figures["outputs"].keys() == {"last_hidden_state", "pooler_output"}
    assert figures["agreement"] is None
    assert all(row["cosine"] > 0.999999 for row in figures["outputs"].values())


BERTS = Path(__file__).parent / "data" / "bert_parity"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("bert_classification", {}),
        ("bert_odd_bin_answers", {"layout": "split"}),
        ("distilbert_classification", {"layout": "unrolled", "seq_len": 24}),
        ("distilbert_masks", {"target": "gpu", "seq_len": (12, 24)}),
    ],
)
def test_a_berts_file_says_what_torch_says(name, options):
    """1e-5 as in `test_parity`: the same weights in float32, in another order of summation."""
    made = convert(load_keras(BERTS / name), quantize="float32", **options)
    model = open_model(made.blob)
    with np.load(BERTS / name / "golden.npz") as golden:
        outputs = model.run(golden["alone/input_ids"])
        for output, values in outputs.items():
            np.testing.assert_allclose(values, golden[f"alone/{output}"], atol=1e-5)
    assert made.report["duplication"] < 1.01
    assert made.report["provenance"]["notes"][0].startswith("no layers are shared")


@pytest.mark.parametrize("quantize", ["int8", "int8-full"])
def test_a_bert_quantizes(quantize):
    made = convert(load_keras(BERTS / "bert_tags"), quantize=quantize)
    assert made.report["verification"]["passed"]
