"""Instances that lie in two classes or groups, by a pass over the columns besides the embedding.

A stream sees one part at a time, and the second class of an instance may come in the last of them.
"""

from __future__ import annotations

import numpy as np

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
from uncollapse.tables import Reading, joined_names


def split_ids(reading: Reading) -> dict[str, Hashes]:
    """Hashes of the ids in two classes or in two groups, by the fault's name.

    Takes 16 bytes of memory for each id and fault.
    """
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
