"""Convert a checkpoint to one graph with TensorFlow's own converter, for comparison.

python -m benchmarks.stock_converter albert-base-v2 -o stock.tflite --quantize int8 --seq-len 128
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command(help=__doc__)
@click.argument("source")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
@click.option("--quantize", type=click.Choice(["float32", "int8"]), default="float32")
@click.option("--seq-len", default=128, show_default=True, help="The fixed length T.")
def main(source: str, output: Path, quantize: str, seq_len: int) -> None:
    """Write the classification model of SOURCE, a checkpoint or a preset."""
    import tensorflow as tf

    import albert_edge

    model = albert_edge.load_keras(source, task="classification")
    ids = tf.TensorSpec([1, seq_len], tf.int32, name="input_ids")
    types = tf.TensorSpec([1, seq_len], tf.int32, name="token_type_ids")

    def classify(input_ids: Any, token_type_ids: Any) -> Any:
        return model({"input_ids": input_ids, "token_type_ids": token_type_ids})

    function = tf.function(classify, input_signature=[ids, types]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
    if quantize == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    output.write_bytes(converter.convert())


if __name__ == "__main__":
    main()
