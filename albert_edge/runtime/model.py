"""Open models: one call to run a file, whatever its layout and length."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from math import isfinite
from pathlib import Path
from threading import Lock
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, final

import numpy as np
import numpy.typing as npt

from albert_edge.bundle.archive import OpenFile
from albert_edge.bundle.bundle import Bundle, read, read_checked
from albert_edge.bundle.graph_check import layer_names, output_shapes, signature_names
from albert_edge.config import check_accelerator
from albert_edge.early_exit import NEVER, EarlyExit
from albert_edge.errors import BundleError, ConfigError, DeviceError, InputError
from albert_edge.runtime.composed import (
    Products,
    compose_passes,
    describe_products,
    open_products,
    require_products,
)
from albert_edge.runtime.interpreter import open_interpreter, release_pages, runtime_name
from albert_edge.tasks import TASKS

if TYPE_CHECKING:
    from albert_edge.runtime.compiled_model import Acceleration

__all__ = ["Model"]

Ids: TypeAlias = Sequence[int] | npt.NDArray[np.integer[Any]]
Arrays: TypeAlias = dict[str, npt.NDArray[Any]]
# The model's inputs by name, int32 [1, T], and the rule of an early exit, to its outputs by name.
Forward: TypeAlias = Callable[[Arrays, EarlyExit | None], Arrays]
# Some ten wake-ups; a longer inference is followed by its own thread's result.
_COMBINED_S = 0.002
_FEW = 32
# How `threads="auto"` is measured: each number of threads so often, on a text of so many tokens.
_TRIALS, _TRIED_TOKENS, _CLEARLY = 6, 64, 0.9


def open_model(
    source: str | os.PathLike[str] | bytes,
    *,
    threads: int | Literal["auto"] = 1,
    accelerator: str = "cpu",
    check: bool = True,
    isolated: bool = False,
    time_limit_s: float | None = None,
) -> Model:
    """Open a file to run it.

    Args:
        source: A path, a file's content, or the name of an embedded model (`default`, `questions`,
            `embeddings`); of the target `edgetpu`, its folder.
        threads: How many CPU threads to use; "auto" for the number that is measured to be fastest,
            of a file on the CPU.
        accelerator: What runs it: `cpu`; `gpu` or `gpu:float32`, a GPU in float32 arithmetic;
            `gpu:default`, in the precision that its driver prefers; or, of a folder of the target
            `edgetpu`, `edgetpu[:usb|:pci|:N]`, an Edge TPU.  A GPU is used in a child process,
            which its driver may end; an Edge TPU is tried in one first.
        check: Whether to check first that the file is as it was written and that its graph is one
            that this project writes, and that a GPU computes what the CPU does.  Without the check
            a damaged file can end the process.
        isolated: Whether to run it in a child process, which may crash or hang.
        time_limit_s: How long a call may take in a child process, in seconds; None for 10, or on a
            GPU, which must compile the file first, 600.

    Raises:
        BundleError: The file is missing, damaged, of another program or newer than this version.
        ConfigError: There is no such accelerator, or `threads` is "auto" for something else than a
            file on the CPU.
        DeviceError: No TFLite runtime is installed; or there is no GPU, or it does not run all of
            the file but the lookups of tables; or an Edge TPU, its library or compiled products
            are missing.
        FidelityError: The accelerator's outputs are not the CPU's.
    """
    file, accelerator = OpenFile(source), one_accelerator(accelerator)
    bundle = read_checked(file) if check else read(file)
    acceleration = products = None
    if threads == "auto":
        if accelerator != "cpu" or isolated or bundle.products:
            raise ConfigError('threads "auto" is for one file on the CPU; give a number.')
        threads = _fastest_threads(file, bundle)
    if accelerator.startswith("edgetpu"):
        require_products(file, bundle)
    if bundle.products:
        _check_composable(file.where, accelerator=accelerator, isolated=isolated)
        options: Any = {"accelerator": accelerator, "threads": threads, "check": check}
        products = open_products(file, bundle, **options)
        if accelerator != "cpu":
            acceleration = describe_products(file, bundle, products, threads=threads, check=check)
        interpreter = open_interpreter(file.place(), threads=threads, where=file.where)
        forward = interpreter_forward(bundle, interpreter, products)
    elif accelerator != "cpu":
        from albert_edge.runtime.isolated import open_on_gpu

        forward, acceleration = open_on_gpu(
            file,
            bundle,
            accelerator=accelerator,
            threads=threads,
            check=check,
            time_limit_s=time_limit_s,
        )
    elif isolated:
        from albert_edge.runtime.isolated import IsolatedForward

        forward = IsolatedForward(file, threads=threads, time_limit_s=time_limit_s)
    else:
        interpreter = open_interpreter(file.place(), threads=threads, where=file.where)
        forward = interpreter_forward(bundle, interpreter)
    if not check or isolated:
        forward = _with_checked_outputs(bundle, forward)
    return Model(bundle, forward, None, file=file, acceleration=acceleration, products=products)


def _fastest_threads(file: OpenFile, bundle: Bundle) -> int:
    """Measure a text with 1, 2, 4, ... threads, in turns; return the best number of them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    counts = [2**power for power in range((cores or 1).bit_length())]
    if len(counts) == 1:
        return 1
    models = {}
    for count in counts:
        interpreter = open_interpreter(file.place(), threads=count, where=file.where)
        models[count] = Model(bundle, interpreter_forward(bundle, interpreter), None)
    taken: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(_TRIALS):
        for count, model in models.items():
            start = perf_counter()
            model.run_all_layers(np.zeros(min(_TRIED_TOKENS, model.max_tokens), np.int32))
            taken[count].append(perf_counter() - start)
    return choose_threads(taken)


def choose_threads(taken: Mapping[int, Sequence[float]]) -> int:
    """Choose from the times of several numbers of threads, the fewest first.

    More must be clearly faster than fewer: the other cores may have work of their own.

    Example:
        >>> choose_threads({1: [1.0, 1.2], 2: [0.6, 0.5], 4: [0.48, 0.7]})
        2
    """
    chosen, *others = taken
    for count in others:
        if min(taken[count]) < _CLEARLY * min(taken[chosen]):
            chosen = count
    return chosen


def _check_composable(where: str, *, accelerator: str, isolated: bool) -> None:
    """Check what a folder of the target `edgetpu` is to be run by.

    Raises:
        ConfigError: It is a GPU, or a child process.
    """
    if accelerator.startswith("gpu"):
        raise ConfigError(
            f"accelerator {accelerator} does not run {where}, which was made with --target "
            "edgetpu; convert the checkpoint with --target gpu."
        )
    if isolated:
        raise ConfigError(
            f"{where} was made with --target edgetpu, which cannot be isolated: its products are "
            "files of their own. Leave --isolated out."
        )


def one_accelerator(name: str) -> str:
    """Return the accelerator called `name`, `gpu:float32` for `gpu`.

    Raises:
        ConfigError: There is none.
    """
    check_accelerator(name)
    return "gpu:float32" if name == "gpu" else name


@final
class Model:
    """An open model.  Many threads may call it: one at a time is in the runtime.

    The weights are in memory once, and one inference can use several cores (`threads`).  Meanwhile
    the other threads tokenize and interpret; see `Combiner`.

    Attributes:
        bundle: Everything in the file but the weights.
        max_tokens: The longest input in tokens, special tokens included.
        acceleration: What a GPU or an Edge TPU runs of it; None on the CPU.
        products: The products of a folder of the target `edgetpu`; None for a file.
    """

    def __init__(
        self,
        bundle: Bundle,
        forward: Forward,
        runtime: str | None,
        *,
        file: OpenFile | None = None,
        acceleration: Acceleration | None = None,
        products: Products | None = None,
    ) -> None:
        self.bundle = bundle
        self._runtime = runtime
        self.acceleration = acceleration
        self.products = products
        self._file = file
        # Until the first inference, which packs the weights.
        self._unreleased = file.path if file is not None else None
        self.max_tokens = bundle.seq_len or bundle.config.max_position_embeddings
        self._forward = forward
        self._one_at_a_time = Combiner()  # an interpreter holds one input and one output

    @property
    def runtime(self) -> str:
        """The runtime and its version, such as `ai-edge-litert 2.3.0`."""
        return self._runtime or runtime_name()

    def run(
        self,
        input_ids: Ids,
        token_type_ids: Ids | None = None,
        *,
        early_exit: EarlyExit | None = None,
    ) -> Arrays:
        """Run the model on one sequence.

        Args:
            input_ids: int [T] or [1, T], in [0, V), with 1 <= T <= `max_tokens`.
            token_type_ids: The same shape, in [0, type_vocab_size); all 0 if left out.
            early_exit: When to exit, for a file with early exit; its own rule if left out.

        Returns:
            The head's outputs by name, float32, owned by the caller: `logits` [1, C], [1, T, C]
            or [1, T, V] (`classification`, `token-classification`, `fill-mask`); `start_logits`,
            `end_logits` [1, T]; `sentence_logits` [1, T]; `last_hidden_state` [1, T, H] and
            `pooler_output` [1, H];
            `prediction_logits` [1, T, V] and `sop_logits` [1, 2]; of the target `mediapipe`
            `probabilities` [1, C] and `sentence_embedding` [1, H].  Of a file with early exit
            also `layers_used`, int32 [1], how many passes ran.

        Raises:
            InputError: The ids are too many, too few, out of range or of another shape; or the
                file does not support early exit.
            BundleError: The file was changed while it was open.
            DeviceError: The runtime failed.
            BundleError: The outputs are not finite.
        """
        config = self.bundle.config
        ids = _checked("input_ids", input_ids, below=config.vocab_size)
        count = ids.shape[1]
        if count > self.max_tokens:
            raise InputError(
                f"{count} tokens are too many; this model supports at most {self.max_tokens}."
            )
        types: npt.NDArray[np.int32] = np.zeros((1, count), np.int32)
        if token_type_ids is not None:
            types = _checked("token_type_ids", token_type_ids, below=config.type_vocab_size)
            if types.shape != ids.shape:
                raise InputError(
                    f"token_type_ids has {types.shape[1]} entries for {count} input_ids."
                )
        if early_exit is not None:
            self.require_early_exit()
        inputs = {"input_ids": ids, "token_type_ids": types}
        if lengths := self.bundle.seq_lens:
            length = next(length for length in lengths if length >= count)
            inputs = _padded(inputs, length, config.pad_token_id)
        infer = partial(self._infer, inputs, early_exit or self.bundle.early_exit)
        outputs: Arrays = self._one_at_a_time(infer)
        _check_finite(outputs)
        if lengths:
            for name in outputs.keys() & set(TASKS[self.bundle.task].per_token):
                outputs[name] = outputs[name][:, :count]
        return outputs

    def _infer(self, inputs: Arrays, rule: EarlyExit | None) -> Arrays:
        if self._file is not None:
            self._file.check_unchanged()  # before the runtime reads what may no longer be there
        try:
            outputs = self._forward(inputs, rule)
        except (ValueError, RuntimeError) as error:
            count = inputs["input_ids"].shape[1]
            raise DeviceError(f"{self.runtime} failed on {count} tokens: {error}") from error
        if self._file is not None:
            self._file.check_unchanged()  # what was cut off reads as zeros up to a page's end
        if self._unreleased is not None:
            release_pages(self._unreleased)
            self._unreleased = None
        return outputs

    def run_all_layers(self, input_ids: Ids, token_type_ids: Ids | None = None) -> Arrays:
        """Run the model on one sequence without early exit; see `run`.

        The outputs are the head's alone, and so can be compared between files.
        """
        never = None if self.bundle.early_exit is None else NEVER
        outputs = self.run(input_ids, token_type_ids, early_exit=never)
        return {name: values for name, values in outputs.items() if name != "layers_used"}

    def sha256(self) -> str:
        """Return the SHA-256 of the file's model, without what describes it."""
        if self._file is None:
            raise InputError("this model was not opened from a file.")
        return self._file.digest()

    def require_early_exit(self) -> None:
        """Check that the file supports early exit.

        Raises:
            InputError: It does not.
        """
        if self.bundle.early_exit is None:
            raise InputError(
                "this file does not support early exit: it always runs all layers. Convert a "
                "checkpoint that was trained with early_exit, in layout loop or split."
            )


class _Call:
    """A call that waits; then its result, or the right to make calls."""

    __slots__ = ("combines", "error", "function", "result", "woken")

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.result: Any = None
        self.error: Exception | None = None
        self.combines = False
        self.woken = Lock()


class Combiner:
    """Makes the calls of many threads, one at a time.

    To wake a thread takes as long as a short inference.  So a thread whose turn it is also makes
    the calls of those that wait, which prepare their next one meanwhile: flat combining (Hendler et
    al. 2010, doi:10.1145/1810479.1810540).  Ours differs in that it lasts only while a wake-up
    matters: then the first thread that waits is woken to go on.
    """

    def __init__(self) -> None:
        self._mutex = Lock()  # of the two fields below
        self._waiting: deque[_Call] = deque()
        self._is_busy = False

    def __call__(self, function: Callable[[], Any]) -> Any:
        """Call `function` when no other call is being made; return or raise what it does."""
        call = _Call(function)
        with self._mutex:
            call.combines, self._is_busy = not self._is_busy, True
            if not call.combines:
                call.woken.acquire()
                self._waiting.append(call)
        if not call.combines:
            self._wait(call)
        if call.combines:
            self._combine(call)
        if call.error is not None:
            raise call.error
        return call.result

    def _wait(self, call: _Call) -> None:
        try:
            call.woken.acquire()
        except BaseException:  # an interrupt: nobody may wait for this thread
            with self._mutex:
                if call in self._waiting:
                    self._waiting.remove(call)
            if call.combines:
                self._pass_on()
            raise

    def _combine(self, own: _Call) -> None:
        until = monotonic() + _COMBINED_S
        try:
            self._make(own)
            while self._waiting and monotonic() < until:
                self._make_first()
        finally:
            self._pass_on()

    def _make(self, call: _Call) -> None:
        try:
            call.result = call.function()
        except Exception as error:  # whatever it is, it is raised in the thread that called
            call.error = error

    def _make_first(self) -> None:
        """Make the first call that waits, which stays in the queue until it is made."""
        try:
            call = self._waiting[0]
        except IndexError:  # its thread was interrupted
            return
        self._make(call)
        with self._mutex:
            if call in self._waiting:
                self._waiting.remove(call)
        call.woken.release()

    def _pass_on(self) -> None:
        """Wake the first thread that waits, to make its own call and others."""
        with self._mutex:
            if self._waiting:
                call = self._waiting.popleft()
                call.combines = True
                call.woken.release()
            else:
                self._is_busy = False


def _checked(name: str, values: Ids, *, below: int) -> npt.NDArray[np.int32]:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name} must be [T] or [1, T]: {error}") from error
    if array.ndim == 1:
        array = array[None]  # [1, T]
    if array.ndim != 2 or array.shape[0] != 1 or not array.size:
        raise InputError(f"{name} must be [T] or [1, T] with T at least 1, not {array.shape}.")
    if array.dtype.kind not in "iu":
        raise InputError(f"{name} must be whole numbers, not {array.dtype}.")
    # As unsigned numbers the negative ones are the largest: one reduction finds both.
    if array.view(array.dtype.str.replace("i", "u")).max() >= below:
        wrong = least if (least := array.min()) < 0 else array.max()
        raise InputError(f"{name} must be in [0, {below}); there is {wrong}.")
    return array.astype(np.int32, copy=False)


def _check_finite(outputs: Arrays) -> None:
    if not_finite := [name for name, values in outputs.items() if not _is_finite(values)]:
        raise BundleError(
            f"the model returns NaN or infinity in {', '.join(not_finite)}: its weights are "
            "damaged, or too large for its recipe. Convert the checkpoint again, or with "
            "--quantize float32."
        )


def _is_finite(values: npt.NDArray[Any]) -> bool:
    # Of few numbers NumPy's calls take longer than the numbers.
    if values.size <= _FEW:
        return all(map(isfinite, values.ravel().tolist()))
    return bool(np.isfinite(values).all())


def _padded(inputs: Arrays, length: int, pad: int) -> Arrays:
    count = inputs["input_ids"].shape[1]
    rows = np.zeros((3, 1, length), np.int32)
    rows[0] = pad
    rows[0, 0, :count] = inputs["input_ids"][0]
    rows[1, 0, :count] = inputs["token_type_ids"][0]
    rows[2, 0, :count] = 1
    return dict(zip(("input_ids", "token_type_ids", "attention_mask"), rows, strict=True))


def _with_checked_outputs(bundle: Bundle, forward: Forward) -> Forward:
    """Check what an unchecked graph returns."""

    def checked(inputs: Arrays, rule: EarlyExit | None) -> Arrays:
        outputs = forward(inputs, rule)
        expected = output_shapes(bundle, "serving_default", inputs["input_ids"].shape[1])
        for name, shape in expected.items():
            found = outputs.get(name)
            if found is None and name == "pooler_output":
                continue
            kind = np.int32 if name == "layers_used" else np.float32
            if found is None or found.shape != shape or found.dtype != kind:
                raise BundleError(
                    f"the model contradicts its task {bundle.task!r}: its output {name} is "
                    f"{'missing' if found is None else f'{found.dtype} {list(found.shape)}'}, "
                    f"expected {np.dtype(kind)} {list(shape)}."
                )
        return {name: outputs[name] for name in expected if name in outputs}

    return checked


def length_signature(bundle: Bundle, length: int) -> str:
    """Return the signature of a whole model for so many tokens."""
    return f"serving_{length}" if len(bundle.seq_lens) > 1 else "serving_default"


def _signatures(bundle: Bundle, interpreter: Any) -> Callable[[str], Any]:
    """Return a function that returns the runner of a signature, made when first used."""
    names = signature_names(bundle)
    try:
        found = interpreter.get_signature_list()
        if missing := [name for name in names if name not in found]:
            raise BundleError(
                f"the model contradicts its layout {bundle.layout!r}: it has no signature "
                f"{', '.join(missing)}, only {', '.join(found) or 'none'}."
            )
        runner = cache(interpreter.get_signature_runner)
        for name in names if len(bundle.seq_lens) < 2 else ():  # each packs the weights
            runner(name)
        return runner
    except (ValueError, RuntimeError, TypeError, KeyError) as error:
        raise BundleError(f"the signatures of the model cannot be read: {error}.") from error


def open_forward(source: Path | bytes, *, threads: int) -> Forward:
    """Open a file that has been checked, or whose crash is provided for."""
    file = OpenFile(source)
    interpreter = open_interpreter(file.place(), threads=threads, where=file.where)
    return interpreter_forward(read(file), interpreter)


def interpreter_forward(
    bundle: Bundle, interpreter: Any, products: Products | None = None
) -> Forward:
    """Return the forward pass of a model that is open in a TFLite interpreter.

    Args:
        bundle: The file's content.
        interpreter: An interpreter that has the file open.
        products: What a host graph of the target `edgetpu` needs beside it.

    Raises:
        BundleError: The model's signatures contradict its bundle.
    """
    signature = _signatures(bundle, interpreter)
    if len(bundle.seq_lens) > 1:
        return lambda inputs, rule: dict(
            signature(length_signature(bundle, inputs["input_ids"].shape[1]))(**inputs)
        )
    # Signature runners resize only if the length changed; they cost 3 to 5 µs over the bare call.
    if bundle.layout != "split":
        whole = signature("serving_default")
        return lambda inputs, rule: dict(whole(**inputs, **(rule.arrays() if rule else {})))
    embed, head = signature("embed"), signature("head")
    if products is None:
        passes = [signature(name) for name in layer_names(bundle)]
    else:
        passes = compose_passes(bundle, signature, products)

    def forward(inputs: Arrays, rule: EarlyExit | None) -> Arrays:
        state = embed(**inputs)  # hidden_states [T, H], and attention_bias [1, T] if padded
        said: list[npt.NDArray[np.float32]] = []  # of every pass [D, C]
        for made, layer in enumerate(passes, 1):
            state |= layer(**state)
            if rule and made < len(passes):
                exits = signature("exit")(hidden_states=state["hidden_states"])["exits"]
                outputs = _outputs_of_pass(bundle, exits, made)
                said.append(_predictions(bundle, outputs, inputs))
                if rule.should_exit(np.stack(said)):
                    return outputs | {"layers_used": np.array([made], np.int32)}
        outputs = dict(head(hidden_states=state["hidden_states"]))
        return outputs | ({"layers_used": np.array([len(passes)], np.int32)} if rule else {})

    return forward


def _outputs_of_pass(bundle: Bundle, exits: npt.NDArray[np.float32], made: int) -> Arrays:
    """Return the outputs after pass `made`, of the logits float32 [R, (L-1)*K] of all passes."""
    task = TASKS[bundle.task]
    logits = np.split(exits, bundle.config.num_hidden_layers - 1, axis=1)[made - 1]  # [R, K]
    return task.name_logits(logits[None] if task.per_token else logits)


def _predictions(bundle: Bundle, outputs: Arrays, inputs: Arrays) -> npt.NDArray[np.float32]:
    """Return a row of logits for each thing that a pass predicts, without padding: [D, C]."""
    found: npt.NDArray[np.float32] = np.concatenate(list(outputs.values()))  # [1, C], [1, T, C]
    if not TASKS[bundle.task].per_token:
        return found
    real = int(inputs["attention_mask"].sum()) if "attention_mask" in inputs else None
    return found[0, :real] if TASKS[bundle.task].has_labels else found[:, :real]
