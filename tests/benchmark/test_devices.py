"""`albert_edge.benchmark.devices.device`: addresses, results, and this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from albert_edge.benchmark.devices.device import Local, open_device, parse_worker_output
from albert_edge.benchmark.system import describe_machine
from albert_edge.errors import BundleError, ConfigError, DeviceError, MissingExtraError

ENDED = {"stderr": "", "ending": "exit code 0", "where": "here"}


def test_this_machine_describes_itself_in_another_process() -> None:
    described = open_device("local").run({"do": "describe"}, timeout_s=60)
    here = json.loads(json.dumps(describe_machine()))
    del described["conditions"], here["conditions"]
    assert described == here


def test_a_file_is_where_it_is() -> None:
    assert Local().send(Path("a/b.tflite")) == str(Path("a/b.tflite"))


@pytest.mark.parametrize("address", ["", "moon", "moon://user@host"])
def test_a_device_of_no_known_kind(address: str) -> None:
    with pytest.raises(ConfigError, match=r"unknown device .*choose from local"):
        open_device(address)


def test_this_machine_has_no_address() -> None:
    with pytest.raises(ConfigError, match="the address of this machine is 'local'"):
        open_device("local://here")


def test_a_result_is_parsed_and_an_error_keeps_its_class() -> None:
    assert parse_worker_output('{"a": 1}', **ENDED) == {"a": 1}
    with pytest.raises(BundleError, match="it is damaged"):
        parse_worker_output('{"error": "BundleError", "message": "it is damaged"}', **ENDED)
    with pytest.raises(MissingExtraError, match="no such package"):
        parse_worker_output('{"error": "MissingExtraError", "message": "no such package"}', **ENDED)


@pytest.mark.parametrize("kind", ["SystemExit", "annotations", "nothing"])
def test_an_error_of_no_known_class_is_the_device_s(kind: str) -> None:
    with pytest.raises(DeviceError, match="odd"):
        parse_worker_output(json.dumps({"error": kind, "message": "odd"}), **ENDED)


@pytest.mark.parametrize("text", ["", "Segmentation fault", "[1]", "7", '{"a": '])
def test_without_a_result_the_error_contains_the_exit(text: str) -> None:
    with pytest.raises(
        DeviceError, match=r"here: exit code 9; its last output was:\n  two\n  three"
    ):
        parse_worker_output(text, stderr="two\nthree\n", ending="exit code 9", where="here")
