"""Read the weights of one of our own `.tflite` files back, as float32.

The graph has no names of weights, but its operators have an order: that of `tflite.export`.  What
the file stores in int8 becomes the numbers that its codes stand for; what rounding lost is lost.
The weights compute what the file computes and need not be those that it was made from: the
converter multiplies a layer norm's gamma and beta into the product that follows, which for a layer
is undone here; the norms of the embeddings and of a head for masked words are left without.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from albert_edge.checkpoints.match import CheckpointContents, TensorNaming
from albert_edge.checkpoints.tensor_file import LazyTensor, TensorFile
from albert_edge.checkpoints.tensor_names import head_names, tensor_names
from albert_edge.config import AlbertConfig
from albert_edge.errors import CheckpointError, ConfigError
from albert_edge.files import add_members, check_members, open_input, parse_json
from albert_edge.tasks import TASKS
from albert_edge.tokenizer.config import TOKENIZER_FILES

Array: TypeAlias = npt.NDArray[Any]
_MANIFEST, _CONFIG = "albert_edge.json", "config.json"
_RECIPES = ("float32", "float16", "int8")
_TARGETS = ("cpu", "android")  # those of the graph of `tflite.export`
_DAMAGE = (
    zipfile.BadZipFile,
    struct.error,
    AttributeError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    TypeError,
    ValueError,
)
_PRODUCTS = ("attention/query_key_value", "attention/output", "ffn/intermediate", "ffn/output")
_DECODER = "predictions/decoder"


def is_tflite(path: Path) -> bool:
    """Return whether a path is a file that begins as a `.tflite` file does."""
    if not path.is_file():
        return False
    with open_input(path) as file:
        return file.read(8)[4:] == b"TFL3"


def find_tflite(path: Path) -> CheckpointContents:
    """Open one of our `.tflite` files as a checkpoint.

    Args:
        path: A file in float32, float16 or int8, of the target `cpu` or `android`.

    Raises:
        CheckpointError: The file is damaged, of another program, or of another recipe or target.
        ConfigError: Its configuration is not an ALBERT's.
    """
    with open_input(path) as file:
        blob = file.read()
    try:
        manifest, members, front = _read_archive(path, blob)
        values = parse_json(members[_CONFIG], where=str(path), error=ConfigError)
        config = AlbertConfig.from_huggingface(values, where=str(path))
        _check_readable(path, manifest)
        graph = _Constants(blob[:front], config)
        tensors = {**graph.embeddings(config), **graph.layers(config)}
        tensors.update(graph.head(config, manifest["task"]))
    except _DAMAGE as error:
        raise _damaged(path, f"{type(error).__name__} {error}") from error
    recipe, provenance = manifest["quantize"], manifest["provenance"]
    lost = ", which have lost what rounding cost" if recipe == "int8" else ""
    return CheckpointContents(
        directory=path,
        file=TensorFile(path, (path,), {name: _tensor(one) for name, one in tensors.items()}),
        naming=TensorNaming("name", lambda _: False),
        config=config,
        has_label_count=bool(values.get("id2label")),
        tokenizer_files={name: members[name] for name in TOKENIZER_FILES if name in members},
        notes=(f"the weights were read from a .tflite file in {recipe}{lost}",),
        architectures=(TASKS[manifest["task"]].architecture,),
        changes=provenance.get("changes", {}),
    )


def _read_archive(path: Path, blob: bytes) -> tuple[dict[str, Any], dict[str, bytes], int]:
    """Return the manifest, the files in the archive, and how many bytes stand before it."""
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        infos = archive.infolist()
        check_members(str(path), infos, error=CheckpointError)
        members = {info.filename: archive.read(info) for info in infos}
        front = min((info.header_offset for info in infos), default=0)
    if _MANIFEST not in members:
        raise CheckpointError(
            f"{path} was not written by albert_edge: the order of its weights is not known. Give "
            "the checkpoint that it was made from."
        )
    manifest = parse_json(members[_MANIFEST], where=str(path), error=CheckpointError)
    stored = manifest["model"].get("sha256")
    digest = add_members(hashlib.sha256(blob[:front]), members, manifest=_MANIFEST, stored=stored)
    if stored not in (None, digest):
        raise _damaged(path, "its SHA-256 differs from the one that was written")
    return manifest, members, front


def _check_readable(path: Path, manifest: Mapping[str, Any]) -> None:
    for name, choices in {"quantize": _RECIPES, "target": _TARGETS, "seq_len": (None,)}.items():
        if (found := manifest.get(name, choices[0])) not in choices:
            expected = ", ".join(str(choice or "any") for choice in choices)
            raise CheckpointError(
                f"the weights of {path} cannot be read back: its {name} is {found} (expected "
                f"{expected}). Give the checkpoint that it was made from."
            )


def _tensor(values: Array) -> LazyTensor:
    return LazyTensor(values.shape, "float32", lambda: values)


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{path} is damaged: {reason}. Copy or convert it again.")


@dataclass(slots=True)
class _Stage:
    """The constants of a stage, in the order of the operators that read them.

    Attributes:
        tables: What GATHER reads, [rows, E].
        products: Weights [K, C] and bias [K], or None without one.
        inputs: The tensors that the products multiply.
        factors: What MUL multiplies rows with, [C].
        terms: What ADD adds to rows, [C].
        sums: The tensors that ADD computes of them.
    """

    tables: list[Array] = field(default_factory=list)
    products: list[tuple[Array, Array | None]] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    factors: list[Array] = field(default_factory=list)
    terms: list[Array] = field(default_factory=list)
    sums: list[str] = field(default_factory=list)


class _Constants:
    """The constants of a linked model by the stage that its tensors are named after."""

    def __init__(self, model: bytes, config: AlbertConfig) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema, self._config = schema, config
        self._model = schema.ModelT.InitFromPackedBuf(model, 0)
        self._stages: dict[str, _Stage] = {}
        seen: set[str] = set()
        for graph in self._model.subgraphs:
            unpacked = {
                int(one.outputs[0]): int(one.inputs[0])
                for one in graph.operators
                if self._code(one) == schema.BuiltinOperator.DEQUANTIZE
            }
            for one in graph.operators:
                name = self._name(graph, one.outputs[0])
                if name not in seen:  # the passes of an unrolled file are copies
                    seen.add(name)
                    self._add(graph, one, unpacked)

    def _code(self, operator: Any) -> int:
        code = self._model.operatorCodes[operator.opcodeIndex]
        return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))

    def _name(self, graph: Any, tensor: Any) -> str:
        """Return STAGE/NUMBER; of a pass of an unrolled file the stage is its group's."""
        stage, _, rest = (graph.tensors[int(tensor)].name or b"").decode().partition("/")
        if stage.startswith("pass_"):
            stage = f"layer_{self._config.group_of_layer(int(stage.removeprefix('pass_')))}"
        return f"{stage}/{rest}"

    def _add(self, graph: Any, operator: Any, unpacked: Mapping[int, int]) -> None:
        inputs = [self._constant(graph, unpacked.get(i, i)) for i in map(int, operator.inputs)]
        name = self._name(graph, operator.outputs[0])
        stage = self._stages.setdefault(name.split("/")[0], _Stage())
        op, code = self._schema.BuiltinOperator, self._code(operator)
        if code == op.GATHER and inputs[0] is not None and len(inputs[0].shape) == 2:
            stage.tables.append(inputs[0])
        elif code == op.FULLY_CONNECTED and inputs[1] is not None:
            stage.products.append((inputs[1], inputs[2] if len(inputs) > 2 else None))
            stage.inputs.append(self._name(graph, operator.inputs[0]))
        elif code in (op.MUL, op.ADD):
            rows = [one for one in inputs if one is not None and len(one.shape) == 1]
            (stage.factors if code == op.MUL else stage.terms).extend(rows)
            if rows and code == op.ADD:
                stage.sums.append(name)

    def _constant(self, graph: Any, index: int) -> Array | None:
        """Return a constant in float32; None for a computed tensor, or one of other types."""
        if index < 0:
            return None
        tensor = graph.tensors[index]
        data = self._model.buffers[tensor.buffer].data
        kinds = self._schema.TensorType
        dtypes = {kinds.FLOAT32: np.float32, kinds.FLOAT16: np.float16, kinds.INT8: np.int8}
        if data is None or not len(data) or tensor.type not in dtypes:
            return None
        shape = tuple(map(int, tensor.shape))
        values = np.frombuffer(memoryview(data), dtypes[tensor.type]).reshape(shape)
        return _dequantize(values, tensor.quantization)

    def embeddings(self, config: AlbertConfig) -> dict[str, Array]:
        """Return the tables, the layer norm and the projection."""
        stage = self._stages["embed"]
        names = tensor_names(config, "feature-extraction")
        names = [name for name in names if name.name.startswith("embeddings/")]
        tables = {name.shape: name.name for name in names if name.name.endswith("_embeddings")}
        if len(tables) < 3 or sorted(tables) != sorted(table.shape for table in stage.tables):
            raise ValueError(f"tables of {[table.shape for table in stage.tables]}")
        found = {tables[table.shape]: table for table in stage.tables}
        found |= _norm("embeddings/layer_norm", stage, config.embedding_size)
        paths = ["embeddings/projection"] if config.has_projection else []
        return found | _products(paths, stage.products)

    def layers(self, config: AlbertConfig) -> dict[str, Array]:
        """Return the weights of all groups."""
        found: dict[str, Array] = {}
        for group in range(config.num_hidden_groups):
            stage = self._stages[f"layer_{group}"]
            paths = [f"encoder/group_{group}/layer_{i}" for i in range(config.inner_group_num)]
            norms = [f"{path}/{part}/layer_norm" for path in paths for part in ("attention", "ffn")]
            for part, rows in {"gamma": stage.factors, "beta": stage.terms}.items():
                found |= dict(zip((f"{name}/{part}" for name in norms), rows, strict=True))
            names = [f"{path}/{name}" for path in paths for name in _PRODUCTS]
            products, inputs = _merge(stage, config)
            found |= _products(names, products)
            computed = dict(zip(norms, stage.sums, strict=True))
            for before, (name, read) in zip(
                _norms_before(norms), zip(names, inputs, strict=True), strict=True
            ):
                if before and read != computed[before]:
                    _unfold(found, name, before)
            for path in paths:
                _split(found, f"{path}/attention", config.head_size)
        return found

    def head(self, config: AlbertConfig, task: str) -> dict[str, Array]:
        """Return the weights of the head; an encoder's pooler may be missing."""
        stage = self._stages.get("head", _Stage())
        names = head_names(config, task, pooler=bool(stage.products))
        shapes = {
            name.name.removesuffix("/kernel"): name.shape[::-1]
            for name in names
            if name.name.endswith("/kernel")
        }
        if "predictions/dense" in shapes:  # its output is multiplied by the word embeddings
            shapes[_DECODER] = (config.vocab_size, config.embedding_size)
        exits = [path for path in ("pooler", "exits") if path in shapes and "exits" in shapes]
        shapes.pop("exits", None)
        # The converter orders two heads as it likes; those of one shape stay in order.
        left = list(stage.products)
        found: dict[str, Array] = {}
        for path, shape in shapes.items():
            at = [weights.shape for weights, _ in left].index(shape)
            found |= _products([path], [left.pop(at)])
        if exits:
            found |= _products(exits, self._stages["head_exits"].products)
        if _DECODER in shapes:
            del found[f"{_DECODER}/kernel"]
            found["predictions/bias"] = found.pop(f"{_DECODER}/bias")
            found |= _norm("predictions/layer_norm", stage, config.embedding_size)
        return found


def _products(
    paths: Iterable[str], products: Iterable[tuple[Array, Array | None]]
) -> dict[str, Array]:
    """Return kernels [C, K] and biases [K] by name, of as many products in the same order."""
    found: dict[str, Array] = {}
    for path, (weights, bias) in zip(paths, products, strict=True):
        found[f"{path}/kernel"] = weights.T
        found[f"{path}/bias"] = np.zeros(len(weights), np.float32) if bias is None else bias
    return found


def _merge(
    stage: _Stage, config: AlbertConfig
) -> tuple[list[tuple[Array, Array | None]], list[str]]:
    """Return the `_PRODUCTS` of a stage's layers, and what they read.

    Query, key and value are three where a loop computes the query of some rows only; a
    feed-forward network in floats is the sum of some of its channels each.
    """
    found, inputs = [], []
    left = list(zip(stage.products, stage.inputs, strict=True))
    while left:
        count = 3 if len(left[0][0][0]) == config.attention_size else 1
        found += [_concatenate([product for product, _ in left[:count]]), left[count][0]]
        inputs += [left[count - 1][1], left[count][1]]
        del left[: count + 1]
        count = 2 * config.intermediate_size // len(left[0][0][0])
        blocks = [product for product, _ in left[:count]]
        outer = np.concatenate([weights for weights, _ in blocks[1::2]], axis=1)
        found += [_concatenate(blocks[::2]), (outer, blocks[1][1])]
        inputs += [left[0][1], left[1][1]]
        del left[:count]
    return found, inputs


def _concatenate(products: list[tuple[Array, Array | None]]) -> tuple[Array, Array]:
    """Return one product that has the outputs of several."""
    biases = [
        np.zeros(len(weights), np.float32) if bias is None else bias for weights, bias in products
    ]
    return np.concatenate([weights for weights, _ in products]), np.concatenate(biases)


def _norm(path: str, stage: _Stage, size: int) -> dict[str, Array]:
    """Return a stage's only norm, without weights where the product behind it has them."""
    gamma = stage.factors[0] if stage.factors else np.ones(size, np.float32)
    beta = stage.terms[0] if stage.terms else np.zeros(size, np.float32)
    return {f"{path}/gamma": gamma, f"{path}/beta": beta}


def _norms_before(norms: list[str]) -> Iterator[str]:
    """Yield for each of `_PRODUCTS`, layer by layer, the norm in front of it; empty without."""
    for at in range(0, len(norms), 2):
        yield from (norms[at - 1] if at else "", "", norms[at], "")


def _unfold(found: dict[str, Array], name: str, norm: str) -> None:
    """Take a norm's gamma and beta out of the product behind it."""
    kernel, factors = found[f"{name}/kernel"], found[f"{norm}/gamma"][:, None]
    # Of a factor 0 the row had no effect.
    kernel = np.divide(kernel, factors, where=factors != 0, out=np.zeros_like(kernel))
    found[f"{name}/kernel"] = kernel
    found[f"{name}/bias"] = found[f"{name}/bias"] - found[f"{norm}/beta"] @ kernel


def _split(found: dict[str, Array], path: str, head_size: int) -> None:
    """Replace a product that `export.fuse_projections` made by query, key and value."""
    for part in ("kernel", "bias"):
        parts = np.split(found.pop(f"{path}/query_key_value/{part}"), 3, axis=-1)
        for name, values in zip(("query", "key", "value"), parts, strict=True):
            factor = head_size**0.5 if name == "query" else 1.0
            found[f"{path}/{name}/{part}"] = values * np.float32(factor)


def _dequantize(values: Array, quantization: Any) -> Array:
    """Return float32 values of a stored constant, whose scales are of its rows or of all of it."""
    if values.dtype != np.int8:
        return values.astype(np.float32)
    scale = np.asarray(quantization.scale, np.float32)
    zero = np.asarray(quantization.zeroPoint, np.float32)
    rows = (-1, *[1] * (values.ndim - 1))
    codes: Array = values.astype(np.float32) - zero.reshape(rows)
    return codes * scale.reshape(rows)
