"""Run a file on a GPU, with LiteRT's CompiledModel, and report what of it the GPU runs.

A driver, or LiteRT's library on a processor that lacks an instruction, can end the process: a file
is opened here only in a process of its own (`isolated`, or the benchmark's worker), and `check_gpu`
tries the GPU in another.  What the GPU runs stands in the runtime's log only, on standard error.
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from albert_edge.bundle import Bundle, OpenFile, count_operators, output_shapes
from albert_edge.early_exit import EarlyExit
from albert_edge.errors import AlbertEdgeError, DeviceError, FidelityError
from albert_edge.runtime.interpreter import LOAD_ERRORS, open_interpreter, runtime_name
from albert_edge.runtime.model import Arrays, Forward, interpreter_forward, length_signature

__all__ = [
    "Acceleration",
    "check_gpu",
    "check_gpu_file",
    "difference_limit",
    "double_model",
    "largest_difference",
]

# The operators that look up the tables' rows, and what may stand between a table and its rows.
_ON_CPU = frozenset({"GATHER", "EMBEDDING_LOOKUP", "CAST", "DEQUANTIZE", "RESHAPE"})
_ADAPTER = re.compile(r"Selected adapter: (.+?)(?:, arch=.*)?, adapterType=(.+)")
_SHARE = re.compile(
    r"(\d+|No) operations will run on the GPU, and (?:the remaining|all) (\d+) operations"
)
_PLACE = re.compile(r"ERROR: \[[^]]*\]|└")  # in LiteRT's source
_REFUSED = re.compile(r"^([A-Z][A-Z0-9_]+): ?(.*)$", re.MULTILINE)
_NO_GPU = re.compile(r"Couldn't load Vulkan: (.+)|vkCreateInstance: (.+)|(No adapters found)")
_PROBE_S = 60.0
# The largest difference from float arithmetic on the same weights, over the largest output.  In
# float32 arithmetic it is rounding, of sums in another order: 2e-6 in 12 passes of ALBERT-base.
# With float16 weights, which GPUs convert in their own ways, it is no more; the smallest known
# fault, another form of GELU, is 5e-5.  With int8 weights, GPUs may round what they multiply.
_LIMITS = {"float32": 1e-5, "float16": 2e-5}
_INT_LIMIT = 0.02
# A float16 value has 11 bits: 0.4% was measured in 12 passes, and a wrong graph is 10% off.
_DEFAULT_LIMIT = 0.05
# An Edge TPU may round halves in another way than the CPU, by a step of 1/127 of a product.  Two of
# the CPU's own kernels do so, and differ by 3% after 12 passes of a trained encoder.
_EDGETPU_LIMIT = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceleration:
    """What a GPU runs of a file, as the runtime reports it; or an Edge TPU of a folder.

    Attributes:
        accelerator: `gpu:float32` (float32 arithmetic), or `gpu:default` (the driver's choice,
            float16 where it has it); or `edgetpu` with the device if one was chosen.
        device: The name of the device.
        is_software: Whether that is a program on the CPU.
        operators: The number of operators, in all signatures.
        operators_accelerated: How many of them the device runs.
        on_cpu: The types of the others: lookups, and what converts their tables and rows; or the
            host graph.
        difference: The largest difference from the CPU's outputs when the file was opened, over the
            largest output, of an Edge TPU of each product; None if they were not compared.
        limit: How large it may be.
    """

    accelerator: str
    device: str
    is_software: bool
    operators: int
    operators_accelerated: int
    on_cpu: tuple[str, ...]
    difference: float | None = None
    limit: float

    def to_dict(self) -> dict[str, Any]:
        """Return every field by its name, ready for JSON."""
        return {**asdict(self), "on_cpu": list(self.on_cpu)}


def check_gpu_file(bundle: Bundle, *, where: str) -> None:
    """Check that a file is of a form that a GPU can run.

    Raises:
        DeviceError: It has a loop, takes any length, or is in parts.
    """
    form = f"its layout is {bundle.layout}" if bundle.layout != "unrolled" else ""
    form = form or ("" if bundle.seq_lens else "it takes inputs of any length")
    if form:
        raise DeviceError(
            f"{where} cannot run on a GPU: {form}, and GPUs run files of fixed lengths without "
            "loops. Convert the checkpoint again with --target gpu."
        )


def difference_limit(quantize: str, accelerator: str) -> float:
    """Return how far a recipe's outputs may be from the CPU's, over the largest output."""
    if accelerator.startswith("edgetpu"):
        return _EDGETPU_LIMIT
    if accelerator == "gpu:default":
        return _DEFAULT_LIMIT
    return _LIMITS.get(quantize, _INT_LIMIT)


def largest_difference(actual: Mapping[str, Any], expected: Mapping[str, Any]) -> float:
    """Return the largest difference of an output, over the largest value of that output.

    Args:
        actual: Outputs by name.
        expected: The right ones.

    Returns:
        The worst output's; infinity if a shape differs or a value is not finite.
    """
    worst = 0.0
    for name, right in expected.items():
        found = np.asarray(actual.get(name, np.nan), np.float64)
        if found.shape != right.shape or not np.isfinite(found).all():
            return float("inf")
        largest = max(float(np.abs(right).max()), float(np.finfo(np.float32).tiny))
        worst = max(worst, float(np.abs(found - right).max()) / largest)
    return worst


def compiled_forward(
    file: OpenFile, bundle: Bundle, *, threads: int, accelerator: str
) -> tuple[Forward, Acceleration]:
    """Compile a file for the GPU, in this process.

    Args:
        file: The file.
        bundle: Its content.
        threads: How many CPU threads look up the tables.
        accelerator: `gpu:float32` or `gpu:default`.

    Returns:
        Its forward pass, which returns when the outputs have been read back, and what the GPU runs.

    Raises:
        DeviceError: There is no GPU, LiteRT is too old, or the GPU does not run all but the
            lookups.
    """
    check_gpu_file(bundle, where=file.where)
    model, log = _compile(file.place(), threads=threads, accelerator=accelerator, where=file.where)
    acceleration = _read_log(
        log, file, bundle, accelerator, all_delegated=model.is_fully_accelerated()
    )
    buffers: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}

    def forward(inputs: Arrays, rule: EarlyExit | None) -> Arrays:
        length = inputs["input_ids"].shape[1]
        key = length_signature(bundle, length)
        if key not in buffers:
            buffers[key] = _buffers(model, key)
        given, made = buffers[key]
        for name, buffer in given.items():
            buffer.write(inputs[name])
        model.run_by_name(key, given, made)
        shapes = output_shapes(bundle, "serving_default", length)
        return {
            # Waits until it has been computed.
            name: buffer.read(int(np.prod(shapes[name])), np.float32).reshape(shapes[name])
            for name, buffer in made.items()
        }

    return forward, acceleration


def run_on_gpu(content: bytes, inputs: Arrays, *, accelerator: str) -> Arrays:
    """Run a model of any origin on the GPU, in this process.

    Args:
        content: The model; its first signature is run.
        inputs: By the signature's names; those of any length are resized.
        accelerator: `gpu:float32` or `gpu:default`.

    Returns:
        The outputs by name.

    Raises:
        DeviceError: There is no GPU, LiteRT is too old, or the GPU refuses the model.
    """
    model, _ = _compile(content, threads=1, accelerator=accelerator, where="the graph")
    key = next(iter(model.get_signature_list()))
    for name, detail in model.get_input_tensor_details(key).items():
        if tuple(detail["shape"]) != inputs[name].shape:
            model.resize_input_tensor_by_name(key, name, inputs[name].shape)
    given, made = _buffers(model, key)
    for name, buffer in given.items():
        buffer.write(np.ascontiguousarray(inputs[name]))
    model.run_by_name(key, given, made)
    details = model.get_output_tensor_details(key)
    return {name: _read_buffer(buffer, details[name]) for name, buffer in made.items()}


def _read_buffer(buffer: Any, detail: Mapping[str, Any]) -> Any:
    shape = tuple(detail["shape"])
    return np.asarray(buffer.read(math.prod(shape), np.dtype(detail["dtype"]).type)).reshape(shape)


def _buffers(model: Any, key: str) -> tuple[dict[str, Any], dict[str, Any]]:
    names = model.get_signature_list()[key]
    return (
        {name: model.create_input_buffer_by_name(key, name) for name in names["inputs"]},
        {name: model.create_output_buffer_by_name(key, name) for name in names["outputs"]},
    )


def _compile(place: Any, *, threads: int, accelerator: str, where: str) -> tuple[Any, str]:
    """Return the CompiledModel of a path or of a file's content, and what the runtime logged."""
    litert = import_litert()
    opened, kinds = litert.CompiledModel, litert.HardwareAccelerator
    options = litert.Options(
        hardware_accelerators=kinds.GPU | kinds.CPU,
        cpu_options=litert.CpuOptions(num_threads=threads),
        gpu_options=litert.GpuOptions(enforce_f32=accelerator == "gpu:float32"),
    )
    with _StandardError() as log:
        try:
            if isinstance(place, bytes):
                model = opened.from_buffer(place, options=options)
                model.content = place  # it is read where it is, so it must live as long
            else:
                model = opened.from_file(str(place), options=options)
        except (ValueError, RuntimeError) as error:
            text = log.read()
            if (device := _ADAPTER.search(text)) is None:
                raise _no_gpu(text) from error
            reason = " ".join(_PLACE.sub(" ", str(error)).split()).rstrip(".")
            raise DeviceError(
                f"{device[1]} cannot run {where}: {reason}. Convert the checkpoint again with "
                "--target gpu, or use --accelerator cpu."
            ) from error
        return model, log.read()


def import_litert() -> Any:
    """Return the module `ai_edge_litert.compiled_model`.

    Raises:
        DeviceError: It is not installed, too old, or does not load.
    """
    try:
        from ai_edge_litert import compiled_model as litert

        _ = litert.Options, litert.GpuOptions  # new in 2.1.6
    except LOAD_ERRORS as error:
        raise DeviceError(
            "running on a GPU needs the CompiledModel of ai-edge-litert 2.1.6 or newer; that of "
            f"{runtime_name()} does not load ({type(error).__name__}: {error}). Install it with: "
            "pip install --upgrade ai-edge-litert."
        ) from error
    return litert


class _StandardError:
    """What this process, its libraries included, writes to standard error in a `with` block."""

    def __enter__(self) -> _StandardError:
        self._saved, self._file = os.dup(2), TemporaryFile()
        os.dup2(self._file.fileno(), 2)
        return self

    def __exit__(self, *_: object) -> None:
        os.dup2(self._saved, 2)
        os.close(self._saved)
        self._file.close()

    def read(self) -> str:
        """Return what has been written."""
        self._file.seek(0)
        return self._file.read().decode(errors="replace")


def _no_gpu(log: str) -> DeviceError:
    causes = [next(filter(None, found)).strip(" !.") for found in _NO_GPU.findall(log)]
    return DeviceError(
        f"LiteRT finds no GPU{f' ({causes[0]})' if causes else ''}. It needs Vulkan: the "
        "loader libvulkan.so.1 (of Debian's package libvulkan1) and the driver of the GPU "
        "(mesa-vulkan-drivers, or its maker's), and in a container the device as well. "
        "vulkaninfo --summary lists the GPUs that can be seen. Without one, use --accelerator cpu."
    )


def _read_log(
    log: str, file: OpenFile, bundle: Bundle, accelerator: str, *, all_delegated: bool
) -> Acceleration:
    """Read from the log what the GPU runs, and check that it is all but the lookups."""
    if (device := _ADAPTER.search(log)) is None:
        raise _no_gpu(log)
    operators, types = count_operators(file.view(), where=file.where)
    lookups = len(types)
    refused = dict(
        line
        for part in log.split("not supported by GPU delegate:\n")[1:]
        for line in _REFUSED.findall(part.partition(" operations will run")[0])
    )
    shares = [int(left) for _, left in _SHARE.findall(log)]
    left = 0 if all_delegated else sum(shares)
    foreign = [f"{name} ({why})" if why else name for name, why in refused.items()]
    if (not all_delegated and not shares) or left > lookups or not _ON_CPU.issuperset(refused):
        raise DeviceError(
            f"{device[1]} does not run {file.where}: of {operators} operators, {left or 'some'} "
            f"would run on the CPU, where only the {lookups} of the table lookups may. It refuses "
            f"{', '.join(foreign) or 'none by name'}. Convert the checkpoint again with --target "
            "gpu, or use --accelerator cpu."
        )
    return Acceleration(
        accelerator=accelerator,
        device=device[1],
        is_software="software" in device[2].lower(),
        operators=operators,
        operators_accelerated=operators - left,
        on_cpu=tuple(sorted(refused)),
        limit=difference_limit(bundle.quantize, accelerator),
    )


# The comparison with the CPU.


def reference_forward(file: OpenFile, bundle: Bundle, *, threads: int) -> Forward:
    """Return a file's forward pass on the CPU, in float arithmetic whatever its weights are.

    A GPU multiplies int8 weights as floats, and so is not to be compared with a CPU that rounds
    their inputs to int8.  The runtime's own kernels need no second copy of the weights.
    """
    place = file.place()
    if bundle.quantize not in _LIMITS:
        place = with_float_weights(bytes(file.view()))
    interpreter = open_interpreter(place, threads=threads, delegated=False, where=file.where)
    return interpreter_forward(bundle, interpreter)


def with_float_weights(content: bytes) -> bytes:
    """Return a model whose products multiply by float32 weights instead of int8 ones."""
    from albert_edge.tflite.graph import builtin_code, pack, parse, schema, tensor_bytes

    model = parse(content)
    floats: dict[tuple[int, bytes], int] = {}  # buffer and scales of int8 weights → of floats
    for graph in model.subgraphs:
        for operator in graph.operators:
            if builtin_code(model, operator) != schema.BuiltinOperator.FULLY_CONNECTED:
                continue
            tensor = graph.tensors[operator.inputs[1]]
            if tensor.type != schema.TensorType.INT8:
                continue
            scales = np.asarray(tensor.quantization.scale, np.float32)
            key = tensor.buffer, scales.tobytes()
            if key not in floats:
                stored = np.frombuffer(tensor_bytes(model, tensor), np.int8)
                weights = stored.reshape(tensor.shape) * scales[:, None]  # [out, in]
                floats[key] = len(model.buffers)
                model.buffers.append(schema.BufferT(data=weights.tobytes()))
            # A tensor of its own: a lookup may read the same table.
            operator.inputs = [operator.inputs[0], len(graph.tensors), *operator.inputs[2:]]
            made = schema.TensorT(name=tensor.name, shape=tensor.shape, buffer=floats[key])
            graph.tensors.append(made)
    return pack(model)


def compare_with_cpu(
    file: OpenFile, bundle: Bundle, forward: Forward, acceleration: Acceleration, *, threads: int
) -> Acceleration:
    """Run every signature once on the GPU and on the CPU; return the difference with the rest.

    Raises:
        FidelityError: It is above the limit.
    """
    reference, config = reference_forward(file, bundle, threads=threads), bundle.config
    random, difference = np.random.default_rng(0), 0.0
    for length in bundle.seq_lens:
        ids = random.integers(0, config.vocab_size, (1, length), np.int32)
        position = np.arange(length, dtype=np.int32)[None]  # [1, T]
        inputs = {
            "input_ids": ids,
            "token_type_ids": (position >= length // 2).astype(np.int32)
            * (config.type_vocab_size > 1),
            "attention_mask": (position < max(1, length * 3 // 4)).astype(np.int32),
        }
        one = largest_difference(forward(inputs, None), reference(inputs, None))
        difference = max(difference, one)
    if not difference <= acceleration.limit:
        raise FidelityError(
            f"{file.where} is computed wrong by {acceleration.device}: an output is off by "
            f"{difference:.2g} of its largest value, and at most {acceleration.limit:g} is "
            "allowed. Convert the checkpoint again with --target gpu, or use --accelerator cpu."
        )
    return replace(acceleration, difference=difference)


# Trying the GPU.


def check_gpu() -> dict[str, Any]:
    """Run one operator on the GPU, in a child process, once for the life of this one.

    Returns:
        `device`, its name, and `is_software`, whether it is a program on the CPU.

    Raises:
        DeviceError: There is none, LiteRT is too old, or its library ends a process here.
    """
    found = _probe()
    if "message" in found:
        raise DeviceError(found["message"])
    return dict(found)


@functools.cache
def _probe() -> dict[str, Any]:
    from albert_edge.runtime.isolated import try_in_child

    tried = try_in_child(__name__, time_limit_s=_PROBE_S)
    if not tried.ending:
        return {"message": f"the GPU took over {_PROBE_S:g} s to add four numbers."}
    if tried.found:
        return dict(tried.found)
    if not tried.was_killed:
        said = tried.said or "nothing"
        return {"message": f"trying the GPU failed ({tried.ending}); it last printed: {said}"}
    return {
        "message": f"trying the GPU ended the process ({tried.ending}). Its driver is faulty, or "
        "this processor lacks an instruction that LiteRT's library for GPUs needs (on arm64, "
        "those of ARMv8.1: a Raspberry Pi 5 has them, a 4 does not). Use --accelerator cpu."
    }


def main() -> None:
    """Run one operator on the GPU, and write what was found to standard output."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a library may print
    try:
        found = _run_one_operator()
    except AlbertEdgeError as error:
        found = {"message": str(error)}
    with output:
        json.dump(found, output)
    os._exit(0)  # a driver may crash when it is unloaded


def _run_one_operator() -> dict[str, Any]:
    import_litert()  # first: it is what may be missing
    place = double_model()
    model, log = _compile(place, threads=1, accelerator="gpu:float32", where="a test")
    device = _ADAPTER.search(log)
    if device is None or not model.is_fully_accelerated():
        raise _no_gpu(log)
    given, made = _buffers(model, "serving_default")
    given["x"].write(np.arange(4, dtype=np.float32))
    model.run_by_name("serving_default", given, made)
    found = made["y"].read(4, np.float32)
    if found.tolist() != [0.0, 2.0, 4.0, 6.0]:
        raise DeviceError(f"{device[1]} doubles 0, 1, 2, 3 to {found.tolist()}: it is faulty.")
    return {"device": device[1], "is_software": "software" in device[2].lower()}


def double_model() -> bytes:
    """Return a model of one operator: y = 2 x, float32 [1, 4]."""
    from albert_edge.tflite.graph import ModelBuilder, pack, schema

    builder = ModelBuilder()
    graph = builder.graph("main")
    like = schema.TensorT(shape=[1, 4], type=schema.TensorType.FLOAT32)
    inputs = [graph.input("x", like), graph.constant(like, "two", np.full(4, 2, "f4").tobytes())]
    result = graph.tensor(like, "y")
    graph.operator(schema.BuiltinOperator.MUL, inputs, [result], schema.MulOptionsT())
    builder.sign("serving_default", graph, {"y": result})
    return pack(builder.build())


if __name__ == "__main__":
    main()
