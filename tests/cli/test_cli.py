"""The command line as people use it: exit codes, streams, and one clear error at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from albert_edge import cli
from albert_edge.bundle import bundle
from albert_edge.errors import EXTRAS, MissingExtraError

PARITY = Path(__file__).parents[1] / "data" / "parity"


def albert_edge(*args, stdin=""):
    return CliRunner().invoke(cli._group, [str(arg) for arg in args], input=stdin)


@pytest.fixture
def tiny(tiny_tflite, tmp_path):
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tiny_tflite())
    return path


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


def test_verify_against_another_checkpoint_fails_with_1(tmp_path, tiny):
    done = albert_edge("verify", tiny, PARITY / "base_classification")
    assert done.exit_code == 1
    assert "verify it against the checkpoint that it was made from" in done.stderr


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
        (["convert", "x", "-o", "m.tflite", "--seq-len", "many"], "neither 'any' nor a whole"),
    ],
)
def test_a_mistake_gives_one_clear_error(args, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = albert_edge(*args)
    assert done.exit_code == (2 if "Usage:" in done.output else 1)
    assert message in done.output
    assert "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == []


def test_run_takes_ids_from_the_argument_and_from_lines(tiny):
    one = albert_edge("run", tiny, "2 17 33 3", "--ids", "--json")
    many = albert_edge("run", tiny, "--ids", "--json", stdin="2 17 33 3\n2 5 | 8 3\n")
    assert one.exit_code == many.exit_code == 0
    answers = [json.loads(line) for line in many.stdout.splitlines()]
    assert answers[0] == json.loads(one.stdout)
    assert set(answers[1]["scores"]) == {"negative", "neutral", "positive"}


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        ("2 5 3\n2 x 3\n", "line 2: --ids takes whole numbers"),
        ("2 99 3\n", "line 1: input_ids must be in [0, 60); there is 99"),
        ("2 5 3\n\n", "line 2: input_ids must be"),
    ],
)
def test_a_bad_line_is_named(tiny, stdin, message):
    done = albert_edge("run", tiny, "--ids", stdin=stdin)
    assert done.exit_code == 1
    assert message in done.stderr


def test_a_line_that_is_not_utf8_is_named(tiny):
    done = CliRunner().invoke(cli._group, ["run", str(tiny), "--ids"], input=b"2 5 3\n\xff\n")
    assert done.exit_code == 1
    assert "line 2 is not UTF-8" in done.stderr


def test_question_and_task_must_agree(tiny):
    done = albert_edge("run", tiny, "hello", "--question", "Who?")
    assert done.exit_code == 2
    assert "does not take --question" in done.stderr


def test_debug_shows_where_it_happened(tiny):
    done = albert_edge("--debug", "run", "nowhere.tflite", "hello")
    assert done.exception is not None
    assert "cannot read" in str(done.exception)


def test_every_optional_package_is_in_its_extra():
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    for package, extra in EXTRAS.items():
        if package == "ml_dtypes":  # TensorFlow installs it
            continue
        installs = text.partition(f"\n{extra} = [")[2].partition("\n\n")[0].partition("]\n")[0]
        assert f'"{package.replace("_", "-")}>=' in installs, package


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
