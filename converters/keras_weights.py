"""Change a model, save it as Keras weights, and convert the saved model.

python converters/keras_weights.py ./my-albert ./changed changed.tflite --layers 6

This example applies the shared layer fewer times; training would go here too.
"""

from __future__ import annotations

import argparse
import dataclasses

import albert_edge
from albert_edge.checkpoints import Checkpoint, write_checkpoint
from albert_edge.modeling.layers import tensors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="any checkpoint")
    parser.add_argument("folder", help="the directory for config.json and keras_weights.h5")
    parser.add_argument("output", help="the .tflite file to write")
    parser.add_argument("--layers", type=int, required=True, help="the number of passes")
    args = parser.parse_args()

    model = albert_edge.load_keras(args.checkpoint)
    changed = Checkpoint(
        config=dataclasses.replace(model.config, num_hidden_layers=args.layers),
        task=model.task,
        tensors=tensors(model),
        tokenizer_files=model.tokenizer_files,
    )
    write_checkpoint(args.folder, changed, to="keras", force=True)

    again = albert_edge.load_keras(args.folder)
    albert_edge.convert(again).save(args.output, force=True)


if __name__ == "__main__":
    main()
