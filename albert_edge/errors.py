"""Every error that albert_edge raises on purpose.

All of them derive from `AlbertEdgeError`, so `except AlbertEdgeError` catches every error that a
user can fix; any other exception is a bug.  A message states what was expected, what was found,
where, and what to do.
"""

from __future__ import annotations

import difflib
import signal
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

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
    "describe_exit",
    "list_choices",
    "printable",
    "requires_extra",
]

_MAX_LISTED = 500  # characters: some 30 names
_NEAREST = 5  # of a longer list
_MAX_NAME = 60  # characters of each of them
# Unicode's categories of control characters, lone surrogates, and separators of lines.
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
# They show the text around them in another order (Boucher and Anderson 2021, arXiv:2111.00169).
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class AlbertEdgeError(Exception):
    """The base class of every error that albert_edge raises on purpose."""


class ConfigError(AlbertEdgeError):
    """A model configuration or an option is invalid, contradictory or not ALBERT's."""


class CheckpointError(AlbertEdgeError):
    """A checkpoint is missing, truncated, unsupported, or does not match its configuration."""


class TokenizerError(AlbertEdgeError):
    """A tokenizer file is missing, damaged or unsupported."""


class ConversionError(AlbertEdgeError):
    """A model cannot be converted with the requested recipe or layout."""


class UnsupportedOpError(ConversionError):
    """The target runtime or delegate does not support an operator."""


class FidelityError(AlbertEdgeError):
    """The outputs of a converted model differ from those of its reference."""


class BundleError(AlbertEdgeError):
    """A `.tflite` file is damaged, incomplete, not from albert_edge, or of a newer version."""


class InputError(AlbertEdgeError):
    """A text, an array or a data file is not valid input."""


class OutputError(AlbertEdgeError):
    """A file cannot be written, or it exists and `force` is false."""


class ReportError(AlbertEdgeError):
    """A benchmark report is damaged, of another version, or from another run."""


class RegressionError(AlbertEdgeError):
    """A benchmark result is significantly worse than an earlier one."""


class DeviceError(AlbertEdgeError):
    """A runtime, an accelerator or a device is missing, or it failed."""


class TrainingError(AlbertEdgeError):
    """Training data or training options are invalid."""


class MissingExtraError(AlbertEdgeError):
    """A package of an optional extra is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        self.package = package
        super().__init__(
            f"{package} is not installed, and this needs it. "
            f"Install it with: pip install 'albert_edge[{extra}]'"
        )


# Optional package, by the name that is imported → the extra in `pyproject.toml` that installs it.
EXTRAS = {
    "asyncssh": "ssh",
    "h5py": "convert",
    "huggingface_hub": "convert",
    "matplotlib": "plot",
    "ml_dtypes": "convert",
    "nltk": "stem",
    "optuna": "search",
    "pyarrow": "parquet",
    "ray": "ray",
    "safetensors": "convert",
    "tensorflow": "convert",
    "tensorflow_model_optimization": "train",
    "tf_keras": "convert",
    **({} if sys.version_info >= (3, 11) else {"tomli": "convert"}),
}


@contextmanager
def requires_extra(extra: str | None = None) -> Iterator[None]:
    """Report a missing optional package as the extra that installs it.

    The package is imported in the body of the `with` statement.

    Args:
        extra: The extra to name; None for the package's own in `EXTRAS`.

    Raises:
        MissingExtraError: A package of `EXTRAS` is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package not in EXTRAS:
            raise
        raise MissingExtraError(package, extra or EXTRAS[package]) from error
    except MissingExtraError as error:  # of an import in the body that names its own extra
        if extra is None:
            raise
        raise MissingExtraError(error.package, extra) from error


def printable(text: str) -> str:
    """Escape what a terminal would obey instead of show: control characters, line ends, tabs.

    File names, labels and the messages of other programs may contain anything.

    Example:
        >>> printable("model\\x1b[2J\\n.tflite")
        'model\\\\x1b[2J\\\\n.tflite'
    """
    return text if text.isprintable() else "".join(map(_escape, text))


def printable_values(value: Any) -> Any:
    """Return a JSON value whose texts, and the keys of whose objects, are printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable_values(key): printable_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable_values(item) for item in value]
    return value


def _escape(character: str) -> str:
    if unicodedata.category(character) in _UNPRINTABLE or character in _BIDIRECTIONAL:
        return character.encode("unicode_escape").decode("ascii")
    return character


def list_choices(names: Iterable[str], *, given: object = None) -> str:
    """List the names to choose from, for a message; of very many only some, and their number.

    Args:
        names: The valid names, distinct.
        given: The invalid one; of very many names those nearest to it are listed.

    Example:
        >>> list_choices(["loop", "split"], given="lopp")
        'loop, split'
        >>> list_choices([f"label_{number}" for number in range(5000)], given="lable_77")
        'label_77, label_977, label_877, label_797, label_787, ... (5,000 in all)'
    """
    known = [str(name) for name in names]
    if len(text := ", ".join(known)) <= _MAX_LISTED:
        return text
    short = [name[:_MAX_NAME] for name in known]
    near = difflib.get_close_matches(str(given)[:_MAX_NAME], short, _NEAREST)
    return f"{', '.join(near or short[:_NEAREST])}, ... ({len(known):,} in all)"


def describe_exit(code: int) -> str:
    """Describe how a process ended, from the return code of `subprocess`.

    Example:
        >>> describe_exit(-9)
        'killed by SIGKILL'
    """
    if code >= 0:
        return f"exit code {code}"
    names = {one.value: one.name for one in signal.Signals}
    return f"killed by {names.get(-code, f'signal {-code}')}"  # real-time signals have no name
