"""Rigs are installed once, whole or not at all, and a missing one is noticed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rigs import __main__ as command
from rigs.install import Rig, RigError, call, compile_c

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ALBERT_EDGE_RIGS_DIR", str(tmp_path / "rigs"))
    monkeypatch.delenv("ALBERT_EDGE_RIGS", raising=False)


def a_rig(build=lambda folder: (folder / "it").touch(), **changes) -> Rig:
    return Rig(**{"name": "some", "what": "Some rig", "build": build, **changes})


def test_a_rig_is_built_once_and_anew_when_its_recipe_changes():
    built = []
    rig = a_rig(built.append)
    rig.install()
    rig.install()
    assert built == [rig.path]
    newer = a_rig(built.append, version=2)
    newer.install()
    assert built == [rig.path, newer.path]


def test_a_rig_whose_source_changes_has_another_folder():
    assert a_rig(sources=("android.c",)).path != a_rig(sources=("opencl.c",)).path


def test_an_interrupted_build_is_not_taken_for_a_rig_and_is_built_anew():
    def fail(folder):
        (folder / "half").touch()
        raise RigError("no network")

    broken = a_rig(fail)
    with pytest.raises(RigError, match="no network"):
        broken.install()
    assert not broken.installed
    rig = a_rig()
    rig.install()
    assert rig.installed
    assert not (rig.path / "half").exists()


def test_a_missing_rig_skips_and_says_how_to_install_it():
    with pytest.raises(pytest.skip.Exception, match=r"python -m tests\.rigs install some"):
        a_rig().require()


def test_a_missing_rig_fails_where_rigs_are_required(monkeypatch):
    monkeypatch.setenv("ALBERT_EDGE_RIGS", "required")
    with pytest.raises(pytest.fail.Exception, match="ALBERT_EDGE_RIGS is `required`"):
        a_rig().require()


def test_an_installed_rig_is_returned():
    rig = a_rig()
    rig.install()
    assert (rig.require() / "it").exists()


def test_errors_say_which_program_is_missing_and_what_a_failed_one_printed(tmp_path):
    with pytest.raises(RigError, match="no-such-program is missing: install it"):
        call("no-such-program")
    with pytest.raises(RigError, match=r"`gcc .*does-not-exist\.c.*` failed:(.|\n)*No such file"):
        compile_c("does-not-exist.c", tmp_path / "lib.so")


def test_the_command_refuses_a_name_that_is_no_rig():
    done = subprocess.run(
        [sys.executable, "-m", "tests.rigs", "install", "gpu"],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no rig is named gpu; choose from swiftshader, opencl, android" in done.stderr


@pytest.fixture
def install(monkeypatch):
    """A function that installs rigs as the command does."""

    def run(*rigs: Rig) -> None:
        monkeypatch.setattr(command, "RIGS", {rig.name: rig for rig in rigs})
        monkeypatch.setattr(sys, "argv", ["rigs", "install", *(rig.name for rig in rigs)])
        command.main()

    return run


def test_the_command_installs_several_rigs_at_a_time(install, capsys):
    met = threading.Barrier(2, timeout=60)
    rigs = [a_rig(lambda _: met.wait(), name=name) for name in ("one", "two")]
    install(*rigs)
    assert all(rig.installed for rig in rigs)
    printed = capsys.readouterr().out
    assert all(f"{rig.name}: installed in {rig.path} in " in printed for rig in rigs)


def test_the_command_names_the_rig_that_fails(install):
    def fail(_):
        raise RigError("no network")

    whole = a_rig(name="whole")
    with pytest.raises(SystemExit, match=r"^broken: no network$"):
        install(whole, a_rig(fail, name="broken"))
    assert whole.installed
