"""What the outputs of a configuration are compared with, so that none is fast and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from albert_edge.benchmark.devices import Local
from albert_edge.benchmark.inputs import Inputs
from albert_edge.benchmark.outputs import Outputs, compare_outputs, decode_outputs
from albert_edge.benchmark.plan import Subject
from albert_edge.compression.recipes import recipe

__all__ = ["Reference", "answer_reference", "choose_reference"]

_ENGINE = "albert_edge.benchmark.engine:open_reference"
_KERNELS = "the CPU of the machine that asked, 1 thread, the runtime's own kernels, no delegate"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """What a reference answered.

    Attributes:
        name: The file's name in the report.
        sha256: The file's hash.
        quantize: Its recipe.
        outputs: Its outputs on each input.
        inputs: What those were, for people.
    """

    name: str
    sha256: str | None
    quantize: str
    outputs: tuple[Outputs, ...]
    inputs: str

    def compare(self, outputs: Sequence[Outputs], *, quantize: str) -> dict[str, Any]:
        """Compare outputs on the same inputs; see `compare_outputs`.

        Raises:
            ConversionError: There is no recipe `quantize`, whose tolerance holds.
        """
        figures = compare_outputs(outputs, self.outputs, limit=recipe(quantize).max_error)
        return {
            "reference": {
                "name": self.name,
                "sha256": self.sha256,
                "quantize": self.quantize,
                "engine": _KERNELS,
            },
            "inputs": self.inputs,
            **figures,
        }


def choose_reference(subject: Subject, subjects: Sequence[Subject], seq_len: int) -> Subject:
    """Choose the file whose outputs are the reference of `subject`.

    It is the first float32 file of the same checkpoint and task that takes as many tokens; where
    there is none, the file itself, which then is only held to its own weights, and to the
    verification against Keras that it carries.
    """
    for other in subjects:
        if _same_source(subject, other) and _takes(other, seq_len):
            return other
    return subject


def answer_reference(subject: Subject, inputs: Inputs, *, timeout_s: float) -> Reference:
    """Let a file answer, in a fresh process on this machine's CPU.

    Raises:
        AlbertEdgeError: It cannot.
    """
    assert subject.bundle is not None  # noqa: S101 (one without is never run)
    job = {
        "do": "answer",
        "path": str(subject.path),
        "engine": _ENGINE,
        "threads": 1,
        "inputs": [list(ids) for ids in inputs.ids],
    }
    answer = Local().run(job, timeout_s=timeout_s)
    return Reference(
        name=subject.name,
        sha256=subject.sha256,
        quantize=subject.bundle.quantize,
        outputs=tuple(decode_outputs(text) for text in answer["outputs"]),
        inputs=inputs.what,
    )


def _same_source(subject: Subject, other: Subject) -> bool:
    one, two = subject.bundle, other.bundle
    if one is None or two is None or two.quantize != "float32" or one.task != two.task:
        return False
    known = one.provenance.get("sha256")
    drawn = one.provenance.get("drawn") == two.provenance.get("drawn")
    return known is not None and known == two.provenance.get("sha256") and drawn


def _takes(subject: Subject, seq_len: int) -> bool:
    bundle = subject.bundle
    if bundle is None:
        return False
    return seq_len <= (bundle.seq_len or bundle.config.max_position_embeddings)
