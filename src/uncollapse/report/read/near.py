"""Rows that lie nearest to each other within a class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uncollapse.report.rows_model import Floats, Near

# Pairs that a report lists, and of each class at least so many.
MOST_PAIRS, LEAST_OF_CLASS = 200, 3


def nearest_pairs(vectors: Floats, codes: NDArray[np.int64]) -> tuple[Near, ...]:
    """Of each row (n, d) of unit length and its nearest of the same class (n,), the closest pairs.

    A pair counts once; of many classes each has few, so that a collapsed one does not fill the
    list. The largest cosine comes first.
    """
    classes = int(codes.max()) + 1
    of_each = max(LEAST_OF_CLASS, MOST_PAIRS // classes)
    found: list[Near] = []
    for code in range(classes):
        rows = np.flatnonzero(codes == code)
        if len(rows) < 2:
            continue
        cosines = vectors[rows] @ vectors[rows].T
        np.fill_diagonal(cosines, -2.0)
        nearest = cosines.argmax(axis=1)
        pairs = {tuple(sorted((one, int(other)))) for one, other in enumerate(nearest)}
        closest = sorted(((float(cosines[a, b]), a, b) for a, b in pairs), reverse=True)
        found += [
            Near(int(rows[a]), int(rows[b]), min(1.0, cosine)) for cosine, a, b in closest[:of_each]
        ]
    return tuple(sorted(found, key=lambda pair: -pair.cosine)[:MOST_PAIRS])
