"""Unusable rows of files, counted over the file in which they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uncollapse.samples import RowError, check_rows, row_fault, sample_of
from uncollapse.tables import Part, Reading

__all__ = ["check_part", "recounted"]

# Faults of the embeddings; the others are of the file with the labels, if that is another.
_OF_EMBEDDINGS = ("not_finite", "zero")


def _faults(part: Part) -> dict[str, NDArray[np.bool_]]:
    """Which rows of a part have which fault by themselves."""
    values = part.columns
    sample = sample_of(
        part.embeddings,
        values["labels"],
        values.get("instances"),
        values.get("groups"),
        {},
        part.sources,
    )
    columns = {
        "no_label": sample.labels,
        "no_instance": sample.instances,
        "no_group": sample.groups,
    }
    return check_rows(sample.matrix, columns)[0]


def check_part(part: Part, reading: Reading) -> None:
    """Raise for the first fault of a part, counted over its whole file."""
    for name, bad in _faults(part).items():
        if bad.any():
            raise _counted(name, part, reading)


def recounted(error: RowError, part: Part, reading: Reading) -> RowError:
    """An error about rows of one part as one about its whole file."""
    if error.fault not in _faults(part):
        return error  # A fault of several rows together, which only the stream knows.
    return _counted(error.fault, part, reading)


def _counted(name: str, part: Part, reading: Reading) -> RowError:
    """Read on, to say how much of the file is unusable: who has to mend it wants to know."""

    def place(of: Part) -> tuple[object, int]:
        embeddings = name in _OF_EMBEDDINGS
        return (of.path, of.first_row) if embeddings else (of.other_path, of.other_first_row)

    path, _ = place(part)
    count, rows, first = 0, 0, -1
    for again in reading.parts():
        mine, start = place(again)
        if mine != path:
            continue
        bad = np.asarray(_faults(again)[name])
        bad = np.any(bad.reshape(len(again.embeddings), -1), axis=1)  # views of one row together
        if count == 0 and bad.any():
            first = start + int(np.flatnonzero(bad)[0])
        count, rows = count + int(bad.sum()), rows + len(bad)
    return row_fault(name, count, rows, first, part.sources)
