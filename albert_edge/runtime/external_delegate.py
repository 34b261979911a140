"""Run an int8 product of the shared layer: on the CPU, or on an Edge TPU by its TFLite delegate."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter_ns
from typing import Any, final

import numpy as np
import numpy.typing as npt

from albert_edge.errors import BundleError, InputError
from albert_edge.runtime.interpreter import open_interpreter

Int8 = npt.NDArray[np.int8]


@final
class Product:
    """An int8 product that is open.  One thread at a time may call it.

    Attributes:
        where: What to call its file in a message.
        accelerator: What computes it: `cpu` or `edgetpu`, with the device if one was chosen.
        input_shape: [1, T, 1, C].
        output_shape: [1, T, 1, K].
        input_quantization: The scale and the zero point of its input.
        output_quantization: Those of its output.
        calls: How often it was run.
        seconds: How long that took in all, with the copies of its input and output.
    """

    def __init__(self, interpreter: Any, *, accelerator: str, where: str) -> None:
        """Take a TFLite interpreter that has the product's file open.

        Raises:
            BundleError: The file has no single int8 input and output.
        """
        self.where, self.accelerator = where, accelerator
        self.calls, self._ns = 0, 0
        self._interpreter: Any = interpreter
        given, made = interpreter.get_input_details(), interpreter.get_output_details()
        if (
            len(given) != 1
            or len(made) != 1
            or {one["dtype"] for one in (*given, *made)} != {np.int8}
        ):
            raise BundleError(
                f"{where} is not a product of --target edgetpu: it must have one int8 input and "
                "one int8 output. Convert the checkpoint again."
            )
        self._input, self._output = given[0]["index"], made[0]["index"]
        self.input_shape = tuple(map(int, given[0]["shape"]))
        self.output_shape = tuple(map(int, made[0]["shape"]))
        self.input_quantization = _quantization(given[0])
        self.output_quantization = _quantization(made[0])

    @property
    def seconds(self) -> float:
        """How long all calls took, in seconds."""
        return self._ns / 1e9

    def run(self, values: Int8) -> Int8:
        """Multiply rows by the weights.

        Args:
            values: int8 [1, T, 1, C].

        Returns:
            int8 [1, T, 1, K], owned by the caller.

        Raises:
            InputError: `values` is of another type or shape, or the product was closed.
            RuntimeError: The runtime or the device failed.
        """
        if self._interpreter is None:
            raise InputError(f"{self.where} was closed.")
        if values.dtype != np.int8 or values.shape != self.input_shape:
            raise InputError(
                f"{self.where} takes int8 {list(self.input_shape)}, not {values.dtype} "
                f"{list(values.shape)}."
            )
        start = perf_counter_ns()
        self._interpreter.set_tensor(self._input, values)
        self._interpreter.invoke()
        made: Int8 = self._interpreter.get_tensor(self._output)  # waits, and copies
        self._ns += perf_counter_ns() - start
        self.calls += 1
        return made

    def close(self) -> None:
        """Release the weights, and the device."""
        self._interpreter = None


def open_product(
    path: Path, *, accelerator: str = "cpu", threads: int = 1, delegated: bool = True
) -> Product:
    """Open the file of an int8 product.

    Args:
        path: The `.tflite` file.
        accelerator: `cpu`.
        threads: How many CPU threads to use.
        delegated: Whether XNNPACK may compute it on the CPU, rather than the runtime's own
            kernels; see `open_interpreter`.

    Raises:
        BundleError: The file is missing or damaged, or not of a product.
        DeviceError: No TFLite runtime is installed.
    """
    where = str(path)
    if not path.is_file():
        raise BundleError(f"there is no file {where}.")
    interpreter = open_interpreter(path, threads=threads, delegated=delegated, where=where)
    try:
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise BundleError(f"the runtime cannot run {where}: {reason}.") from error
    return Product(interpreter, accelerator=accelerator, where=where)


def _quantization(detail: dict[str, Any]) -> tuple[float, int]:
    scale, zero_point = detail["quantization"]
    return float(scale), int(zero_point)
