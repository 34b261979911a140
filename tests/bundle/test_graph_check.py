"""What the check of a graph refuses, and that all else gets through is tested where it is run."""

from __future__ import annotations

import contextlib
import copy
import random
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from albert_edge.bundle.archive import OpenFile
from albert_edge.bundle.bundle import Bundle, model_bytes, read
from albert_edge.bundle.graph_check import check_flatbuffer, check_graph
from albert_edge.errors import BundleError
from albert_edge.tflite.graph import builtin_code, pack, parse, schema

Op = schema.BuiltinOperator


@pytest.fixture(scope="module")
def checked(tiny_tflite: Callable[..., bytes]) -> Callable[..., None]:
    """A function that changes a parsed model and checks it: `checked(change, **how)`."""

    def check(change: Callable[[Any], object], *, task: str = "classification", **how: Any) -> None:
        blob = tiny_tflite(task, **how)
        model = parse(model_bytes(blob))
        try:
            change(model)
            front = pack(model)
        except Packed as packed:
            (front,) = packed.args
        check_graph(front, read(blob), where="tiny.tflite")

    return check


class Packed(Exception):  # noqa: N818 (it is no error)
    """What a change returns that the objects cannot hold."""


def operators(model: Any, code: int) -> list[Any]:
    return [
        one
        for graph in model.subgraphs
        for one in graph.operators
        if builtin_code(model, one) == code
    ]


def tensor(model: Any, operator: Any, place: int, of: str = "inputs") -> Any:
    graph = next(one for one in model.subgraphs if operator in one.operators)
    return graph.tensors[getattr(operator, of)[place]]


def set_constant(model: Any, one: Any, values: Any) -> None:
    """Give a tensor data of its own."""
    model.buffers.append(schema.BufferT(data=np.asarray(values, np.int32).tobytes()))
    one.buffer = len(model.buffers) - 1


def with_constant(code: int, place: int, values: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        operator = operators(model, code)[0]
        set_constant(model, tensor(model, operator, place), values)

    return change


def with_option(code: int, name: str, value: Any) -> Callable[[Any], None]:
    return lambda model: setattr(operators(model, code)[0].builtinOptions, name, value)


def with_scale(scale: float, code: int = Op.FULLY_CONNECTED) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        operator = operators(model, code)[0]
        tensor(model, operator, 0, "outputs").quantization.scale = [scale]

    return change


def with_blocks(**fields: int) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        weights = [one for graph in model.subgraphs for one in graph.tensors]
        one = next(one for one in weights if one.quantization and one.quantization.details)
        for name, value in fields.items():
            setattr(one.quantization.details, name, value)

    return change


def options_of_no_type(model: Any) -> None:
    """Runtimes then split into no parts; what stands in the options does not count."""
    blob = pack(model)
    root = schema.Model.GetRootAs(blob)
    changed = bytearray(blob)
    for index in range(root.SubgraphsLength()):
        graph = root.Subgraphs(index)
        for number in range(graph.OperatorsLength()):
            one = graph.Operators(number)
            if one.BuiltinOptionsType() == schema.BuiltinOptions.SplitOptions:
                changed[one._tab.Pos + one._tab.Offset(10)] = 0
    raise Packed(bytes(changed))


def variable_input(model: Any) -> None:
    model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].isVariable = True


def unwritten(model: Any) -> None:
    model.subgraphs[0].operators.pop(0)


def loops_in_itself(model: Any) -> None:
    options = operators(model, Op.WHILE)[0].builtinOptions
    options.bodySubgraphIndex = 0


def never_counts(model: Any) -> None:
    body = model.subgraphs[operators(model, Op.WHILE)[0].builtinOptions.bodySubgraphIndex]
    add = next(one for one in body.operators if one.outputs[0] == body.outputs[0])
    set_constant(model, body.tensors[add.inputs[1]], 0)


def never_ends(model: Any) -> None:
    condition = model.subgraphs[operators(model, Op.WHILE)[0].builtinOptions.condSubgraphIndex]
    set_constant(model, condition.tensors[condition.operators[0].inputs[1]], 2**31 - 1)


def no_early_end(model: Any) -> None:
    """Let a loop with early exit keep its limit, times what may be more than 1."""
    body = model.subgraphs[operators(model, Op.WHILE)[0].builtinOptions.bodySubgraphIndex]
    cast = next(one for one in body.operators if builtin_code(model, one) == Op.MUL
                and len(body.tensors[one.outputs[0]].shape) == 0)  # fmt: skip
    cast.inputs = [cast.inputs[0], cast.inputs[0]]


def next_rows(counts: Any = (-1, 1, 1), begin: int = 0) -> Callable[[Any], None]:
    """Let the loop compute other rows in its next pass."""

    def change(model: Any) -> None:
        body = model.subgraphs[operators(model, Op.WHILE)[0].builtinOptions.bodySubgraphIndex]
        cut = next(one for one in body.operators if builtin_code(model, one) == Op.SLICE)
        gather = next(one for one in body.operators if one.outputs[0] == cut.inputs[2])
        set_constant(model, body.tensors[gather.inputs[0]], counts)
        set_constant(model, body.tensors[cut.inputs[1]], [begin])

    return change


def beyond_the_exits(model: Any) -> None:
    """Let the logits of a pass be those of one more than there are."""
    for least in operators(model, Op.MINIMUM):
        set_constant(model, tensor(model, least, 1), 99)


def another_answer(model: Any) -> None:
    """Let the loop begin with an answer of another shape than it makes."""
    loop = operators(model, Op.WHILE)[0]
    body = model.subgraphs[loop.builtinOptions.bodySubgraphIndex]
    names = [body.tensors[index].name for index in body.inputs]
    loop.inputs = list(loop.inputs)
    loop.inputs[names.index(b"answer")] = loop.inputs[names.index(b"same")]


def computed_cut(model: Any) -> None:
    """Cut as many ids as the model computes, which is not known before it runs."""
    graph = model.subgraphs[0]
    ids, types = graph.inputs[:2]
    cut = copy.copy(next(one for one in graph.operators if builtin_code(model, one) == Op.SLICE))
    graph.tensors.append(copy.copy(graph.tensors[ids]))
    cut.inputs, cut.outputs = [ids, cut.inputs[1], types], [len(graph.tensors) - 1]
    graph.operators.insert(0, cut)


def wrong_output(model: Any) -> None:
    model.signatureDefs[0].outputs[0].name = "scores"


def not_utf8(model: Any) -> None:
    model.signatureDefs[0].signatureKey = b"serving\xff"


def no_signature(model: Any) -> None:
    model.signatureDefs = None


def swapped(model: Any) -> None:
    product = operators(model, Op.BATCH_MATMUL)[0]
    product.builtinOptions.adjY = not product.builtinOptions.adjY


def negative_dimension(model: Any) -> None:
    model.subgraphs[0].tensors[-1].shape = [-5, 3]


def as_many_as(count: int) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        graph.tensors[graph.inputs[0]].shape = [1, count]

    return change


def short_buffer(model: Any) -> None:
    buffer = max(model.buffers, key=lambda one: 0 if one.data is None else len(one.data))
    buffer.data = buffer.data[:-4]


def custom_operator(model: Any) -> None:
    model.operatorCodes[0].customCode = "anything"


FULL = {"quantize": "int8-full"}
WIDE = {"quantize": "int4", "hidden_size": 64, "intermediate_size": 64, "embedding_size": 64}
WIDE |= {"vocab_size": 2000}
COPIES = {"layout": "unrolled"}
EARLY = {"early_exit": True, "num_hidden_layers": 3}
ANSWERS = {**EARLY, "task": "question-answering"}
WORDS = {**EARLY, "task": "token-classification"}
PADDED = {**WORDS, "seq_len": 8}
CASES: list[tuple[Callable[[Any], object], dict[str, Any], str]] = [
    (with_option(Op.SPLIT, "numSplits", 0), COPIES, r"\(SPLIT\): it makes 0 parts"),
    (with_option(Op.SPLIT, "numSplits", 1000), COPIES, r"\(SPLIT\): it makes 1000 parts"),
    (options_of_no_type, COPIES, r"\(SPLIT\): it makes 0 parts of"),
    (with_constant(Op.SPLIT, 0, 7), COPIES, r"\(SPLIT\): it has no axis \[7\]"),
    (with_constant(Op.TRANSPOSE, 1, [1, 1, 2]), {}, r"\(TRANSPOSE\): \[1, 1, 2\] does not order"),
    (with_constant(Op.RESHAPE, 1, [-7]), {}, r"\(RESHAPE\): it makes \[-7\]"),
    (with_constant(Op.MEAN, 1, -3), {}, r"\(MEAN\): it has no axis \[-3\]"),
    (with_constant(Op.SLICE, 2, [999, 32]), {}, r"\(SLICE\): it cuts"),
    (with_constant(Op.STRIDED_SLICE, 3, 0), {}, r"\(STRIDED_SLICE\): it takes \[0\]th"),
    (with_option(Op.GATHER, "axis", 5), {}, r"\(GATHER\): its options"),
    (with_option(Op.SOFTMAX, "beta", 1e30), {}, r"\(SOFTMAX\): its beta"),
    (with_option(Op.FULLY_CONNECTED, "weightsFormat", 1), {}, r"\(FULLY_CONNECTED\): its options"),
    (swapped, {}, r"\(BATCH_MATMUL\): it multiplies"),
    (with_scale(1e38), FULL, "scales from"),
    (with_scale(float("nan")), FULL, "scales from"),
    (with_scale(0.0), FULL, "scales from"),
    (with_scale(1e-14, Op.ADD), FULL, "its result's scale .* is too small"),
    (with_scale(1e-14, Op.QUANTIZE), FULL, "is too small"),
    (with_blocks(blockSize=0), WIDE, "blocks of 0 do not divide"),
    (with_blocks(scales=10**6), WIDE, "have no scales"),
    (with_blocks(scales=-1), WIDE, "have no scales"),
    (variable_input, {}, "a tensor is a variable"),
    (unwritten, {}, "reads what nothing has written"),
    (negative_dimension, {}, r"has the shape \[-5, 3\]"),
    (as_many_as(10**9), {}, "has the shape"),
    (short_buffer, {}, "bytes instead of"),
    (custom_operator, {}, "is not one of this project's"),
    (loops_in_itself, {}, "does not exist, or is used twice"),
    (never_counts, {}, "does not count its passes by one"),
    (never_ends, {}, "limited to .* passes instead of"),
    (next_rows(counts=[1, 1, 1]), {}, "does not compute all rows in all passes but the last"),
    (next_rows(counts=[-1, 2, 1]), {}, "does not compute all rows in all passes but the last"),
    (next_rows(begin=1), {}, "does not compute all rows in all passes but the last"),
    (computed_cut, {}, r"\(SLICE\): input 2 is not a short constant"),
    (computed_cut, EARLY, r"\(SLICE\): input 2 is not a short constant"),
    (with_constant(Op.RANGE, 0, 1), {}, r"\(RANGE\): it counts from \[1\]"),
    (with_constant(Op.RANGE, 2, 0), {}, r"\(RANGE\): it counts .* by \[0\]"),
    (no_early_end, EARLY, "can be made to go on for ever"),
    (no_early_end, ANSWERS, "can be made to go on for ever"),
    (no_early_end, PADDED, "can be made to go on for ever"),
    (beyond_the_exits, ANSWERS, r"\(GATHER\): it looks up rows .* of \[2, 2, T\]"),
    (beyond_the_exits, PADDED, r"\(GATHER\): it looks up rows .* of \[2, 3, 8\]"),
    (another_answer, ANSWERS, r"tensor \d+ has the shape \[1, \d\], not \[1\]"),
    (another_answer, WORDS, r"tensor \d+ has the shape \[1, \d\], not \[1\]"),
    (with_constant(Op.REDUCE_MIN, 1, 7), WORDS, r"it has no axis \[7\] in \[1, T, 3\]"),
    (wrong_output, {}, "contradicts its task 'classification': .* scores"),
    (not_utf8, {}, "is not UTF-8"),
    (no_signature, {}, "has no signature serving_default, only none"),
]


@pytest.mark.parametrize(("change", "how", "says"), CASES, ids=[says for *_, says in CASES])
def test_what_would_end_the_process_is_refused(
    checked: Callable[..., None], change: Callable[[Any], object], how: dict[str, Any], says: str
) -> None:
    with pytest.raises(BundleError, match=f"^tiny.tflite has a damaged model: .*{says}"):
        checked(change, **how)


def test_nothing_changed_is_accepted(checked: Callable[..., None]) -> None:
    for how in ({}, FULL, WIDE, EARLY, ANSWERS, WORDS, PADDED):
        checked(lambda model: None, **how)


# The last pass alone computes the rows that a head reads, which a table of all passes says.
@pytest.mark.parametrize("passes", [2, 17, 24, 48])
def test_any_number_of_passes_is_accepted(checked: Callable[..., None], passes: int) -> None:
    checked(lambda model: None, num_hidden_layers=passes)


def test_a_few_bytes_do_not_become_gigabytes(tiny_tflite: Callable[..., bytes]) -> None:
    # A vector of tables may point to one table as often as it likes.
    blob = bytearray(model_bytes(tiny_tflite("classification")))
    root = struct.unpack_from("<I", blob)[0]
    vtable = root - struct.unpack_from("<i", blob, root)[0]
    field = root + struct.unpack_from("<H", blob, vtable + 4 + 2 * 4)[0]  # buffers
    vector = field + struct.unpack_from("<I", blob, field)[0]
    place, count = len(blob) - field, 400_000
    struct.pack_into("<I", blob, field, place)
    table = vector + 4 + struct.unpack_from("<I", blob, vector + 4)[0]
    blob += struct.pack("<I", count)
    for index in range(count):
        at = field + place + 4 + 4 * index
        blob += struct.pack("<I", (table - at) % 2**32)
    with pytest.raises(BundleError, match=r"used twice|outside the file"):
        check_flatbuffer(bytes(blob), where="bomb.tflite")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), data=st.data())
def test_any_words_give_one_error(
    seed: int, data: st.DataObject, tiny_tflite: Callable[..., bytes]
) -> None:
    how = dict(data.draw(st.sampled_from(({}, FULL, EARLY, WORDS, {"layout": "split"}))))
    blob = tiny_tflite(how.pop("task", "classification"), **how)
    front = bytearray(blob[: OpenFile(blob).front_bytes])
    rng = random.Random(seed)
    for _ in range(rng.choice((1, 2, 8))):
        at = rng.randrange(len(front) // 4) * 4
        value = rng.choice((0, 1, 0xFFFFFFFF, 0x7FFFFFFF, rng.getrandbits(32), rng.randrange(256)))
        struct.pack_into("<I", front, at, value)
    _only_bundle_errors(bytes(front), read(blob))
    _only_bundle_errors(bytes(front[: rng.randrange(len(front))]), read(blob))


def _only_bundle_errors(front: bytes, bundle: Bundle) -> None:
    for check in (
        lambda: check_graph(front, bundle, where="x"),
        lambda: check_flatbuffer(front, where="x"),
    ):
        with contextlib.suppress(BundleError):
            check()
