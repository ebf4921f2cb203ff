"""Instances that lie in two classes or groups, by a pass over the columns besides the embedding.

A stream sees one part at a time, and the second class of an instance may come in the last of them.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    split_faults,
)
from uncollapse.tables import Names, Reading, joined_names

__all__ = ["split_error", "split_ids"]

Integers = NDArray[np.int64]


def split_ids(reading: Reading) -> dict[str, Hashes]:
    """Hashes of the ids in two classes or in two groups, by the fault's name.

    Takes 16 bytes of memory for each id and fault.
    """
    if reading.columns.instance is None:
        return {}
    pairs: dict[str, list[tuple[Hashes, Integers]]] = {}
    numbers: dict[str, dict[object, int]] = {}
    for names in reading.named():
        for fault, instances, outer in _divisions(names):
            hashes = hash_ids(list(instances.names))
            seen = numbers.setdefault(fault, {})
            places = np.array([seen.setdefault(n, len(seen)) for n in outer.names], dtype=np.int64)
            known = ~instances.missing & ~outer.missing
            both = np.stack([instances.codes[known], outer.codes[known]])
            inner, place = np.unique(both, axis=1)
            pairs.setdefault(fault, []).append((hashes[inner], places[place]))
    return {fault: _in_two(parts) for fault, parts in pairs.items()}


def split_error(reading: Reading) -> RowError | None:
    """The error for instances in two classes or groups, counted over all files; None without."""
    names = joined_names(list(reading.named()))
    columns = names.each(lambda values, role: encode(values, role, len(names)))
    for fault, bad in split_faults(ByRole[Codes](**columns)).items():
        if bad.any():
            rows = np.flatnonzero(bad)
            return row_fault(fault, len(rows), len(bad), int(rows[0]), names.sources)
    return None


def _divisions(names: Names) -> Iterator[tuple[str, Codes, Codes]]:
    """Fault, instances, and what each of them must lie in one of."""
    outers = {"instance_in_two_classes": names.labels, "instance_in_two_groups": names.groups}
    instances = encode(names.instances, "instances", len(names))
    for fault, outer in outers.items():
        if outer is not None:
            yield fault, instances, encode(outer, fault, len(names))


def _in_two(parts: list[tuple[Hashes, Integers]]) -> Hashes:
    hashes, places = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.argsort(hashes, kind="stable")
    hashes, places = hashes[order], places[order]
    differ = (hashes[1:] == hashes[:-1]) & (places[1:] != places[:-1])
    return np.unique(hashes[1:][differ])
