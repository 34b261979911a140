"""Every target converts; what is chosen instead is kept, or refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from albert_edge.bundle.bundle import read
from albert_edge.config import LAYOUTS
from albert_edge.conversion import convert
from albert_edge.errors import ConversionError
from albert_edge.inspection import inspect
from albert_edge.quantization.recipes import RECIPES
from albert_edge.runtime import open_model
from albert_edge.targets import TARGETS, get_target, target_figures
from albert_edge.tflite.legacy_runtimes import RUNTIMES


def test_targets_choose_what_there_is() -> None:
    for name, target in TARGETS.items():
        assert target.name == name
        assert set(target.layouts) <= set(LAYOUTS)
        assert set(target.recipes) <= set(RECIPES)
        assert target.compat in (None, *RUNTIMES)
        assert {"layout", "seq-len", "quantize"} <= set(target.reasons)


def test_every_target_has_figures() -> None:
    figures = {name: target_figures(name) for name in TARGETS}
    assert all(one["size_bytes"] > 0 and one["cpu_latency_ms"] > 0 for one in figures.values())
    assert figures["gpu"]["accelerated_nodes"] <= figures["gpu"]["nodes"]


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_chooses_and_the_file_says_so(tiny_albert: Any, name: str) -> None:
    target = TARGETS[name]
    task = "classification" if target.libraries else "question-answering"
    made = convert(tiny_albert(task), target=name)
    bundle = read(made.blob)
    assert bundle.target == made.report["target"] == name
    assert (bundle.layout, bundle.quantize) == (target.layouts[0], target.recipes[0])
    longest = 40  # of the tiny model
    expected = () if target.seq_len is None else (longest,)
    assert set(made.products) == set(bundle.products) == ({longest} if target.rows else set())
    assert bundle.seq_lens == tuple(made.report["seq_lens"]) == expected
    assert bundle.provenance.get("compat") == target.compat
    described = inspect(made.blob)["bundle"]
    assert (described["target"], described["seq_lens"]) == (name, list(expected))


def test_a_file_for_web_pages_is_whole_on_a_gpu_or_a_loop_for_cpus(tiny_albert: Any) -> None:
    for quantize in get_target("web").recipes:
        file = convert(tiny_albert(), target="web", quantize=quantize)
        assert read(file.blob).seq_lens == (32, 40)  # of a model of 40 positions
        found = inspect(file.blob, accelerator="gpu")["gpu"]["kinds"]
        assert not [kind for kind in found if "CompiledModel" in kind["runtimes"]]
    loop = convert(tiny_albert(), target="web", layout="loop")
    described = inspect(loop.blob)["bundle"]
    assert (described["target"], described["layout"]) == ("web", "loop")
    assert described["seq_lens"] == [40]


def test_an_explicit_option_is_kept(tiny_albert: Any) -> None:
    made = convert(tiny_albert(), target="gpu", quantize="float32", seq_len=[24, 8, 16, 8])
    bundle = read(made.blob)
    assert (bundle.quantize, bundle.seq_len, bundle.seq_lens) == ("float32", 24, (8, 16, 24))


@pytest.mark.parametrize(
    ("target", "given", "message"),
    [
        (
            "web",
            {"layout": "split"},
            "--layout split contradicts --target web: WebGPU has no",
        ),
        ("web", {"seq_len": "any"}, "--seq-len any contradicts --target web: LiteRT.js does not"),
        ("web", {"quantize": "int4"}, "--quantize int4 contradicts --target web: The least to"),
        ("gpu", {"layout": "loop"}, "--layout loop contradicts --target gpu.*--layout unrolled"),
        ("gpu", {"seq_len": "any"}, "--seq-len any contradicts --target gpu"),
        ("gpu", {"quantize": "int8-full"}, "--quantize int8-full contradicts --target gpu.*float"),
        ("edgetpu", {"layout": "loop"}, "--layout loop contradicts --target edgetpu"),
        ("edgetpu", {"seq_len": "any"}, "--seq-len any contradicts --target edgetpu: A product"),
        ("edgetpu", {"quantize": "float32"}, "--quantize float32 contradicts --target edgetpu"),
        ("edgetpu", {"kept": ["layer.ffn=float32"]}, "--keep layer.ffn_.* --target edgetpu: The"),
        ("android", {"quantize": "int4"}, "--quantize int4 contradicts --target android"),
        ("mediapipe", {"layout": "loop"}, "--layout loop contradicts --target mediapipe: The lib"),
        ("mediapipe", {"seq_len": "any"}, "--seq-len any contradicts --target mediapipe: The lib"),
        ("mediapipe", {"seq_len": [8, 16]}, "--seq-len 8,16 contradicts --target mediapipe: The"),
        ("mediapipe", {"quantize": "int4"}, "--quantize int4 contradicts --target mediapipe"),
        ("cpu", {"seq_len": [8, 16]}, "--seq-len 8,16 contradicts --layout loop"),
        ("cpu", {"seq_len": 41}, r"in \[1, 40\] for this model, not 41"),
        ("cpu", {"seq_len": []}, "seq_len must be in"),
        ("tpu", {}, "unknown target 'tpu'; choose from cpu, gpu, web, android, mediapipe, edgetpu"),
    ],
)
def test_a_contradiction_names_both(
    tiny_albert: Any, target: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(tiny_albert(), target=target, **given)


@pytest.mark.parametrize(
    ("task", "shape", "given", "message"),
    [
        ("fill-mask", {}, {}, "--task fill-mask contradicts --target mediapipe: neither"),
        ("classification", {"problem_type": "regression"}, {}, "a regression contradicts --target"),
        ("question-answering", {}, {}, "--seq-len 40 contradicts --target mediapipe: .*384"),
        (
            "question-answering",
            {"max_position_embeddings": 400},
            {"seq_len": 128},
            "--seq-len 128 contradicts --target mediapipe: .*384",
        ),
    ],
)
def test_the_libraries_of_mediapipe_perform_some_tasks(
    tiny_albert: Any, task: str, shape: dict[str, Any], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(tiny_albert(task, **shape), target="mediapipe", **given)


@pytest.mark.parametrize(
    ("task", "shape", "outputs"),
    [
        ("classification", {}, {"probabilities"}),
        ("classification", {"problem_type": "multi_label_classification"}, {"probabilities"}),
        (
            "classification",
            {"labels": ("spam",), "problem_type": "single_label_classification"},
            {"probabilities"},
        ),
        ("feature-extraction", {}, {"sentence_embedding"}),
        (
            "question-answering",
            {"max_position_embeddings": 400},
            {"start_logits", "end_logits"},
        ),
    ],
)
@pytest.mark.parametrize("quantize", ["float32", "int8"])
def test_a_file_for_libraries_has_their_outputs_and_runs(
    tiny_albert: Any, task: str, shape: dict[str, Any], outputs: set[str], quantize: str
) -> None:
    made = convert(tiny_albert(task, **shape), target="mediapipe", quantize=quantize)
    assert set(made.report["verification"]["outputs"]) == outputs
    assert set(inspect(made.blob)["signatures"]["serving_default"]["outputs"]) == outputs
    found = open_model(made.blob).run([2, 9, 3, 7, 3], [0, 0, 0, 1, 1])
    assert set(found) == outputs
    if task == "feature-extraction":
        np.testing.assert_allclose(np.linalg.norm(found["sentence_embedding"]), 1, atol=1e-5)
    elif task == "question-answering":
        assert np.nonzero(found["start_logits"][0] > -1000)[0].tolist() == [0, 3, 4]
    elif shape == {}:
        np.testing.assert_allclose(found["probabilities"].sum(), 1, atol=1e-5)


def test_another_older_runtime_contradicts_a_target() -> None:
    with pytest.raises(ConversionError, match="--compat other contradicts --target android"):
        get_target("android").check(layout="loop", quantize="int8", fixed=False, compat="other")
