"""`albert_edge.benchmark.config`: every combination, once a round, in a reproducible order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from albert_edge.benchmark.config import (
    BenchmarkConfig,
    ModelFile,
    configurations,
    interleaved_schedule,
)
from albert_edge.errors import BundleError, ConfigError


def test_every_file_is_combined_with_every_setting(
    tiny_file: Path, make_file: Callable[..., Path]
) -> None:
    files = ModelFile.read_all([tiny_file, make_file("other")])
    settings = BenchmarkConfig(threads=(1, 2), seq_lens=(8, 16))
    keys = [one.key for one in configurations(files, settings)]
    assert len(keys) == len(set(keys)) == 8
    assert ("other", "cpu", 2, 16) in keys


def test_a_file_is_measured_at_its_own_length_unless_told(make_file: Callable[..., Path]) -> None:
    files = ModelFile.read_all([make_file("free"), make_file("fixed", seq_len=8)])
    lengths = [one.seq_len for one in configurations(files, BenchmarkConfig())]
    assert lengths == [40, 8]  # the tiny model has 40 positions, fewer than 128


def test_every_round_contains_all_in_another_order(make_file: Callable[..., Path]) -> None:
    settings = BenchmarkConfig(threads=tuple(range(1, 9)), rounds=4)
    planned = configurations(ModelFile.read_all([make_file("a")]), settings)
    order = interleaved_schedule(planned, settings)
    rounds = [[one.threads for number, one in order if number == n] for n in range(4)]
    assert [number for number, _ in order] == sorted(number for number, _ in order)
    assert all(sorted(one) == list(range(1, 9)) for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1
    assert interleaved_schedule(planned, settings) == order
    assert (
        interleaved_schedule(planned, BenchmarkConfig(threads=settings.threads, rounds=4, seed=1))
        != order
    )


def test_a_file_that_cannot_be_read_is_planned_too(tmp_path: Path) -> None:
    (tmp_path / "jpeg.tflite").write_bytes(b"\xff\xd8\xff\xe0JFIF" * 9)
    paths = [tmp_path / "jpeg.tflite", tmp_path / "missing.tflite"]
    jpeg, missing = ModelFile.read_all(paths)
    assert isinstance(jpeg.error, BundleError)
    assert isinstance(missing.error, BundleError)
    assert "missing.tflite" in str(missing.error)
    assert (jpeg.size_bytes, missing.size_bytes, missing.sha256) == (72, None, None)
    assert len(configurations([jpeg, missing], BenchmarkConfig())) == 2


def test_files_of_one_name_are_named_by_path(
    make_file: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    one = make_file("model")
    two = tmp_path / "sub" / "model.tflite"
    two.write_bytes(one.read_bytes())
    names = [file.name for file in ModelFile.read_all([one, two])]
    assert names == [str(one), str(two)]


def test_the_embedded_model_can_be_measured(tiny_file: Path) -> None:
    embedded, tiny = ModelFile.read_all(["default", tiny_file])
    assert (embedded.name, tiny.name) == ("default", tiny_file.stem)
    assert (embedded.error, embedded.path.is_file()) == (None, True)


def test_a_file_is_named_once(tiny_file: Path) -> None:
    with pytest.raises(ConfigError, match="named twice"):
        ModelFile.read_all([tiny_file, tiny_file.parent / "." / tiny_file.name])
    with pytest.raises(ConfigError, match="nothing to measure"):
        ModelFile.read_all([])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"accelerators": ("npu",)}, "unknown accelerator 'npu'; choose from cpu"),
        ({"threads": (0,)}, "must be at least 1"),
        ({"threads": (1, 1)}, r"threads must be distinct and at least one: \[1, 1\]"),
        ({"seq_lens": ()}, "seq_lens must be distinct and at least one"),
        ({"rounds": 0}, "must be at least 1"),
        ({"min_time_s": -1.0}, "at least 0"),
        ({"timeout_s": 0.0}, "above 0"),
        ({"min_time_s": float("nan")}, "at least 0"),
    ],
)
def test_settings_out_of_range(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BenchmarkConfig(**fields)
