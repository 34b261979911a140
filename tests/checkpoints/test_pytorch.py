"""`pytorch_model.bin`: torch's own files are read exactly, and no pickle is run."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from albert_edge.checkpoints import read_checkpoint
from albert_edge.checkpoints.pytorch import LEGACY_MAGIC
from albert_edge.errors import AlbertEdgeError, CheckpointError

DATA = Path(__file__).parents[1] / "data"
FOREIGN, SOURCE = DATA / "foreign", DATA / "parity/odd_one_type_answers"
Entries = dict[str, bytes]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOREIGN / "torch", tmp_path / "checkpoint"))


def entries(path: Path) -> Entries:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_zip(path: Path, content: Entries, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, blob in content.items():
            archive.writestr(name, blob)


@pytest.mark.parametrize(
    "name", ["torch", "torch_views", "torch_legacy", "torch_sharded", "sharded"]
)
def test_torchs_files_hold_the_same_numbers(name: str) -> None:
    expected, got = read_checkpoint(SOURCE), read_checkpoint(FOREIGN / name)
    assert (got.config, got.task, got.source) == (expected.config, expected.task, name)
    assert got.tensors.keys() == expected.tensors.keys()
    assert all(got.tensors[k].tobytes() == v.tobytes() for k, v in expected.tensors.items())
    assert all(values.flags.c_contiguous for values in got.tensors.values())
    viewed = name in ("torch_views", "torch_legacy")
    assert got.unused == (("albert.embeddings.position_ids",) if viewed else ())


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_narrow_floats_are_widened_exactly(kind: str) -> None:
    expected = read_checkpoint(SOURCE).tensors
    narrow = getattr(ml_dtypes, kind, np.float16)
    for name, values in read_checkpoint(FOREIGN / f"torch_{kind}").tensors.items():
        assert np.array_equal(values, expected[name].astype(narrow).astype(np.float32))


class Wants:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        (os.system, ("touch run",), r"calls (posix|nt)\.system, and only tensors are allowed"),
        (eval, ("open('run', 'w')",), r"calls __builtin__\.eval"),
        (getattr, ({}, "clear"), r"calls __builtin__\.getattr"),
        (np.load, ("run",), r"calls numpy\S*\.load"),
    ],
)
def test_a_pickle_that_would_run_code_is_refused_by_name(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    legacy: bool,
    function: Callable[..., object],
    arguments: tuple[object, ...],
    named: str,
) -> None:
    monkeypatch.chdir(folder)
    bad = pickle.dumps({"x": Wants(function, *arguments)}, protocol=2)
    path = folder / "pytorch_model.bin"
    if legacy:
        system = {"protocol_version": 1001, "little_endian": True}
        path.write_bytes(b"".join([LEGACY_MAGIC, *map(pickle.dumps, (1001, system)), bad]))
    else:
        content = entries(path)
        write_zip(path, {**content, "pytorch_model/data.pkl": bad})
    with pytest.raises(CheckpointError, match=named):
        read_checkpoint(folder)
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'touch run'\ntR.",
        b"ctorch\nload\n.",
        b"ctorch._utils\n_rebuild_tensor\n.",
        b"ctorch\nFloatStorage\n)R.",  # called
        b"ctorch\nFloatStorage\n}X\x01\x00\x00\x00kK\x01sb.",  # changed
        b"ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00kK\x01sb.",
        b"ccollections\nOrderedDict\n}X\x01\x00\x00\x00kK\x01sb.",
        b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"r\xff\xff\xff\xff.",  # a memo of four thousand million places
        b"N.",
        b"]q\x00h\x00a.",  # a list in itself
        b"}X\x01\x00\x00\x00kK\x01s.",
        b"Vstorage\nQ.",
        b"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nL-5L\ntQ.",
        b"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nL99999999999999999999L\ntQ.",
        b"(" * 99999 + b"t" * 99999 + b".",
        b"\x8d" + struct.pack("<Q", 2**62) + b"abc",
        b"I" + b"9" * 9999 + b"\n.",
    ],
)
def test_pickles_that_are_no_state_dicts(folder: Path, program: bytes) -> None:
    path = folder / "pytorch_model.bin"
    write_zip(path, {**entries(path), "pytorch_model/data.pkl": b"\x80\x02" + program})
    with pytest.raises(
        CheckpointError,
        match=r"calls (torch|os\.system)|no valid pickle of tensors|no state dict|more",
    ):
        read_checkpoint(folder)


def change_pickle(old: bytes, new: bytes) -> Callable[[Entries], Entries]:
    def change(content: Entries) -> Entries:
        blob = content["pytorch_model/data.pkl"]
        assert old in blob
        return {**content, "pytorch_model/data.pkl": blob.replace(old, new, 1)}

    return change


# The word embeddings are 31 × 10 numbers: M 0x0136; the shape K 31 K 10, the strides K 10 K 1.
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: {k: v for k, v in c.items() if k != "pytorch_model/data/0"},
            "0 has no bytes, exp",
        ),
        (lambda c: {**c, "pytorch_model/data/0": bytes(3)}, "has 3 bytes, expected 28; the file"),
        (lambda c: {**c, "pytorch_model/byteorder": b"big"}, "byte order b'big'"),
        (lambda c: {**c, "other/data.pkl": b""}, "needs one data.pkl"),
        (lambda c: {"pytorch_model/readme": b""}, "needs one data.pkl"),
    ],
)
def test_zips_that_are_not_torchs(
    folder: Path, change: Callable[[Entries], Entries], message: str
) -> None:
    path = folder / "pytorch_model.bin"
    write_zip(path, change(entries(path)))
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(folder)


def test_zip_bombs(folder: Path) -> None:
    path = folder / "pytorch_model.bin"
    content = entries(path)
    write_zip(path, {**content, "pytorch_model/data.pkl": bytes(2**26)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**20
    with pytest.raises(CheckpointError, match="compressed entries"):
        read_checkpoint(folder)
    write_zip(path, content)
    blob = path.read_bytes()
    entry = blob.index(b"pytorch_model/data/0", blob.index(b"PK\x01\x02")) - 46
    liar = struct.pack("<II", 2**31, 2**31)
    path.write_bytes(blob[: entry + 20] + liar + blob[entry + 28 :])
    with pytest.raises(CheckpointError, match="entries are larger than the file"):
        read_checkpoint(folder)


def test_a_tensor_larger_than_its_storage(folder: Path) -> None:
    """One number that would fill a table of any size: stride 0."""
    program = (
        b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n"
        b"((Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nK\x01tQK\x00L1000000000000L\n\x85K\x00\x85"
        b"\x89NtRs."
    )
    content = {"pytorch_model/data.pkl": program, "pytorch_model/data/0": bytes(4)}
    write_zip(folder / "pytorch_model.bin", content)
    with pytest.raises(CheckpointError, match=r"w \[1000000000000\] does not fit its storage of 1"):
        read_checkpoint(folder)


@pytest.mark.parametrize("name", ["torch", "torch_legacy"])
@pytest.mark.parametrize("part", [0.001, 0.05, 0.5, 0.99999])
def test_files_that_are_cut_short(tmp_path: Path, name: str, part: float) -> None:
    folder = Path(shutil.copytree(FOREIGN / name, tmp_path / "cut"))
    path = folder / "pytorch_model.bin"
    blob = path.read_bytes()
    path.write_bytes(blob[: int(len(blob) * part)])
    with pytest.raises(CheckpointError, match=r"not a complete|no valid pickle|cut short"):
        read_checkpoint(folder)


@settings(max_examples=120)
@given(data=st.data(), name=st.sampled_from(["torch", "torch_views", "torch_legacy"]))
def test_damaged_bytes_give_one_clear_error_or_a_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"damaged_{name}"
    if not folder.exists():
        shutil.copytree(FOREIGN / name, folder)
    blob = bytearray((FOREIGN / name / "pytorch_model.bin").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, 6000) | st.integers(0, len(blob)))
        blob[start : start + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    (folder / "pytorch_model.bin").write_bytes(blob)
    try:
        read_checkpoint(folder)
    except AlbertEdgeError:
        return


@settings(max_examples=120)
@given(data=st.data())
def test_damaged_pickles_give_one_clear_error_or_a_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """The zip is sound here, so that its checksums do not keep the damage from the unpickler."""
    folder = tmp_path_factory.getbasetemp() / "damaged_pickle"
    if not folder.exists():
        shutil.copytree(FOREIGN / "torch_views", folder)
    content = entries(FOREIGN / "torch_views" / "pytorch_model.bin")
    blob = bytearray(content["pytorch_model/data.pkl"])
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(blob)))
        blob[start : start + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    write_zip(folder / "pytorch_model.bin", {**content, "pytorch_model/data.pkl": bytes(blob)})
    try:
        read_checkpoint(folder)
    except AlbertEdgeError:
        return


def change_index(folder: Path, **places: object) -> None:
    path = folder / "pytorch_model.bin.index.json"
    index = json.loads(path.read_text())
    index["weight_map"] = {**index["weight_map"], **places}
    path.write_text(json.dumps(index))


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOREIGN / "torch_sharded", tmp_path / "sharded"))


@pytest.mark.parametrize("place", ["../secret.bin", "/etc/passwd", "a/b.bin", "..", "", 5, ["a"]])
def test_an_index_that_points_elsewhere(sharded: Path, place: object) -> None:
    change_index(sharded, **{"qa_outputs.bias": place})
    with pytest.raises(
        CheckpointError, match=r"is not a file in the same directory|has no such file"
    ):
        read_checkpoint(sharded)


def test_a_link_that_leads_out_of_the_directory(sharded: Path, tmp_path: Path) -> None:
    shard = sharded / "pytorch_model-00002-of-00002.bin"
    outside = shard.rename(tmp_path / "outside.bin")
    shard.symlink_to(outside)
    with pytest.raises(CheckpointError, match=r"is a link to .*outside\.bin, outside of its dir"):
        read_checkpoint(sharded)


def test_shards_that_are_not_there_or_not_whole(sharded: Path) -> None:
    shard = sharded / "pytorch_model-00002-of-00002.bin"
    blob = shard.read_bytes()
    shard.write_bytes(blob[: len(blob) // 2])
    with pytest.raises(CheckpointError, match=r"00002-of-00002\.bin is not a complete torch file"):
        read_checkpoint(sharded)
    shard.unlink()
    with pytest.raises(CheckpointError, match="has no such file; is the download complete"):
        read_checkpoint(sharded)


def test_a_tensor_in_two_shards_or_in_none(sharded: Path) -> None:
    shards = sorted(sharded.glob("*.bin"))
    shutil.copy(shards[0], shards[1])
    with pytest.raises(CheckpointError) as raised:
        read_checkpoint(sharded)
    assert "qa_outputs.bias is in pytorch_model-00002-of-00002.bin, where it should" in str(
        raised.value
    ) or "qa_outputs.bias should be in" in str(raised.value)


def test_an_index_with_a_key_twice(sharded: Path) -> None:
    path = sharded / "pytorch_model.bin.index.json"
    text = path.read_text().replace('"weight_map": {', '"weight_map": {"qa_outputs.bias": "x",')
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"the key 'qa_outputs\.bias' occurs twice"):
        read_checkpoint(sharded)
    path.write_text('{"weight_map": []}')
    with pytest.raises(CheckpointError, match="has no weight_map"):
        read_checkpoint(sharded)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=100)
@given(
    index=JSON
    | st.fixed_dictionaries({"weight_map": JSON})
    | st.fixed_dictionaries({"weight_map": st.dictionaries(st.just("qa_outputs.bias"), JSON)})
)
def test_any_index_gives_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, index: object
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any_index"
    shutil.copytree(FOREIGN / "torch_sharded", folder, dirs_exist_ok=True)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    with pytest.raises(AlbertEdgeError):
        read_checkpoint(folder)


class Rebuilt:
    """Pickled as a call of a function of torch._utils."""

    def __init__(self, name: str, *arguments: object) -> None:
        self.name, self.arguments = name, arguments


class ParameterPickler(pickle._Pickler):
    """Wraps what rebuilds a tensor in what rebuilds a parameter, as torch.nn.Parameter does."""

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Rebuilt):
            self.write(f"ctorch._utils\n{obj.name}\n".encode())
            super().save(obj.arguments)
            self.write(pickle.REDUCE)
        elif isinstance(obj, Stored):
            super().save(("storage", Global("torch", obj.kind), obj.key, "cpu", obj.count))
            self.write(pickle.BINPERSID)
        elif isinstance(obj, Global):
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
        else:
            super().save(obj, save_persistent_id)


class Global(NamedTuple):
    module: str
    name: str


class Stored(NamedTuple):
    kind: str
    key: str
    count: int


@pytest.mark.parametrize("state", [False, True])
def test_parameters_are_read_as_tensors(folder: Path, state: bool) -> None:
    """What `torch.save(dict(model.named_parameters()))` writes."""
    expected = read_checkpoint(SOURCE).tensors
    tensors = load_file(SOURCE / "model.safetensors")
    parameters, storages = {}, {}
    for index, (name, values) in enumerate(tensors.items()):
        strides = tuple(n // values.itemsize for n in values.strides)
        stored = Stored("FloatStorage", str(index), values.size)
        tensor = Rebuilt("_rebuild_tensor_v2", stored, 0, values.shape, strides, False, {})
        wrapper = "_rebuild_parameter_with_state" if state else "_rebuild_parameter"
        more = ({"tag": 1},) if state else ()
        parameters[name] = Rebuilt(wrapper, tensor, True, {}, *more)
        storages[f"pytorch_model/data/{index}"] = values.tobytes()
    file = io.BytesIO()
    ParameterPickler(file, protocol=2).dump(parameters)
    write_zip(folder / "pytorch_model.bin", {"pytorch_model/data.pkl": file.getvalue(), **storages})
    found = read_checkpoint(folder).tensors
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], values) for name, values in expected.items())
