"""torch, eager and compiled: the converter and the engine.

python -m benchmarks.runtimes.torch_eager CHECKPOINT -o FOLDER --recipe eager --seq-len 128
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AlbertForSequenceClassification

from benchmarks.runtimes.making import main

__all__ = ["Classifier", "make", "open_compiled", "open_model", "random_ids"]


class Classifier(torch.nn.Module):
    """transformers' classifier as a function from ids and types, int [1, T], to logits.

    It has no mask, because nothing is padded; this is faster in every peer.
    """

    def __init__(self, source: str | Path, *, attention: str = "sdpa") -> None:
        super().__init__()
        self.model = AlbertForSequenceClassification.from_pretrained(
            str(source), attn_implementation=attention
        ).eval()

    def forward(self, input_ids: Any, token_type_ids: Any) -> Any:
        """Return the logits, float32 [1, 2]."""
        return self.model(input_ids=input_ids, token_type_ids=token_type_ids, return_dict=False)[0]


class _Eager:
    runtime = f"torch {torch.__version__}"

    def __init__(self, classifier: Any) -> None:
        self._classifier = classifier

    def run(self, input_ids: npt.NDArray[np.int32]) -> dict[str, npt.NDArray[np.float32]]:
        ids = torch.from_numpy(np.atleast_2d(np.asarray(input_ids, np.int64)))  # [1, T]
        with torch.inference_mode():
            return {"logits": self._classifier(ids, torch.zeros_like(ids)).numpy()}


class _Compiled(_Eager):
    runtime = f"{_Eager.runtime}, inductor"


def random_ids(seq_len: int, seed: int) -> tuple[Any, Any]:
    """Draw example inputs: ids of ordinary tokens and types, int64 [1, T]."""
    ids = torch.from_numpy(np.random.default_rng(seed).integers(5, 30000, (1, seq_len)))
    return ids, torch.zeros_like(ids)


def open_model(path: str, *, threads: int = 1) -> _Eager:
    """Open a checkpoint's `model.safetensors`."""
    torch.set_num_threads(threads)
    return _Eager(Classifier(Path(path).parent))


def open_compiled(path: str, *, threads: int = 1) -> _Compiled:
    """Open a checkpoint; the first inference compiles it or loads it from the compiler's cache."""
    torch.set_num_threads(threads)
    return _Compiled(torch.compile(Classifier(Path(path).parent), dynamic=False))


def make(source: Path, folder: Path, *, recipe: str, seq_len: int) -> None:
    """Copy the checkpoint; for the recipe `compiled`, also fill the compiler's cache."""
    for name in ("config.json", "model.safetensors"):
        shutil.copy(source / name, folder)
    if recipe == "compiled":
        ids = random_ids(seq_len, 0)[0].numpy()
        open_compiled(str(folder / "model.safetensors")).run(ids)


if __name__ == "__main__":
    main(make)
