"""Every error that albert_edge raises on purpose.

All of them derive from `AlbertEdgeError`, so `except AlbertEdgeError` catches what a user can mend;
anything else that escapes is a bug.  A message says what was expected, what was got, where, and
what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "AlbertEdgeError",
    "BundleError",
    "CheckpointError",
    "ConfigError",
    "ConversionError",
    "DeviceError",
    "FidelityError",
    "InputError",
    "MissingExtraError",
    "OutputError",
    "RegressionError",
    "ReportError",
    "TokenizerError",
    "TrainingError",
    "UnsupportedOpError",
    "requires_extra",
]


class AlbertEdgeError(Exception):
    """The root of every error that albert_edge raises on purpose."""


class ConfigError(AlbertEdgeError):
    """A model configuration or an option contradicts itself or is not ALBERT's."""


class CheckpointError(AlbertEdgeError):
    """A checkpoint is missing, truncated, foreign, or does not fit its configuration."""


class TokenizerError(AlbertEdgeError):
    """A tokenizer file is missing, damaged, or of a kind that cannot be used."""


class ConversionError(AlbertEdgeError):
    """A model cannot be converted in the recipe or layout that was asked for."""


class UnsupportedOpError(ConversionError):
    """An operator has no place in the target runtime or delegate."""


class FidelityError(AlbertEdgeError):
    """A converted model does not say what its reference says."""


class BundleError(AlbertEdgeError):
    """A `.tflite` file is damaged, foreign, incomplete, or newer than this version."""


class InputError(AlbertEdgeError):
    """A text or an array cannot be given to the model."""


class OutputError(AlbertEdgeError):
    """A file cannot be written, or exists and may not be replaced."""


class ReportError(AlbertEdgeError):
    """A benchmark report is damaged, of another version, or of another run."""


class RegressionError(AlbertEdgeError):
    """A benchmark came out worse than an earlier one, beyond the noise."""


class DeviceError(AlbertEdgeError):
    """A runtime, an accelerator or a device is missing or failed."""


class TrainingError(AlbertEdgeError):
    """Training data or training options cannot work."""


class MissingExtraError(AlbertEdgeError):
    """A package of an optional extra is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed, and this needs it. "
            f"Install it with: pip install 'albert_edge[{extra}]'"
        )


@contextmanager
def requires_extra(extra: str, *packages: str) -> Iterator[None]:
    """Import optional packages in the body of a `with`, or say which extra brings them.

    Args:
        extra: The extra in `pyproject.toml` that installs them.
        packages: The names to import that belong to it.

    Raises:
        MissingExtraError: One of `packages` is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in packages:
            raise
        raise MissingExtraError(error.name, extra) from error
