"""Convert a Hugging Face ALBERT directory to one .tflite file.

python converters/huggingface.py ./my-albert my.tflite --quantize int8
"""

from __future__ import annotations

import argparse

import albert_edge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="config.json, model.safetensors, spiece.model")
    parser.add_argument("output", help="the .tflite file to write")
    parser.add_argument(
        "--quantize", default="int8", help="float32, float16, int8, int4, int16x8 or int8-full"
    )
    parser.add_argument("--layout", default="loop", help="loop, unrolled or split")
    args = parser.parse_args()

    # A Keras model whose passes share one layer, with the head of the checkpoint.
    model = albert_edge.load_keras(args.checkpoint)

    # Change the model here, for example its weights, its head, or the number of passes.

    # Convert each stage once, link, bundle with the tokenizer, and compare with the model.
    made = albert_edge.convert(model, quantize=args.quantize, layout=args.layout)
    made.save(args.output, force=True)

    for name, figures in made.report["verification"]["outputs"].items():
        print(f"{name}: cosine {figures['cosine']:.6f} against Keras")
    print(f"{args.output}: {made.report['size_bytes'] / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
