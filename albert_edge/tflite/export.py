"""Export each stage of a Keras ALBERT as a small float32 TFLite model of its own.

The TFLite converter only ever converts three small functions, written for deployment: batch 1,
rank 2 (`[T, H]`, heads as `[N, T, D]`), query, key and value in one product, 1/sqrt(D) folded into
it.  Whatever the depth, a stage is converted once, in float32; `quantization.quantize` quantizes
it.  Constants of matrix products and tables carry the names of `recipes.PARTS`.  Where an
accelerator needs other operators, `GraphForms` has them; `gpu_graph` has those of GPUs.

A loop with early exit runs `early_exit_step` behind the layer.  Beside the hidden states it carries
what the last pass predicted, how many passes in a row predicted the same, and how many passes may
run at all; that limit becomes 0 when the loop is to exit.  So the loop's condition stays a
comparison of two numbers, one pass runs whatever the caller passes, and no value that a caller can
pass is an error.  Behind the loop, `early_exit_outputs` selects what the last pass says.
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
from albert_edge.modeling import MASKED, Albert, activation, tensors
from albert_edge.tasks import TASKS
from albert_edge.tflite.graph import StageModel, Stages, parse, signature

__all__ = ["export_stages"]

Weights = Mapping[str, np.ndarray]
Outputs = dict[str, Any]
Specs = dict[str, Any]  # of a stage's inputs, by name
_BLOCK = 768  # channels of a block of the feed-forward network, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphForms:
    """The blocks of an ALBERT that an accelerator may need in other operators.

    Attributes:
        embed: (weights, config, inputs by name) → `hidden_states` [T, H], and of a fixed length
            `attention_bias`, of the shape `bias_shape`.
        attention: (weights, config, hidden states [T, H], attention bias or None) → [T, H].
        activation: (name, values) → values.
        tanh: values → values.
        ffn: (weights, config, activation, hidden states [T, H]) → [T, H].
        first_token: hidden states [T, H] → [1, H].
        bias_shape: (config, T) → the shape of `attention_bias`.
        prepare: (weights, config) → weights that the blocks need besides the model's.
        position_ids: Whether the embedding takes them as an input, which the linker makes constant.
    """

    embed: Callable[..., Outputs]
    attention: Callable[..., Any]
    activation: Callable[[str, Any], Any]
    first_token: Callable[[Any], Any]
    bias_shape: Callable[[AlbertConfig, int], list[int]]
    tanh: Callable[[Any], Any] = tf.tanh
    ffn: Callable[..., Any] = lambda *given: _ffn(*given)
    prepare: Callable[[Weights, AlbertConfig], Weights] = lambda weights, config: {}
    position_ids: bool = False


def export_stages(
    model: Albert,
    *,
    seq_len: int | None = None,
    forms: GraphForms | None = None,
    libraries: bool = False,
    sentence_embedding: bool = False,
) -> Stages:
    """Convert every stage of `model` once, to float32.

    Args:
        model: A Keras ALBERT.
        seq_len: A fixed number of tokens, or None for any length.
        forms: The blocks of an accelerator, which may need a fixed length; the CPU's if left out.
        libraries: Whether the head returns `Task.library_outputs`, of a fixed length.
        sentence_embedding: Whether an encoder's head returns that too, of any length.

    Raises:
        ConversionError: The TFLite converter refused a stage.
    """
    config, weights, forms = model.config, tensors(model), forms or CPU
    weights = {**weights, **forms.prepare(weights, config)}
    ids = tf.TensorSpec([1, seq_len], tf.int32)
    hidden = {"hidden_states": tf.TensorSpec([seq_len, config.hidden_size], tf.float32)}
    inputs, bias = {"input_ids": ids, "token_type_ids": ids}, {}
    if seq_len is not None:
        inputs["attention_mask"] = ids
        bias["attention_bias"] = tf.TensorSpec(forms.bias_shape(config, seq_len), tf.float32)
    if forms.position_ids:
        inputs["position_ids"] = ids

    def layers(group: int) -> StageModel:
        def stage(hidden_states: Any, attention_bias: Any = None) -> Outputs:
            for index in range(config.inner_group_num):
                part = under(weights, f"encoder/group_{group}/layer_{index}")
                hidden_states = _layer(part, config, forms, hidden_states, attention_bias)
            return {"hidden_states": hidden_states}

        return convert_stage(f"layer_{group}", stage, {**hidden, **bias})

    def head_stage(hidden_states: Any, **inputs: Any) -> Outputs:
        if libraries:
            return LIBRARY_HEADS[model.task](weights, config, forms, hidden_states, **inputs)
        outputs = HEADS[model.task](weights, config, forms, hidden_states)
        if sentence_embedding:
            outputs |= _sentence_embedding(weights, config, forms, hidden_states)
        return outputs

    def embed_stage(**inputs: Any) -> Outputs:
        return forms.embed(under(weights, "embeddings"), config, **inputs)

    read = {"feature-extraction": "attention_mask", "question-answering": "token_type_ids"}
    more = {read[model.task]: ids} if libraries and model.task in read else {}
    embed, head = (
        convert_stage("embed", embed_stage, inputs),
        convert_stage("head", head_stage, {**hidden, **more}),
    )
    groups = range(config.num_hidden_groups)
    stages = Stages(embed=embed, layers=tuple(layers(group) for group in groups), head=head)
    if not config.early_exit or libraries:  # a file for those runs all passes
        return stages
    exits = convert_stage("head_exits", partial(_exits, model.task, weights, config, forms), hidden)
    taken = early_exit_inputs(config, model.task, seq_len)
    selected = {"exits": taken["exits"], "layers_used": taken["same"]}
    shape = [1, seq_len] if TASKS[model.task].per_token else [1]
    shape += [config.num_labels] if TASKS[model.task].has_labels else []
    selected |= dict.fromkeys(head.outputs, tf.TensorSpec(shape, tf.float32))
    step, outputs = (
        convert_stage("decision", partial(function, config, model.task), specs)
        for function, specs in ((early_exit_step, taken), (early_exit_outputs, selected))
    )
    return replace(stages, exits=exits, early_exit_step=step, early_exit_outputs=outputs)


def _embed(
    weights: Weights,
    config: AlbertConfig,
    input_ids: Any,
    token_type_ids: Any,
    attention_mask: Any = None,
) -> Outputs:
    ids, types = tf.reshape(input_ids, [-1]), tf.reshape(token_type_ids, [-1])  # [T]
    vectors = lookup(weights, "word_embeddings", ids)  # [T, E]
    vectors += lookup(weights, "token_type_embeddings", types)
    # A gather, not a slice of the table: the converter quantizes only tables that are gathered.
    positions = tf.range(config.max_position_embeddings)[: tf.shape(input_ids)[1]]  # [T]
    vectors += lookup(weights, "position_embeddings", positions)
    vectors = layer_norm(under(weights, "layer_norm"), config, vectors)
    outputs = {"hidden_states": project(weights, config, vectors)}  # [T, H]
    if attention_mask is not None:
        # Looked up, not computed, so that it can be in integers like everything else.
        outputs["attention_bias"] = tf.gather(tf.constant([MASKED, 0.0]), attention_mask)
    return outputs


def _layer(
    weights: Weights, config: AlbertConfig, forms: GraphForms, hidden: Any, attention_bias: Any
) -> Any:
    attended = forms.attention(weights, config, hidden, attention_bias)
    hidden = layer_norm(under(weights, "attention/layer_norm"), config, hidden + attended)
    outer = forms.ffn(weights, config, forms.activation, hidden)
    return layer_norm(under(weights, "ffn/layer_norm"), config, hidden + outer)


def _ffn(weights: Weights, config: AlbertConfig, activation: Any, hidden: Any) -> Any:
    inner = dense(weights, "ffn/intermediate", hidden)  # [T, 4H]
    return dense(weights, "ffn/output", activation(config.hidden_act, inner))  # [T, H]


def _ffn_in_blocks(weights: Weights, config: AlbertConfig, activation: Any, hidden: Any) -> Any:
    """Return the sum of feed-forward networks of some of the channels each, [T, H].

    The kernels of float products work on up to seven rows at a time.  Of 3,072 channels those are
    more than a processor's first cache holds.
    """
    count = -(-config.intermediate_size // _BLOCK)
    while config.intermediate_size % count:
        count += 1
    parts = {
        name: np.split(weights[name], count, axis=axis)
        for name, axis in (
            ("ffn/intermediate/kernel", 1),
            ("ffn/intermediate/bias", 0),
            ("ffn/output/kernel", 0),
        )
    }
    blocks: list[dict[str, Any]] = [
        {name: part[index] for name, part in parts.items()} for index in range(count)
    ]
    blocks[0]["ffn/output/bias"] = weights["ffn/output/bias"]
    first, *others = (_ffn(block, config, activation, hidden) for block in blocks)
    return sum(others, start=first)


def _attention(weights: Weights, config: AlbertConfig, hidden: Any, attention_bias: Any) -> Any:
    fused = dense(fuse_projections(weights, config.head_size), "attention/query_key_value", hidden)
    return dense(weights, "attention/output", attend(config, fused, attention_bias))


def attend(config: AlbertConfig, fused: Any, attention_bias: Any = None) -> Any:
    """Return the context [T, N D] of query, key and value, which are one tensor [T, 3 N D]."""
    heads, size = config.num_attention_heads, config.head_size
    fused = tf.transpose(tf.reshape(fused, [-1, 3 * heads, size]), [1, 0, 2])  # [3N, T, D]
    query, key, value = tf.split(fused, 3)  # [N, T, D]
    scores = tf.matmul(query, key, transpose_b=True)  # [N, T, T]
    if attention_bias is not None:
        scores += attention_bias
    context = tf.transpose(tf.matmul(tf.nn.softmax(scores), value), [1, 0, 2])  # [T, N, D]
    return tf.reshape(context, [-1, config.attention_size])  # [T, N D]


def fuse_projections(weights: Weights, head_size: int) -> Weights:
    """Return query, key and value as one product, the query divided by the root of D."""
    scales = {"query": np.float32(head_size**-0.5), "key": 1, "value": 1}
    return {
        f"attention/query_key_value/{part}": np.concatenate(
            [weights[f"attention/{name}/{part}"] * scale for name, scale in scales.items()], axis=-1
        )
        for part in ("kernel", "bias")
    }


def _features(weights: Weights, config: AlbertConfig, forms: GraphForms, hidden: Any) -> Outputs:
    outputs = {"last_hidden_state": hidden[None]}  # [1, T, H]
    if "pooler/kernel" in weights:
        outputs["pooler_output"] = _pool(weights, config, forms, hidden)
    return outputs


def _classification(
    weights: Weights, config: AlbertConfig, forms: GraphForms, hidden: Any
) -> Outputs:
    return {"logits": dense(weights, "classifier", _pool(weights, config, forms, hidden))}  # [1, C]


def _token_classification(
    weights: Weights, config: AlbertConfig, forms: GraphForms, hidden: Any
) -> Outputs:
    return {"logits": dense(weights, "classifier", hidden)[None]}  # [1, T, C]


def _question_answering(
    weights: Weights, config: AlbertConfig, forms: GraphForms, hidden: Any
) -> Outputs:
    start, end = tf.split(tf.transpose(dense(weights, "qa_outputs", hidden)), 2)
    return {"start_logits": start, "end_logits": end}  # [1, T]


def _summarization(
    weights: Weights, config: AlbertConfig, forms: GraphForms, hidden: Any
) -> Outputs:
    scores = dense(weights, "sentence_scorer", hidden)  # [T, 1]
    return {"sentence_logits": tf.reshape(scores, [1, -1])}


def _fill_mask(weights: Weights, config: AlbertConfig, forms: GraphForms, hidden: Any) -> Outputs:
    part = under(weights, "predictions")
    vectors = forms.activation(config.hidden_act, dense(part, "dense", hidden))  # [T, E]
    # Gamma first: directly before the product, the converter would fold it into the table.
    vectors = layer_norm(under(part, "layer_norm"), config, vectors, gamma_first=True)
    table = tf.constant(weights["embeddings/word_embeddings"])  # [V, E]
    with tf.name_scope("predictions"):
        logits = tf.matmul(vectors, table, transpose_b=True) + tf.constant(part["bias"])  # [T, V]
    return {"logits": logits[None]}


def _sentence_order(
    weights: Weights, config: AlbertConfig, forms: GraphForms, hidden: Any
) -> Outputs:
    return {"sop_logits": dense(weights, "sop_classifier", _pool(weights, config, forms, hidden))}


def _pretraining(weights: Weights, config: AlbertConfig, forms: GraphForms, hidden: Any) -> Outputs:
    predicted = _fill_mask(weights, config, forms, hidden)["logits"]
    return {"prediction_logits": predicted, **_sentence_order(weights, config, forms, hidden)}


HEADS: dict[str, Callable[[Weights, AlbertConfig, GraphForms, Any], Outputs]] = {
    "feature-extraction": _features,
    "classification": _classification,
    "token-classification": _token_classification,
    "question-answering": _question_answering,
    "summarization": _summarization,
    "fill-mask": _fill_mask,
    "sentence-order": _sentence_order,
    "pretraining": _pretraining,
}


# The heads of the target `mediapipe`.


def _probabilities(
    weights: Weights, config: AlbertConfig, forms: GraphForms, hidden: Any
) -> Outputs:
    logits = _classification(weights, config, forms, hidden)["logits"]
    probabilities = tf.sigmoid if config.labels_are_independent else tf.nn.softmax
    return {"probabilities": probabilities(logits)}


def _context_logits(
    weights: Weights, config: AlbertConfig, forms: GraphForms, hidden: Any, token_type_ids: Any
) -> Outputs:
    """Return the logits of `[CLS]` and of the passage; all others are too low to be chosen.

    Task Library forms spans of the five best starts and ends among all tokens, padding included.
    """
    logits = _question_answering(weights, config, forms, hidden)
    behind_first = tf.constant([[0.0] + [1.0] * (hidden.shape[0] - 1)])
    bias = tf.gather(tf.constant([MASKED, 0.0]), token_type_ids) * behind_first  # [1, T]
    return {name: values + bias for name, values in logits.items()}


def _sentence_embedding(
    weights: Weights,
    config: AlbertConfig,
    forms: GraphForms,
    hidden: Any,
    attention_mask: Any = None,
) -> Outputs:
    """Return the mean [1, H] of the hidden states that are no padding, scaled to length 1.

    Then it is the same whether a sum is divided by the number of tokens or of all rows.
    """
    if attention_mask is not None:
        hidden *= tf.gather(tf.constant([[0.0], [1.0]]), tf.reshape(attention_mask, [-1]))  # [T, 1]
    mean = tf.reduce_mean(hidden, axis=0, keepdims=True)
    square = tf.reduce_mean(tf.square(mean), axis=-1, keepdims=True)  # the squared length over H
    return {"sentence_embedding": mean * tf.math.rsqrt(square + 1e-12) * config.hidden_size**-0.5}


LIBRARY_HEADS: dict[str, Callable[..., Outputs]] = {
    "feature-extraction": _sentence_embedding,
    "classification": _probabilities,
    "question-answering": _context_logits,
}


def _exits(
    task: str, weights: Weights, config: AlbertConfig, forms: GraphForms, hidden_states: Any
) -> Outputs:
    rows = hidden_states  # [T, H]
    if not TASKS[task].per_token:
        rows = _pool(weights, config, forms, hidden_states)  # [1, H]
    return {"exits": dense(weights, "exits", rows)}  # [R, (L-1)*K]


def _pool(weights: Weights, config: AlbertConfig, forms: GraphForms, hidden: Any) -> Any:
    pooled = dense(weights, "pooler", forms.first_token(hidden))
    return tf.nn.relu(pooled) if config.pooler_act == "relu" else forms.tanh(pooled)


def _first_token(hidden: Any) -> Any:
    # A slice of known size: the converter gives `hidden[:1]` an unknown number of rows.
    return tf.slice(hidden, [0, 0], [1, hidden.shape[1]])  # [1, H]


def project(weights: Weights, config: AlbertConfig, vectors: Any) -> Any:
    """Project embedded tokens [T, E] to [T, H], where a model does."""
    return dense(weights, "projection", vectors) if config.has_projection else vectors


def lookup(weights: Weights, name: str, rows: Any) -> Any:
    """Look rows of a table up."""
    with tf.name_scope(name):
        return tf.gather(tf.constant(weights[name]), rows)


def dense(weights: Weights, path: str, values: Any) -> Any:
    """Multiply with a kernel [C, K] and add its bias [K], if it has one."""
    with tf.name_scope(path):
        product = tf.matmul(values, tf.constant(weights[f"{path}/kernel"]))
        bias = weights.get(f"{path}/bias")
        return product if bias is None else product + tf.constant(bias)


def layer_norm(
    weights: Weights, config: AlbertConfig, values: Any, *, gamma_first: bool = False
) -> Any:
    # Ba et al. 2016, arXiv:1607.06450, over the last axis, in the fewest TFLite operators.
    gamma, beta = tf.constant(weights["gamma"]), tf.constant(weights["beta"])
    epsilon = config.layer_norm_eps
    if "input_scale" in weights:  # it does not change the result; see `gpu_graph`
        scale = float(weights["input_scale"])
        values, epsilon = values * scale, epsilon * scale**2
    centred = values - tf.reduce_mean(values, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
    deviation = tf.math.rsqrt(variance + epsilon)
    if gamma_first:
        return centred * gamma * deviation + beta
    return centred * deviation * gamma + beta


CPU = GraphForms(
    embed=_embed,
    attention=_attention,
    activation=activation,
    first_token=_first_token,
    bias_shape=lambda config, seq_len: [1, seq_len],
)
# For weights in floats.
CPU_BLOCKS = replace(CPU, ffn=_ffn_in_blocks)


def under(weights: Weights, path: str) -> Weights:
    """Return the weights below a path, by the rest of their names."""
    return {
        name.removeprefix(f"{path}/"): value
        for name, value in weights.items()
        if name.startswith(f"{path}/")
    }


def convert_stage(
    name: str, stage: Callable[..., Outputs], inputs: Mapping[str, Any]
) -> StageModel:
    """Convert a function to a stage model.

    Args:
        name: The stage's name.
        stage: A function of tensors by name, to outputs by name.
        inputs: The types and shapes of its arguments.

    Raises:
        ConversionError: The TFLite converter refused it.
    """
    module = tf.Module()
    specs = {key: tf.TensorSpec(spec.shape, spec.dtype, key) for key, spec in inputs.items()}
    function = tf.function(stage, autograph=False).get_concrete_function(**specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    # Not through a SavedModel: the same graph in two thirds of the time and three quarters of the
    # memory, but without a signature.
    converter.experimental_lower_to_saved_model = False
    try:
        model = parse(bytes(converter.convert()))
    except Exception as error:  # the converter's own types are private
        raise ConversionError(f"the TFLite converter refused the stage {name}: {error}") from error
    graph = model.subgraphs[0]
    input_indices = {graph.tensors[index].name.decode(): index for index in graph.inputs}
    outputs = dict(zip(sorted(function.structured_outputs), graph.outputs, strict=True))
    model.signatureDefs = [signature("serving_default", input_indices, outputs)]
    return StageModel(model, name)


def early_exit_inputs(config: AlbertConfig, task: str, seq_len: int | None) -> Specs:
    """Return the inputs of `early_exit_step`: name → type and shape."""
    known = TASKS[task]
    early = (config.num_hidden_layers - 1) * known.head_width(config.num_labels)
    rows = seq_len if known.per_token else 1
    answers = 2 if known.per_token and not known.has_labels else rows
    scalar, one = tf.TensorSpec([], tf.int32), tf.TensorSpec([1], tf.int32)
    inputs = {
        "exits": tf.TensorSpec([rows, early], tf.float32),
        "made": scalar,
        "limit": scalar,
        "answer": tf.TensorSpec([1, answers], tf.int32),
        "same": one,
        "patience": one,
        "threshold": tf.TensorSpec([1], tf.float32),
        "max_layers": one,
    }
    if known.per_token and seq_len is not None:
        inputs["attention_mask"] = tf.TensorSpec([1, seq_len], tf.int32)
    return inputs


def early_exit_step(
    config: AlbertConfig,
    task: str,
    exits: Any,
    made: Any,
    limit: Any,
    answer: Any,
    same: Any,
    patience: Any,
    threshold: Any,
    max_layers: Any,
    attention_mask: Any = None,
) -> dict[str, Any]:
    """Decide, as `early_exit.EarlyExit.should_exit` does, whether to run another pass.

    A pass predicts D things: the label of a text, that of each of T tokens, or two tokens, the
    first and the last of an answer.

    Args:
        config: The model's shape.
        task: One that can exit early.
        exits: float32 [R, (L-1)*K], the logits of the heads of all passes but the last, where R is
            1 or T.
        made: int32 [], in [1, L], how many passes have run, this one included.
        limit: int32 [], how many may run.
        answer: int32 [1, D], what the previous pass predicted; anything before the first.
        same: int32 [1], how often in a row that equalled what the pass before predicted; -1 before
            the first pass.
        patience: int32 [1], from the caller.
        threshold: float32 [1], from the caller.
        max_layers: int32 [1], from the caller.
        attention_mask: int32 [1, T], of a fixed length and a task of tokens.

    Returns:
        The new `limit`, `answer` and `same`; and `layers_used`, int32 [1].
    """
    used = tf.reshape(made, [1])
    logits = _logits_of_pass(config, task, exits, used)  # [1, D, C]
    is_token_a_row = TASKS[task].has_labels
    if attention_mask is not None and not is_token_a_row:
        logits = tf.where(tf.equal(attention_mask, 0), MASKED, logits)
    predicted = tf.argmax(logits, axis=-1, output_type=tf.int32)  # [1, D]
    probability = tf.reduce_max(tf.nn.softmax(logits), axis=-1)  # [1, D]
    if attention_mask is not None and is_token_a_row:
        predicted *= attention_mask
        probability = tf.where(tf.equal(attention_mask, 0), 1.0, probability)
    same = (same + 1) * tf.reduce_min(tf.cast(tf.equal(predicted, answer), tf.int32), axis=-1)
    least = tf.reduce_min(probability, axis=-1)  # [1]
    loop_condition = (same < patience) & (least < threshold) & (used < max_layers)
    return {
        # Not a reshape to []: TFLite counts its empty shape as computed, and so makes the loop's
        # outputs dynamic, which CompiledModel, XNNPACK as a delegate and other readers refuse.
        "limit": limit * tf.reduce_max(tf.cast(loop_condition, tf.int32), axis=0),
        "answer": predicted,
        "same": same,
        "layers_used": used,
    }


def early_exit_outputs(
    config: AlbertConfig, task: str, exits: Any, layers_used: Any, **outputs: Any
) -> Outputs:
    """Select the outputs of the last pass that ran: those of its own head or of the ordinary one.

    Args:
        config: The model's shape.
        task: One that can exit early.
        exits: As in `early_exit_step`.
        layers_used: int32 [1], how many passes ran.
        outputs: The ordinary head's, by name.
    """
    known = TASKS[task]
    logits = _logits_of_pass(config, task, exits, layers_used)  # [1, D, C]
    found = [logits if known.per_token else tf.reshape(logits, [1, -1])]
    count = len(known.outputs)
    if count > 1:
        found = tf.split(tf.reshape(logits, [count, -1]), count)
    early = layers_used < config.num_hidden_layers
    return {
        name: tf.where(early, one, outputs[name])
        for name, one in zip(known.outputs, found, strict=True)
    }


def _logits_of_pass(config: AlbertConfig, task: str, exits: Any, used: Any) -> Any:
    """Return the logits after pass `used`, int32 [1]; meaningless after the last, L.

    Args:
        config: The model's shape.
        task: One that can exit early.
        exits: float32 [R, (L-1)*K].
        used: In [1, L].

    Returns:
        float32 [1, D, C], a row for each thing that the pass predicts.
    """
    last, width = config.num_hidden_layers - 1, TASKS[task].head_width(config.num_labels)
    rows = tf.reshape(tf.transpose(exits), [last, width, -1])  # [L-1, K, R]
    logits = tf.gather(rows, tf.minimum(used, last) - 1)  # [1, K, R]
    return tf.transpose(logits, [0, 2, 1]) if TASKS[task].has_labels else logits
