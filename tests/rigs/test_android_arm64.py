"""Files in Android's own library for arm64, under qemu: the answers of LiteRT, and instructions."""

from __future__ import annotations

import numpy as np
import pytest

import albert_edge
from rigs import android_arm64
from rigs.comparison import ROUNDING, largest_error, make_inputs, run_on_cpu
from rigs.early_exit import RULES, SAME_WEIGHTS, check, texts

LENGTHS = (1, 7, 24)
SENTENCES = (
    "a quiet, moving film",
    "Two hours that I will not get back.",
    "The cast is fine, but the plot makes no sense at all, and the end comes out of nowhere.",
    "Œuvre 🎬: ¡magnífico!",
)
RECIPES = ("float32", "float16", "int8")


@pytest.fixture(autouse=True)
def rig():
    android_arm64.RIG.require()


@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a76"])
@pytest.mark.parametrize("quantize", RECIPES)
def test_the_answers_of_litert_at_every_length_in_turn(embedded, quantize, cpu):
    path, floats = embedded("android", quantize), embedded("android", "float32")
    turns = (*LENGTHS, LENGTHS[0])
    every = [text for length in turns for text in texts(length)]
    result = android_arm64.run(path, every, cpu=cpu)
    assert not result.error
    for index, length in enumerate(turns):
        outputs = result.outputs[index * len(RULES) : (index + 1) * len(RULES)]
        check(outputs, path, floats, length, most=SAME_WEIGHTS)


@pytest.mark.parametrize("quantize", RECIPES)
def test_sentences_get_the_labels_of_python(embedded, quantize):
    path = embedded("android", quantize)
    pipe, every, expected = albert_edge.load(path), [], []
    for sentence in SENTENCES:
        expected.append(pipe(sentence))
        tokens = pipe.tokenizer.encode(sentence)
        rule = pipe.model.bundle.early_exit
        every.append(
            {
                "input_ids": np.int32([tokens.input_ids]),
                "token_type_ids": np.int32([tokens.token_type_ids]),
                "patience": np.int32([rule.patience]),
                "threshold": np.float32([rule.threshold]),
                "max_layers": np.int32([rule.max_layers or 99]),
            }
        )
    outputs = android_arm64.run(path, every).outputs
    probabilities = [np.exp(o["logits"][0]) / np.exp(o["logits"][0]).sum() for o in outputs]
    labels = ["negative", "positive"]
    assert [labels[p.argmax()] for p in probabilities] == [one["label"] for one in expected]
    assert [int(o["layers_used"][0]) for o in outputs] == [one["layers_used"] for one in expected]
    # Other kernels round the activations of int8 to other steps, of 1/127 of the largest.
    most = 0.02 if quantize == "int8" else SAME_WEIGHTS
    scores = [one["score"] for one in expected]
    np.testing.assert_allclose([p.max() for p in probabilities], scores, rtol=0, atol=most)


@pytest.mark.parametrize("length", [7, 24])
@pytest.mark.parametrize("quantize", RECIPES)
def test_the_answers_of_litert_with_xnnpack_as_a_delegate(embedded, quantize, length):
    path, floats = embedded("android", quantize), embedded("android", "float32")
    result = android_arm64.run(path, texts(length), xnnpack=True)
    assert not result.error
    check(result.outputs, path, floats, length, most=SAME_WEIGHTS)


def test_with_xnnpack_as_a_delegate_a_second_length_is_refused(embedded):
    # So an app that wants any length does without: see docs/android.md.
    path = embedded("android", "float32")
    result = android_arm64.run(path, [texts(3)[0], texts(5)[0]], xnnpack=True)
    assert "TfLiteSignatureRunnerAllocateTensors failed" in result.error
    assert "only supports static-sized tensors" in result.error


@pytest.mark.parametrize("xnnpack", [False, True])
def test_a_file_for_gpus_on_the_cpu(embedded, xnnpack):
    path = embedded("gpu", "float16")
    inputs = make_inputs(path, vocab_size=4000)[2:]  # two segments, and padding
    result = android_arm64.run(path, inputs, xnnpack=xnnpack)
    assert not result.error
    assert largest_error(result.outputs, run_on_cpu(path.read_bytes(), inputs)) <= ROUNDING


def test_instructions_are_counted_exactly():
    once, twice = (android_arm64.count_loop(times) for times in (1000, 2000))
    assert twice - once == 2 * 1000
    # Around the loop: a call of prctl, and what loads and stores the number.
    assert 2 * 1000 < once < 2 * 1000 + 100


@pytest.mark.parametrize("xnnpack", [False, True])
def test_instructions_are_the_same_from_run_to_run(embedded, tmp_path, xnnpack):
    path = embedded("android", "int8")
    other = tmp_path / "a longer name of the same file.tflite"
    other.write_bytes(path.read_bytes())
    one, two = (
        android_arm64.run(file, [texts(7)[0]] * 3, cpu="cortex-a53", xnnpack=xnnpack)
        for file in (path, other)
    )
    assert one.run_instructions == two.run_instructions
    assert one.load_instructions == two.load_instructions
    first, *warm = one.run_instructions
    assert first > max(warm)  # it plans the graph


def test_a_processor_runs_its_own_kernels(embedded):
    # Of the three only a Cortex-A76 has dot products of 8 bits, and a Cortex-A53 loads 64 bits at a
    # time.
    def warm(cpu: str, quantize: str) -> int:
        path = embedded("android", quantize)
        return android_arm64.run(path, [texts(24)[0]] * 2, cpu=cpu).run_instructions[1]

    assert warm("cortex-a76", "int8") < 0.6 * warm("cortex-a53", "int8")
    assert warm("cortex-a76", "float32") < 0.8 * warm("cortex-a53", "float32")
    assert warm("cortex-a76", "int8") < 0.8 * warm("cortex-a72", "int8")
    assert warm("cortex-a76", "int8") < 0.6 * warm("cortex-a76", "float32")


def test_errors_name_what_was_refused(embedded):
    text = texts(3)[0]
    default = android_arm64.run(embedded("cpu", "int8"), text)
    assert "Didn't find op for builtin opcode 'FULLY_CONNECTED' version '12'" in default.error
    assert "TfLiteInterpreterCreate failed" in default.error
    path = embedded("android", "int8")
    unknown = android_arm64.run(path, text, signature="serving_64")
    assert "TfLiteInterpreterGetSignatureRunner failed" in unknown.error
    longs = {**text, "input_ids": text["input_ids"].astype(np.int64)}
    assert "comparing the type failed: input_ids" in android_arm64.run(path, longs).error
    more = {**text, "attention_mask": text["token_type_ids"]}
    assert "attention_mask" in android_arm64.run(path, more).error
