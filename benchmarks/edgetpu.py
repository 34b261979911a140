"""Measure how well the folder of --target edgetpu answers, its products computed on the CPU.

\b
python -m benchmarks.edgetpu ENCODER DEV.tsv           measure, write reference/edgetpu-*.json
python -m benchmarks.edgetpu ENCODER DEV.tsv -o /tmp   write the report elsewhere

ENCODER is a Hugging Face checkpoint of PL-BERT, with a kokoro_config.json that holds its phonemes.
It is calibrated on phonemes.txt and compared with float32 on phonemes_held_out.txt.  DEV.tsv has
the columns text and label, for the embedded model.  ALBERT-base's shape has random weights and ids.
What PL-BERT loses with GELU on the chip too is simulated, see `ChipFfn`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from albert_edge.benchmark.report_file import report_header, save_dated_report
from albert_edge.benchmark.system import describe_machine
from albert_edge.conversion import convert
from albert_edge.evaluation.evaluate import evaluate
from albert_edge.inspection import inspect
from albert_edge.modeling import Albert, activation, load_keras
from albert_edge.quantization.products import fit_product
from albert_edge.runtime import open_model
from benchmarks.trained_encoder import PHONEMES, calibration, compare

REFERENCE = Path(__file__).parent / "reference"
HELD_OUT = PHONEMES.with_name("phonemes_held_out.txt")
TOKENS = 128
LEAST_COSINE, MOST_LOST = 0.97, 0.01
HEADROOM = 1.3  # that of `fit_product`'s outputs
LEAST_INPUT = -6.0  # GELU of less is 0

Float = npt.NDArray[np.float32]


def make_folder(model: Albert, path: Path, texts: Sequence[str] | None) -> dict[str, Any]:
    """Write the folder; return figures of its products and of its verification."""
    made = convert(model, target="edgetpu", calibration=texts)
    made.save(path)
    figures = inspect(path, accelerator="edgetpu")["edgetpu"]
    keys = ("operators", "mapped", "weights", "transfers", "multiply_adds")
    return {
        "size_bytes": made.report["size_bytes"],
        "conversion_s": made.report["conversion_s"],
        "products": made.report["products"],
        **{key: figures[key] for key in keys},
    }


def measure_encoder(directory: Path, folder: Path) -> dict[str, Any]:
    """Compare hidden states of texts that it was not calibrated on."""
    model = load_keras(directory, task="feature-extraction")
    made = make_folder(model, folder / "encoder", calibration(directory))
    edge, cosines, worst = open_model(folder / "encoder"), [], []
    for row in calibration(directory, texts=HELD_OUT):
        ids = np.array([row.split()], np.int32)  # [1, T]
        want = model({"input_ids": ids})["last_hidden_state"].numpy()
        figures = compare(edge.run(ids)["last_hidden_state"], want)
        cosines.append(figures["mean_cosine"])
        worst.append(figures["min_cosine"])
    return {
        "name": "encoder",
        **made,
        "texts": len(cosines),
        "mean_cosine": float(np.mean(cosines)),
        "worst_text_cosine": min(cosines),
        "worst_token_cosine": min(worst),
        "passed": float(np.mean(cosines)) >= LEAST_COSINE,
    }


class Rounding:
    """Rounds values to eight bits, in ranges of what it was fitted to."""

    def __init__(self, least: Any, largest: Any) -> None:
        """Take a range, or one for each channel, float32 [C]."""
        self._least, self._step = least, np.maximum(largest - least, 1e-9) / 255

    def __call__(self, values: Float) -> Float:
        """Round values, float32 [T, C]."""
        codes = np.clip(np.round((values - self._least) / self._step), 0, 255)
        rounded: Float = (codes * self._step + self._least).astype(np.float32)
        return rounded


class ChipFfn:
    """An FFN that the chip computes as a whole, simulated: GELU between two products in int8.

    GELU is not linear, so the host cannot scale rows before it and undo it after: the first
    product's input, GELU's input and its output have one range for all rows.  The rest is as in
    `fit_product`: channels of the input shifted and scaled, channels of weights and output with
    scales of their own.  Sums are exact.
    """

    def __init__(self, layer: Any, inputs: Float, *, logistic: bool) -> None:
        """Fit it to a layer of Keras, and to what its FFN reads, float32 [rows, C].

        Args:
            layer: The layer.
            inputs: What its FFN reads.
            logistic: Whether GELU is x · logistic(1.702 x) in eight bits, of operators that the
                chip has; or exact, which it has not.
        """
        dense = (layer.intermediate, layer.ffn_output)
        kernel, second = (one.kernel.numpy() for one in dense)
        bias, self._second_bias = (one.bias.numpy() for one in dense)
        self._act, self._logistic = layer.config.hidden_act, logistic
        fitted = fit_product(kernel, bias, inputs)
        self._offset, self._factor = fitted.input_offset, fitted.input_factor
        self._kernel = _round_weights(kernel / self._factor[:, None])
        self._bias, self._second = fitted.bias, _round_weights(second)
        scaled = self._scale(inputs)
        largest = np.abs(scaled).max()
        self._round_input = Rounding(-largest, largest)
        sums = scaled @ self._kernel + self._bias
        self._round_sums = Rounding(max(float(sums.min()), LEAST_INPUT), float(sums.max()))
        inner = self._activate(sums)
        self._round_inner = Rounding(float(inner.min()), float(inner.max()))
        outputs = inner @ self._second
        centre = (outputs.min(0) + outputs.max(0)) / 2
        ranges = (outputs.max(0) - outputs.min(0)) / 2 * HEADROOM
        self._round_outputs = Rounding(centre - ranges, centre + ranges)

    def _scale(self, inputs: Float) -> Float:
        scaled: Float = (inputs - self._offset) * self._factor
        return scaled

    def _activate(self, sums: Float) -> Float:
        if self._logistic:  # Hendrycks and Gimpel 2016, arXiv:1606.08415, sec. 2
            return sums * _LOGISTIC(tf.sigmoid(1.702 * sums).numpy())
        activated: Float = activation(self._act, tf.constant(sums)).numpy()
        return activated

    def __call__(self, inputs: Float) -> Float:
        """Return what the FFN adds, float32 [T, C]."""
        sums = self._round_input(self._scale(inputs)) @ self._kernel + self._bias
        inner = self._round_inner(self._activate(self._round_sums(sums)))
        return self._round_outputs(inner @ self._second) + self._second_bias


_LOGISTIC = Rounding(0.0, 255 / 256)  # the range that TFLite demands of LOGISTIC


def _round_weights(kernel: Float) -> Float:
    """Round a kernel, float32 [C, K], to int8 with a scale for each column."""
    scales = np.maximum(np.abs(kernel).max(axis=0), 1e-9) / 127
    rounded: Float = (np.round(kernel / scales) * scales).astype(np.float32)
    return rounded


def measure_chip_ffn(directory: Path) -> dict[str, Any]:
    """Compare hidden states with those of an encoder whose FFN alone is in eight bits."""
    model = load_keras(directory, task="feature-extraction")
    (layer,) = (one for one in model.submodules if hasattr(one, "ffn_output"))
    inner, read = layer.intermediate, list[Float]()

    def keep(values: Any) -> Any:
        read.append(values.numpy()[0])  # [T, C]
        return values

    def run(texts: Path) -> list[Float]:
        ids = (np.array([row.split()], np.int32) for row in calibration(directory, texts=texts))
        return [model({"input_ids": one})["last_hidden_state"].numpy() for one in ids]

    expected = run(HELD_OUT)
    layer.intermediate = lambda values: inner(keep(values))
    run(PHONEMES)
    layer.intermediate = inner
    exact, logistic = (
        ChipFfn(layer, np.concatenate(read), logistic=logistic) for logistic in (False, True)
    )
    figures = {}
    for name, ffn in (("exact", exact), ("logistic", logistic)):
        # What the layer computes between the two, GELU of the first one's result, is not used.
        layer.intermediate = keep
        layer.ffn_output = lambda _, ffn=ffn: tf.constant(ffn(read.pop())[None])
        pairs = zip(run(HELD_OUT), expected, strict=True)
        cosines = [compare(found, want)["mean_cosine"] for found, want in pairs]
        figures[name] = {
            "mean_cosine": float(np.mean(cosines)),
            "worst_text_cosine": min(cosines),
        }
    return {"name": "encoder", "texts": len(expected), **figures}


def measure_shape(folder: Path) -> dict[str, Any]:
    """Compare the outputs of ALBERT-base's shape at 128 tokens."""
    model = load_keras("albert-base-v2", task="feature-extraction")
    made = make_folder(model, folder / "shape", None)
    ids = np.random.default_rng(0).integers(5, model.config.vocab_size, (1, TOKENS), np.int32)
    got = open_model(folder / "shape").run(ids)["last_hidden_state"]
    want = model({"input_ids": ids})["last_hidden_state"].numpy()
    error = float(np.linalg.norm(got - want) / np.linalg.norm(want))
    return {"name": "albert-base-v2", **made, **compare(got, want), "error": error}


def measure_classifier(data: Path, folder: Path) -> dict[str, Any]:
    """Compare the embedded model's accuracy with float32."""
    model = load_keras("default")
    made = make_folder(model, folder / "default", None)
    exact = convert(model, quantize="float32").save(folder / "float32.tflite")
    report = evaluate(str(folder / "default"), str(data), against=str(exact))
    accuracies = [one["metrics"]["accuracy"]["value"] for one in report["models"]]
    return {
        "name": "default",
        **made,
        "sentences": report["examples"],
        "accuracy": accuracies[0],
        "float32_accuracy": accuracies[1],
        "agreement": report["agreement"],
        "passed": accuracies[0] >= accuracies[1] - MOST_LOST,
    }


_MODELS = {
    "encoder": "PL-BERT, a trained encoder of 768",
    "albert-base-v2": "ALBERT-base's shape, random weights, 128 tokens",
    "default": "the embedded classifier",
}


def make_markdown(report: Mapping[str, Any]) -> str:
    """Return the table, and how to reproduce it."""
    lines = [
        "| model | weights on the chip | calls, bytes for 128 tokens | against float32 |",
        "| --- | ---: | ---: | --- |",
    ]
    for row in report["rows"]:
        moved = row["transfers"]
        size = (moved["input_bytes"] + moved["output_bytes"]) / 1e6
        weights = f"{row['weights']['bytes'] / 2**20:.2f} MiB"
        cells = (_MODELS[row["name"]], weights, f"{moved['calls']}, {size:.1f} MB", _describe(row))
        lines.append(f"| {' | '.join(cells)} |")
    where = (
        f"The products computed on the CPU, {report['date']}. Reproduce with "
        "`python -m benchmarks.edgetpu ENCODER DEV.tsv`."
    )
    return "\n".join([*lines, "", where, ""])


def _describe(row: Mapping[str, Any]) -> str:
    if row["name"] == "encoder":
        return (
            f"cosine {row['mean_cosine']:.4f} on {row['texts']} texts that it was not calibrated "
            f"on, {row['worst_text_cosine']:.4f} on the worst"
        )
    if row["name"] == "default":
        return (
            f"accuracy {row['accuracy']:.2%} instead of {row['float32_accuracy']:.2%} on "
            f"{row['sentences']:,} sentences, calibrated on the built-in ones"
        )
    return f"error {row['error']:.4f}, cosine {row['mean_cosine']:.4f}"


@click.command(help=__doc__)
@click.argument("encoder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("dev", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-o", "--output", default=REFERENCE, type=click.Path(path_type=Path, exists=True))
def main(encoder: Path, dev: Path, output: Path) -> None:
    """Exit with 1 if a threshold is missed."""
    with tempfile.TemporaryDirectory() as name:
        folder, rows = Path(name), []
        for measure in (
            lambda: measure_encoder(encoder, folder),
            lambda: measure_shape(folder),
            lambda: measure_classifier(dev, folder),
        ):
            rows.append(measure())
            click.echo(json.dumps(rows[-1]))
    report = {**report_header("edgetpu", describe_machine()), "complete": True, "rows": rows}
    click.echo(save_dated_report(report, output))
    if not all(row.get("passed", True) for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
