"""Errors, and the extra that a missing package belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest

from albert_edge import errors
from albert_edge.errors import (
    EXTRAS,
    AlbertEdgeError,
    ConversionError,
    MissingExtraError,
    UnsupportedOpError,
    describe_exit,
    requires_extra,
)


def test_every_optional_package_is_in_its_extra():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    for package, extra in EXTRAS.items():
        if package == "ml_dtypes":  # TensorFlow installs it
            continue
        installs = text.partition(f"\n{extra} = [")[2].partition("\n\n")[0].partition("]\n")[0]
        assert f'"{package.replace("_", "-")}>=' in installs, package


def test_every_error_is_one_that_a_user_can_catch() -> None:
    raised = [value for value in vars(errors).values() if isinstance(value, type)]
    kinds = [kind for kind in raised if issubclass(kind, Exception)]
    assert len(kinds) > 10
    assert all(issubclass(kind, AlbertEdgeError) for kind in kinds)
    assert issubclass(UnsupportedOpError, ConversionError)
    names = {name for name in errors.__all__ if name[0].isupper()}
    assert {kind.__name__ for kind in kinds} == names


def test_a_missing_package_is_named_with_its_extra() -> None:
    with pytest.raises(MissingExtraError) as caught, requires_extra():
        raise ModuleNotFoundError(name="tensorflow.lite")
    assert str(caught.value) == (
        "tensorflow is not installed, and this needs it. "
        "Install it with: pip install 'albert_edge[convert]'"
    )
    with pytest.raises(MissingExtraError, match=r"albert_edge\[train\]"), requires_extra("train"):
        raise ModuleNotFoundError(name="tensorflow")


def test_a_missing_package_of_no_extra_stays_what_it_is() -> None:
    for error in (ModuleNotFoundError("?", name="nonsense"), ImportError("cannot import name")):
        with pytest.raises(type(error)) as caught, requires_extra():
            raise error
        assert caught.value is error


def test_how_a_process_ended() -> None:
    assert describe_exit(0) == "exit code 0"
    assert describe_exit(3) == "exit code 3"
    assert describe_exit(-11) == "killed by SIGSEGV"
