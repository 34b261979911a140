"""The benchmark plan: model files, settings, and every combination of them.

`configurations` crosses the files with the settings; `interleaved_schedule` orders the runs.  The
command line reads help and defaults from `BenchmarkConfig` (see `cli.options.options_from`).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from albert_edge.benchmark.worker import check_same_file, file_digest, file_state
from albert_edge.bundle import Bundle, locate, read
from albert_edge.config import check_accelerator
from albert_edge.errors import AlbertEdgeError, BundleError, ConfigError

__all__ = ["BenchmarkConfig"]

_DEFAULT_SEQ_LEN = 128  # for a file that takes any length


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkConfig:
    """Settings of a benchmark.

    Attributes:
        accelerators: What runs the model: cpu; gpu, which is both gpu:float32 (float32 arithmetic)
            and gpu:default (the precision that its driver prefers); or edgetpu[:usb|:pci|:N].
        threads: Numbers of CPU threads.
        seq_lens: Sequence lengths in tokens.  None for the file's own fixed ones, or else 128.
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
        for name in self.accelerators:
            check_accelerator(name)
        both = {"gpu": ("gpu:float32", "gpu:default")}
        single = tuple(one for name in self.accelerators for one in both.get(name, (name,)))
        object.__setattr__(self, "accelerators", single)
        for name in ("accelerators", "threads", "seq_lens"):
            values = getattr(self, name)
            if values is not None and (not values or len(set(values)) != len(values)):
                raise ConfigError(f"{name} must be distinct and at least one: {list(values)}.")
        counts = [*self.threads, *(self.seq_lens or ()), self.rounds, self.runs]
        # Comparisons with NaN are false, and timing would never end with an infinite minimum.
        valid_times = 0 <= self.min_time_s < math.inf and 0 < self.timeout_s < math.inf
        if min(counts) < 1 or self.warmup < 0 or not valid_times:
            raise ConfigError(
                "threads, seq_lens, rounds and runs must be at least 1, warmup and min_time_s "
                f"at least 0, and timeout_s above 0, not {self.to_dict()}."
            )

    def for_counting(self) -> BenchmarkConfig:
        """Return the settings of a device that counts instructions, the same ones every time.

        Raises:
            ConfigError: There is a setting that it cannot have.
        """
        allowed = {"accelerators": ("cpu",), "threads": (1,)}
        default = BenchmarkConfig()
        same = {name: getattr(default, name) for name in ("rounds", "runs", "warmup", "min_time_s")}
        for name, value in {**allowed, **same}.items():
            if getattr(self, name) != value:
                raise ConfigError(
                    f"{name} {_listed(getattr(self, name))} cannot be measured on an emulated "
                    "processor: it counts the instructions of one CPU thread, in a fixed number of "
                    "inferences of one round; leave the option out."
                )
        return dataclasses.replace(self, rounds=1, runs=2, warmup=1, min_time_s=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return every field by its name, ready for JSON."""
        fields = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}


def _listed(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model file to measure.

    Attributes:
        path: Its path, as the user gave it.
        name: Its name in reports.
        sha256: The SHA-256 of its content; None if it cannot be read.
        size_bytes: Its size; None if it cannot be read.
        bundle: Its content; None if `error` is set.
        error: Why its content cannot be read, or None.
    """

    path: Path
    name: str
    sha256: str | None = None
    size_bytes: int | None = None
    bundle: Bundle | None = None
    error: AlbertEdgeError | None = None

    @classmethod
    def read_all(cls, paths: Sequence[str | os.PathLike[str]]) -> tuple[ModelFile, ...]:
        """Read every file; one that cannot be read gets an `error`.

        Raises:
            ConfigError: `paths` is empty, or contains a file twice.
        """
        files = [cast(Path, locate(path)) for path in paths]  # bytes only of bytes
        resolved = [file.resolve() for file in files]
        if repeated := {file for file in resolved if resolved.count(file) > 1}:
            raise ConfigError(f"{repeated.pop()} is named twice; each file is measured once.")
        if not files:
            raise ConfigError("there is nothing to measure: name at least one .tflite file.")
        names = [Path(path).stem for path in paths]
        if len(set(names)) < len(names):
            names = [str(path) for path in paths]
        return tuple(cls._read(path, name) for path, name in zip(files, names, strict=True))

    @classmethod
    def _read(cls, path: Path, name: str) -> ModelFile:
        before = file_state(path)
        try:
            digest, size_bytes = file_digest(path), path.stat().st_size
        except OSError as error:
            unreadable = BundleError(f"cannot read {path}: {error.strerror}.")
            return cls(path=path, name=name, error=unreadable)
        file = cls(path=path, name=name, sha256=digest, size_bytes=size_bytes)
        try:
            bundle = read(path)
            check_same_file(before, file_state(path))
            return dataclasses.replace(file, bundle=bundle)
        except AlbertEdgeError as error:
            return dataclasses.replace(file, error=error)

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
    """One combination of a file and settings, measured in fresh processes of its own.

    Attributes:
        file: The model file.
        accelerator: What computes.
        threads: CPU threads.
        seq_len: T, the number of tokens.
    """

    file: ModelFile
    accelerator: str
    threads: int
    seq_len: int

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What identifies the configuration within a run."""
        return self.file.name, self.accelerator, self.threads, self.seq_len


def configurations(
    files: Sequence[ModelFile], settings: BenchmarkConfig
) -> tuple[Configuration, ...]:
    """Combine every file with every setting."""
    return tuple(
        Configuration(file=file, accelerator=accelerator, threads=threads, seq_len=seq_len)
        for file in files
        for seq_len in settings.seq_lens or _default_lengths(file)
        for accelerator, threads in itertools.product(settings.accelerators, settings.threads)
    )


def interleaved_schedule(
    planned: Sequence[Configuration], settings: BenchmarkConfig
) -> list[tuple[int, Configuration]]:
    """Order all runs: every round measures every configuration once, in a random order.

    A machine that slows down or warms up during the run then favours no configuration.  The order
    of each round depends on the seed and the number of the round only.

    Returns:
        The number of the round, from 0, and the configuration.
    """
    schedule = []
    for number in range(settings.rounds):
        order = list(planned)
        random.Random(f"{settings.seed}:{number}").shuffle(order)  # noqa: S311 (no secret)
        schedule += [(number, configuration) for configuration in order]
    return schedule


def _default_lengths(file: ModelFile) -> tuple[int, ...]:
    if file.bundle is None:
        return (_DEFAULT_SEQ_LEN,)
    longest = file.bundle.config.max_position_embeddings
    return file.bundle.seq_lens or (min(_DEFAULT_SEQ_LEN, longest),)
