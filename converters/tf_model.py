"""Convert a directory with tf_model.h5 to several files with one reading.

python converters/tf_model.py ./my-albert ./out float32 int8

Writes out/float32.tflite, out/int8.tflite.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import albert_edge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="config.json, tf_model.h5")
    parser.add_argument("folder", type=Path, help="the folder for the .tflite files")
    parser.add_argument(
        "quantize", nargs="+", help="float32, float16, int8, int4, int16x8, int8-full"
    )
    args = parser.parse_args()

    model = albert_edge.load_keras(args.checkpoint)
    args.folder.mkdir(exist_ok=True)
    for recipe in args.quantize:
        made = albert_edge.convert(model, quantize=recipe)
        made.save(args.folder / f"{recipe}.tflite", force=True)
        print(f"{recipe}: {made.report['size_bytes'] / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
