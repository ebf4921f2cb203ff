"""Instances that lie in two classes or groups, by a pass over the columns besides the embedding.

A stream sees one part at a time, and the second class of an instance may come in the last of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uncollapse.samples import Codes, Hashes, RowError, encode, hash_ids, row_fault
from uncollapse.tables import Reading

__all__ = ["SPLIT_FAULTS", "split_error", "split_ids"]

Integers = NDArray[np.int64]

# What an instance must lie in one of, by the fault's name.
SPLIT_FAULTS = {"instance_in_two_classes": "labels", "instance_in_two_groups": "groups"}


def split_ids(reading: Reading) -> dict[str, Hashes]:
    """Hashes of the ids in two classes or in two groups, by the fault's name.

    Takes 16 bytes of memory for each id and fault.
    """
    if reading.columns.instance is None:
        return {}
    pairs: dict[str, list[tuple[Hashes, Integers]]] = {}
    numbers: dict[str, dict[object, int]] = {}
    for _, _, instances, outers in _columns(reading):
        hashes = hash_ids(list(instances.names))
        for name, outer in outers.items():
            seen = numbers.setdefault(name, {})
            places = np.array([seen.setdefault(n, len(seen)) for n in outer.names], dtype=np.int64)
            known = (instances.codes >= 0) & (outer.codes >= 0)
            both = np.stack([instances.codes[known], outer.codes[known]])
            of, place = np.unique(both, axis=1)
            pairs.setdefault(name, []).append((hashes[of], places[place]))
    return {name: _in_two(found) for name, found in pairs.items()}


def split_error(reading: Reading) -> RowError | None:
    """The error for instances in two classes or groups, counted over all files; None without."""
    for name, ids in split_ids(reading).items():
        if not len(ids):
            continue
        paths: dict[Path, str] = {}
        bad, rows, first = 0, 0, -1
        for path, column, instances, outers in _columns(reading):
            paths.setdefault(path, column)
            split = np.isin(hash_ids(list(instances.names)), ids)
            known = (instances.codes >= 0) & (outers[name].codes >= 0)
            found = np.flatnonzero(known)[split[instances.codes[known]]]
            if first < 0 and len(found):
                first = rows + int(found[0])
            bad, rows = bad + len(found), rows + len(known)
        path, column = next(iter(paths.items()))
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        sources = {"instances": f"column {column!r} of {path}{more}"}
        return row_fault(name, bad, rows, first, sources)
    return None


def _columns(reading: Reading) -> Iterator[tuple[Path, str, Codes, dict[str, Codes]]]:
    """File, column and codes of the instances, and codes of what each must lie in one of."""
    for path, roles, values, _ in reading.named():
        rows = len(values["instances"])
        outers = {
            name: encode(values[role], role, rows)
            for name, role in SPLIT_FAULTS.items()
            if role in values
        }
        yield path, roles["instances"], encode(values["instances"], "instances", rows), outers


def _in_two(found: list[tuple[Hashes, Integers]]) -> Hashes:
    hashes, places = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(hashes, kind="stable")
    hashes, places = hashes[order], places[order]
    differ = (hashes[1:] == hashes[:-1]) & (places[1:] != places[:-1])
    return np.unique(hashes[1:][differ])
