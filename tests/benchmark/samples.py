"""What the tests of measurements share: the shortest one, and a hostile name."""

from __future__ import annotations

from typing import Any

BRIEF: dict[str, Any] = {"runs": 1, "warmup": 0, "min_time_s": 0}
HOSTILE = "<img src=x onerror=alert(1)>&lt;\"'\u202eeman"
