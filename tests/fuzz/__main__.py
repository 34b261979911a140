"""Print a table of what damaged input does; see the package's documentation."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from .engine import AREAS, area_module, fuzz, run_case


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--area", action="append", choices=AREAS, help="default: every area")
    parser.add_argument("--seconds", type=float, default=60, help="for each area (60)")
    parser.add_argument("--cases", type=int, default=10**9, help="at most, for each area")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case (0)")
    parser.add_argument("--kinds", default="", help="what the names of the mutations begin with")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--case", type=int, help="run this case again, in this process")
    given = parser.parse_args()
    failed = False
    for name in given.area or AREAS:
        with tempfile.TemporaryDirectory() as folder:
            if given.case is not None:
                area = area_module(name)
                area.prepare(Path(folder))
                print(*run_case(area, given.case, area.load(Path(folder))), sep="\n")
                continue
            table = fuzz(
                name,
                Path(folder),
                seconds=given.seconds,
                first=given.first,
                workers=given.workers,
                most=given.cases,
                kinds=given.kinds,
            )
        print(table.format(), *table.failures, sep="\n", flush=True)
        failed |= bool(table.failures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
