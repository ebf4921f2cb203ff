"""Rows of a table: encoded images, vectors, or stored views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.data._decode import EncodedBytes
from uncollapse.data._inputs import ArrayInputs, OpenedInputs
from uncollapse.data._source import DataSource, Opener, open_encoded, place, texts
from uncollapse.data.config import DataConfig, TableConfig
from uncollapse.data.splits import part_names
from uncollapse.errors import InputError
from uncollapse.progress import Progress
from uncollapse.tables import Shard, Table, WholeColumns, named_column, number_columns

Texts = NDArray[Any]

_ROWS = 65536
_LARGEST = float(np.finfo(np.float32).max)


def text_roles(config: DataConfig, stored: Shard, word: str = "") -> dict[str, str]:
    """Roles besides the inputs, and the names of their columns, with `word` for "{split}"."""
    named = (config.label or "label", config.group, config.id, config.split.column)
    roles = dict.fromkeys(name for name in (*named, *config.fine, *config.slices) if name)
    return {role: named_column(stored, role.replace("{split}", word)) for role in roles}


def read_texts(read: WholeColumns) -> dict[str, Texts]:
    """The columns with a role as (N,) text, None where a value is missing."""
    return {name: texts(values) for name, values in read.names.items()}


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
    names = [name for name in number_columns(table.fullest) if name not in roles]
    if not names:
        raise InputError(f"number columns in {table.path}", "none", "name them with `vector`")
    return names


def check_finite(values: NDArray[Any], name: str) -> None:
    """Refuses NaN, infinity, and what becomes infinity as float32, in (N, ...) numbers."""
    bad = [
        start + np.flatnonzero(~(np.abs(part.reshape(len(part), -1)) <= _LARGEST).all(axis=1))
        for start in range(0, len(values), _ROWS)
        for part in [values[start : start + _ROWS]]
    ]
    rows = np.concatenate(bad) if bad else np.empty(0, int)
    if len(rows):
        raise InputError(
            f"finite numbers in column {name!r}",
            f"NaN or infinity (as float32) in {len(rows)} of {len(values)} rows, "
            f"the first row {rows[0]}",
            "fill them or take the rows out",
        )


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
    """Rows of a table; no such column, NaN, lists of different length are refused."""
    table = Table(place(config.path, base, "a table"))
    roles = list(text_roles(config, table.fullest))
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

    split = part_of_rows(table, read)
    rows = range(sum(read.counts))
    parts = ["row"] * len(rows) if split is None else split.tolist()
    return DataSource(
        columns=read_texts(read),
        # Part and number of each row stay as long as the files do.
        ids=np.array([f"{part}-{row}" for row, part in zip(rows, parts, strict=True)]),
        open=opener,
        label=config.label or "label",
        split=split,
        orders=table.fullest.classes,
    )
