"""What shells, disks, terminals and file names do to the command line: one line, or the answer.

Every situation is a real process.  All are started once, a few at a time, and each test looks at
how one of them ended.
"""

from __future__ import annotations

import ast
import io
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

import albert_edge
from albert_edge import cli, load
from albert_edge.cli import console
from albert_edge.cli.console import fit_table
from albert_edge.errors import BundleError, InputError, list_choices, printable, printable_values

ROOT = Path(albert_edge.__file__).parents[1]
VERB = f"{shlex.quote(sys.executable)} -c 'from albert_edge.cli import main; main()'"
ROOT_ONLY = "" if os.getuid() == 0 else "only root can mount a file system"
LONG = "模" * 80 + ".tflite"  # 247 bytes
HOSTILE = "a[b]\x1b[31m[red]\n.tflite"
# Nothing that a terminal obeys, in the output of a command that is no terminal.
CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A shell command, in which `albert-edge` is the command line, and how it ends.

    Attributes:
        command: Run by bash in a folder of its own, with `model.tflite` and `reviews.tsv` in it.
        code: The exit code.
        out: A pattern for standard output; None for nothing.
        err: A pattern for standard error; None for nothing.
        lines: The number of lines on standard error.
        skip: Why it cannot be tried here.
        env: Environment variables.
    """

    command: str
    code: int = 0
    out: str | None = None
    err: str | None = None
    lines: int = 1
    skip: str = ""
    env: MappingProxyType[str, str] = field(default_factory=lambda: MappingProxyType({}))


LABEL = r"positive  0\.\d{3}  after 1 layer\n"
FULL = "albert-edge: cannot write to standard output: No space left on device"
CLOSED = "albert-edge: cannot write to standard output: Bad file descriptor"
READ_ONLY = (
    "unshare -m bash -c 'for d in /tmp /var/tmp /usr/tmp; do [ -d $d ] && mount -t tmpfs -o ro none"
    ' $d; done; cd /proc; exec "$0" "$@"\' '
)
NO_DISK = "mount -t tmpfs -o size=16k none full && trap 'umount full' EXIT && "

SITUATIONS = {
    # Standard streams.
    "no stdin": Situation(command="albert-edge run default fine 0<&-", out=LABEL),
    "no stderr": Situation(command="albert-edge run default fine 2>&-", out=LABEL),
    "no stdin, no stderr": Situation(command="albert-edge run default fine 0<&- 2>&-", out=LABEL),
    "stderr is full": Situation(command="albert-edge run default fine 2>/dev/full", out=LABEL),
    "an error, and stderr is full": Situation(command="albert-edge run x y 2>/dev/full", code=1),
    "an error, and no stderr": Situation(command="albert-edge run x y 2>&-", code=1),
    "lines are to be read, and no stdin": Situation(
        command="albert-edge run default 0<&-",
        code=1,
        err="albert-edge: cannot read standard input: Bad file descriptor",
    ),
    "stdout is full": Situation(command="albert-edge presets >/dev/full", code=1, err=FULL),
    "stdout is full, JSON": Situation(
        command="albert-edge presets --json >/dev/full", code=1, err=FULL
    ),
    "stdout is full, help": Situation(command="albert-edge --help >/dev/full", code=1, err=FULL),
    "stdout is full, a verb's help": Situation(
        command="albert-edge run --help >/dev/full", code=1, err=FULL
    ),
    "stdout is full, a result": Situation(
        command="albert-edge run default fine >/dev/full", code=1, err=FULL
    ),
    "no stdout": Situation(command="albert-edge presets >&-", code=1, err=CLOSED),
    "stdout and stderr are full": Situation(
        command="albert-edge presets >/dev/full 2>/dev/full", code=1
    ),
    "the reader went away": Situation(command="albert-edge recipes | true", code=141),
    "head takes one line": Situation(
        command="yes fine | head -3000 | albert-edge run default | head -1", code=141, out=LABEL
    ),
    # Where there is no place for temporary files.
    "nothing can be written": Situation(
        command=READ_ONLY + VERB + " run default fine", out=LABEL, skip=ROOT_ONLY
    ),
    # The locale, and names.
    "the C locale": Situation(
        command="albert-edge run default 'schön 模'",
        out=r"\w+  0\.\d{3}  after \d+ layers?\n",
        env=MappingProxyType({"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}),
    ),
    "a name of 247 bytes": Situation(
        command=f"cp model.tflite {LONG}; albert-edge run {LONG} fine", out=LABEL
    ),
    "a name that is not UTF-8": Situation(
        command="cp model.tflite $'\\xff.tflite'; albert-edge inspect $'\\xff.tflite'",
        out=r"\\udcff\.tflite\n",
    ),
    "a name that is not UTF-8, in the C locale": Situation(
        command="albert-edge run $'\\xff.tflite' fine",
        code=1,
        err=r"albert-edge: cannot read \\udcff\.tflite: No such file or directory\.\n",
        env=MappingProxyType({"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}),
    ),
    "a name with markup and escapes": Situation(
        command=f"cp model.tflite {shlex.quote(HOSTILE)}; "
        f"albert-edge inspect {shlex.quote(HOSTILE)}",
        out=r"a\[b\]\\x1b\[31m\[red\]\\n\.tflite\n",
    ),
    "a name with markup and escapes, in an error": Situation(
        command=f"albert-edge run {shlex.quote(HOSTILE)} fine",
        code=1,
        err=r"albert-edge: cannot read a\[b\]\\x1b\[31m\[red\]\n  \.tflite: No such file",
        lines=2,
    ),
    "a verb with escapes": Situation(
        command="albert-edge $'\\e[31m'", code=2, err=r"Error: No such command '\\", lines=4
    ),
    "an option with escapes": Situation(
        command="albert-edge --$'\\e[31m'", code=2, err=r"Error: No such option.*--\\x1b", lines=4
    ),
    # What is no file.
    **{
        f"{kind} as a {what}": Situation(
            command=f"mkfifo pipe; mkdir folder; timeout -s KILL 100 albert-edge {verb}",
            code=1,
            err=rf"albert-edge: cannot read {path}: .*({message}|Is a directory)",
        )
        for kind, path, message in (
            ("a pipe", "pipe", "not a regular file"),
            ("a device", "/dev/zero", "not a regular file"),
            ("a folder", "folder", "Is a directory"),
        )
        for what, verb in (
            ("model", f"run {path} fine"),
            ("model to inspect", f"inspect {path}"),
            ("report", f"benchmark --from {path}"),
            ("calibration", f"convert default -o new.tflite --calibration {path}"),
            ("vocabulary's corpus", f"convert default -o new.tflite --trim-vocabulary {path}"),
        )
    },
    "a pipe as data": Situation(
        command="mkfifo pipe.tsv; timeout -s KILL 100 albert-edge evaluate default pipe.tsv",
        code=1,
        err="cannot read pipe.tsv: it is a pipe, not a regular file",
    ),
    "a pipe as predictions": Situation(
        command="mkfifo p.json; timeout -s KILL 100 albert-edge evaluate p.json reviews.tsv",
        code=1,
        err="cannot read p.json: it is a pipe, not a regular file",
    ),
    "a pipe in a checkpoint": Situation(
        command="mkdir c; cp config.json c; mkfifo c/model.safetensors; "
        "timeout -s KILL 100 albert-edge convert c -o new.tflite",
        code=1,
        err="c is not a Hugging Face checkpoint: it has no weights",
    ),
    "a pipe as a checkpoint's configuration": Situation(
        command="mkdir c; mkfifo c/config.json; touch c/model.safetensors; "
        "timeout -s KILL 100 albert-edge convert c -o new.tflite",
        code=1,
        err="c is not a Hugging Face checkpoint: it has no config.json",
    ),
    "onto a device": Situation(
        command="ln -s /dev/null p.json; "
        "albert-edge evaluate default reviews.tsv --predictions p.json --force",
        code=1,
        err="p.json is a device; name a regular file",
    ),
    "onto a pipe": Situation(
        command="mkfifo p.json; "
        "albert-edge evaluate default reviews.tsv --predictions p.json --force; "
        "code=$?; test -p p.json && exit $code",
        code=1,
        err="p.json is a pipe; name a regular file",
    ),
    "onto a full disk": Situation(
        command=f"mkdir full; {NO_DISK} head -c 16k /dev/zero > full/fill; "
        "albert-edge evaluate default reviews.tsv --predictions full/p.json; "
        "code=$?; [ $(ls -A full) = fill ] && exit $code",
        code=1,
        err="cannot write full/p.json: No space left on device",
        skip=ROOT_ONLY,
    ),
    "help without docstrings": Situation(
        command=VERB.replace(" -c", " -OO -c", 1) + " finetune --help",
        out=r"(?s)Fine-tune an ALBERT on DATA.*Peak learning rate",
    ),
}


def run_situation(situation: Situation, folder: Path) -> subprocess.CompletedProcess[bytes]:
    folder.mkdir()
    source = ROOT / "albert_edge" / "models" / "sentiment"
    (folder / "model.tflite").symlink_to(source / "model.tflite")
    (folder / "config.json").symlink_to(source / "config.json")
    (folder / "reviews.tsv").write_text("text\tlabel\nfine\tpositive\ndull\tnegative\n")
    program = folder / "albert-edge"  # a program, so that bash, unshare and timeout find it
    program.write_text(f'#!/bin/sh\nexec {VERB} "$@"\n')
    program.chmod(0o755)
    environment = {
        **os.environ,
        **situation.env,
        "PYTHONPATH": str(ROOT),
        "PATH": f"{folder}:{os.environ['PATH']}",
    }
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", situation.command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def ended(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Future[subprocess.CompletedProcess[bytes]]]]:
    folder = tmp_path_factory.mktemp("wild")
    with ThreadPoolExecutor(2) as pool:
        yield {
            name: pool.submit(run_situation, situation, folder / str(number))
            for number, (name, situation) in enumerate(SITUATIONS.items())
            if not situation.skip
        }


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_situation_ends_with_the_answer_or_one_line(
    name: str, ended: dict[str, Future[subprocess.CompletedProcess[bytes]]]
) -> None:
    expected = SITUATIONS[name]
    if expected.skip:
        pytest.skip(expected.skip)
    done = ended[name].result()
    assert done.returncode == expected.code, done
    for shown, pattern in ((done.stdout, expected.out), (done.stderr, expected.err)):
        assert not CONTROL.search(shown)
        if pattern is None:
            assert shown == b""
        else:
            assert re.search(pattern, shown.decode())
    if expected.err is not None:
        assert len(done.stderr.splitlines()) == expected.lines


# Signals.

TRAINING = (
    "finetune reviews.tsv -o out --config config.json --max-length 32 --epochs 100000 "
    "--save-every 0"
)


def train(tmp_path: Path, toy_table: Path, toy_shape: Path, *options: str) -> Any:
    (tmp_path / "reviews.tsv").write_bytes(toy_table.read_bytes())
    (tmp_path / "config.json").write_bytes(toy_shape.read_bytes())
    return subprocess.Popen(
        [*shlex.split(VERB), *shlex.split(TRAINING), *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("number", "options", "said"),
    [
        (signal.SIGINT, (), "interrupted; --resume continues from out.training."),
        (
            signal.SIGTERM,
            ("--force",),
            "terminated; --resume instead of --force continues from out.training.",
        ),
    ],
)
def test_a_training_that_is_stopped_says_how_it_goes_on(
    tmp_path: Path,
    toy_table: Path,
    toy_shape: Path,
    number: signal.Signals,
    options: tuple[str, ...],
    said: str,
) -> None:
    process = train(tmp_path, toy_table, toy_shape, *options)
    deadline = time.monotonic() + 240
    while not (tmp_path / "out.training").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + number, "")
    assert err == f"albert-edge: {said}\n"
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".partial")] == []


def test_control_c_at_a_terminal_is_one_line() -> None:
    command = [*shlex.split(VERB), "run", "default"]
    parent, child = pty.openpty()
    with subprocess.Popen(
        command,
        stdin=child,
        stdout=child,
        stderr=child,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # our terminal
    ) as process:
        os.close(child)
        os.write(parent, b"fine\n")
        shown = b""
        while b"after" not in shown:
            shown += os.read(parent, 1000)
        os.write(parent, b"\x03")
        process.wait(60)
    with suppress(OSError):
        shown += os.read(parent, 1000)
    os.close(parent)
    assert process.returncode == 130
    assert re.fullmatch(
        r"fine\r\npositive .* layer\r\n\^C\r?\n?albert-edge: interrupted\.\r\n", shown.decode()
    )


# Names are never markup or escapes.


@given(st.text(max_size=30))
def test_printable_text_has_nothing_that_a_terminal_obeys(text: str) -> None:
    shown = printable(text)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", shown)
    shown.encode()
    assert printable(shown) == shown
    if text.isprintable():
        assert shown == text


@given(
    st.recursive(
        st.text() | st.floats() | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_every_text_in_a_report_is_made_printable(report: Any) -> None:
    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        for part in value if isinstance(value, list) else ():
            yield from texts(part)
        for key, part in value.items() if isinstance(value, dict) else ():
            yield key
            yield from texts(part)

    assert all(printable(text) == text for text in texts(printable_values(report)))


NAMES = ["[b]x[/b]", "[/b]", "x\x1b[31m", "a\nb", ":smile:", "[link=http://x]"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_printed_as_it_is_by_every_report(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    row = {"max_difference": 1.0, "error": 0.1, "cosine": 1.0}
    verification = {
        "passed": True,
        "reference": name,
        "inputs": name,
        "outputs": {name: row},
        "agreement": None,
    }
    bundle = {
        "task": name,
        "quantize": "int8",
        "layout": "loop",
        "seq_len": None,
        "seq_lens": [],
        "target": name,
        "provenance": {"source": name, "compat": name},
        "labels": [name, "other"],
        "tokenizer_files": {name: 5},
        "verification": verification,
    }
    figures = {
        "bundle": bundle,
        "signatures": {name: {"inputs": {name: {"shape": [1], "dtype": name}}, "outputs": {}}},
        "pieces": {
            name: {
                "operators": {name: 1},
                "passes": 1,
                "weight_bytes": 1,
                "float_operators": [name],
            }
        },
        "weights": {
            "stored_bytes": 1,
            "by_type": {name: 1},
            "duplication": 1.0,
            "logical_bytes": 1,
            "sharing": 1.0,
        },
    }
    checkpoint = {"output": name, "task": name, "format": name, "tensors": 1, "source": name,
                  "notes": [name], "left_out": [name], "drawn": [name], "changes": {}}  # fmt: skip
    console.print_report(
        figures, as_json=False, render=lambda shown: console.render_inspection(name, shown)
    )
    console.print_report(checkpoint, as_json=False, render=console.render_checkpoint)
    shown = capsys.readouterr().out
    assert shown.count(printable(name)) >= 20
    assert not CONTROL.search(shown.encode())


def test_rich_is_given_no_text_to_read_as_markup() -> None:
    """Consoles are made by `cli.console`, without markup, and no text in the package has any."""
    for path in (ROOT / "albert_edge").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Console":
                given_ = {word.arg: getattr(word.value, "value", 0) for word in node.keywords}
                assert path.name == "console.py"
                assert given_["markup"] is given_["emoji"] is given_["highlight"] is False
            assert getattr(node, "attr", "") != "from_markup", path


# Narrow terminals.


@given(
    rows=st.lists(
        st.tuples(st.text("abc ", max_size=60), st.floats(0, 1e9), st.integers(0, 10**12)),
        min_size=1,
        max_size=4,
    ),
    width=st.integers(20, 90),
)
def test_figures_are_whole_at_every_width(rows: list[tuple[str, float, int]], width: int) -> None:
    table = Table("name", title="a title")
    for heading in ("median\nms", "parameters"):
        table.add_column(heading, justify="right")
    figures = [(name, f"{time_ms:.3f}", f"{count:,}") for name, time_ms, count in rows]
    for row in figures:
        table.add_row(*row)
    screen = Console(file=io.StringIO(), width=width, markup=False)
    screen.print(fit_table(table))
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in shown
    assert all(len(line) <= width for line in shown.splitlines())
    words = re.split(r"[\s│┃]+", shown)
    for _, *numbers in figures:
        assert set(numbers) <= set(words)


@pytest.mark.parametrize("width", [20, 40, 60, 80])
def test_the_verbs_cut_no_figure(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    presets = CliRunner().invoke(cli._group, ["presets"]).output
    assert {"1,275,291,648", "222,595,584", "890.4", "21.7×"} <= set(presets.split())
    recipes = CliRunner().invoke(cli._group, ["recipes"]).output
    rows = json.loads(CliRunner().invoke(cli._group, ["recipes", "--json"]).output)["recipes"]
    for row in rows:
        if "default_accuracy" in row:
            assert f"{row['default_accuracy']:.1%}" in recipes.split()
            assert f"{row['trained_encoder_cosine']:.4f}" in recipes.split()
    assert "…" not in presets + recipes


# Messages that list what there is.


@given(
    st.lists(st.text(min_size=1, max_size=3000), min_size=1, max_size=200, unique=True), st.text()
)
def test_a_list_of_choices_is_short(names: list[str], wanted: str) -> None:
    assert len(list_choices(names, given=wanted)) <= 520


def test_of_few_choices_all_are_listed_and_of_many_the_nearest() -> None:
    assert list_choices(["mean", "cls"], given="means") == "mean, cls"
    many = [f"label {number}" for number in range(5000)]
    shown = list_choices(many, given="label 4321x")
    assert "label 4321," in shown
    assert shown.endswith("(5,000 in all)")
    assert list_choices(many).startswith("label 0, label 1, label 2")


# Results that are no numbers, and sources that are no files.


def test_outputs_that_are_not_finite_are_an_error(tiny_tflite: Callable[..., bytes]) -> None:
    import numpy as np

    pipe = load(tiny_tflite())
    whole = pipe.model._forward

    def broken(*inputs: Any) -> dict[str, Any]:
        return {name: np.full_like(values, np.nan) for name, values in whole(*inputs).items()}

    assert pipe(input_ids=[2, 5, 3])["label"]
    pipe.model._forward = broken
    with pytest.raises(BundleError, match="returns NaN or infinity in logits"):
        pipe(input_ids=[2, 5, 3])


def test_an_open_file_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    file = (tmp_path / "x").open("rb")
    with file, pytest.raises(InputError, match="give its name or what its read"):
        load(file)  # type: ignore[arg-type]


# The package in a zip file, and with dates before 1980.


def test_the_package_runs_from_a_zip_file_dated_1980(tmp_path: Path) -> None:
    package = tmp_path / "package.zip"
    with zipfile.ZipFile(package, "w") as archive:
        for path in sorted((ROOT / "albert_edge").rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                name = str(path.relative_to(ROOT))
                archive.writestr(zipfile.ZipInfo(name), path.read_bytes())
    code = (
        "import sys, albert_edge\n"
        "from albert_edge.benchmark.devices.ssh import pack_worker\n"
        "from albert_edge.benchmark.html import _head\n"
        "from albert_edge.cli import main\n"
        "from albert_edge.checkpoints import read_checkpoint\n"
        "assert '.zip' in albert_edge.__file__\n"
        "assert len(pack_worker()) > 10_000\n"
        "assert _head('title')\n"
        "assert read_checkpoint('default').source == 'default'\n"
        "assert albert_edge.load_tokenizer('default').vocab_size > 100\n"
        "sys.argv[1:] = ['run', 'default', 'fine']\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(package)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(LABEL, done.stdout)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["package.zip"]


def test_the_package_for_a_device_has_no_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    from albert_edge.benchmark.devices.ssh import pack_worker

    blob = pack_worker()
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        dates = {info.date_time[0] for info in archive.infolist()}
    assert dates == {1980}
    assert pack_worker() == blob
