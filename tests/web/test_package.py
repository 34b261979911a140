"""The package for web pages by itself: its own tests, its version and its types."""

from __future__ import annotations

import json

import albert_edge
from rigs.node import run_node
from web.node import WEB


def test_its_own_tests_pass():
    done = run_node("--test", "test/", folder=WEB)
    assert not done.returncode, done.stdout + done.stderr
    assert "# fail 0" in done.stdout
    assert "# skipped 0" in done.stdout


def test_it_has_the_version_of_the_python_package_and_no_dependency():
    package = json.loads((WEB / "package.json").read_text())
    assert package["version"] == albert_edge.__version__
    assert "dependencies" not in package
    for name in (package["types"], package["exports"]["."]["default"], *package["files"]):
        assert (WEB / name).exists(), name
