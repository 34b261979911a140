"""Measure the largest possible speed-up of int8: one FFN product of ALBERT-base in isolation.

\b
python -m benchmarks.int8_roofline            measure, write reference/*.json
python -m benchmarks.int8_roofline -o /tmp    write the report elsewhere
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import tensorflow as tf

from albert_edge.benchmark.report_file import make_report, save_dated_report
from albert_edge.runtime.interpreter import open_interpreter

REFERENCE = Path(__file__).parent / "reference"
TOKENS, WIDTH, INNER = 128, 768, 3072
OPERATIONS = 2 * TOKENS * WIDTH * INNER


def convert_product(*, quantized: bool) -> bytes:
    """Convert [T, H] times [H, 4H] with the stock converter."""
    kernel = np.random.default_rng(0).standard_normal((WIDTH, INNER)).astype(np.float32)
    spec = tf.TensorSpec([TOKENS, WIDTH], tf.float32, "values")
    product = tf.function(lambda values: tf.matmul(values, tf.constant(kernel)))
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [product.get_concrete_function(spec)], tf.Module()
    )
    if quantized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return bytes(converter.convert())


def prepare(model: bytes) -> Any:
    interpreter = open_interpreter(model, threads=1)
    interpreter.allocate_tensors()
    values = np.random.default_rng(1).standard_normal((TOKENS, WIDTH)).astype(np.float32)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    return interpreter


@click.command(help=__doc__)
@click.option("-o", "--output", default=REFERENCE, type=click.Path(path_type=Path, exists=True))
@click.option("--runs", default=300, show_default=True, type=click.IntRange(1))
def main(output: Path, runs: int) -> None:
    """Run the two products interleaved and compare the fastest run of each."""
    products = {
        name: prepare(convert_product(quantized=name == "int8")) for name in ("float32", "int8")
    }
    taken_ns: dict[str, list[int]] = {name: [] for name in products}
    for _ in range(runs):
        for name, interpreter in products.items():
            start = time.thread_time_ns()
            interpreter.invoke()
            taken_ns[name].append(time.thread_time_ns() - start)
    best_ns = {name: min(samples) for name, samples in taken_ns.items()}
    ratio = best_ns["float32"] / best_ns["int8"]
    for name, nanoseconds in best_ns.items():
        rate = OPERATIONS / nanoseconds
        click.echo(f"{name:8}{nanoseconds / 1e6:7.3f} ms  {rate:6.0f} billion operations a second")
    click.echo(f"int8 is {ratio:.2f} times as fast as float32 in the product alone")
    report = make_report("int8_roofline", [], best_ns=best_ns, ratio=ratio, samples_ns=taken_ns)
    click.echo(f"Wrote {save_dated_report(report, output)}", err=True)


if __name__ == "__main__":
    main()
