"""The one name map: this project's tensor names, and what other formats call them.

A tensor's canonical name is its path in the Keras model (`albert_edge.modeling`).  The encoder is
the same for every task; each task adds its head's tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

from albert_edge.config import AlbertConfig

__all__ = ["TensorName", "tensor_names"]

_ATTENTION = {"query": "query", "key": "key", "value": "value", "output": "dense"}


@dataclass(frozen=True, slots=True)
class TensorName:
    """One tensor in every format.

    Attributes:
        name: The canonical name.
        shape: The canonical shape; kernels are [inputs, outputs].
        huggingface: The name in a Hugging Face checkpoint.
        transposed: Whether Hugging Face stores the transpose (torch's [outputs, inputs]).
    """

    name: str
    shape: tuple[int, ...]
    huggingface: str
    transposed: bool = False


def tensor_names(config: AlbertConfig, task: str, *, pooler: bool = True) -> list[TensorName]:
    """List every tensor of an ALBERT of this shape with the head of `task`.

    Args:
        config: The shape.
        task: One of `config.TASKS`.
        pooler: Whether the encoder of `feature-extraction` has a pooler; some were trained without.
    """
    names = [*_embeddings(config)]
    for group in range(config.num_hidden_groups):
        for layer in range(config.inner_group_num):
            names += _layer(config, group, layer)
    return [*names, *_head(config, task, pooler)]


def _dense(name: str, inputs: int, outputs: int, huggingface: str) -> list[TensorName]:
    return [
        TensorName(f"{name}/kernel", (inputs, outputs), f"{huggingface}.weight", transposed=True),
        TensorName(f"{name}/bias", (outputs,), f"{huggingface}.bias"),
    ]


def _norm(name: str, size: int, huggingface: str) -> list[TensorName]:
    return [
        TensorName(f"{name}/gamma", (size,), f"{huggingface}.weight"),
        TensorName(f"{name}/beta", (size,), f"{huggingface}.bias"),
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
            TensorName(f"embeddings/{name}", (count, size), f"albert.embeddings.{name}.weight")
            for name, count in rows.items()
        ),
        *_norm("embeddings/layer_norm", size, "albert.embeddings.LayerNorm"),
        *_dense(
            "embeddings/projection",
            size,
            config.hidden_size,
            "albert.encoder.embedding_hidden_mapping_in",
        ),
    ]


def _layer(config: AlbertConfig, group: int, layer: int) -> list[TensorName]:
    width, inner = config.hidden_size, config.intermediate_size
    ours = f"encoder/group_{group}/layer_{layer}"
    theirs = f"albert.encoder.albert_layer_groups.{group}.albert_layers.{layer}"
    names = []
    for part, their_part in _ATTENTION.items():
        names += _dense(
            f"{ours}/attention/{part}", width, width, f"{theirs}.attention.{their_part}"
        )
    return [
        *names,
        *_norm(f"{ours}/attention/layer_norm", width, f"{theirs}.attention.LayerNorm"),
        *_dense(f"{ours}/ffn/intermediate", width, inner, f"{theirs}.ffn"),
        *_dense(f"{ours}/ffn/output", inner, width, f"{theirs}.ffn_output"),
        *_norm(f"{ours}/ffn/layer_norm", width, f"{theirs}.full_layer_layer_norm"),
    ]


def _head(config: AlbertConfig, task: str, pooler: bool) -> list[TensorName]:
    width = config.hidden_size
    if task == "question-answering":
        return _dense("qa_outputs", width, 2, "qa_outputs")
    pooled = _dense("pooler", width, width, "albert.pooler")
    if task == "classification":
        return [*pooled, *_dense("classifier", width, config.num_labels, "classifier")]
    return pooled if pooler else []
