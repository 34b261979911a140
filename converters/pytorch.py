"""Convert a directory with pytorch_model.bin, and keep its weights in a form that runs no code.

python converters/pytorch.py ./downloaded my.tflite --keep ./downloaded-safetensors

A .bin is a pickle, a program.  It is read here without torch and without running it, and refused
with the name of what it would have called.
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
    parser.add_argument("--keep", help="a directory for the same weights as model.safetensors")
    args = parser.parse_args()

    checkpoint = read_checkpoint(args.checkpoint)
    print(f"{checkpoint.task}; left out: {', '.join(checkpoint.left_out) or 'nothing'}")
    if args.keep:
        write_checkpoint(args.keep, checkpoint, to="huggingface")

    # Change the tensors here: checkpoint.tensors are numpy arrays by this project's names.

    made = albert_edge.convert(from_checkpoint(checkpoint))
    made.save(args.output, force=True)


if __name__ == "__main__":
    main()
