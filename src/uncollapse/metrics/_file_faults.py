"""Rows of files that cannot be used, counted over the file in which they are.

A stream sees one part at a time, and the second class or group of an instance may come in the last
of them: that is found by a pass over the columns besides the embedding.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uncollapse import samples
from uncollapse.tables import Reading, Rows, joined_names

# Faults of the embeddings; the others are of the file with the labels, if that is another.
_OF_EMBEDDINGS = ("not_finite", "zero")


def over_its_file(error: samples.RowError, reading: Reading) -> samples.RowError:
    """An error about some rows, unless of several together, as one about their whole file."""
    name, bad, first, path = "", 0, 0, None
    rows: Counter[tuple[bool, Path]] = Counter()  # of the files with the embeddings, or the others
    for part in reading.parts():
        faults = _faults(part)
        name = name or next((fault for fault, faulty in faults.items() if faulty.any()), "")
        of_vectors = name in _OF_EMBEDDINGS
        place = part.vectors_place if of_vectors else part.place
        if name and path is None:
            path, sources = place.path, part.sources
            first = rows[of_vectors, path] + int(np.flatnonzero(faults[name])[0])
        if name and place.path == path:
            bad += int(np.count_nonzero(faults[name]))
        rows[True, part.vectors_place.path] += len(part)
        rows[False, part.place.path] += len(part)
    if path is None:
        return error
    return samples.row_fault(name, bad, rows[name in _OF_EMBEDDINGS, path], first, sources)


def _faults(part: Rows) -> dict[str, NDArray[np.bool_]]:
    """Which rows of a part have which fault by themselves; views of one row together."""
    sample = samples.sample_of(part.embeddings, part, part.sources)
    faults = samples.row_faults(sample, samples.row_norms(sample.matrix))
    kept = ~sample.labels.unlabelled
    return {
        name: np.any((bad & kept).reshape(len(part), -1), axis=1) for name, bad in faults.items()
    }


def split_ids(reading: Reading) -> dict[str, samples.Hashes]:
    """Hashes of ids in two classes or groups, by the fault's name, in 16 bytes for each of them."""
    pairs: dict[str, list[samples.Hashes]] = {}
    for names in reading.named() if reading.columns.instance is not None else ():
        instances = samples.encode(names.instances, "instances", len(names))
        ids = samples.hash_ids(list(instances.names))
        outers = {"instance_in_two_classes": names.labels, "instance_in_two_groups": names.groups}
        for fault, values in outers.items():
            if values is not None:
                coded = samples.encode if values is names.groups else samples.label_codes
                outer = coded(values, fault, len(names))
                known = ~instances.missing & (outer.codes >= 0)
                both = np.stack([instances.codes[known], outer.codes[known]])
                inner, place = np.unique(both, axis=1)
                hashes = np.stack([ids[inner], samples.hash_ids(list(outer.names))[place]])
                pairs.setdefault(fault, []).append(hashes)
    return {fault: _in_two(np.concatenate(parts, axis=1)) for fault, parts in pairs.items()}


def split_error(reading: Reading) -> samples.RowError | None:
    """The error for instances in two classes or groups, counted over all files; None without."""
    names = joined_names(list(reading.named()))
    columns = names.each(
        lambda values, role: (samples.label_codes if role == "labels" else samples.encode)(
            values, role, len(names)
        )
    )
    for fault, bad in samples.split_faults(samples.ByRole[samples.Codes](**columns)).items():
        if bad.any():
            rows = np.flatnonzero(bad)
            return samples.row_fault(fault, len(rows), len(bad), int(rows[0]), names.sources)
    return None


def _in_two(pairs: samples.Hashes) -> samples.Hashes:
    """The first of the pairs that come with two seconds."""
    ids, outers = pairs[:, np.argsort(pairs[0], kind="stable")]
    differ = (ids[1:] == ids[:-1]) & (outers[1:] != outers[:-1])
    return np.unique(ids[1:][differ])
