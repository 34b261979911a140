"""Turn each stage of a Keras ALBERT into a small flatbuffer of its own: a piece.

The TFLite converter only ever sees three small functions, written for deployment: batch 1, rank 2
(`[T, H]`, heads as `[N, T, D]`), query, key and value in one product, 1/sqrt(D) folded into it.
Whatever the depth, a stage is converted once, in float32; `quantization.quantize` makes it smaller.

Products and tables carry the names of `PARTS` in the names of their constants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from albert_edge.config import AlbertConfig
from albert_edge.errors import ConversionError
from albert_edge.modeling import Albert
from albert_edge.modeling.albert import MASKED
from albert_edge.modeling.layers import activation, tensors
from albert_edge.tflite.graph import pack, parse, signature

__all__ = ["Stages", "early_exit_inputs", "early_exit_step", "export_stages"]

Weights = Mapping[str, np.ndarray]
Outputs = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """The stages of one model as TFLite flatbuffers, each with a signature naming its tensors.

    Attributes:
        embed: `input_ids`, `token_type_ids` (int32 [1, T]) → `hidden_states` (float32 [T, H]);
            for a fixed length also `attention_mask` (int32 [1, T]) → `attention_bias`
            (float32 [1, T]).
        layers: One piece a hidden group, or one a pass: `hidden_states` (and `attention_bias`) →
            `hidden_states`.
        head: `hidden_states` → the task's outputs.
        exits: `hidden_states` → `exits`, what the classifiers of all passes but the last say
            (float32 [1, (L-1)*C]); None without `early_exit`.
        decision: `tflite.export.early_exit_step`; None without `early_exit`.
    """

    embed: bytes
    layers: tuple[bytes, ...]
    head: bytes
    exits: bytes | None = None
    decision: bytes | None = None


def export_stages(model: Albert, *, seq_len: int | None = None) -> Stages:
    """Convert every stage of `model` once, to float32.

    Args:
        model: A Keras ALBERT.
        seq_len: A fixed number of tokens, or None for any length.

    Raises:
        ConversionError: The TFLite converter refused a stage.
    """
    config, weights = model.config, tensors(model)
    ids = tf.TensorSpec([1, seq_len], tf.int32)
    hidden = tf.TensorSpec([seq_len, config.hidden_size], tf.float32)
    bias = {} if seq_len is None else {"attention_bias": tf.TensorSpec([1, seq_len], tf.float32)}
    mask = {} if seq_len is None else {"attention_mask": ids}

    def layers(group: int) -> bytes:
        def stage(hidden_states: Any, attention_bias: Any = None) -> Outputs:
            for index in range(config.inner_group_num):
                part = _under(weights, f"encoder/group_{group}/layer_{index}")
                hidden_states = _layer(part, config, hidden_states, attention_bias)
            return {"hidden_states": hidden_states}

        return _convert(stage, {"hidden_states": hidden, **bias})

    embed = _convert(
        lambda **inputs: _embed(_under(weights, "embeddings"), config, **inputs),
        {"input_ids": ids, "token_type_ids": ids, **mask},
    )
    head = _convert(
        lambda hidden_states: HEADS[model.task](weights, config, hidden_states),
        {"hidden_states": hidden},
    )
    groups = range(config.num_hidden_groups)
    pieces = Stages(embed=embed, layers=tuple(layers(group) for group in groups), head=head)
    if not config.early_exit:
        return pieces
    exits = _convert(
        lambda hidden_states: {"exits": _dense(weights, "exits", _pool(weights, hidden_states))},
        {"hidden_states": hidden},
    )
    return replace(
        pieces,
        exits=exits,
        decision=_convert(partial(early_exit_step, config), early_exit_inputs(config)),
    )


def _embed(
    weights: Weights,
    config: AlbertConfig,
    input_ids: Any,
    token_type_ids: Any,
    attention_mask: Any = None,
) -> Outputs:
    ids, types = tf.reshape(input_ids, [-1]), tf.reshape(token_type_ids, [-1])  # [T]
    vectors = _look_up(weights, "word_embeddings", ids)  # [T, E]
    vectors += _look_up(weights, "token_type_embeddings", types)
    # A gather, not a slice of the table: the converter quantizes only tables that are gathered.
    positions = tf.range(config.max_position_embeddings)[: tf.shape(input_ids)[1]]  # [T]
    vectors += _look_up(weights, "position_embeddings", positions)
    vectors = _norm(_under(weights, "layer_norm"), config, vectors)
    outputs = {"hidden_states": _dense(weights, "projection", vectors)}  # [T, H]
    if attention_mask is not None:
        # Looked up, not computed: so it can be in integers like all the rest.
        outputs["attention_bias"] = tf.gather(tf.constant([MASKED, 0.0]), attention_mask)
    return outputs


def _layer(weights: Weights, config: AlbertConfig, hidden: Any, attention_bias: Any) -> Any:
    attended = _attend(weights, config, hidden, attention_bias)
    hidden = _norm(_under(weights, "attention/layer_norm"), config, hidden + attended)
    inner = _dense(weights, "ffn/intermediate", hidden)  # [T, 4H]
    outer = _dense(weights, "ffn/output", activation(config.hidden_act, inner))  # [T, H]
    return _norm(_under(weights, "ffn/layer_norm"), config, hidden + outer)


def _attend(weights: Weights, config: AlbertConfig, hidden: Any, attention_bias: Any) -> Any:
    heads, size = config.num_attention_heads, config.head_size
    fused = _dense(_fuse(weights, size), "attention/query_key_value", hidden)  # [T, 3H]
    fused = tf.transpose(tf.reshape(fused, [-1, 3 * heads, size]), [1, 0, 2])  # [3N, T, D]
    query, key, value = tf.split(fused, 3)  # [N, T, D]
    scores = tf.matmul(query, key, transpose_b=True)  # [N, T, T]
    if attention_bias is not None:
        scores += attention_bias
    context = tf.transpose(tf.matmul(tf.nn.softmax(scores), value), [1, 0, 2])  # [T, N, D]
    return _dense(weights, "attention/output", tf.reshape(context, [-1, config.hidden_size]))


def _fuse(weights: Weights, head_size: int) -> Weights:
    scales = {"query": np.float32(head_size**-0.5), "key": 1, "value": 1}
    return {
        f"attention/query_key_value/{part}": np.concatenate(
            [weights[f"attention/{name}/{part}"] * scale for name, scale in scales.items()], axis=-1
        )
        for part in ("kernel", "bias")
    }


def _features(weights: Weights, config: AlbertConfig, hidden: Any) -> Outputs:
    outputs = {"last_hidden_state": hidden[None]}  # [1, T, H]
    if "pooler/kernel" in weights:
        outputs["pooler_output"] = _pool(weights, hidden)
    return outputs


def _classification(weights: Weights, config: AlbertConfig, hidden: Any) -> Outputs:
    return {"logits": _dense(weights, "classifier", _pool(weights, hidden))}  # [1, C]


def _token_classification(weights: Weights, config: AlbertConfig, hidden: Any) -> Outputs:
    return {"logits": _dense(weights, "classifier", hidden)[None]}  # [1, T, C]


def _question_answering(weights: Weights, config: AlbertConfig, hidden: Any) -> Outputs:
    start, end = tf.split(tf.transpose(_dense(weights, "qa_outputs", hidden)), 2)
    return {"start_logits": start, "end_logits": end}  # [1, T]


def _summarization(weights: Weights, config: AlbertConfig, hidden: Any) -> Outputs:
    scores = _dense(weights, "sentence_scorer", hidden)  # [T, 1]
    return {"sentence_logits": tf.reshape(scores, [1, -1])}


def _fill_mask(weights: Weights, config: AlbertConfig, hidden: Any) -> Outputs:
    part = _under(weights, "predictions")
    vectors = activation(config.hidden_act, _dense(part, "dense", hidden))  # [T, E]
    # Gamma first: behind a product with a constant the converter would multiply it into the table.
    vectors = _norm(_under(part, "layer_norm"), config, vectors, gamma_first=True)
    table = tf.constant(weights["embeddings/word_embeddings"])  # [V, E]
    with tf.name_scope("predictions"):
        logits = tf.matmul(vectors, table, transpose_b=True) + tf.constant(part["bias"])  # [T, V]
    return {"logits": logits[None]}


def _sentence_order(weights: Weights, config: AlbertConfig, hidden: Any) -> Outputs:
    return {"sop_logits": _dense(weights, "sop_classifier", _pool(weights, hidden))}


def _pretraining(weights: Weights, config: AlbertConfig, hidden: Any) -> Outputs:
    predicted = _fill_mask(weights, config, hidden)["logits"]
    return {"prediction_logits": predicted, **_sentence_order(weights, config, hidden)}


HEADS: dict[str, Callable[[Weights, AlbertConfig, Any], Outputs]] = {
    "feature-extraction": _features,
    "classification": _classification,
    "token-classification": _token_classification,
    "question-answering": _question_answering,
    "summarization": _summarization,
    "fill-mask": _fill_mask,
    "sentence-order": _sentence_order,
    "pretraining": _pretraining,
}


def _pool(weights: Weights, hidden: Any) -> Any:
    # A slice of known size: `hidden[:1]` has as many rows as a text may have tokens.
    first = tf.slice(hidden, [0, 0], [1, hidden.shape[1]])  # [1, H]
    return tf.tanh(_dense(weights, "pooler", first))


def _look_up(weights: Weights, name: str, rows: Any) -> Any:
    with tf.name_scope(name):
        return tf.gather(tf.constant(weights[name]), rows)


def _dense(weights: Weights, path: str, values: Any) -> Any:
    with tf.name_scope(path):
        product = tf.matmul(values, tf.constant(weights[f"{path}/kernel"]))
        return product + tf.constant(weights[f"{path}/bias"])


def _norm(weights: Weights, config: AlbertConfig, values: Any, *, gamma_first: bool = False) -> Any:
    # Ba et al. 2016, arXiv:1607.06450, over the last axis, as the runtime's fewest operators.
    gamma, beta = tf.constant(weights["gamma"]), tf.constant(weights["beta"])
    centred = values - tf.reduce_mean(values, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
    deviation = tf.math.rsqrt(variance + config.layer_norm_eps)
    if gamma_first:
        return centred * gamma * deviation + beta
    return centred * deviation * gamma + beta


def _under(weights: Weights, path: str) -> Weights:
    return {
        name.removeprefix(f"{path}/"): value
        for name, value in weights.items()
        if name.startswith(f"{path}/")
    }


def _convert(stage: Callable[..., Outputs], inputs: dict[str, Any]) -> bytes:
    module = tf.Module()
    specs = {name: tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in inputs.items()}
    function = tf.function(stage).get_concrete_function(**specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    # Not by way of a SavedModel: the same graph in two thirds of the time and three quarters of the
    # memory, but without a signature.
    converter.experimental_lower_to_saved_model = False
    try:
        model = parse(bytes(converter.convert()))
    except Exception as error:  # the converter's own types are private
        raise ConversionError(f"the TFLite converter refused a stage: {error}") from error
    graph = model.subgraphs[0]
    taken = {graph.tensors[index].name.decode(): index for index in graph.inputs}
    given = dict(zip(sorted(function.structured_outputs), graph.outputs, strict=True))
    model.signatureDefs = [signature("serving_default", taken, given)]
    return pack(model)


# Whether to make another pass: what stands behind the layer in a loop that can be left.
#
# Such a loop carries, beside the hidden states, what the last pass said, how often in a row
# passes have said the same, and how many passes may be made at all: that number becomes 0 when it
# is time to leave. So the condition stays the comparison of two numbers; one pass is made
# whatever the caller asks for, and nothing that a caller can ask for is an error.


def early_exit_inputs(config: AlbertConfig) -> dict[str, Any]:
    """Return what `early_exit_step` takes, by name, with types and shapes."""
    early = (config.num_hidden_layers - 1) * config.num_labels
    scalar, one = tf.TensorSpec([], tf.int32), tf.TensorSpec([1], tf.int32)
    return {
        "exits": tf.TensorSpec([1, early], tf.float32),
        "made": scalar,
        "limit": scalar,
        "answer": one,
        "same": one,
        "patience": one,
        "threshold": tf.TensorSpec([1], tf.float32),
        "max_layers": one,
    }


def early_exit_step(
    config: AlbertConfig,
    exits: Any,
    made: Any,
    limit: Any,
    answer: Any,
    same: Any,
    patience: Any,
    threshold: Any,
    max_layers: Any,
) -> dict[str, Any]:
    """Decide, as `exits.EarlyExit` says, whether to make another pass.

    Args:
        config: The shape.
        exits: float32 [1, (L-1)*C], what the classifiers of all passes but the last say.
        made: int32 [], how many passes have been made, this one included.
        limit: int32 [], how many may be made.
        answer: int32 [1], the label that the pass before said, or -1.
        same: int32 [1], how often in a row that was the label of the pass before.
        patience: int32 [1], as the caller gives it.
        threshold: float32 [1], as the caller gives it.
        max_layers: int32 [1], as the caller gives it.

    Returns:
        The new `limit`, `answer` and `same`; `layers_used`, int32 [1]; and this pass's `logits`,
        float32 [1, C], which mean nothing after the last pass: it has an ordinary head.
    """
    rows = tf.reshape(exits, [-1, config.num_labels])  # [L-1, C]
    used = tf.reshape(made, [1])
    logits = tf.gather(rows, tf.minimum(used, config.num_hidden_layers - 1) - 1)  # [1, C]
    said = tf.argmax(logits, axis=-1, output_type=tf.int32)  # [1]
    same = (same + 1) * tf.cast(tf.equal(said, answer), tf.int32)
    chance = tf.reduce_max(tf.nn.softmax(logits), axis=-1)  # [1]
    go_on = (same < patience) & (chance < threshold) & (used < max_layers)
    return {
        "limit": limit * tf.reshape(tf.cast(go_on, tf.int32), []),
        "answer": said,
        "same": same,
        "layers_used": used,
        "logits": logits,
    }
