"""Convert a model of the Hugging Face Hub to files of several fixed lengths.

python converters/hub.py albert/albert-base-v2 ./out 32 128

The model is downloaded once, into the Hub's cache; with HF_HUB_OFFLINE=1 only the cache is used.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import albert_edge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="owner/model")
    parser.add_argument("folder", type=Path, help="the folder for the .tflite files")
    parser.add_argument("lengths", nargs="+", type=int, help="numbers of tokens, such as 32 128")
    args = parser.parse_args()

    model = albert_edge.load_keras(args.name)
    print(model.provenance["source"])  # with the revision
    args.folder.mkdir(exist_ok=True)
    for length in args.lengths:
        made = albert_edge.convert(model, layout="unrolled", quantize="float16", seq_len=length)
        made.save(args.folder / f"{length}.tflite", force=True)


if __name__ == "__main__":
    main()
