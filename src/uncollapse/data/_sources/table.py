"""Rows of a table: encoded images, vectors, or stored views."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.data._decode import EncodedBytes
from uncollapse.data._inputs import ArrayInputs, OpenedInputs
from uncollapse.data._source import DataSource, Opener, open_encoded, place, texts
from uncollapse.data._sources.numbers import check_finite
from uncollapse.data.config import ImageFolderConfig, TableConfig
from uncollapse.data.splits import part_names
from uncollapse.errors import InputError
from uncollapse.progress import Progress
from uncollapse.tables import Table, WholeColumns

Texts = NDArray[Any]

__all__ = ["TextColumns", "list_table", "part_of_rows", "text_roles"]


def text_roles(config: TableConfig | ImageFolderConfig, table: Table) -> list[str]:
    """Columns that are read as text: all that have a role besides the inputs.

    Raises:
        InputError: One that is named and not there.
    """
    named = [config.label, config.group, config.id, config.split.column]
    names = [name for name in (*named, *config.fine, *config.slices) if name]
    for name in names:
        table.require(name)
    usual = ["label"] if any(column.name == "label" for column in table.columns) else []
    return list(dict.fromkeys([*names, *([] if config.label else usual)]))


class TextColumns(Mapping[str, Texts]):
    """The columns of single values as text: those that were read, and others when asked for."""

    def __init__(self, table: Table, read: WholeColumns) -> None:
        self._table = table
        self._read = {name: texts(values) for name, values in read.names.items()}
        self._names = [c.name for c in table.columns if c.kind in ("name", "number")]

    def __getitem__(self, name: str) -> Texts:
        """(N,) text, None where a value is missing."""
        if name not in self._names:
            raise KeyError(name)
        if name not in self._read:
            self._read[name] = texts(self._table.read([], [name]).names[name])
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        """Names in the order of the table."""
        return iter(self._names)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._names)


def part_of_rows(table: Table, read: WholeColumns) -> Texts | None:
    """(N,) the part that each row's file is named for; None without."""
    if not any(table.splits):
        return None
    return np.repeat(part_names(table.splits, str(table.path)), read.counts)


def _vectors(config: TableConfig, table: Table, roles: list[str]) -> list[str]:
    """Names of the columns of numbers, none for images."""
    if config.views is not None:
        return [config.views]
    names = [config.vector] if isinstance(config.vector, str) else list(config.vector or ())
    if names != ["*"]:
        return names
    names = [c.name for c in table.columns if c.kind == "number" and c.name not in roles]
    if not names:
        raise InputError(f"number columns in {table.path}", "none", "name them with `vector`")
    return names


def _matrix(read: WholeColumns, dimensions: int, path: Path) -> NDArray[np.float32]:
    """(N, D) or (N, V, D) from one column of lists, or (N, D) from number columns."""
    columns = []
    for name, values in read.vectors.items():
        single = dimensions == 2 and values.ndim == 1
        if not single and (values.ndim != dimensions or len(read.vectors) > 1 or 0 in values.shape):
            wanted = "lists of numbers" if dimensions == 2 else "lists of views"
            raise InputError(
                f"{wanted} in column {name!r} of {path}",
                f"shape {values.shape}",
                "name another column",
            )
        with np.errstate(over="ignore"):  # what is too large is refused by name in check_finite
            columns.append(values.astype(np.float32))
        check_finite(columns[-1], name)
    return np.stack(columns, axis=1) if columns[0].ndim == 1 else columns[0]


def list_table(config: TableConfig, base: Path | None) -> DataSource:
    """Rows of a table.

    Raises:
        InputError: No such column, NaN, lists of different length, unreadable files.
    """
    table = Table(place(config.path, base, "a table"))
    roles = text_roles(config, table)
    opener: Opener
    if config.image_column is not None:
        read = table.read([], roles)
        origin = f"column {config.image_column!r} of {table.path}"
        encoded = EncodedBytes(table.encoded(config.image_column), origin)
        opener = open_encoded(encoded, config.image, config.memory_mib)
    else:
        stored = config.views is not None
        read = table.read(_vectors(config, table, roles), roles)
        values = _matrix(read, 3 if stored else 2, table.path)

        def opener(rows: NDArray[np.int64], progress: Progress | None) -> OpenedInputs:
            return ArrayInputs(values[rows], "views" if stored else "vector")

    columns, split = TextColumns(table, read), part_of_rows(table, read)
    rows = range(sum(read.counts))
    parts = ["row"] * len(rows) if split is None else split.tolist()
    return DataSource(
        columns=columns,
        # Part and number of each row stay as long as the files do.
        ids=np.array([f"{part}-{row}" for row, part in zip(rows, parts, strict=True)]),
        open=opener,
        label="label" if "label" in columns else None,
        split=split,
        orders=table.classes,
    )
