"""Run the cases whose numbers come in on standard input; see `engine`."""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

from .engine import area_module, run_case


def main() -> None:
    name, folder, memory = sys.argv[1:]
    # What a library prints must not stand between the results.
    results = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    area = area_module(name)
    seeds = area.load(Path(folder))
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), resource.getrlimit(resource.RLIMIT_AS)[1]))
    results.write(b"ready\n")
    for line in sys.stdin:
        _, *result = run_case(area, int(line), seeds)
        results.write(json.dumps(result).encode() + b"\n")


if __name__ == "__main__":
    main()
