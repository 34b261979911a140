"""The targets: where a file is to run, and what each of them needs of it.

A target chooses layout, lengths, graph, recipe and operators; what the caller chooses instead is
kept, unless the target cannot run it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

from albert_edge.errors import ConversionError

__all__ = ["TARGETS", "Target", "get_target", "target_figures"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A place where a file runs.

    Attributes:
        name: The value of `--target`.
        summary: What runs its files.
        layouts: The layouts that it runs, its own first.
        recipes: The recipes that it runs, its own first.
        seq_len: The fixed length of its files in tokens, or None for any length.
        seq_len_of_task: Task → another length.
        shorter: One of these lengths → a shorter one, for short texts, in the same file.
        graph: Whose operators the layout `unrolled` has: `cpu`; `gpu`, which GPUs compute right,
            with the lookups on the CPU; `web`, the same with the lookups on the GPU.
        libraries: Whether the outputs and the tokenizer are those of MediaPipe Tasks and Task
            Library: `Task.library_outputs`, and `tokenizer.library_files`.  One file then has one
            length.
        compat: The older runtime whose operators it is limited to, or None.
        rows: How many rows its products take at once: they are files of their own, for a chip, and
            the host graph beside them takes any length.  None for one file.
        reasons: What it chooses → why.
    """

    name: str
    summary: str
    layouts: tuple[str, ...]
    recipes: tuple[str, ...]
    seq_len: int | None = None
    seq_len_of_task: Mapping[str, int] = field(default_factory=dict)
    shorter: Mapping[int, int] = field(default_factory=dict)
    graph: str = "cpu"
    libraries: bool = False
    compat: str | None = None
    rows: int | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)

    def check(self, *, layout: str, quantize: str, fixed: bool, compat: str | None) -> None:
        """Check that the target runs what the caller chose.

        Raises:
            ConversionError: It does not.
        """
        if layout not in self.layouts:
            self._refuse(f"--layout {layout}", "layout", self.layouts)
        if quantize not in self.recipes:
            self._refuse(f"--quantize {quantize}", "quantize", self.recipes)
        length = self.seq_len or self.rows
        if length is not None and not fixed:
            self._refuse("--seq-len any", "seq-len", (f"{length}, or other lengths",))
        if self.compat is not None and compat not in (None, self.compat):
            self._refuse(f"--compat {compat}", "compat", (self.compat,))

    def _refuse(self, given: str, option: str, choices: tuple[str, ...]) -> None:
        reason = self.reasons.get(option, "")
        raise ConversionError(
            f"{given} contradicts --target {self.name}{': ' if reason else '.'}{reason} "
            f"Choose --{option} {', '.join(choices)}, or another target."
        )


_ALL_RECIPES = ("int8", "float32", "float16", "int4", "int16x8", "int8-full")
TARGETS: dict[str, Target] = {
    entry.name: entry
    for entry in (
        Target(
            name="cpu",
            summary="LiteRT on a CPU: the Interpreter, or CompiledModel.",
            layouts=("loop", "unrolled", "split"),
            recipes=_ALL_RECIPES,
            reasons={
                "layout": "A loop packs the shared weights once in RAM, not once a pass.",
                "seq-len": "A text of any length is computed at its own, without padding.",
                "quantize": "A quarter of the size, and the fastest where a CPU has int8 products.",
            },
        ),
        Target(
            name="gpu",
            summary="A GPU: TFLite's GPU delegate (most Android apps), or LiteRT's CompiledModel.",
            layouts=("unrolled",),
            recipes=("float16", "float32", "int8"),
            seq_len=128,
            seq_len_of_task={"question-answering": 384},
            graph="gpu",
            compat="tflite-runtime-2.14",
            reasons={
                "layout": "GPUs have no loops.",
                "seq-len": "GPUs are compiled for fixed lengths; give several for short texts.",
                "quantize": "GPUs compute in floats, whatever the weights are stored in.",
                "compat": "The GPU delegate of Android apps is one of TFLite 2.16.",
            },
        ),
        Target(
            name="web",
            summary="A web page: LiteRT.js on WebAssembly and on WebGPU, one file for both.",
            layouts=("unrolled", "loop"),
            recipes=("int8", "float16", "float32"),
            seq_len=128,
            seq_len_of_task={"question-answering": 384},
            shorter={128: 32, 384: 128},
            graph="web",
            reasons={
                "layout": "WebGPU has no loops; a loop, on WebAssembly only, takes less memory.",
                "seq-len": "LiteRT.js does not resize inputs; a short text takes the shorter one.",
                "quantize": "The least to download, and the fastest on WebAssembly.",
            },
        ),
        Target(
            name="android",
            summary="The TFLite of Android apps and boards: 2.14.0 and later, on the CPU.",
            layouts=("loop", "unrolled", "split"),
            recipes=("int8", "float32", "float16"),
            compat="tflite-runtime-2.14",
            reasons={
                "layout": "A loop packs the shared weights once in RAM, not once a pass.",
                "seq-len": "A text of any length is computed at its own, without padding.",
                "quantize": "TFLite 2.14 to 2.16 lack the operators of the other recipes.",
                "compat": "It is the oldest runtime of this target.",
            },
        ),
        Target(
            name="mediapipe",
            summary="MediaPipe Tasks; with --compat also TensorFlow Lite's Task Library.",
            layouts=("unrolled",),
            recipes=("int8", "float32", "float16"),
            seq_len=128,
            seq_len_of_task={"question-answering": 384},
            libraries=True,
            reasons={
                "layout": "The libraries accept one graph, without loops.",
                "seq-len": "The libraries pad every text to the length of the file's input.",
                "quantize": "A quarter of the size; Task Library needs --compat for it.",
            },
        ),
        Target(
            name="edgetpu",
            summary="Coral's Edge TPU: a folder of int8 products for the chip, and a host graph.",
            layouts=("split",),
            recipes=("int8",),
            rows=128,
            compat="tflite-runtime-2.14",
            reasons={
                "layout": "The host runs the passes, and the chip the products of each.",
                "seq-len": "A product takes so many rows; longer texts are cut into parts.",
                "quantize": "The chip computes in eight bits.",
                "compat": "The chip's delegate is used with an older TFLite.",
            },
        ),
    )
}


def get_target(name: str) -> Target:
    """Return the target called `name`.

    Raises:
        ConversionError: There is no such target.
    """
    if name not in TARGETS:
        raise ConversionError(f"unknown target {name!r}; choose from {', '.join(TARGETS)}.")
    return TARGETS[name]


def target_figures(name: str) -> dict[str, float]:
    """Return the figures measured for a target's file of the embedded model; empty without.

    Returns:
        `size_bytes`; `cpu_latency_ms` at 128 tokens on one thread; `error`, the root mean square
        of the logits' difference from the float32 Keras model's, over that of the latter; `nodes`
        and `accelerated_nodes`, those of them that TFLite's GPU delegate runs, or None.
    """
    text = resources.files(__package__).joinpath("targets.json").read_text(encoding="utf-8")
    found: dict[str, float] = json.loads(text).get(name, {})
    return found
