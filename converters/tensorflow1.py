"""Convert a checkpoint of Google's scripts: albert_config.json and one of several model.ckpt-N.

python converters/tensorflow1.py ./albert_base/model.ckpt-best my.tflite --task pretraining

For a TF-Hub module, version 1 or 2, give its directory.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import albert_edge
from albert_edge.checkpoints import read_checkpoint
from albert_edge.modeling import from_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="a directory, or the prefix of one checkpoint in it")
    parser.add_argument("output", help="the .tflite file to write")
    parser.add_argument("--task", default="auto", help="auto, or the task of a head")
    parser.add_argument(
        "--vocabulary", type=Path, help="30k-clean.model, if it is in another folder"
    )
    args = parser.parse_args()

    checkpoint = read_checkpoint(args.checkpoint, task=args.task)
    for note in checkpoint.notes:  # remarks on the meaning of Google's files
        print(note)
    slots = [name for name in checkpoint.unused if name.endswith(("adam_m", "adam_v"))]
    print(f"{checkpoint.task}; {len(slots)} variables of the optimizer left out")
    if args.vocabulary:
        files = {"spiece.model": args.vocabulary.read_bytes()}
        checkpoint = dataclasses.replace(checkpoint, tokenizer_files=files)
    albert_edge.convert(from_checkpoint(checkpoint)).save(args.output, force=True)


if __name__ == "__main__":
    main()
