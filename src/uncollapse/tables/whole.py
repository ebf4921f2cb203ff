"""Columns of tables read whole, over all files of a path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uncollapse.errors import InputError
from uncollapse.tables._shard import Array
from uncollapse.tables.arrow import TableShard
from uncollapse.tables.columns import named_column
from uncollapse.tables.formats import open_splits
from uncollapse.tables.rows import together

_BATCH = 1 << 16


@dataclass(frozen=True)
class WholeColumns:
    """Columns of all files of a table."""

    vectors: Mapping[str, Array]  # numbers by name: (N,), (N, d) or (N, p, d)
    names: Mapping[str, Array]  # (N,) labels and ids by name; None where one is missing
    counts: tuple[int, ...]  # rows of each file


class Table:
    """A table in one file or several, of which the fullest says the columns.

    Raises:
        InputError: A file that cannot be read, splits named by some of the files only.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        opened = open_splits(path)
        self._shards = [shard for shard, _ in opened]
        self.fullest = max(self._shards, key=lambda shard: len(shard.columns))
        # What the name of each file, or the dataset, says; "" where none does.
        self.splits = [split for _, split in opened]
        if any(self.splits) and not all(self.splits):
            odd = self._shards[self.splits.index("")].path.name
            raise InputError(
                f"files of {path} that are all named for their part, or none",
                odd,
                "rename or move it",
            )

    def read(self, vectors: Sequence[str], names: Sequence[str]) -> WholeColumns:
        """Columns in one pass; names that a file lacks are missing in all of its rows.

        Raises:
            InputError: A column that is not there, lists of different length, text among numbers.
        """
        names = list(dict.fromkeys(names))
        for name in names:
            named_column(self.fullest, name)
        parts: dict[str, list[Array]] = {name: [] for name in (*vectors, *names)}
        counts = []
        for shard in self._shards:
            for name in vectors:
                named_column(shard, name, "an embedding column")
            present = {column.name for column in shard.columns}
            here = [name for name in names if name in present]
            reads: Iterable[dict[str, Array]] = shard.read(vectors, here, _BATCH)
            if not here and not vectors and isinstance(shard.stored, TableShard):
                reads = [{"": np.full(shard.stored.count_rows(), None)}]
            count = 0
            for part in reads:
                rows = len(next(iter(part.values())))
                count += rows
                for name, arrays in parts.items():
                    arrays.append(part[name] if name in part else np.full(rows, None))
            counts.append(count)
        whole = {name: together(arrays or [np.empty(0)]) for name, arrays in parts.items()}
        return WholeColumns(
            {name: whole[name] for name in vectors},
            {name: whole[name] for name in names},
            tuple(counts),
        )

    def encoded(self, name: str) -> Any:
        """A column of encoded files as a chunked arrow array of bytes."""
        import pyarrow as pa

        columns = []
        for shard in self._shards:
            named_column(shard, name, "a column")
            stored = shard.stored
            if not isinstance(stored, TableShard):
                raise InputError(
                    f"a table with encoded images in {shard.path}", "arrays", "use another source"
                )
            columns.append(stored.encoded(name).cast(pa.large_binary()))
        return pa.chunked_array([chunk for column in columns for chunk in column.chunks])
