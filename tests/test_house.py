"""The shape of the package: how many modules a reader of one job has to open."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

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
