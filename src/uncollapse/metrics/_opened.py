"""Files as a reading of rows, with the reference beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from uncollapse.metrics._reference import Reference
from uncollapse.metrics.persist import Paths
from uncollapse.tables import (
    Columns,
    Joined,
    Reading,
    ReferenceFiles,
    Rows,
    Source,
    check_order,
    join_reference,
    judged_rows,
    open_shards,
)

# Embeddings that take more than this in memory are streamed.
IN_MEMORY_BYTES = 1 << 28


def opened(
    paths: Paths,
    columns: Columns,
    labels_from: Paths,
    drop_invalid: bool,
    split: str | None,
    partition: bool = False,
) -> Reading:
    views = columns.instance is not None
    others = open_shards(labels_from, views=views) if labels_from else []
    if others:
        check_order(paths)
        check_order(labels_from)
    shards = open_shards(paths, views=views)
    one_each = (columns.label, columns.instance, columns.group, columns.fine)
    roles = {name for name in (*one_each, *columns.slices) if name}
    judged = judged_rows(others or shards, split, roles, partition=partition)
    return Reading(
        shards, others, columns, judged, fill_ragged=drop_invalid, may_be_empty=partition
    )


def reference_files(given: ReferenceFiles | Source | None) -> ReferenceFiles | None:
    """How the reference is given; a table of Arrow stands where a file does."""
    if given is None or isinstance(given, ReferenceFiles):
        return given
    table: Any = given
    return ReferenceFiles(Path(given) if isinstance(given, str) else table)


def with_reference(reading: Reading, files: ReferenceFiles) -> Joined:
    """The reference's rows beside those that are read; ids of views may come several times."""
    other = join_reference(reading, files, views=reading.columns.instance is not None)
    if other.joined_by == "position":
        check_order([shard.path for shard in reading.shards])
    return other


def reference_of(rows: Rows, other: Joined) -> Reference:
    return Reference(
        rows.reference,
        other.name,
        other.joined_by,
        rows.paired,
        other.only_in_reference,
        other.key,
        other.ids,
    )


def bytes_of(reading: Reading) -> float:
    """Memory that the embeddings take as float64: of known rows, or by the files' sizes."""
    widths = [int(np.prod(c.shape)) for c in reading.shards[0].columns if c.shape]
    if reading.rows is not None and len(widths) == 1:
        return 8.0 * reading.rows * widths[0]
    return sum(shard.size for shard in reading.shards)
