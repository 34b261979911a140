"""Compare a file with its own matrix products: how much of its time is in XNNPACK's kernels.

\b
python -m benchmarks.product_floor FILE.tflite...                  128 and 32 tokens, one thread
python -m benchmarks.product_floor FILE.tflite --seq-len 64 --rounds 50

Of each file in the layout `loop`, the products of the loop's body are kept, with the same weights,
numbers of rows and passes, and the two of attention as a model of their own; norms, activations and
copies are left out.  All run in turns in one process.  The ratio of the whole to the products is
what other operators cost; no graph of these products can be faster than 1.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import click
import numpy as np

from albert_edge.bundle.bundle import model_bytes, read
from albert_edge.runtime.interpreter import open_interpreter
from albert_edge.tflite.graph import builtin_code, pack, parse, schema
from benchmarks.in_turns import time_in_turns
from benchmarks.peers import paired_ratio

_Op = schema.BuiltinOperator


def _body(model: Any) -> Any:
    loops = [one for one in model.subgraphs[0].operators if builtin_code(model, one) == _Op.WHILE]
    return model.subgraphs[loops[-1].builtinOptions.bodySubgraphIndex]


def keep_attention(model: Any, length: int) -> Any:
    """Leave only the two products of attention in one pass, over a text of a length."""
    body = _body(model)
    kept = [one for one in body.operators if builtin_code(model, one) == _Op.BATCH_MATMUL]
    body.operators = kept
    body.inputs = list(dict.fromkeys(int(index) for one in kept for index in one.inputs))
    body.outputs = [int(one.outputs[0]) for one in kept]
    for index in (*body.inputs, *body.outputs):
        tensor = body.tensors[index]
        if tensor.shapeSignature is not None:
            tensor.shape = [length if size < 0 else size for size in tensor.shapeSignature]
            tensor.shapeSignature = None
    model.subgraphs, model.signatureDefs = [body], []
    return model


def keep_products(model: Any) -> Any:
    """Leave only the products in the body of a model's last loop, and what counts its rows."""
    body = _body(model)
    code = {id(one): builtin_code(model, one) for one in body.operators}
    products = [one for one in body.operators if code[id(one)] == _Op.FULLY_CONNECTED]
    add = next(
        one
        for one in body.operators
        if code[id(one)] == _Op.ADD and all(_is_wide(body, index) for index in one.inputs)
    )
    query, key, value, output, *ffn = products
    reads = [(output, query)]
    for inner, outer in zip(ffn[::2], ffn[1::2], strict=True):
        reads += [(inner, output), (outer, inner)]
    for reader, source in reads:
        reader.inputs = [source.outputs[0], *reader.inputs[1:]]
    sums: list[Any] = []
    total = int(ffn[1].outputs[0])
    for product in (*ffn[3::2], key, value):
        made = copy.copy(add)
        body.tensors.append(copy.copy(body.tensors[total]))
        made.inputs, made.outputs = [product.outputs[0], total], [len(body.tensors) - 1]
        sums, total = [*sums, made], len(body.tensors) - 1
    first = next(i for i, one in enumerate(body.operators) if one is products[0])
    before = [one for one in body.operators[:first] if code[id(one)] != _Op.DEQUANTIZE]
    last = next(i for i in reversed(range(len(body.operators))) if _makes(body, i))
    unpacked = [one for one in body.operators if code[id(one)] == _Op.DEQUANTIZE]
    body.operators = [*unpacked, *before, *products, *sums, *body.operators[last + 1 :]]
    body.outputs = [total if place == 1 else one for place, one in enumerate(body.outputs)]
    return model


def _is_wide(body: Any, index: int) -> bool:
    return len(body.tensors[int(index)].shape) == 2 and int(body.tensors[int(index)].shape[-1]) > 1


def _makes(body: Any, index: int) -> bool:
    return int(body.outputs[1]) in map(int, body.operators[index].outputs)


def open_ids(content: bytes, length: int) -> Any:
    """Open a model as a function that runs a text of a length."""
    runner = open_interpreter(content, threads=1).get_signature_runner("serving_default")
    ids = np.random.default_rng(0).integers(5, 29_000, (1, length)).astype(np.int32)
    given = {
        name: ids if name == "input_ids" else np.zeros_like(ids)
        for name in runner.get_input_details()
    }
    return lambda: runner(**given)


def open_attention(content: bytes, length: int, passes: int) -> Any:
    """Open the products of attention as a function that runs them for all passes."""
    interpreter = open_interpreter(content, threads=1)
    interpreter.allocate_tensors()
    random = np.random.default_rng(0)
    for one in interpreter.get_input_details():
        interpreter.set_tensor(one["index"], random.random(one["shape"], np.float32))
    return lambda: [interpreter.invoke() for _ in range(passes)]


@click.command(help=__doc__)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--seq-len", "seq_lens", multiple=True, default=(128, 32), help="May be repeated.")
@click.option("--rounds", default=60, type=click.IntRange(5))
def main(files: tuple[Path, ...], seq_lens: tuple[int, ...], rounds: int) -> None:
    """Time both in turns; print the medians, and the median ratio of a round."""
    for path in files:
        content, passes = model_bytes(path.read_bytes()), read(path).config.num_hidden_layers
        products = pack(keep_products(parse(content)))
        for length in seq_lens:
            attention = pack(keep_attention(parse(content), length))
            runs = [
                *(open_ids(one, length) for one in (content, products)),
                open_attention(attention, length, passes),
            ]
            taken = time_in_turns(runs, rounds)
            whole, alone, attended = np.median(taken, axis=0)
            ratio, low, high = paired_ratio(list(taken[:, 0]), list(taken[:, 1] + taken[:, 2]))
            click.echo(
                f"{path.name}, {length} tokens: {whole:.2f} ms, its products {alone:.2f} ms and "
                f"those of attention {attended:.2f} ms, ratio {ratio:.3f} [{low:.3f}, {high:.3f}]"
            )


if __name__ == "__main__":
    main()
