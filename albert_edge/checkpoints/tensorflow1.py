"""A checkpoint of Google's ALBERT: `albert_config.json`, `model.ckpt-best.*`, `30k-clean.model`.

The names are those of `modeling.py` and `run_*.py` in github.com/google-research/albert.  A TF-Hub
module that its `export_to_tfhub.py` wrote holds the same, in `variables` and `assets`.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.huggingface import CONFIG as HUGGINGFACE_CONFIG
from albert_edge.checkpoints.huggingface import architectures_of, read_tokenizer
from albert_edge.checkpoints.match import (
    CheckpointContents,
    TensorNaming,
    rename_tensors,
)
from albert_edge.checkpoints.tensor_file import TensorFile, has_file, read_json, safe_path
from albert_edge.checkpoints.tf_checkpoint import open_variables, pack_variables
from albert_edge.config import AlbertConfig
from albert_edge.errors import CheckpointError
from albert_edge.tasks import TASKS

__all__ = [
    "CONFIG",
    "SPIECE",
    "find_tensorflow1",
    "identity_projection",
    "is_module",
    "is_tensorflow1",
    "read_vocabulary",
    "tensorflow1_files",
]

CONFIG = "albert_config.json"
_BEST = "model.ckpt-best"
_HUB = "variables"
SPIECE = "30k-clean.model"
# Slots of the optimizers, and the heads of Google's scripts.
_UNUSED = re.compile(
    r"(.*/)?(adam_[mv]|Adam(_1)?|AdamWeightDecayOptimizer(_1)?|global_step|beta[12]_power)"
    r"|(module/)?(cls|start_logits|end_logits|answer_class|bert/pooler)/.*"
    r"|output_(weights|bias)"
)
_MODULE = "module/"  # before bert/, in a graph that had a TF-Hub module in it
_MAPPING = "bert/encoder/embedding_hidden_mapping_in/kernel"
_EPSILON = 1e-12  # of contrib_layers.layer_norm


def is_tensorflow1(directory: Path) -> bool:
    """Tell whether a directory holds variables as TensorFlow saves them, and nothing plainer."""
    return is_module(directory) or bool(
        _prefixes(directory) and not has_file(directory, HUGGINGFACE_CONFIG)
    )


def find_tensorflow1(directory: Path, *, prefix: str = "") -> CheckpointContents:
    """Find what a directory of Google's ALBERT, or a TF-Hub module of it, holds.

    Args:
        directory: It holds the variables, `albert_config.json` and, if any, the tokenizer.
        prefix: Which checkpoint is meant, such as "model.ckpt-1000"; empty for the best or only.

    Raises:
        CheckpointError: The directory is incomplete or damaged, or its model is not one that this
            project can express.
        ConfigError: The configuration is not an ALBERT's.
        MissingExtraError: TensorFlow is not installed.
    """
    hub = not prefix and is_module(directory)
    beside = directory / "assets" if hub else directory
    if not has_file(beside, CONFIG):
        raise CheckpointError(
            f"{beside} has no {CONFIG}, and variables do not tell the number of layers and heads. "
            "Put the model's there."
        )
    values = read_json(safe_path(beside, CONFIG))
    config = _read_config(values, beside / CONFIG)
    prefix = _HUB if hub else prefix or _choose(directory)
    store = open_variables(directory / _HUB if hub else directory, prefix)
    if any(name.endswith("/.ATTRIBUTES/VARIABLE_VALUE") for name in store.tensors):
        raise CheckpointError(
            f"{store.path} is of TensorFlow 2, and alone it does not tell the number of layers. "
            "Take the whole TF-Hub module, with its saved_model.pb, or the checkpoint of "
            "google-research/albert or of Hugging Face that it was made from."
        )
    module = _MODULE if any(name.startswith(_MODULE) for name in store.tensors) else ""
    given = identity_projection(config) if _lacks_projection(store, config, module) else {}
    return CheckpointContents(
        directory=directory,
        store=store,
        dialect=_naming(module),
        config=config,
        labelled=bool(values.get("id2label")),
        tokenizer_files=read_vocabulary(beside),
        given=given,
        notes=tuple(_notes(values, given)),
        architectures=architectures_of(values) or (TASKS["classification"].architecture,),
    )


def tensorflow1_files(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Return the files of a directory that Google's scripts read.

    Raises:
        CheckpointError: The tensors do not fit the configuration and the task, or Google's code
            would compute something else with them.
        MissingExtraError: TensorFlow is not installed.
    """
    config = checkpoint.config
    tensors = rename_tensors(checkpoint, _naming(""))
    _check_expressible(checkpoint)
    if config.embedding_size == config.hidden_size:
        tensors = {k: v for k, v in tensors.items() if not k.startswith(_MAPPING[:-7])}
    values = config.to_huggingface()
    values["hidden_act"] = "relu" if config.hidden_act == "relu" else "gelu"
    values["architectures"] = [TASKS[checkpoint.task].architecture]
    return {
        **pack_variables(tensors, _BEST),
        **{
            SPIECE if name == "spiece.model" else name: blob
            for name, blob in checkpoint.tokenizer_files.items()
        },
        CONFIG: (json.dumps(values, indent=2, sort_keys=True) + "\n").encode(),
    }


def is_module(directory: Path) -> bool:
    """Tell whether a directory is a TF-Hub module, of either version."""
    return has_file(directory, "saved_model.pb") and has_file(directory / _HUB, f"{_HUB}.index")


def identity_projection(config: AlbertConfig) -> dict[str, np.ndarray]:
    """Return the projection that Google's code leaves out when it would change no shape."""
    size = config.hidden_size
    if config.embedding_size != size:
        return {}
    return {
        "embeddings/projection/kernel": np.eye(size, dtype=np.float32),
        "embeddings/projection/bias": np.zeros(size, np.float32),
    }


def read_vocabulary(folder: Path) -> dict[str, bytes]:
    """Read a tokenizer's files, whatever its SentencePiece model is called."""
    files = read_tokenizer(folder)
    models = sorted(path.name for path in folder.glob("*.model"))
    if "spiece.model" not in files and len(models) == 1:
        files["spiece.model"] = safe_path(folder, models[0]).read_bytes()
    return files


def _prefixes(directory: Path) -> list[str]:
    return sorted(path.name.removesuffix(".index") for path in directory.glob("*.index"))


def _choose(directory: Path) -> str:
    prefixes = _prefixes(directory)
    if len(prefixes) != 1 and _BEST not in prefixes:
        raise CheckpointError(
            f"{directory} holds {len(prefixes)} checkpoints: {', '.join(prefixes)}; name one, "
            f"such as {directory / prefixes[-1]}."
        )
    return _BEST if _BEST in prefixes else prefixes[0]


def _naming(module: str) -> TensorNaming:
    def rename(name: str) -> str:
        return module + name if name.startswith("bert/") else name

    return TensorNaming("tensorflow1", lambda name: _UNUSED.fullmatch(name) is not None, rename)


def _read_config(values: Mapping[str, Any], path: Path) -> AlbertConfig:
    # What Google's code computes: its gelu is the tanh form, and its epsilon is fixed.
    act = "gelu_new" if values.get("hidden_act") == "gelu" else values.get("hidden_act")
    config = AlbertConfig.from_huggingface({**values, "hidden_act": act}, where=str(path))
    config = dataclasses.replace(config, layer_norm_eps=_EPSILON)
    if config.early_exit:
        raise CheckpointError(f"{path}: Google's ALBERT has no early_exit; remove it.")
    if not _grouped_alike(config):
        raise CheckpointError(f"{path}: {_grouping(config)}")
    return config


def _grouped_alike(config: AlbertConfig) -> bool:
    """Tell whether Google's rounding gives every pass the same group as ours."""
    layers, groups = config.num_hidden_layers, config.num_hidden_groups
    return all(int(i / layers * groups) == config.group_of_layer(i) for i in range(layers))


def _grouping(config: AlbertConfig) -> str:
    return (
        f"{config.num_hidden_groups} groups for {config.num_hidden_layers} layers: Google's and "
        "Hugging Face's code round differently and give a layer to different groups."
    )


def _lacks_projection(store: TensorFile, config: AlbertConfig, module: str) -> bool:
    table = store.tensors.get(f"{module}bert/embeddings/word_embeddings")
    # The table's width is asked, so that no configuration alone can claim the memory.
    as_wide = table is not None and table.shape[1:] == (config.hidden_size,)
    return as_wide and module + _MAPPING not in store.tensors


def _notes(values: Mapping[str, Any], given: Mapping[str, np.ndarray]) -> Iterator[str]:
    if values.get("hidden_act") == "gelu":
        yield "hidden_act gelu is Google's, the tanh form: gelu_new"
    if given:
        yield "embedding_size is hidden_size, so there is no projection: the identity stands for it"


def _check_expressible(checkpoint: Checkpoint) -> None:
    config, problem = checkpoint.config, ""
    if config.hidden_act == "gelu":
        problem = "hidden_act is the exact gelu, and Google's gelu is the tanh form (gelu_new)."
    elif config.layer_norm_eps != _EPSILON:
        problem = f"layer_norm_eps is {config.layer_norm_eps}, and Google's is {_EPSILON}."
    elif not _grouped_alike(config):
        problem = _grouping(config)
    elif any(
        not np.array_equal(checkpoint.tensors[name], values)
        for name, values in identity_projection(config).items()
    ):
        problem = "embedding_size is hidden_size, for which Google's code has no projection."
    if problem:
        raise CheckpointError(f"Google's ALBERT would compute something else: {problem}")
