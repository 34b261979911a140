"""The names and shapes of an ALBERT's tensors, in this project and in every checkpoint format.

A tensor's canonical name is its path in the Keras model (`albert_edge.modeling`).  The embeddings
and the encoder are the same for every task; each task adds the tensors of its head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from albert_edge.config import AlbertConfig
from albert_edge.tasks import TASKS

# The parts of each task's head; a part's name begins the canonical names of its tensors.
HEADS = {
    "feature-extraction": ("pooler",),
    "classification": ("pooler", "classifier", "exits"),
    "token-classification": ("classifier", "exits"),
    "question-answering": ("qa_outputs", "exits"),
    "summarization": ("sentence_scorer",),
    "fill-mask": ("predictions",),
    "sentence-order": ("pooler", "sop_classifier"),
    "pretraining": ("pooler", "predictions", "sop_classifier"),
}

# The attributes of `TensorName`.
NameFormat = Literal["name", "huggingface", "tensorflow1", "tensorflow2"]

# Canonical → Hugging Face's and Google's names.
_ATTENTION = {
    "query": ("query", "self/query"),
    "key": ("key", "self/key"),
    "value": ("value", "self/value"),
    "output": ("dense", "output/dense"),
}

# Canonical prefixes → those of the TensorFlow model garden's AlbertEncoder, which has one layer.
_LAYER = "encoder/group_0/layer_0"
_TENSORFLOW2 = {
    "embeddings/word_embeddings": "word_embeddings/embeddings",
    "embeddings/position_embeddings": "position_embedding/embeddings",
    "embeddings/token_type_embeddings": "type_embeddings/embeddings",
    "embeddings/layer_norm/": "embeddings/layer_norm/",
    "embeddings/projection/": "embedding_projection/",
    f"{_LAYER}/attention/layer_norm/": "transformer/self_attention_layer_norm/",
    f"{_LAYER}/attention/output/": "transformer/self_attention/attention_output/",
    f"{_LAYER}/attention/": "transformer/self_attention/",
    f"{_LAYER}/ffn/layer_norm/": "transformer/output_layer_norm/",
    f"{_LAYER}/ffn/": "transformer/",
    "pooler/": "pooler_transform/",
    "predictions/bias": "cls/predictions/output_bias/bias",
    "predictions/dense/": "cls/predictions/transform/dense/",
    "predictions/layer_norm/": "cls/predictions/transform/LayerNorm/",
}


@dataclass(frozen=True, slots=True)
class TensorName:
    """The names of one tensor in every format.

    Attributes:
        name: The canonical name.
        shape: The canonical shape; kernels are [inputs, outputs].
        huggingface: The name in a Hugging Face checkpoint.
        transposed: Whether Hugging Face stores the transpose (torch's [outputs, inputs]).
        tensorflow1: The name in a checkpoint of Google's ALBERT; empty if it has no such tensor.
    """

    name: str
    shape: tuple[int, ...]
    huggingface: str
    transposed: bool = False
    tensorflow1: str = ""

    @property
    def tensorflow2(self) -> str:
        """The name in a TF-Hub encoder of version 2; `name` if it has no such tensor."""
        prefix = next((part for part in _TENSORFLOW2 if self.name.startswith(part)), "")
        return _TENSORFLOW2.get(prefix, "") + self.name.removeprefix(prefix)

    def name_in(self, form: NameFormat) -> tuple[str, bool]:
        """Return the name in a format, and whether the format stores the transpose."""
        if form == "huggingface":
            return self.huggingface, self.transposed
        if form == "tensorflow1":  # only the heads that BERT has too are transposed
            return self.tensorflow1, self.tensorflow1.endswith("output_weights")
        return (self.tensorflow2 if form == "tensorflow2" else self.name), False


def tensor_names(config: AlbertConfig, task: str, *, pooler: bool = True) -> list[TensorName]:
    """List the tensors of an ALBERT of this configuration with the head of `task`.

    Args:
        config: The configuration.
        task: One of `tasks.TASKS`.
        pooler: Whether an encoder (`feature-extraction`) has a pooler; some were trained without.
    """
    names = [*_embeddings(config)]
    for group in range(config.num_hidden_groups):
        for layer in range(config.inner_group_num):
            names += _layer(config, group, layer)
    return [*names, *head_names(config, task, pooler=pooler)]


def head_names(config: AlbertConfig, task: str, *, pooler: bool = True) -> list[TensorName]:
    """List the tensors of the head of `task`.

    Args:
        config: The configuration.
        task: One of `tasks.TASKS`.
        pooler: Whether an encoder (`feature-extraction`) has a pooler; some were trained without.
    """
    if task == "feature-extraction" and (not pooler or config.family == "distilbert"):
        return []
    width = config.hidden_size
    parts = {
        "pooler": _dense("pooler", width, width, "albert.pooler", "bert/pooler/dense"),
        "classifier": _dense("classifier", width, config.num_labels, "classifier", "output_"),
        "exits": _exits(config, task) if config.early_exit else [],
        "qa_outputs": _dense("qa_outputs", width, 2, "qa_outputs", "cls/squad/output_"),
        "sentence_scorer": _dense(
            "sentence_scorer", width, 1, "sentence_scorer", "cls/sentence_scorer/output_"
        ),
        "predictions": _predictions(config),
        "sop_classifier": _dense(
            "sop_classifier", width, 2, "sop_classifier.classifier", "cls/seq_relationship/output_"
        ),
    }
    return [tensor for part in HEADS[task] for tensor in parts[part]]


def _exits(config: AlbertConfig, task: str) -> list[TensorName]:
    outputs = (config.num_hidden_layers - 1) * TASKS[task].head_width(config.num_labels)
    return _dense("exits", config.hidden_size, outputs, "exits", "")


def _dense(
    name: str, inputs: int, outputs: int, huggingface: str, tensorflow1: str
) -> list[TensorName]:
    kernel, bias = (f"{tensorflow1}/kernel", f"{tensorflow1}/bias") if tensorflow1 else ("", "")
    if tensorflow1.endswith("output_"):
        kernel, bias = f"{tensorflow1}weights", f"{tensorflow1}bias"
    shape = (inputs, outputs)
    return [
        TensorName(f"{name}/kernel", shape, f"{huggingface}.weight", True, kernel),
        TensorName(f"{name}/bias", (outputs,), f"{huggingface}.bias", False, bias),
    ]


def _norm(name: str, size: int, huggingface: str, tensorflow1: str) -> list[TensorName]:
    return [
        TensorName(
            f"{name}/{ours}", (size,), f"{huggingface}.{theirs}", False, f"{tensorflow1}/{ours}"
        )
        for ours, theirs in (("gamma", "weight"), ("beta", "bias"))
    ]


def _embeddings(config: AlbertConfig) -> list[TensorName]:
    size = config.embedding_size
    rows = {
        "word_embeddings": config.vocab_size,
        "position_embeddings": config.max_position_embeddings,
        "token_type_embeddings": config.type_vocab_size,
    }
    return [
        *(
            TensorName(
                f"embeddings/{name}",
                (count, size),
                f"albert.embeddings.{name}.weight",
                tensorflow1=f"bert/embeddings/{name}",
            )
            for name, count in rows.items()
        ),
        *_norm(
            "embeddings/layer_norm",
            size,
            "albert.embeddings.LayerNorm",
            "bert/embeddings/LayerNorm",
        ),
        *(_projection(config) if config.has_projection else ()),
    ]


def _projection(config: AlbertConfig) -> list[TensorName]:
    return _dense(
        "embeddings/projection",
        config.embedding_size,
        config.hidden_size,
        "albert.encoder.embedding_hidden_mapping_in",
        "bert/encoder/embedding_hidden_mapping_in",
    )


def _layer(config: AlbertConfig, group: int, layer: int) -> list[TensorName]:
    width, heads, inner = config.hidden_size, config.attention_size, config.intermediate_size
    ours = f"encoder/group_{group}/layer_{layer}"
    torch = f"albert.encoder.albert_layer_groups.{group}.albert_layers.{layer}"
    google = f"bert/encoder/transformer/group_{group}/inner_group_{layer}"
    ffn = f"{google}/ffn_1/intermediate"
    attention = [
        tensor
        for part, (theirs, googles) in _ATTENTION.items()
        for tensor in _dense(
            f"{ours}/attention/{part}",
            *((heads, width) if part == "output" else (width, heads)),
            f"{torch}.attention.{theirs}",
            f"{google}/attention_1/{googles}",
        )
    ]
    norms = f"{torch}.attention.LayerNorm", f"{google}/LayerNorm"
    return [
        *attention,
        *_norm(f"{ours}/attention/layer_norm", width, *norms),
        *_dense(f"{ours}/ffn/intermediate", width, inner, f"{torch}.ffn", f"{ffn}/dense"),
        *_dense(f"{ours}/ffn/output", inner, width, f"{torch}.ffn_output", f"{ffn}/output/dense"),
        *_norm(
            f"{ours}/ffn/layer_norm",
            width,
            f"{torch}.full_layer_layer_norm",
            f"{google}/LayerNorm_1",
        ),
    ]


def _predictions(config: AlbertConfig) -> list[TensorName]:
    # The product with the vocabulary has no tensor of its own: its weights are the word embeddings.
    size, google = config.embedding_size, "cls/predictions"
    return [
        *_dense(
            "predictions/dense",
            config.hidden_size,
            size,
            "predictions.dense",
            f"{google}/transform/dense",
        ),
        *_norm(
            "predictions/layer_norm",
            size,
            "predictions.LayerNorm",
            f"{google}/transform/LayerNorm",
        ),
        TensorName(
            "predictions/bias",
            (config.vocab_size,),
            "predictions.bias",
            tensorflow1=f"{google}/output_bias",
        ),
    ]
