"""Convert a directory with pytorch_model.bin, and save its weights as safetensors.

python converters/pytorch.py ./downloaded my.tflite --keep ./downloaded-safetensors

A .bin is a pickle, which can run code.  It is read without torch and without running it; a pickle
that would call other functions is refused, with their names.
"""

from __future__ import annotations

import argparse

import albert_edge
from albert_edge.checkpoints import read_checkpoint, write_checkpoint
from albert_edge.modeling import from_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="config.json, pytorch_model.bin (or its shards)")
    parser.add_argument("output", help="the .tflite file to write")
    parser.add_argument("--keep", help="a directory for model.safetensors with the same weights")
    args = parser.parse_args()

    checkpoint = read_checkpoint(args.checkpoint)
    print(f"{checkpoint.task}; unused tensors: {', '.join(checkpoint.unused) or 'none'}")
    if args.keep:
        write_checkpoint(args.keep, checkpoint, to="huggingface")

    # Change the tensors here: checkpoint.tensors maps this project's names to NumPy arrays.

    made = albert_edge.convert(from_checkpoint(checkpoint))
    made.save(args.output, force=True)


if __name__ == "__main__":
    main()
