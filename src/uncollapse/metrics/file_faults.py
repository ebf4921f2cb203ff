"""Unusable rows of files, counted over the file in which they are.

A stream sees one part at a time, and the second class or group of an instance may come in the last
of them: that is found by a pass over the columns besides the embedding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uncollapse.samples import (
    ByRole,
    Codes,
    Hashes,
    RowError,
    encode,
    hash_ids,
    row_fault,
    row_faults,
    row_norms,
    sample_of,
    split_faults,
)
from uncollapse.tables import Place, Reading, Rows, joined_names

# Faults of the embeddings; the others are of the file with the labels, if that is another.
_OF_EMBEDDINGS = ("not_finite", "zero")


def over_its_file(error: RowError, reading: Reading) -> RowError:
    """An error about some rows as one about the first file with such rows: how many to correct.

    A fault of several rows together, which no part shows by itself, is left as it is.
    """
    every = ((part, n, bad) for part in reading.parts() for n, bad in _faults(part).items())
    faulty, name, _ = next((fault for fault in every if fault[2].any()), (None, "", None))
    if faulty is None:
        return error
    path, bad, rows, first = _place(faulty, name).path, 0, 0, -1
    for part in reading.parts():
        if _place(part, name).path != path:
            continue
        here = np.flatnonzero(_faults(part)[name])
        if first < 0 and len(here):
            first = _place(part, name).row + int(here[0])
        bad, rows = bad + len(here), rows + len(part)
    return row_fault(name, bad, rows, first, faulty.sources)


def _faults(part: Rows) -> dict[str, NDArray[np.bool_]]:
    """Which rows of a part have which fault by themselves; views of one row together."""
    sample = sample_of(part.embeddings, part, part.sources)
    faults = row_faults(sample, row_norms(sample.matrix))
    views = {name: bad.reshape(len(part), -1) for name, bad in faults.items()}
    return {name: np.any(bad, axis=1) for name, bad in views.items()}


def _place(part: Rows, fault: str) -> Place:
    return part.vectors_place if fault in _OF_EMBEDDINGS else part.place


def split_ids(reading: Reading) -> dict[str, Hashes]:
    """Hashes of ids in two classes or groups, by the fault's name, in 16 bytes for each of them."""
    pairs: dict[str, list[Hashes]] = {}
    for names in reading.named() if reading.columns.instance is not None else ():
        instances = encode(names.instances, "instances", len(names))
        ids = hash_ids(list(instances.names))
        outers = {"instance_in_two_classes": names.labels, "instance_in_two_groups": names.groups}
        for fault, values in outers.items():
            if values is not None:
                outer = encode(values, fault, len(names))
                known = ~instances.missing & ~outer.missing
                both = np.stack([instances.codes[known], outer.codes[known]])
                inner, place = np.unique(both, axis=1)
                hashes = np.stack([ids[inner], hash_ids(list(outer.names))[place]])
                pairs.setdefault(fault, []).append(hashes)
    return {fault: _in_two(np.concatenate(parts, axis=1)) for fault, parts in pairs.items()}


def split_error(reading: Reading) -> RowError | None:
    """The error for instances in two classes or groups, counted over all files; None without."""
    names = joined_names(list(reading.named()))
    columns = names.each(lambda values, role: encode(values, role, len(names)))
    for fault, bad in split_faults(ByRole[Codes](**columns)).items():
        if bad.any():
            rows = np.flatnonzero(bad)
            return row_fault(fault, len(rows), len(bad), int(rows[0]), names.sources)
    return None


def _in_two(pairs: Hashes) -> Hashes:
    """The first of the pairs that come with two seconds."""
    ids, outers = pairs[:, np.argsort(pairs[0], kind="stable")]
    differ = (ids[1:] == ids[:-1]) & (outers[1:] != outers[:-1])
    return np.unique(ids[1:][differ])
