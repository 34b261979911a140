"""The archive behind a model: plain, complete, and checked when it is read."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.bundle.archive import append_archive, locate, read_json, read_member
from albert_edge.bundle.bundle import Bundle, model_bytes, read
from albert_edge.errors import BundleError
from albert_edge.files import embedded_model
from bundle.files import PARTS, remade


def test_archive_is_plain_and_counts_from_the_files_beginning(blob: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        infos = archive.infolist()
        assert sorted(info.filename for info in infos) == sorted(PARTS)
        assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
        assert archive.read("labels.txt") == b"negative\nneutral\npositive\n"
    directory = int.from_bytes(blob[-6:-2], "little")  # as the end record states it, uncorrected
    assert blob[directory : directory + 4] == b"PK\x01\x02"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not a .tflite file"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(500), "is not a .tflite file"),
        (b"PK\x03\x04" + bytes(500), "is not a .tflite file"),
    ],
)
def test_foreign_files(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.tflite"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=rf"photo\.tflite {says}"):
        read(path)
    with pytest.raises(BundleError, match=says):
        model_bytes(path)


def test_no_file_and_a_directory(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.tflite", tmp_path):
        with pytest.raises(BundleError, match=rf"cannot read .*{path.name}"):
            read(path)
        with pytest.raises(BundleError, match=rf"cannot read .*{path.name}"):
            model_bytes(path)


def test_model_without_metadata(model: bytes) -> None:
    with pytest.raises(BundleError, match=r"no TFLite Metadata archive.*Convert the checkpoint"):
        read(model)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_cut_in_half(blob: bytes, share: float) -> None:
    with pytest.raises(BundleError, match="cut short"):
        read(blob[: int(len(blob) * share)])


def test_cut_inside_of_the_archive(blob: bytes) -> None:
    for end in range(len(blob) - 1200, len(blob), 37):
        with pytest.raises(BundleError, match=r"cut short|damaged"):
            read(blob[:end])


def test_bytes_lost_in_the_middle(blob: bytes) -> None:
    with pytest.raises(BundleError, match="damaged"):
        read(blob[:8192] + blob[8192 + 64 :])


def test_compressed_duplicate_and_oversized_members(blob: bytes, bundle: Bundle) -> None:
    bomb = io.BytesIO(blob)
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(10_000_000))
    with pytest.raises(BundleError, match="bomb is compressed"):
        read(bomb.getvalue())
    twice = io.BytesIO(blob)
    with zipfile.ZipFile(twice, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", b"{}")
    with pytest.raises(BundleError, match=r"holds config\.json twice"):
        read(twice.getvalue())
    with pytest.raises(BundleError, match="at most 67108864 are read"):
        read(remade(blob, huge=bytes(2**26)))


@given(
    st.binary(max_size=99),
    st.dictionaries(st.sampled_from(["a", "b/c", "ä.txt", "é"]), st.binary(max_size=99)),
)
def test_what_is_appended_is_a_zip_that_does_not_depend_on_the_order(
    model: bytes, members: dict[str, bytes]
) -> None:
    packed = append_archive(model, members)
    assert packed.startswith(model)
    assert append_archive(model, dict(reversed(members.items()))) == packed
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == members
        assert archive.namelist() == sorted(members)


def test_a_source_is_a_path_or_bytes_or_the_embedded_model() -> None:
    assert locate(b"content") == b"content"
    assert locate("a/b") == Path("a/b")
    assert locate("default") == embedded_model() / "model.tflite"
    assert locate("./default") == Path("default")


def test_members_are_read_by_name() -> None:
    members = {"a.json": b'{"a": 1}', "b.json": b"[1]"}
    assert read_member("here", members, "a.json") == b'{"a": 1}'
    assert read_json("here", members, "a.json") == {"a": 1}
    with pytest.raises(BundleError, match=r"here is incomplete: there is no c\.json in it"):
        read_json("here", members, "c.json")
    with pytest.raises(BundleError, match=r"here is damaged: b\.json: expected a JSON object"):
        read_json("here", members, "b.json")
