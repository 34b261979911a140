"""The structure of the package: its imports, its tests' places, and what a job has to open."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "albert_edge"
# A folder or module imports only from those on the lines before it, and from its own.
ORDER = (
    ("errors",),
    ("tasks", "files", "targets"),
    ("config", "early_exit", "litert_js"),
    ("tokenizer",),
    ("checkpoints",),
    ("modeling",),
    ("tflite",),
    ("bundle",),
    ("runtime",),
    ("quantization",),
    ("pipelines",),
    ("benchmark",),
    ("datasets",),
    ("verification", "inspection"),
    ("conversion", "evaluation"),
    ("demo", "demo_page", "doctor"),
    ("training",),
    ("sweep",),
    ("cli",),
)
RANKS = {name: rank for rank, names in enumerate(ORDER) for name in names}
TENSORFLOW_ROOTS = ("tensorflow", "tf_keras", "tensorflow_model_optimization")
# Modules whose behaviour is that of others: what tests them instead.
TESTED_ELSEWHERE = {
    "cli/demo": "test_demo.py",
    "cli/inspect": "cli/test_cli.py",
    "training/compression/tfmot": "training/compression/test_cluster.py",
}

# The functions that catch every exception, how often, and why they may.
BROAD = {
    "evaluation/predict.py:_run_parallel": (1, "cancels the work that waits, and raises it again"),
    "benchmark/devices/adb.py:connect": (1, "closes the connection, and raises it again"),
    "benchmark/devices/adb_connection.py:__init__": (1, "ends the process, and raises it again"),
    "benchmark/devices/ssh.py:connect": (1, "closes the connection, and raises it again"),
    "benchmark/devices/ssh_connection.py:__init__": (1, "ends the thread, and raises it again"),
    "benchmark/devices/ssh_connection.py:close": (1, "a connection may be lost in any way"),
    "benchmark/devices/ssh_connection.py:_wait_for": (
        1,
        "cancels the request, and raises it again",
    ),
    "sweep/trial.py:run_trial": (1, "a trial may fail in any way; it is a row of the report"),
    "runtime/model.py:_wait": (1, "gives up its place in the queue, and raises it again"),
    "runtime/model.py:_make": (1, "is raised again in the thread that called"),
    "cli/__init__.py:quiet_stderr": (1, "shows what libraries printed, and raises it again"),
    "tflite/export.py:convert_stage": (
        1,
        "the converter's own types are private; raised as its cause",
    ),
}

# Print every module of the package that has a function which `convert default` calls.  Calls from
# module bodies do not count, nor do class bodies (without CO_OPTIMIZED) or comprehensions.
TRACE = """
import sys, threading
from pathlib import Path
import albert_edge
package = str(Path(albert_edge.__file__).parent) + "/"
entered = set()

def profile(frame, event, argument):
    code, caller = frame.f_code, frame.f_back
    if event != "call" or not code.co_filename.startswith(package) or not code.co_flags & 1:
        return
    if code.co_name in ("<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>"):
        return
    imported = caller.f_code.co_name == "<module>"
    if not (imported and caller.f_code.co_filename.startswith(package)):
        entered.add(code.co_filename.removeprefix(package))

from albert_edge.cli import main
sys.argv = ["albert-edge", "convert", "default", "-o", sys.argv[1]]
sys.setprofile(profile)
threading.setprofile(profile)
try:
    main()
except SystemExit as error:
    assert not error.code, error.code
finally:
    sys.setprofile(None)
print(*sorted(entered), sep="\\n")
"""


def test_a_default_convert_enters_few_modules(tmp_path: Path) -> None:
    path = tmp_path / "default.tflite"
    done = subprocess.run(
        [sys.executable, "-c", TRACE, path],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert path.is_file()
    modules = [line for line in done.stdout.splitlines() if line.endswith(".py")]
    assert "tflite/link.py" in modules
    assert len(modules) <= 40, modules


def imports() -> Iterator[tuple[str, str]]:
    """Yield which module of the package imports which, both as dotted names."""
    names = {dotted(path) for path in PACKAGE.rglob("*.py")}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: imports are absolute"
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    target = full if full in names else str(node.module)
                    if target in names and target != dotted(path):
                        yield dotted(path), target


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_imports_point_one_way() -> None:
    wrong = []
    for module, target in imports():
        if module == "albert_edge" or target == "albert_edge":  # lazy names, and the version
            continue
        here, there = module.split(".")[1], target.split(".")[1]
        if here != there and RANKS[there] >= RANKS[here]:
            wrong.append(f"{module} imports {target}")
    assert not wrong


def test_every_folder_has_a_place_in_the_order() -> None:
    found = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir()}
    assert found - {"__init__", "__pycache__", "models", "py"} == set(RANKS)


def test_every_module_has_its_tests() -> None:
    missing = []
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE)
        test = ROOT / "tests" / place.with_name(f"test_{place.name}")
        if path.name != "__init__.py" and not test.exists():
            missing.append(str(place.with_suffix("")))
    assert sorted(missing) == sorted(TESTED_ELSEWHERE)
    assert len(TESTED_ELSEWHERE) <= 10
    for test in TESTED_ELSEWHERE.values():
        assert (ROOT / "tests" / test).exists(), test


def broad_clauses() -> Iterator[str]:
    """Yield the place of every clause of the package that catches all exceptions."""
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler):
                caught = [node.type] if node.type else [ast.Name("BaseException")]
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
                caught = node.args
            else:
                continue
            names = {
                name.id for one in caught for name in ast.walk(one) if isinstance(name, ast.Name)
            }
            if names & {"Exception", "BaseException"}:
                inner = [one for one in functions if node in ast.walk(one)][-1]
                yield f"{path.relative_to(PACKAGE)}:{inner.name}"


def test_every_clause_that_catches_all_has_a_reason() -> None:
    assert Counter(broad_clauses()) == {place: count for place, (count, _) in BROAD.items()}


@pytest.mark.parametrize(
    "module",
    [
        "albert_edge.benchmark.worker",
        "albert_edge.cli",
        "albert_edge.pipelines",
        "albert_edge.runtime",
        "albert_edge.tokenizer",
    ],
)
def test_what_runs_on_a_device_imports_no_tensorflow(module: str) -> None:
    code = f"import sys, {module}; print([n for n in {TENSORFLOW_ROOTS} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_count_stays_within_its_bounds() -> None:
    script = ROOT / "tests" / "house_count.py"
    done = subprocess.run([sys.executable, script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_lists_what_other_modules_import() -> None:
    used: dict[str, set[str]] = {}
    names = {dotted(path) for path in PACKAGE.rglob("*.py")}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in names - {dotted(path)}:
                used.setdefault(str(node.module), set()).update(a.name for a in node.names)
    for path in PACKAGE.rglob("*.py"):
        module = dotted(path)
        if module in ("albert_edge", "albert_edge.errors"):  # what users import and catch
            continue
        listed = {
            element.value
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
            for element in node.value.elts  # type: ignore[attr-defined]
        }
        unused = listed - used.get(module, set())
        assert not unused, f"{module} exports what no other module imports: {sorted(unused)}"
