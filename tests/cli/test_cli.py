"""The command line as people use it: exit codes, streams, and one clear error at a time."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from albert_edge import cli
from albert_edge.bundle import bundle
from albert_edge.errors import EXTRAS, MissingExtraError
from albert_edge.tflite.graph import pack
from cli.commands import PARITY, albert_edge
from gpu_graphs import GRAPHS, RIGHT


def test_help_names_every_verb_and_each_has_examples():
    shown = albert_edge("--help").output
    for verb in cli._VERBS:
        assert verb in shown
        assert f"albert-edge {verb}" in albert_edge(verb, "--help").output


@pytest.mark.parametrize("module", ["albert_edge", "albert_edge.cli", "albert_edge.pipelines"])
def test_what_runs_on_a_device_never_imports_tensorflow(module):
    code = f"import sys, {module}; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_running_a_file_never_imports_tensorflow(tiny):
    code = (
        "import sys; from albert_edge import load; "
        f"load({str(tiny)!r})(input_ids=[2, 5, 3]); sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_convert_verify_and_inspect_agree(tmp_path):
    source, output = PARITY / "base_classification", tmp_path / "m.tflite"
    made = albert_edge("convert", source, "-o", output, "--quantize", "float16", "--json")
    assert made.exit_code == 0, made.output
    report = json.loads(made.stdout)
    assert report["size_bytes"] == output.stat().st_size
    assert report["verification"]["passed"]

    seen = json.loads(albert_edge("inspect", output, "--json").stdout)
    assert seen["bundle"]["quantize"] == "float16"
    assert seen["bundle"]["verification"] == report["verification"]

    checked = albert_edge("verify", output, source, "--json")
    assert checked.exit_code == 0, checked.output
    assert json.loads(checked.stdout)["outputs"] == report["verification"]["outputs"]


def test_people_get_tables(tmp_path, tiny):
    output = tmp_path / "m.tflite"
    shown = albert_edge("convert", PARITY / "base_classification", "-o", output).output
    assert "passed" in shown
    assert "no tokenizer" in shown
    shown = albert_edge("inspect", tiny).output
    assert "layer_0" in shown
    assert "stored 1.0" in shown


def test_inspect_exits_with_1_if_a_gpu_would_be_wrong():
    file = PARITY.parent / "unrolled_for_cpus.tflite"
    done = albert_edge("inspect", file, "--accelerator", "gpu")
    assert done.exit_code == 1
    assert "does not belong on a GPU: ADD computed wrong: rows of a constant" in done.stderr
    for part in ("GELU", "what to do", "make it of MUL, ADD and TANH", "left to the CPU"):
        assert part in done.stdout
    done = albert_edge("inspect", file, "--accelerator", "gpu", "--json")
    assert done.exit_code == 1
    assert len(json.loads(done.stdout)["gpu"]["findings"]) == 49
    assert albert_edge("inspect", file).exit_code == 0


def test_inspect_bisects_on_the_gpu(tmp_path, software_gpu):
    file = tmp_path / "rows.tflite"
    file.write_bytes(pack(GRAPHS["rows-of-constant"]()))
    done = albert_edge("inspect", file, "--accelerator", "gpu", "--bisect")
    assert done.exit_code == 1
    assert "ADD is computed wrong (operator 1, add5)" in done.stderr
    assert "compared with the CPU: SwiftShader" in done.stdout
    assert "first operator that differs: ADD computed wrong, 0.23 of the largest" in done.stdout
    assert "operator 1, add5: 8×16, 8×16 → 8×16" in done.stdout
    file.write_bytes(pack(RIGHT()))
    done = albert_edge("inspect", file, "--accelerator", "gpu", "--bisect", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["gpu"]["bisect"]["divergence"] is None


def test_bisecting_needs_an_accelerator(tiny):
    done = albert_edge("inspect", tiny, "--bisect")
    assert done.exit_code == 2
    assert "add --accelerator" in done.stderr


def test_an_existing_file_is_kept_without_force(tmp_path, tiny):
    before = tiny.read_bytes()
    done = albert_edge("convert", PARITY / "base_classification", "-o", tiny)
    assert done.exit_code == 1
    assert "exists; give --force" in done.stderr
    assert tiny.read_bytes() == before
    done = albert_edge("convert", PARITY / "base_classification", "-o", tiny, "--force")
    assert done.exit_code == 0
    assert bundle.read(tiny).provenance["source"] == "base_classification"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["convert", "nowhere", "-o", "m.tflite"], "'nowhere' is not a directory"),
        (["convert", "albert-base-v2", "-o", "no/m.tflite"], "directory no does not exist"),
        (["inspect", "nowhere.tflite"], "cannot read nowhere.tflite"),
        (["run", "nowhere.tflite", "hello"], "cannot read nowhere.tflite"),
        (["verify", "nowhere.tflite", "albert-base-v2"], "cannot read nowhere.tflite"),
        (["presets", "--nonsense"], "No such option"),
        (["convert", "albert-base-v2"], "Missing option '-o'"),
        (
            ["convert", "x", "-o", "m.tflite", "--seq-len", "many"],
            "neither 'any' nor whole numbers",
        ),
    ],
)
def test_a_mistake_gives_one_clear_error(args, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = albert_edge(*args)
    assert done.exit_code == (2 if "Usage:" in done.output else 1)
    assert message in done.output
    assert "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_where_it_happened(tiny):
    done = albert_edge("--debug", "run", "nowhere.tflite", "hello")
    assert done.exception is not None
    assert "cannot read" in str(done.exception)


@pytest.mark.parametrize("package", EXTRAS)
def test_a_missing_package_is_one_line_that_names_its_extra(package, monkeypatch):
    def fail(*_, **__):
        raise ModuleNotFoundError("no module", name=f"{package}.inner")

    monkeypatch.setattr("albert_edge.inspection.inspect", fail)
    done = albert_edge("inspect", "m.tflite")
    assert done.exit_code == 1
    assert done.stderr == (
        f"albert-edge: {package} is not installed, and this needs it. "
        f"Install it with: pip install 'albert_edge[{EXTRAS[package]}]'\n"
    )
    assert isinstance(albert_edge("--debug", "inspect", "m.tflite").exception, MissingExtraError)


def test_a_missing_package_of_no_extra_is_a_bug(monkeypatch):
    def fail(*_, **__):
        raise ModuleNotFoundError("no module", name="nonsense")

    monkeypatch.setattr("albert_edge.inspection.inspect", fail)
    assert isinstance(albert_edge("inspect", "m.tflite").exception, ModuleNotFoundError)


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("convert", "default", "-o", "m.tflite"), "convert"),
        (("verify", "default", "default"), "convert"),
        (("demo",), "convert"),
        (("pretrain", "t.txt", "-o", "m"), "train"),
        (("finetune", "d.tsv", "-o", "m"), "train"),
        (("compress", "default", "--with", "prune", "--data", "d.tsv", "-o", "m"), "train"),
        (("compress", "default", "--sensitivity"), "convert"),
    ],
)
def test_without_tensorflow_each_verb_names_the_extra(arguments, extra, tmp_path):
    code = (
        "import sys; sys.modules.update(tensorflow=None, tf_keras=None)\n"
        f"sys.argv[1:] = {list(arguments)!r}\n"
        "from albert_edge.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"pip install 'albert_edge[{extra}]'" in done.stderr
