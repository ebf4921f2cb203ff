"""A stored reference: another embedding of the rows, from a file beside the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.data._sources import place, texts
from uncollapse.data.config import StoredConfig
from uncollapse.errors import InputError
from uncollapse.tables import Columns, Reading, named_column, open_shards

_BATCH = 65536


def stored_reference(
    config: StoredConfig,
    base: Path | None,
    rows: NDArray[np.int64],
    ids: NDArray[Any],
    count: int,
) -> NDArray[np.float32]:
    """(N, e): the reference of some rows by their ids, or of those of the source's `count`."""
    path = place(config.path, base, "a reference of the data")
    shards = open_shards([path], local=True)
    reading = Reading(shards, [], Columns(embedding=config.column), batch=_BATCH)
    parts = [part.matrix for part in reading.vectors()]
    if len({part.shape[1:] for part in parts}) != 1 or parts[0].ndim != 2:
        shapes = ", ".join(sorted({str(part.shape[1:]) for part in parts})) or "no rows"
        raise InputError(f"one vector of one length for each row of {path}", shapes, "embed again")
    matrix = np.concatenate(parts).astype(np.float32)
    if config.id is None:
        if len(matrix) != count:
            raise InputError(
                f"as many rows in {path} as the data have, in their order",
                f"{len(matrix)} and {count}",
                "name its column of ids with data.reference.id",
            )
        return np.asarray(matrix[rows])
    names = [
        part[config.id]
        for shard in shards
        for part in shard.read([], [named_column(shard, config.id)], _BATCH)
    ]
    theirs = texts(np.concatenate(names)).tolist() if names else []
    if len(theirs) != len(matrix):
        what = f"an id in column {config.id!r} for each of the {len(matrix)} rows of {path}"
        raise InputError(what, f"{len(theirs)}", "embed again")
    where = {name: row for row, name in enumerate(theirs)}
    if len(where) < len(theirs):
        what = f"every id of {path} once"
        raise InputError(what, f"{len(theirs) - len(where)} again", "give one row for each")
    found = np.array([where.get(name, -1) for name in ids.tolist()])
    if not (found >= 0).any():
        raise InputError(
            f"ids of the data in column {config.id!r} of {path}",
            f"none of them; the data have {ids[0]!r}, for example, and the file {theirs[0]!r}",
            "name the column that holds them, or data.id",
        )
    reference = matrix[np.maximum(found, 0)]
    reference[found < 0] = np.nan
    return np.asarray(reference)
