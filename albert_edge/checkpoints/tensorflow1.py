"""Read and write Google's ALBERT: `albert_config.json`, `model.ckpt-best.*`, `30k-clean.model`.

The names are those of `modeling.py` and `run_*.py` in github.com/google-research/albert.  A TF-Hub
module of version 1, written by its `export_to_tfhub.py`, has the same in `variables` and `assets`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.huggingface import CONFIG as HUGGINGFACE_CONFIG
from albert_edge.checkpoints.huggingface import architectures_of, read_tokenizer
from albert_edge.checkpoints.match import CheckpointContents, TensorNaming, rename_tensors
from albert_edge.checkpoints.tensor_file import TensorFile, has_file, read_json, safe_path
from albert_edge.checkpoints.tf_checkpoint import open_variables, pack_variables
from albert_edge.config import AlbertConfig
from albert_edge.errors import CheckpointError
from albert_edge.files import dump_json
from albert_edge.tasks import TASKS
from albert_edge.tokenizer.config import SPIECE_FILE

CONFIG = "albert_config.json"
SPIECE = "30k-clean.model"
_BEST = "model.ckpt-best"
_HUB = "variables"

# Slots of optimizers, and the heads of Google's scripts.
_IGNORABLE = re.compile(
    r"(.*/)?(adam_[mv]|Adam(_1)?|AdamWeightDecayOptimizer(_1)?|global_step|beta[12]_power)"
    r"|(module/)?(cls|start_logits|end_logits|answer_class|bert/pooler)/.*"
    r"|output_(weights|bias)"
)
_MODULE = "module/"  # the prefix of bert/ in a graph with a TF-Hub module
_PROJECTION = "bert/encoder/embedding_hidden_mapping_in/kernel"
_EPSILON = 1e-12  # of contrib_layers.layer_norm


def is_tensorflow1(directory: Path) -> bool:
    """Return whether a directory has a TensorFlow checkpoint, and no Hugging Face configuration."""
    return is_module(directory) or bool(
        _prefixes(directory) and not has_file(directory, HUGGINGFACE_CONFIG)
    )


def find_tensorflow1(directory: Path, *, prefix: str = "") -> CheckpointContents:
    """Open a directory of Google's ALBERT, or a TF-Hub module of version 1.

    Args:
        directory: A directory with variables, `albert_config.json` and, optionally, a tokenizer.
        prefix: The checkpoint to read, such as "model.ckpt-1000"; empty for the best or only one.

    Raises:
        CheckpointError: The directory is incomplete or damaged, or the model is not supported.
        ConfigError: The configuration is not an ALBERT's.
        MissingExtraError: TensorFlow is not installed.
    """
    hub = not prefix and is_module(directory)
    assets = directory / "assets" if hub else directory
    if not has_file(assets, CONFIG):
        raise CheckpointError(
            f"{assets} has no {CONFIG}, and the variables do not determine the number of layers "
            "and heads. Copy the model's configuration there."
        )
    values = read_json(safe_path(assets, CONFIG))
    config = _read_config(values, assets / CONFIG)
    prefix = _HUB if hub else prefix or _default_prefix(directory)
    file = open_variables(directory / _HUB if hub else directory, prefix)
    if any(name.endswith("/.ATTRIBUTES/VARIABLE_VALUE") for name in file.tensors):
        raise CheckpointError(
            f"{file.path} is of TensorFlow 2, and alone it does not determine the number of "
            "layers. Use the whole TF-Hub module, with its saved_model.pb, or the checkpoint of "
            "google-research/albert or of Hugging Face that it was made from."
        )
    module = _MODULE if any(name.startswith(_MODULE) for name in file.tensors) else ""
    implied = identity_projection(config) if _lacks_projection(file, config, module) else {}
    return CheckpointContents(
        directory=directory,
        file=file,
        naming=_naming(module),
        config=config,
        has_label_count=bool(values.get("id2label")),
        tokenizer_files=read_vocabulary(assets),
        implied=implied,
        notes=tuple(_notes(values, implied)),
        architectures=architectures_of(values),
        default_architectures=(TASKS["classification"].architecture,),
    )


def tensorflow1_files(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Return the files of a directory for Google's scripts.

    Raises:
        CheckpointError: The tensors do not match the configuration and the task, or Google's code
            would compute something else with them.
        MissingExtraError: TensorFlow is not installed.
    """
    config = checkpoint.config
    if config.family != "albert":
        raise CheckpointError(f"Google's ALBERT cannot be a {config.family}; write huggingface.")
    tensors = rename_tensors(checkpoint, _naming(""))
    _check_expressible(checkpoint)
    if config.embedding_size == config.hidden_size:
        tensors = {k: v for k, v in tensors.items() if not k.startswith(_PROJECTION[:-7])}
    values = config.to_huggingface()
    values["hidden_act"] = "relu" if config.hidden_act == "relu" else "gelu"
    values["architectures"] = [TASKS[checkpoint.task].architecture]
    return {
        **pack_variables(tensors, _BEST),
        **{
            SPIECE if name == SPIECE_FILE else name: blob
            for name, blob in checkpoint.tokenizer_files.items()
        },
        CONFIG: (dump_json(values, indent=2, sort_keys=True) + "\n").encode(),
    }


def is_module(directory: Path) -> bool:
    """Return whether a directory is a TF-Hub module, of version 1 or 2."""
    return has_file(directory, "saved_model.pb") and has_file(directory / _HUB, f"{_HUB}.index")


def identity_projection(config: AlbertConfig) -> dict[str, np.ndarray]:
    """Return the projection that Google's code omits if it would not change the width.

    Returns:
        float32 [H, H] and [H] by canonical name; empty if the widths differ.
    """
    size = config.hidden_size
    if config.embedding_size != size:
        return {}
    return {
        "embeddings/projection/kernel": np.eye(size, dtype=np.float32),
        "embeddings/projection/bias": np.zeros(size, np.float32),
    }


def read_vocabulary(folder: Path) -> dict[str, bytes]:
    """Read a tokenizer's files, with a SentencePiece model of any name."""
    files = read_tokenizer(folder)
    models = sorted(path.name for path in folder.glob("*.model"))
    if SPIECE_FILE not in files and len(models) == 1:
        files[SPIECE_FILE] = safe_path(folder, models[0]).read_bytes()
    return files


def _prefixes(directory: Path) -> list[str]:
    return sorted(path.name.removesuffix(".index") for path in directory.glob("*.index"))


def _default_prefix(directory: Path) -> str:
    prefixes = _prefixes(directory)
    if len(prefixes) != 1 and _BEST not in prefixes:
        raise CheckpointError(
            f"{directory} has {len(prefixes)} checkpoints: {', '.join(prefixes)}; name one, "
            f"such as {directory / prefixes[-1]}."
        )
    return _BEST if _BEST in prefixes else prefixes[0]


def _naming(module: str) -> TensorNaming:
    def rename(name: str) -> str:
        return module + name if name.startswith("bert/") else name

    return TensorNaming("tensorflow1", lambda name: _IGNORABLE.fullmatch(name) is not None, rename)


def _read_config(values: Mapping[str, Any], path: Path) -> AlbertConfig:
    # In Google's code gelu is the tanh form, and the epsilon of layer norms is a constant.
    act = "gelu_new" if values.get("hidden_act") == "gelu" else values.get("hidden_act")
    config = AlbertConfig.from_huggingface({**values, "hidden_act": act}, where=str(path))
    config = dataclasses.replace(config, layer_norm_eps=_EPSILON)
    if config.early_exit:
        raise CheckpointError(f"{path}: Google's ALBERT has no early_exit; remove it.")
    if not _has_same_grouping(config):
        raise CheckpointError(f"{path}: {_grouping_message(config)}")
    return config


def _has_same_grouping(config: AlbertConfig) -> bool:
    """Return whether Google's rounding selects the same group as ours in every pass."""
    layers, groups = config.num_hidden_layers, config.num_hidden_groups
    return all(int(i / layers * groups) == config.group_of_layer(i) for i in range(layers))


def _grouping_message(config: AlbertConfig) -> str:
    return (
        f"{config.num_hidden_groups} groups for {config.num_hidden_layers} layers: Google's and "
        "Hugging Face's code round differently, so that a layer belongs to different groups."
    )


def _lacks_projection(file: TensorFile, config: AlbertConfig, module: str) -> bool:
    table = file.tensors.get(f"{module}bert/embeddings/word_embeddings")
    # The width is that of the stored table: a wrong configuration cannot allocate a huge identity.
    same_width = table is not None and table.shape[1:] == (config.hidden_size,)
    return same_width and module + _PROJECTION not in file.tensors


def _notes(values: Mapping[str, Any], implied: Mapping[str, np.ndarray]) -> Iterator[str]:
    if values.get("hidden_act") == "gelu":
        yield "hidden_act gelu is Google's, the tanh form: gelu_new"
    if implied:
        yield "embedding_size equals hidden_size, so there is no projection: the identity is used"


def _check_expressible(checkpoint: Checkpoint) -> None:
    config, problem = checkpoint.config, ""
    if config.hidden_act == "gelu":
        problem = "hidden_act is the exact gelu, and Google's gelu is the tanh form (gelu_new)."
    elif config.layer_norm_eps != _EPSILON:
        problem = f"layer_norm_eps is {config.layer_norm_eps}, and Google's is {_EPSILON}."
    elif config.head_dim is not None:
        problem = "head_dim is set, as heads were removed, and Google's heads share hidden_size."
    elif not _has_same_grouping(config):
        problem = _grouping_message(config)
    elif any(
        not np.array_equal(checkpoint.tensors[name], values)
        for name, values in identity_projection(config).items()
    ):
        problem = "embedding_size equals hidden_size, for which Google's code has no projection."
    if problem:
        raise CheckpointError(f"Google's ALBERT would compute something else: {problem}")
