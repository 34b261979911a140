"""BERT, MiniLM and DistilBERT in Hugging Face's form: an ALBERT whose passes share nothing.

Each pass is a hidden group of its own, and the embeddings are as wide as the encoder, so that they
need no projection.  MiniLM has BERT's form.  DistilBERT ignores token types, which here are a table
of zeros, and its pooler, with ReLU, belongs to its classifier.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from albert_edge.checkpoints.init import count_parameters
from albert_edge.checkpoints.match import TensorNaming
from albert_edge.config import AlbertConfig
from albert_edge.errors import ConfigError, TokenizerError
from albert_edge.files import dump_json, parse_json
from albert_edge.tokenizer import CONFIG_FILE

BERTS = ("bert", "distilbert")

# Hugging Face's names in DistilBERT's configuration → those of the other models.
_DISTILBERT = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "hidden_dim": "intermediate_size",
    "activation": "hidden_act",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "seq_classif_dropout": "classifier_dropout_prob",
}
# What transformers assumes, where it differs from an ALBERT.
_DEFAULTS = {
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
}
_SHARING = ("embedding_size", "num_hidden_groups", "inner_group_num", "family")

# ALBERT's names of the parts of a layer → BERT's and DistilBERT's.
_LAYER = re.compile(r"albert\.encoder\.albert_layer_groups\.(\d+)\.albert_layers\.0\.(.+)")
_PARTS = {
    "attention.query": ("attention.self.query", "attention.q_lin"),
    "attention.key": ("attention.self.key", "attention.k_lin"),
    "attention.value": ("attention.self.value", "attention.v_lin"),
    "attention.dense": ("attention.output.dense", "attention.out_lin"),
    "attention.LayerNorm": ("attention.output.LayerNorm", "sa_layer_norm"),
    "ffn": ("intermediate.dense", "ffn.lin1"),
    "ffn_output": ("output.dense", "ffn.lin2"),
    "full_layer_layer_norm": ("output.LayerNorm", "output_layer_norm"),
}
# Those of the other parts.
_HEADS = {
    "albert.pooler": ("bert.pooler.dense", "pre_classifier"),
    "predictions.dense": ("cls.predictions.transform.dense", "vocab_transform"),
    "predictions.LayerNorm": ("cls.predictions.transform.LayerNorm", "vocab_layer_norm"),
    "predictions": ("cls.predictions", "vocab_projector"),
}
_INPUTS = "model_input_names"
_ENCODERS = ("encoder", "transformer")
_DECODERS = ("cls.predictions.decoder.", "vocab_projector.")
_TYPES = "albert.embeddings.token_type_embeddings.weight"
# Tensors that a checkpoint may have besides those of one task: other heads, and a constant.
_IGNORABLE = (
    *("embeddings.position_ids", "pooler.", "pre_classifier.", "classifier.", "qa_outputs."),
    *("cls.", "vocab_", "sentence_scorer.", "sop_classifier."),
)


def config_from_bert(values: Mapping[str, Any], *, where: str) -> AlbertConfig:
    """Make the configuration of the ALBERT that computes what a BERT does.

    Args:
        values: The content of its `config.json`, whose `model_type` is one of `BERTS`.
        where: The name of the file, for error messages.

    Raises:
        ConfigError: The model is a decoder, a key is missing, or a value is invalid.
    """
    family = values["model_type"]
    if decoder := [key for key in ("is_decoder", "add_cross_attention") if values.get(key)]:
        raise ConfigError(f"{where}: {decoder[0]} is true; a decoder is not supported.")
    if values.get("sinusoidal_pos_embds") and family == "bert":
        raise ConfigError(f"{where}: sinusoidal_pos_embds is a key of DistilBERT's.")
    renames = (
        _DISTILBERT if family == "distilbert" else {"classifier_dropout": "classifier_dropout_prob"}
    )
    given = {
        renames.get(key, key): value
        for key, value in values.items()
        if value is not None and key not in _SHARING
    }
    fields = {**_DEFAULTS, **given, "model_type": "albert", "family": family}
    fields.setdefault("classifier_dropout_prob", fields["hidden_dropout_prob"])
    if family == "distilbert":
        fields["type_vocab_size"] = 2
    for name, source in (
        ("num_hidden_groups", "num_hidden_layers"),
        ("embedding_size", "hidden_size"),
    ):
        if source in fields:
            fields[name] = fields[source]
    return AlbertConfig.from_huggingface(fields, where=where)


def bert_config_values(config: AlbertConfig) -> dict[str, Any]:
    """Return the content of a BERT's or a DistilBERT's `config.json`, but for `architectures`."""
    values = {k: v for k, v in config.to_huggingface().items() if k not in _SHARING}
    if config.family == "distilbert":
        names = {theirs: ours for ours, theirs in _DISTILBERT.items()}
        del values["type_vocab_size"], values["layer_norm_eps"]
    else:
        names = {"classifier_dropout_prob": "classifier_dropout"}
    renamed = {names.get(key, key): value for key, value in values.items()}
    return {**renamed, "model_type": config.family}


def architecture_in(family: str, architecture: str) -> str:
    """Return the class of a family that corresponds to ALBERT's, such as BertForMaskedLM.

    Example:
        >>> architecture_in("distilbert", "AlbertForMaskedLM")
        'DistilBertForMaskedLM'
    """
    names = {"bert": "Bert", "distilbert": "DistilBert"}
    return architecture.replace("Albert", names.get(family, "Albert"))


def bert_naming(family: str, stored: Collection[str], *, bare: bool) -> TensorNaming:
    """Return the names of a BERT's or a DistilBERT's tensors.

    Args:
        family: One of `BERTS`.
        stored: The names in a checkpoint, which may be of an old version; empty to write one.
        bare: Whether the checkpoint is of the encoder alone, whose names have no prefix.
    """
    column = BERTS.index(family)
    decoder_bias = f"{_DECODERS[column]}bias" in stored
    old_norms = any(name.endswith("LayerNorm.gamma") for name in stored)

    def is_ignorable(name: str) -> bool:
        return name.removeprefix(f"{family}.").startswith(_IGNORABLE)

    def rename(name: str) -> str:
        if name == _TYPES and family == "distilbert":
            return ""
        if name == "predictions.bias" and decoder_bias:
            return f"{_DECODERS[column]}bias"
        path, _, leaf = name.rpartition(".")
        if layer := _LAYER.fullmatch(path):
            index, part = layer.groups()
            path = f"{family}.{_ENCODERS[column]}.layer.{index}.{_PARTS[part][column]}"
        elif path in _HEADS:
            path = _HEADS[path][column]
        elif path.startswith("albert."):
            path = f"{family}.{path.removeprefix('albert.')}"
        if old_norms and path.endswith("LayerNorm"):
            leaf = {"weight": "gamma", "bias": "beta"}[leaf]
        renamed = f"{path}.{leaf}"
        return renamed.removeprefix(f"{family}.") if bare else renamed

    return TensorNaming("huggingface", is_ignorable, rename, decoder=f"{_DECODERS[column]}weight")


def without_token_types(config: AlbertConfig, width: int) -> dict[str, np.ndarray]:
    """Return the token types, [2, E], that DistilBERT ignores: zeros, by canonical name."""
    return {
        "embeddings/token_type_embeddings": np.zeros((config.type_vocab_size, width), np.float32)
    }


def berts_tokenizer(files: Mapping[str, bytes], *, where: str) -> dict[str, bytes]:
    """Return a DistilBERT's tokenizer as BERT's, whose ids are the same; it also numbers the texts.

    Args:
        files: Contents by name; any other tokenizer is returned as it is.
        where: The source of the files, for error messages.

    Raises:
        TokenizerError: The tokenizer's configuration is not JSON.
    """
    values = _tokenizer_config(files, where)
    if not str(values.get("tokenizer_class")).startswith("DistilBert"):
        return dict(files)
    values = {k: v for k, v in values.items() if k != _INPUTS}
    return _with_tokenizer_config(files, {**values, "tokenizer_class": "BertTokenizer"})


def distilberts_tokenizer(files: Mapping[str, bytes], *, where: str) -> dict[str, bytes]:
    """Return BERT's tokenizer as a DistilBERT's, which takes no token types."""
    if CONFIG_FILE not in files:
        return dict(files)
    own = {"tokenizer_class": "DistilBertTokenizer", _INPUTS: ["input_ids", "attention_mask"]}
    return _with_tokenizer_config(files, {**_tokenizer_config(files, where), **own})


def _tokenizer_config(files: Mapping[str, bytes], where: str) -> dict[str, Any]:
    if CONFIG_FILE not in files:
        return {}
    place = f"{CONFIG_FILE} in {where}"
    values: dict[str, Any] = parse_json(files[CONFIG_FILE], where=place, error=TokenizerError)
    return values


def _with_tokenizer_config(
    files: Mapping[str, bytes], values: Mapping[str, Any]
) -> dict[str, bytes]:
    text = dump_json(dict(values), indent=2, sort_keys=True)
    return {**files, CONFIG_FILE: f"{text}\n".encode()}


def describe_sharing(config: AlbertConfig) -> str:
    """Return a note on how much smaller an ALBERT of the same dimensions is."""
    albert = replace(
        config, family="albert", num_hidden_groups=1, embedding_size=min(128, config.hidden_size)
    )
    ours, shared = count_parameters(config), count_parameters(albert)
    return (
        f"no layers are shared: {ours / 1e6:.1f} M parameters; an ALBERT of the same dimensions, "
        f"with embeddings of {albert.embedding_size}, has {shared / 1e6:.1f} M, "
        f"{ours / shared:.1f} times fewer"
    )
