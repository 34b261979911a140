"""A folder of the target `edgetpu` answers as Keras does, at any length, and says what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import albert_edge
from albert_edge.conversion import convert
from albert_edge.errors import BundleError, ConfigError
from albert_edge.runtime import open_model
from albert_edge.runtime.composed import split_rows
from albert_edge.tasks import TASKS
from albert_edge.verification import verify


@pytest.fixture(scope="module")
def folder(tiny_albert: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny classifier, with products of 8 and 16 rows."""
    made = convert(tiny_albert(), target="edgetpu", seq_len=[8, 16])
    return made.save(tmp_path_factory.mktemp("edgetpu") / "made")


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copied"))


def _error(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_as_in_keras(tiny_albert: Any, tmp_path: Path, task: str) -> None:
    model = tiny_albert(task)
    path = convert(model, target="edgetpu", seq_len=16).save(tmp_path / "made")
    figures = verify(path, model)
    # 3 passes of 4 products, each of which adds 1 to 2%; the two logits of sentence order are a
    # fifth as large as the others.
    limits = {name: 0.2 if name == "sop_logits" else 0.08 for name in figures["outputs"]}
    assert all(one["error"] < limits[name] for name, one in figures["outputs"].items()), figures


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17, 40])
def test_any_length_is_padded_or_cut_to_the_rows(
    tiny_albert: Any, folder: Path, count: int
) -> None:
    model, edge = tiny_albert(), open_model(folder)
    assert edge.max_tokens == 40
    ids = np.arange(count)[None] % model.config.vocab_size
    want = model({"input_ids": ids.astype(np.int32)})["logits"].numpy()
    assert _error(edge.run(ids)["logits"], want) < 0.12  # of three small logits
    assert edge.products is not None
    # 3 passes of 4 products, for each part.
    assert edge.products.calls == 12 * len(split_rows(count, (8, 16)))
    assert edge.products.seconds > 0


@pytest.mark.parametrize(
    ("count", "sizes", "parts"),
    [
        (1, (8,), [8]),
        (8, (8, 16), [8]),
        (9, (8, 16), [16]),
        (33, (8, 16), [16, 16, 8]),
        (24, (16,), [16, 16]),
    ],
)
def test_rows_are_split_into_few_parts(count: int, sizes: Any, parts: list[int]) -> None:
    assert split_rows(count, sizes) == parts


def test_rows_do_not_depend_on_how_they_are_split(folder: Path) -> None:
    products = open_model(folder).products
    assert products is not None
    codes = np.random.default_rng(0).integers(-127, 128, (40, 32), np.int8)
    made = products.run("query_key_value", codes)
    for begin in (0, 8, 24):
        part = products.run("query_key_value", codes[begin : begin + 8])
        np.testing.assert_array_equal(part, made[begin : begin + 8])


def test_the_folder_is_loaded_as_a_pipeline(folder: Path) -> None:
    pipe = albert_edge.load(folder)
    answer = pipe(input_ids=[2, 5, 9, 3])
    assert answer["label"] in ("negative", "neutral", "positive")
    assert albert_edge.load(folder / "host.tflite")(input_ids=[2, 5, 9, 3]) == answer


def test_layers_of_several_groups_and_early_exits_run(tiny_albert: Any, tmp_path: Path) -> None:
    model = tiny_albert(num_hidden_groups=2, inner_group_num=2)
    figures = verify(convert(model, target="edgetpu", seq_len=16).save(tmp_path / "groups"), model)
    assert figures["outputs"]["logits"]["error"] < 0.1  # 6 layers
    model = tiny_albert(early_exit=True)
    path = convert(model, target="edgetpu", seq_len=16).save(tmp_path / "exits")
    figures = verify(path, model)
    assert figures["outputs"]["exit_logits"]["error"] < 0.08
    rule = albert_edge.EarlyExit(patience=1, threshold=2.0, max_layers=1)
    assert open_model(path).run([2, 5, 3], early_exit=rule)["layers_used"].tolist() == [1]


def test_the_host_graph_alone_is_refused(folder: Path, tmp_path: Path) -> None:
    content = (folder / "host.tflite").read_bytes()
    with pytest.raises(BundleError, match="host graph of a folder of --target edgetpu"):
        open_model(content)
    alone = tmp_path / "host.tflite"
    alone.write_bytes(content)
    with pytest.raises(BundleError, match=r"query_key_value_8\.tflite is missing, which .*host"):
        open_model(alone)


def test_a_product_of_another_folder_is_refused(copied: Path) -> None:
    product = copied / "ffn_output_8.tflite"
    shutil.copy(copied / "ffn_output_16.tflite", product)
    with pytest.raises(BundleError, match=r"of another conversion than .*SHA-256 differs"):
        open_model(copied)
    with pytest.raises(BundleError, match=r"is not the product ffn_output of 8 rows: .*\[1, 16, 1"):
        open_model(copied, check=False)
    product.unlink()
    with pytest.raises(BundleError, match=r"ffn_output_8\.tflite is missing"):
        open_model(copied)
    (copied / "host.tflite").unlink()
    with pytest.raises(BundleError, match="copied"):
        open_model(copied)


def test_a_damaged_product_is_refused(copied: Path) -> None:
    product = copied / "attention_output_16.tflite"
    content = bytearray(product.read_bytes())
    content[len(content) // 2] ^= 1
    product.write_bytes(content)
    with pytest.raises(BundleError, match=r"attention_output_16\.tflite is damaged"):
        open_model(copied)


def test_what_cannot_run_a_folder_is_said(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"gpu:float32 does not run .*--target edgetpu"):
        open_model(folder, accelerator="gpu")
    with pytest.raises(ConfigError, match="cannot be isolated"):
        open_model(folder, isolated=True)
