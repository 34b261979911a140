"""litert-torch, with ai-edge-quantizer for int8; `benchmarks.litert` runs the files.

python -m benchmarks.runtimes.litert_torch CHECKPOINT -o FOLDER --recipe int8 --seq-len 128
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.runtimes.making import main

__all__ = ["make"]


def make(source: Path, folder: Path, *, recipe: str, seq_len: int) -> None:
    """Convert, then quantize dynamically if the recipe is int8; write `model.tflite`."""
    import litert_torch

    from benchmarks.runtimes.torch_eager import Classifier, random_ids

    names = ("input_ids", "token_type_ids")
    example = [values.int() for values in random_ids(seq_len, 0)]
    model = litert_torch.convert(
        Classifier(source), sample_kwargs=dict(zip(names, example, strict=True))
    )
    path = folder / "model.tflite"
    model.export(str(path))
    if recipe == "int8":
        _quantize(path)


def _quantize(path: Path) -> None:
    from ai_edge_quantizer import quantizer, recipe

    made = quantizer.Quantizer(str(path))
    made.load_quantization_recipe(recipe.dynamic_wi8_afp32())
    made.quantize().export_model(str(path), overwrite=True)


if __name__ == "__main__":
    main(make)
