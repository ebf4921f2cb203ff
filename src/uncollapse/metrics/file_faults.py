"""Unusable rows of files, counted over the file in which they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uncollapse.samples import RowError, row_fault, row_faults, row_norms, sample_of
from uncollapse.tables import Place, Reading, Rows

# Faults of the embeddings; the others are of the file with the labels, if that is another.
_OF_EMBEDDINGS = ("not_finite", "zero")


def over_its_file(error: RowError, reading: Reading) -> RowError:
    """An error about some rows as one about the first file with such rows: how many to correct.

    A fault of several rows together, which no part shows by itself, is left as it is.
    """
    faulty = next(
        ((p, n) for p in reading.parts() for n, bad in _faults(p).items() if bad.any()), None
    )
    if faulty is None:
        return error
    faulty_part, name = faulty
    path, bad, rows, first = _place(faulty_part, name).path, 0, 0, -1
    for part in reading.parts():
        if _place(part, name).path != path:
            continue
        here = np.flatnonzero(_faults(part)[name])
        if first < 0 and len(here):
            first = _place(part, name).row + int(here[0])
        bad, rows = bad + len(here), rows + len(part)
    return row_fault(name, bad, rows, first, faulty_part.sources)


def _faults(part: Rows) -> dict[str, NDArray[np.bool_]]:
    """Which rows of a part have which fault by themselves; views of one row together."""
    sample = sample_of(part.embeddings, part, part.sources)
    faults = row_faults(sample, row_norms(sample.matrix))
    views = {name: bad.reshape(len(part), -1) for name, bad in faults.items()}
    return {name: np.any(bad, axis=1) for name, bad in views.items()}


def _place(part: Rows, fault: str) -> Place:
    return part.vectors_place if fault in _OF_EMBEDDINGS else part.place
