"""Numbers of tables and arrays: none may be missing or infinite."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError

__all__ = ["check_finite"]

_ROWS = 65536


def check_finite(values: NDArray[Any], name: str) -> None:
    """Refuses NaN and infinity.

    Args:
        values: (N, ...) numbers.
        name: Of the column, for the error.

    Raises:
        InputError: Names the column, the number of rows and the first of them.
    """
    bad = [
        start + np.flatnonzero(~np.isfinite(part.reshape(len(part), -1)).all(axis=1))
        for start in range(0, len(values), _ROWS)
        for part in [values[start : start + _ROWS]]
    ]
    rows = np.concatenate(bad) if bad else np.empty(0, int)
    if len(rows):
        raise InputError(
            f"finite numbers in column {name!r}",
            f"NaN or infinity in {len(rows)} of {len(values)} rows, the first row {rows[0]}",
            "fill them or take the rows out",
        )
