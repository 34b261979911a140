"""The child process that runs a file in Android's own library: `tflite_c.py FOLDER`.

It calls TensorFlow Lite's C API through ctypes, and needs numpy and nothing of this project.
"""

from __future__ import annotations

import ctypes as c
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_TYPES = {  # TfLiteType of tensorflow/lite/c/c_api_types.h
    1: np.float32,
    2: np.int32,
    3: np.uint8,
    4: np.int64,
    6: np.bool_,
    7: np.int16,
    9: np.int8,
    10: np.float16,
}
_DYNAMIC_TENSORS = 1  # kTfLiteDelegateFlagsAllowDynamicTensors


class RefusedError(Exception):
    """A call of the C API failed; its reason stands in the log."""


class _GpuOptions(c.Structure):
    """TfLiteGpuDelegateOptionsV2 of tensorflow/lite/delegates/gpu/delegate_options.h."""

    _fields_ = [
        ("is_precision_loss_allowed", c.c_int32),
        ("inference_preference", c.c_int32),
        ("inference_priority1", c.c_int32),
        ("inference_priority2", c.c_int32),
        ("inference_priority3", c.c_int32),
        ("experimental_flags", c.c_int64),
        ("max_delegated_partitions", c.c_int32),
        ("serialization_dir", c.c_char_p),
        ("model_token", c.c_char_p),
    ]


class _IntArray(c.Structure):
    _fields_ = [("size", c.c_int), ("data", c.c_int * 0)]

    def list(self) -> list[int]:
        return list((c.c_int * self.size).from_address(c.addressof(self) + 4))


class _Node(c.Structure):
    """The first fields of TfLiteNode."""

    _fields_ = [
        ("inputs", c.c_void_p),
        ("outputs", c.c_void_p),
        ("intermediates", c.c_void_p),
        ("temporaries", c.c_void_p),
        ("user_data", c.c_void_p),
        ("builtin_data", c.c_void_p),
        ("custom_initial_data", c.c_void_p),
        ("custom_initial_data_size", c.c_int),
        ("delegate", c.c_void_p),
    ]


class _Registration(c.Structure):
    """The first fields of TfLiteRegistration."""

    _fields_ = [
        ("functions", c.c_void_p * 5),
        ("builtin_code", c.c_int32),
        ("custom_name", c.c_char_p),
        ("version", c.c_int),
    ]


class _DelegateParams(c.Structure):
    """The first fields of TfLiteDelegateParams, which is the data of a delegate's node."""

    _fields_ = [("delegate", c.c_void_p), ("nodes_to_replace", c.POINTER(_IntArray))]


class _Context(c.Structure):
    """The first fields of TfLiteContext."""


_GET_PLAN = c.CFUNCTYPE(c.c_int, c.POINTER(_Context), c.POINTER(c.POINTER(_IntArray)))
_GET_NODE = c.CFUNCTYPE(
    c.c_int,
    c.POINTER(_Context),
    c.c_int,
    c.POINTER(c.POINTER(_Node)),
    c.POINTER(c.POINTER(_Registration)),
)
_Context._fields_ = [
    ("tensors_size", c.c_size_t),
    ("GetExecutionPlan", _GET_PLAN),
    ("tensors", c.c_void_p),
    ("impl", c.c_void_p),
    ("ResizeTensor", c.c_void_p),
    ("ReportError", c.c_void_p),
    ("AddTensors", c.c_void_p),
    ("GetNodeAndRegistration", _GET_NODE),
]
_PREPARE = c.CFUNCTYPE(c.c_int, c.POINTER(_Context), c.c_void_p)


class _Delegate(c.Structure):
    """TfLiteDelegate."""

    _fields_ = [
        ("data", c.c_void_p),
        ("Prepare", _PREPARE),
        ("CopyFromBufferHandle", c.c_void_p),
        ("CopyToBufferHandle", c.c_void_p),
        ("FreeBufferHandle", c.c_void_p),
        ("flags", c.c_int64),
        ("opaque_delegate_builder", c.c_void_p),
    ]


class PlanReader:
    """A delegate that takes nothing: applied after another, it reads what that one took.

    The numbers come from the interpreter itself and not from a log.
    """

    def __init__(self) -> None:
        # By subgraph: delegates are applied anew after an input was resized.
        self._left: dict[int, list[int]] = {}
        self._taken: dict[int, list[list[int]]] = {}
        self.delegate = _Delegate(Prepare=_PREPARE(self._read), flags=_DYNAMIC_TENSORS)

    @property
    def left(self) -> list[int]:
        """The builtin codes of the operators that no delegate took."""
        return [code for codes in self._left.values() for code in codes]

    @property
    def taken(self) -> list[list[int]]:
        """The operators that each delegate's node took."""
        return [nodes for parts in self._taken.values() for nodes in parts]

    def _read(self, context: Any, _: int) -> int:
        plan = c.POINTER(_IntArray)()
        context.contents.GetExecutionPlan(context, c.byref(plan))
        subgraph = c.addressof(context.contents)
        left = self._left[subgraph] = []
        taken = self._taken[subgraph] = []
        for index in plan.contents.list():
            node, registration = c.POINTER(_Node)(), c.POINTER(_Registration)()
            context.contents.GetNodeAndRegistration(
                context, index, c.byref(node), c.byref(registration)
            )
            if node.contents.delegate:
                params = _DelegateParams.from_address(node.contents.builtin_data)
                taken.append(params.nodes_to_replace.contents.list())
            else:
                left.append(registration.contents.builtin_code)
        return 0


def _library(folder: Path, name: str) -> c.CDLL:
    # RTLD_DEEPBIND: the library must find Android's C library, by our shim, before glibc.
    return c.CDLL(str(folder / name), mode=os.RTLD_NOW | os.RTLD_DEEPBIND)


class Library:
    """Android's libraries, loaded over the shim."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        folder = Path(request["android"])
        for name in request["shims"]:
            c.CDLL(name, mode=os.RTLD_NOW | os.RTLD_GLOBAL)
        self.tflite = _library(folder, "libtensorflowlite_jni.so")
        self.gpu = self.opencl = None
        if request["maker"]:
            self.opencl = c.CDLL(request["opencl"], mode=os.RTLD_NOW)
            self.opencl.rigs_sources.restype = c.c_uint64
            self.gpu = _library(folder, "libtensorflowlite_gpu_jni.so")

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function that returns a pointer, which must not be null."""
        function = getattr(self.tflite, name)
        function.restype = c.c_void_p
        result = function(*map(_as_argument, arguments))
        if not result:
            raise RefusedError(f"{name} returned nothing")
        return result

    def check(self, name: str, *arguments: Any) -> None:
        """Call a function that returns a TfLiteStatus, which must be kTfLiteOk."""
        function = getattr(self.tflite, name)
        function.restype = c.c_int
        status = function(*map(_as_argument, arguments))
        if status:
            raise RefusedError(f"{name} returned status {status}")

    def number(self, name: str, *arguments: Any) -> int:
        """Call a function that returns a number."""
        function = getattr(self.tflite, name)
        function.restype = c.c_size_t if name == "TfLiteTensorByteSize" else c.c_int32
        return function(*map(_as_argument, arguments))

    def text(self, name: str, *arguments: Any) -> str:
        """Call a function that returns a string."""
        function = getattr(self.tflite, name)
        function.restype = c.c_char_p
        return function(*map(_as_argument, arguments)).decode()

    def gpu_delegate(self, *, precision_loss: bool) -> int:
        """Create the GPU delegate."""
        defaults = self.gpu.TfLiteGpuDelegateOptionsV2Default
        defaults.restype = _GpuOptions
        options = defaults()
        options.is_precision_loss_allowed = int(precision_loss)
        create = self.gpu.TfLiteGpuDelegateV2Create
        create.restype = c.c_void_p
        return create(c.byref(options))

    def xnnpack_delegate(self) -> int:
        """Create XNNPACK as a delegate, with its own defaults."""
        return self.call("TfLiteXNNPackDelegateCreate", None)


def _as_argument(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, int):
        return c.c_void_p(value)
    return value


class Interpreter:
    """An interpreter of a file, with the delegates of the request."""

    def __init__(self, library: Library, request: Mapping[str, Any]) -> None:
        self._library = library
        model = library.call("TfLiteModelCreateFromFile", request["file"])
        options = library.call("TfLiteInterpreterOptionsCreate")
        library.tflite.TfLiteInterpreterOptionsSetNumThreads(c.c_void_p(options), 1)
        self.before, self.after = PlanReader(), PlanReader()
        delegates: list[Any] = [c.byref(self.before.delegate)]
        if request["maker"]:
            delegates.append(library.gpu_delegate(precision_loss=request["precision_loss"]))
        if request["xnnpack"]:
            delegates.append(library.xnnpack_delegate())
        delegates.append(c.byref(self.after.delegate))
        for delegate in delegates:
            library.tflite.TfLiteInterpreterOptionsAddDelegate(
                c.c_void_p(options), _as_argument(delegate)
            )
        self._interpreter = library.call("TfLiteInterpreterCreate", model, options)

    def signatures(self) -> list[str]:
        """The names of the file's signatures."""
        count = self._library.number("TfLiteInterpreterGetSignatureCount", self._interpreter)
        name = "TfLiteInterpreterGetSignatureKey"
        return [self._library.text(name, self._interpreter, c.c_int32(i)) for i in range(count)]

    def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Resize the inputs, run the signature, and return its outputs."""
        library = self._library
        runner = library.call("TfLiteInterpreterGetSignatureRunner", self._interpreter, signature)
        for name, array in inputs.items():
            self._resize(runner, name, array.shape)
        library.check("TfLiteSignatureRunnerAllocateTensors", runner)
        for name, array in inputs.items():
            self._write(library.call("TfLiteSignatureRunnerGetInputTensor", runner, name), array)
        library.check("TfLiteSignatureRunnerInvoke", runner)
        count = library.number("TfLiteSignatureRunnerGetOutputCount", runner)
        named = "TfLiteSignatureRunnerGetOutputName"
        outputs = {}
        for index in range(count):
            name = library.text(named, runner, c.c_int32(index))
            tensor = library.call("TfLiteSignatureRunnerGetOutputTensor", runner, name)
            outputs[name] = self._read(tensor)
        library.tflite.TfLiteSignatureRunnerDelete(c.c_void_p(runner))
        return outputs

    def _resize(self, runner: int, name: str, shape: tuple[int, ...]) -> None:
        tensor = self._library.call("TfLiteSignatureRunnerGetInputTensor", runner, name)
        if self._shape(tensor) != shape:
            sizes = (c.c_int * len(shape))(*shape)
            resize = "TfLiteSignatureRunnerResizeInputTensor"
            self._library.check(resize, runner, name, sizes, c.c_int32(len(shape)))

    def _shape(self, tensor: int) -> tuple[int, ...]:
        number = self._library.number
        dims = number("TfLiteTensorNumDims", tensor)
        return tuple(number("TfLiteTensorDim", tensor, c.c_int32(i)) for i in range(dims))

    def _write(self, tensor: int, array: np.ndarray) -> None:
        kind = _TYPES[self._library.number("TfLiteTensorType", tensor)]
        data = np.ascontiguousarray(array, dtype=kind)
        pointer, size = data.ctypes.data_as(c.c_void_p), c.c_size_t(data.nbytes)
        self._library.check("TfLiteTensorCopyFromBuffer", tensor, pointer, size)

    def _read(self, tensor: int) -> np.ndarray:
        kind = _TYPES[self._library.number("TfLiteTensorType", tensor)]
        data = np.empty(self._shape(tensor), kind)
        pointer, size = data.ctypes.data_as(c.c_void_p), c.c_size_t(data.nbytes)
        self._library.check("TfLiteTensorCopyToBuffer", tensor, pointer, size)
        return data


def main(folder: Path) -> None:
    """Read `request.json` and `in_*.npz`; write `out_*.npz` and `answer.json`."""
    request = json.loads((folder / "request.json").read_text())
    answer: dict[str, Any] = {"error": "", "nodes": 0, "taken": [], "left": []}
    library = Library(request)
    try:
        interpreter = Interpreter(library, request)
        answer["nodes"] = len(interpreter.before.left)
        answer["taken"] = interpreter.after.taken
        answer["left"] = interpreter.after.left
        signature = request["signature"] or interpreter.signatures()[0]
        for index in range(request["runs"]):
            with np.load(folder / f"in_{index}.npz") as inputs:
                outputs = interpreter.run(signature, dict(inputs))
            np.savez(folder / f"out_{index}.npz", **outputs)
    except RefusedError as error:
        answer["error"] = str(error)
    answer["launched"] = library.opencl.rigs_launched() if library.opencl else 0
    answer["sources"] = f"{library.opencl.rigs_sources():016x}" if library.opencl else ""
    (folder / "answer.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)  # the teardown of delegates may crash
