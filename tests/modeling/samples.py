"""Ids of two rows."""

from __future__ import annotations

import numpy as np

IDS = np.array([[2, 5, 9, 3], [2, 8, 3, 0]], np.int32)
