"""Write the weights of one small checkpoint as torch and transformers write them.

Needs torch and transformers, which neither the package nor its tests depend on:

    python -m venv /tmp/foreign && /tmp/foreign/bin/pip install torch==2.13.0 transformers
    /tmp/foreign/bin/python tests/data/make_foreign_golden.py

Every directory holds the weights of `parity/odd_one_type_answers`; what differs is how they are
stored.  The tests compare them number by number.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AlbertForQuestionAnswering

HERE = Path(__file__).parent
SOURCE = HERE / "parity" / "odd_one_type_answers"


def folder(name: str) -> Path:
    """Make an empty directory with the source's configuration."""
    made = HERE / "foreign" / name
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    shutil.copy(SOURCE / "config.json", made)
    return made


def views(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Put every tensor in one storage, the kernels transposed, as views with strides."""
    store = torch.cat([(t.T if t.dim() == 2 else t).reshape(-1) for t in state.values()])
    made, start = {}, 0
    for name, tensor in state.items():
        part = store[start : start + tensor.numel()]
        made[name] = part.view(tensor.T.shape).T if tensor.dim() == 2 else part
        start += tensor.numel()
    # Of another type, of no use, and larger than its storage: a model's position_ids.
    return {**made, "albert.embeddings.position_ids": torch.zeros(1, dtype=torch.int64).expand(9)}


def write_shards(state: dict[str, torch.Tensor], made: Path) -> None:
    """Write two shards and their index, as transformers wrote them up to version 4."""
    names = sorted(state)
    shards = {
        "pytorch_model-00001-of-00002.bin": names[::2],
        "pytorch_model-00002-of-00002.bin": names[1::2],
    }
    for shard, part in shards.items():
        torch.save({name: state[name] for name in part}, made / shard)
    index = {
        "metadata": {"total_size": sum(t.nbytes for t in state.values())},
        "weight_map": {name: shard for shard, part in shards.items() for name in part},
    }
    (made / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2) + "\n")


def main() -> None:
    state = load_file(SOURCE / "model.safetensors")
    torch.save(state, folder("torch") / "pytorch_model.bin")
    torch.save(views(state), folder("torch_views") / "pytorch_model.bin")
    legacy = folder("torch_legacy") / "pytorch_model.bin"
    torch.save(views(state), legacy, _use_new_zipfile_serialization=False)
    for kind in ("float16", "bfloat16"):
        narrow = {name: tensor.to(getattr(torch, kind)) for name, tensor in state.items()}
        torch.save(narrow, folder(f"torch_{kind}") / "pytorch_model.bin")
    write_shards(state, folder("torch_sharded"))
    model = AlbertForQuestionAnswering.from_pretrained(SOURCE)
    model.save_pretrained(folder("sharded"), max_shard_size="5KB")


if __name__ == "__main__":
    main()
