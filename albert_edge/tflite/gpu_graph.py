"""The blocks of an ALBERT in operators that the runtimes for GPUs compute right.

The graph has one fixed length.  It is the same for both runtimes (TFLite's GPU delegate and
LiteRT's CompiledModel) and avoids what they were found to compute wrong or to refuse; `gpu_rules`
lists that with sources.  In short:

- Tables are looked up with ids [1, T], which leaves them to the CPU.  So are the position rows: a
  rank-2 constant of several rows would be added as copies of its first row.
- Attention is in rank 4, the key transposed by an operator of its own.  The mask is no sum on the
  product, but one more channel: q·k + m = [q, 1]·[k, m].
- GELU's tanh form is made of simple operators: the runtimes compute the error-function form for
  both.  Its argument is clipped where tanh is 1 in float32, so that no square exceeds float16.
- Instead of tanh there is the logistic function: tanh x = 2 σ(2x) - 1.  The GPU delegate's kernel
  for Adreno divides exp(2x) - 1 by exp(2x) + 1, which is no number in float16 where x > 5.5.
- Before it is normalized, a sum is scaled down by a power of two, such that no sum of its squares
  can exceed float16, whatever the input; the scale follows from the weights.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from albert_edge.config import AlbertConfig
from albert_edge.modeling import MASKED
from albert_edge.tflite.export import (
    GraphForms,
    Outputs,
    Weights,
    dense,
    fuse_projections,
    layer_norm,
    lookup,
    project,
    under,
)

# The largest norm of a row before normalization: its squares sum up to 2^14 at most, and its values
# to sqrt(H) times as much, of float16's 65504.  So a bound may be half of what it should be.
_MAX_NORM = 128.0
_ITERATIONS = 30
# tanh(sqrt(2/pi) · (x + 0.044715 x³)) is 1 - 3e-11 there, which float32 rounds to 1.
_GELU_LIMIT = 6.0


def _embed(
    weights: Weights,
    config: AlbertConfig,
    input_ids: Any,
    token_type_ids: Any,
    attention_mask: Any,
    position_ids: Any,
) -> Outputs:
    vectors = lookup(weights, "word_embeddings", input_ids)  # [1, T, E]
    vectors += lookup(weights, "token_type_embeddings", token_type_ids)
    vectors += lookup(weights, "position_embeddings", position_ids)
    return _embedded(weights, config, vectors, attention_mask)


def _embed_lists(
    weights: Weights,
    config: AlbertConfig,
    input_ids: Any,
    token_type_ids: Any,
    attention_mask: Any,
) -> Outputs:
    """Look up with lists of ids, which the GPU does where the page's runtime asks it to."""
    tokens, size = input_ids.shape[1], config.embedding_size
    vectors = lookup(weights, "word_embeddings", tf.reshape(input_ids, [-1]))  # [T, E]
    vectors += lookup(weights, "token_type_embeddings", tf.reshape(token_type_ids, [-1]))
    # It refuses ids that are a constant, so the rows are one; of rank 4, see `rows-of-constant`.
    rows = weights["position_embeddings"][:tokens, None]  # [T, 1, E]
    vectors = tf.reshape(vectors, [1, tokens, 1, size]) + tf.constant(rows[None])
    return _embedded(weights, config, vectors, tf.reshape(attention_mask, [-1]))


def _embedded(weights: Weights, config: AlbertConfig, vectors: Any, mask: Any) -> Outputs:
    vectors = tf.reshape(vectors, [-1, config.embedding_size])  # [T, E]
    vectors = layer_norm(under(weights, "layer_norm"), config, vectors)
    heads = config.num_attention_heads
    table = tf.constant([[MASKED] * heads, [0.0] * heads])
    bias = tf.gather(table, mask)  # [1, T, N], or of a list [T, N]
    return {
        "hidden_states": project(weights, config, vectors),  # [T, H]
        "attention_bias": tf.reshape(bias, [1, -1, heads, 1]),  # [1, T, N, 1]
    }


def _attention(weights: Weights, config: AlbertConfig, hidden: Any, attention_bias: Any) -> Any:
    tokens, heads, size = hidden.shape[0], config.num_attention_heads, config.head_size
    fused = dense(fuse_projections(weights, size), "attention/query_key_value", hidden)  # [T, 3H]
    query, key, value = (
        tf.reshape(part, [1, tokens, heads, size]) for part in tf.split(fused, 3, axis=-1)
    )
    query = tf.concat([query, tf.ones([1, tokens, heads, 1])], axis=-1)  # [1, T, N, D + 1]
    key = tf.concat([key, attention_bias], axis=-1)
    query, value = tf.transpose(query, [0, 2, 1, 3]), tf.transpose(value, [0, 2, 1, 3])
    scores = tf.matmul(query, tf.transpose(key, [0, 2, 3, 1]))  # [1, N, T, T]
    context = tf.transpose(tf.matmul(tf.nn.softmax(scores), value), [0, 2, 1, 3])  # [1, T, N, D]
    return dense(weights, "attention/output", tf.reshape(context, [tokens, heads * size]))


def _activation(name: str, values: Any) -> Any:
    if name == "relu":
        return tf.nn.relu(values)
    if name == "gelu":
        return tf.nn.gelu(values)
    root = math.sqrt(2 / math.pi)
    clipped = tf.clip_by_value(values, -_GELU_LIMIT, _GELU_LIMIT)
    # 0.5 tanh(x) + 0.5 = σ(2x)
    return values * tf.sigmoid(clipped * (2 * root * 0.044715 * tf.square(clipped) + 2 * root))


def _tanh(values: Any) -> Any:
    return 2.0 * tf.sigmoid(2.0 * values) - 1.0


def _first_token(hidden: Any) -> Any:
    rows = tf.reshape(hidden, [1, *hidden.shape])  # [1, T, H]
    return tf.reshape(tf.slice(rows, [0, 0, 0], [1, 1, hidden.shape[1]]), [1, hidden.shape[1]])


def _prepare(weights: Weights, config: AlbertConfig) -> Weights:
    """Return the `input_scale` of every normalization, at most 1/2, so that `gpu_rules` sees it."""
    return {
        f"{path}/input_scale": np.float32(2.0 ** min(-1, math.floor(math.log2(_MAX_NORM / limit))))
        for path, limit in max_norms(weights, config).items()
    }


def max_norms(weights: Weights, config: AlbertConfig) -> dict[str, float]:
    """Bound what is normalized.

    Returns:
        The path of a normalization → the largest Euclidean norm of a row of its input, for any
        token ids.
    """
    tables = ("word_embeddings", "token_type_embeddings", "position_embeddings")
    rows = (np.linalg.norm(weights[f"embeddings/{name}"], axis=1).max() for name in tables)
    limits = {"embeddings/layer_norm": float(sum(rows))}
    layers = [
        f"encoder/group_{group}/layer_{index}"
        for group in range(config.num_hidden_groups)
        for index in range(config.inner_group_num)
    ]
    embedded = _normalized(weights, "embeddings/layer_norm")
    # What a layer reads is the embedding or the result of one of the layers.
    if config.has_projection:
        embedded = _product(weights, "embeddings/projection", embedded)
    hidden = max(
        embedded,
        *(_normalized(weights, f"{path}/ffn/layer_norm") for path in layers),
    )
    for path in layers:
        attended = _attended(under(weights, path), config, hidden)
        limits[f"{path}/attention/layer_norm"] = hidden + attended
        middle = _normalized(weights, f"{path}/attention/layer_norm")
        # No activation returns more than it is given.
        inner = _product(weights, f"{path}/ffn/intermediate", middle)
        limits[f"{path}/ffn/layer_norm"] = middle + _product(weights, f"{path}/ffn/output", inner)
    if "predictions/dense/kernel" in weights:
        limits["predictions/layer_norm"] = _product(weights, "predictions/dense", hidden)
    return limits


def _normalized(weights: Weights, path: str) -> float:
    """Bound the norm of a row after normalization."""
    gamma, beta = weights[f"{path}/gamma"], weights[f"{path}/beta"]
    return float(np.abs(gamma).max() * math.sqrt(gamma.size) + np.linalg.norm(beta))


def _product(weights: Weights, path: str, limit: float) -> float:
    """Bound the norm of a row after `dense`."""
    kernel, bias = weights[f"{path}/kernel"], weights[f"{path}/bias"]
    return _spectral_norm(kernel) * limit + float(np.linalg.norm(bias))


def _attended(weights: Weights, config: AlbertConfig, limit: float) -> float:
    """Bound the norm of a row that attention returns: each head averages rows of values."""
    kernels = np.split(weights["attention/value/kernel"], config.num_attention_heads, axis=1)
    biases = np.split(weights["attention/value/bias"], config.num_attention_heads)
    heads = [
        _spectral_norm(kernel) * limit + float(np.linalg.norm(bias))
        for kernel, bias in zip(kernels, biases, strict=True)
    ]
    return _product(weights, "attention/output", math.hypot(*heads))


def _spectral_norm(kernel: np.ndarray) -> float:
    """Return the largest singular value, by power iteration: from below, within a few percent."""
    vector = np.random.default_rng(0).standard_normal(kernel.shape[1], np.float32)
    norm = 0.0
    for _ in range(_ITERATIONS):
        vector = kernel.T @ (kernel @ (vector / np.linalg.norm(vector)))
        if not (norm := float(np.linalg.norm(vector))):  # all zeros
            break
    return math.sqrt(norm)


GPU = GraphForms(
    embed=_embed,
    attention=_attention,
    activation=_activation,
    tanh=_tanh,
    first_token=_first_token,
    bias_shape=lambda config, seq_len: [1, seq_len, config.num_attention_heads, 1],
    prepare=_prepare,
    position_ids=True,
)
# LiteRT.js on WebGPU: the same, with all of it on the GPU.  A browser without JSPI runs a model of
# which the GPU takes only a part on the CPU.
WEB = replace(GPU, embed=_embed_lists, position_ids=False)
