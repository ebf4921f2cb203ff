"""Numbers of tables and arrays: none may be missing, infinite, or too large for float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError

_ROWS = 65536
_LARGEST = float(np.finfo(np.float32).max)


def check_finite(values: NDArray[Any], name: str) -> None:
    """Refuses NaN, infinity, and what becomes infinity as float32, in (N, ...) numbers."""
    bad = [
        start + np.flatnonzero(~(np.abs(part.reshape(len(part), -1)) <= _LARGEST).all(axis=1))
        for start in range(0, len(values), _ROWS)
        for part in [values[start : start + _ROWS]]
    ]
    rows = np.concatenate(bad) if bad else np.empty(0, int)
    if len(rows):
        raise InputError(
            f"finite numbers in column {name!r}",
            f"NaN or infinity (as float32) in {len(rows)} of {len(values)} rows, "
            f"the first row {rows[0]}",
            "fill them or take the rows out",
        )
