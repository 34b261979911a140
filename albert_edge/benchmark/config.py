"""What is to be measured: the files, the settings, and every combination of them."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from albert_edge.bundle.archive import locate
from albert_edge.bundle.bundle import Bundle, read
from albert_edge.errors import AlbertEdgeError, BundleError, ConfigError

__all__ = [
    "ACCELERATORS",
    "BenchmarkConfig",
    "Configuration",
    "ModelFile",
    "configurations",
    "interleaved_schedule",
]

ACCELERATORS = ("cpu",)
_SEQ_LEN = 128  # of a file that takes any length


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkConfig:
    """Settings of a benchmark.

    Attributes:
        accelerators: What runs the model: cpu.  One or more of `ACCELERATORS`.
        threads: Numbers of CPU threads.
        seq_lens: Sequence lengths in tokens.  None for the file's own fixed length, or else 128.
        rounds: Rounds, each of which measures every configuration once.
        runs: Least number of warm inferences per round.
        warmup: Inferences between the first one and the timed ones.
        min_time_s: Least seconds of warm inferences per round.
        timeout_s: Seconds after which a worker process is stopped.
        seed: Seed of the order within the rounds.
    """

    accelerators: tuple[str, ...] = field(default=("cpu",), metadata={"metavar": "NAME,..."})
    threads: tuple[int, ...] = field(default=(1,), metadata={"metavar": "N,..."})
    seq_lens: tuple[int, ...] | None = field(
        default=None, metadata={"metavar": "N,...", "unset": "the file's own, or 128"}
    )
    rounds: int = 3
    runs: int = 20
    warmup: int = 3
    min_time_s: float = 0.5
    timeout_s: float = 600.0
    seed: int = 0

    def __post_init__(self) -> None:
        if unknown := [name for name in self.accelerators if name not in ACCELERATORS]:
            raise ConfigError(
                f"unknown accelerator {unknown[0]!r}; choose from {', '.join(ACCELERATORS)}."
            )
        for name in ("accelerators", "threads", "seq_lens"):
            values = getattr(self, name)
            if values is not None and (not values or len(set(values)) != len(values)):
                raise ConfigError(f"{name} must be distinct and at least one: {list(values)}.")
        counts = [*self.threads, *(self.seq_lens or ()), self.rounds, self.runs]
        # Comparisons with NaN are false, and an infinite time would never be over.
        timed = 0 <= self.min_time_s < math.inf and 0 < self.timeout_s < math.inf
        if min(counts) < 1 or self.warmup < 0 or not timed:
            raise ConfigError(
                "threads, seq_lens, rounds and runs must be at least 1, warmup and min_time_s "
                f"at least 0, and timeout_s above 0, not {self.to_dict()}."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return every field by its name, ready for JSON."""
        fields = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A file to be measured.

    Attributes:
        path: Where it is, as it was named.
        name: What a report calls it.
        sha256: The hash of its content.
        size_bytes: Its size.
        bundle: What is in it, or None if that cannot be read.
        error: Why it cannot.
    """

    path: Path
    name: str
    sha256: str | None
    size_bytes: int | None
    bundle: Bundle | None
    error: AlbertEdgeError | None

    @classmethod
    def read_all(cls, paths: Sequence[str | os.PathLike[str]]) -> tuple[ModelFile, ...]:
        """Look at every file; one that cannot be read is a subject too.

        Raises:
            ConfigError: There is none, or one is named twice.
        """
        files = [cast(Path, locate(path)) for path in paths]  # bytes only of bytes
        resolved = [file.resolve() for file in files]
        if twice := {file for file in resolved if resolved.count(file) > 1}:
            raise ConfigError(f"{twice.pop()} is named twice; each file is measured once.")
        if not files:
            raise ConfigError("there is nothing to measure: name at least one .tflite file.")
        names = [Path(path).stem for path in paths]
        if len(set(names)) < len(names):
            names = [str(path) for path in paths]
        return tuple(cls._read(*one) for one in zip(files, names, strict=True))

    @classmethod
    def _read(cls, path: Path, name: str) -> ModelFile:
        try:
            blob = path.read_bytes()
        except OSError as error:
            failure = BundleError(f"cannot read {path}: {error.strerror}.")
            return cls(
                path=path, name=name, sha256=None, size_bytes=None, bundle=None, error=failure
            )
        digest, size = hashlib.sha256(blob).hexdigest(), len(blob)
        bundle, problem = None, None
        try:
            bundle = read(path)
        except AlbertEdgeError as error:
            problem = error
        return cls(
            path=path, name=name, sha256=digest, size_bytes=size, bundle=bundle, error=problem
        )

    def to_dict(self) -> dict[str, Any]:
        """Describe the file, ready for JSON."""
        source = self.bundle.provenance if self.bundle else {}
        return {
            "name": self.name,
            "path": str(self.path),
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
            "task": self.bundle and self.bundle.task,
            "quantize": self.bundle and self.bundle.quantize,
            "layout": self.bundle and self.bundle.layout,
            "seq_len": self.bundle and self.bundle.seq_len,
            "source": source.get("source"),
            "source_sha256": source.get("sha256"),
            "verification": self.bundle and self.bundle.verification,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One thing to measure, in fresh processes of its own.

    Attributes:
        subject: The file.
        accelerator: What computes.
        threads: CPU threads.
        seq_len: T, the number of tokens.
    """

    subject: ModelFile
    accelerator: str
    threads: int
    seq_len: int

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What tells it from the others of a plan."""
        return self.subject.name, self.accelerator, self.threads, self.seq_len


def configurations(
    subjects: Sequence[ModelFile], settings: BenchmarkConfig
) -> tuple[Configuration, ...]:
    """Combine every file with every setting."""
    return tuple(
        Configuration(subject=subject, accelerator=accelerator, threads=threads, seq_len=seq_len)
        for subject in subjects
        for seq_len in settings.seq_lens or (_own_length(subject),)
        for accelerator, threads in itertools.product(settings.accelerators, settings.threads)
    )


def interleaved_schedule(
    planned: Sequence[Configuration], settings: BenchmarkConfig
) -> list[tuple[int, Configuration]]:
    """Order all that is to be measured: rounds, each of which takes every configuration once.

    A machine that slows down or warms up in the course then favours none of them.  Each round has
    an order of its own, drawn from the seed.

    Returns:
        The number of the round, from 0, and the configuration.
    """
    ordered = []
    for number in range(settings.rounds):
        order = list(planned)
        random.Random(f"{settings.seed}:{number}").shuffle(order)  # noqa: S311 (no secret)
        ordered += [(number, configuration) for configuration in order]
    return ordered


def _own_length(subject: ModelFile) -> int:
    if subject.bundle is None:
        return _SEQ_LEN
    return subject.bundle.seq_len or min(_SEQ_LEN, subject.bundle.config.max_position_embeddings)
