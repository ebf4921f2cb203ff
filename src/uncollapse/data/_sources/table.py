"""Rows of tables and of named arrays: images, vectors, or stored views. Nothing is unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.data._images import Encoded, as_bytes
from uncollapse.data._sources import DataSource, place, texts
from uncollapse.data.config import ArraysConfig, DataConfig, TableConfig
from uncollapse.errors import InputError
from uncollapse.records import InputKind
from uncollapse.tables import (
    SPLIT_WORDS,
    ArraysShard,
    Shard,
    Table,
    WholeColumns,
    named_column,
    number_columns,
    open_arrays,
    part_names,
    plain_names,
)

Array = NDArray[Any]

_ROWS = 65536
_LARGEST = float(np.finfo(np.float32).max)
_WANTED = {
    "image": ((3, 4), "images (N, H, W) or (N, H, W, C) with C = 1 or 3"),
    "vector": ((2,), "vectors (N, D)"),
    "views": ((3,), "stored views (N, V, D)"),
}


def text_roles(config: DataConfig, stored: Shard, word: str = "") -> dict[str, str]:
    """Roles besides the inputs, and the names of their columns, with `word` for "{split}"."""
    named = (config.label or "label", config.group, config.id, config.split.column)
    roles = dict.fromkeys(name for name in (*named, *config.fine, *config.slices) if name)
    return {role: named_column(stored, role.replace("{split}", word)) for role in roles}


def _names(config: DataConfig, name: str, column: Array, where: str, untyped: bool) -> Array:
    """A column as text; what it is read for and what is declared say what is missing."""
    label = name in (config.label or "label", *config.fine)
    names = plain_names(column, where, label=label, declared=name in config.text, untyped=untyped)
    return texts(names)


def table_source(
    config: DataConfig,
    table: Table,
    read: WholeColumns,
    inputs: Encoded | Array,
    kind: InputKind = "image",
    ids: tuple[str, ...] = (),
) -> DataSource:
    """A source of a table's rows, whose parts are those that its files are named for."""
    split = None
    if any(table.splits):
        split = np.repeat(part_names(table.splits, str(table.path)), read.counts)
    parts = ["row"] * sum(read.counts) if split is None else split.tolist()
    return DataSource(
        columns={
            name: _names(
                config,
                name,
                values,
                f"column {name!r} of {table.path}",
                table.fullest.is_untyped(name),
            )
            for name, values in read.names.items()
        },
        # Part and number of each row stay as long as the files do.
        ids=np.array(ids or [f"{part}-{row}" for row, part in enumerate(parts)]),
        inputs=inputs,
        kind=kind,
        split=split,
        orders=table.fullest.classes,
    )


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


def check_finite(values: NDArray[Any], where: str) -> None:
    """Refuses NaN, infinity, and what becomes infinity as float32, in (N, ...) numbers."""
    bad = [np.empty(0, int)]
    for start in range(0, len(values), _ROWS):
        part = values[start : start + _ROWS]
        good = (np.abs(part.reshape(len(part), -1)) <= _LARGEST).all(axis=1)
        bad.append(start + np.flatnonzero(~good))
    rows = np.concatenate(bad)
    if len(rows):
        raise InputError(
            f"finite numbers in {where}",
            f"{len(rows)} of {len(values)} rows with a NaN or an infinity (first: row {rows[0]})",
            "correct them or take the rows out; float32 holds up to 3.4e38",
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
        check_finite(columns[-1], f"column {name!r} of {path}")
    return np.stack(columns, axis=1) if columns[0].ndim == 1 else columns[0]


def list_table(config: TableConfig, base: Path | None) -> DataSource:
    """Rows of a table; no such column, NaN, lists of different length are refused."""
    table = Table(place(config.path, base, "a table"))
    roles = list(text_roles(config, table.fullest))
    if config.image_column is not None:
        read = table.read([], roles)
        origin = f"column {config.image_column!r} of {table.path}"
        return table_source(
            config, table, read, Encoded(table.encoded(config.image_column), origin=origin)
        )
    read = table.read(_vectors(config, table, roles), roles)
    stored = config.views is not None
    values = _matrix(read, 3 if stored else 2, table.path)
    return table_source(config, table, read, values, "views" if stored else "vector")


def _check(array: Array, config: ArraysConfig, name: str, path: Path) -> None:
    dimensions, wanted = _WANTED[config.kind]
    colours = config.kind == "image" and array.ndim == 4
    wrong = array.ndim not in dimensions or 0 in array.shape
    if wrong or (colours and array.shape[3] not in (1, 3)):
        first = colours and array.shape[1] in (1, 3)
        raise InputError(
            f"{wanted} in {name!r}",
            f"shape {array.shape}",
            "move the channels last" if first else "check `inputs` and `kind`",
        )
    if array.dtype.kind not in "iufb":
        raise InputError(f"numbers in {name!r}", f"dtype {array.dtype}", "check `inputs`")
    if array.dtype.kind == "f":
        check_finite(array, f"column {name!r} of {path}")


def _words(config: ArraysConfig, stored: ArraysShard) -> dict[str, str]:
    """Part -> the word for it in the names of the arrays; the training part must be there."""
    return {"train": "train"} | {
        part: word
        for part, synonyms in SPLIT_WORDS.items()
        for name in synonyms
        for word in (name.upper(), name.capitalize(), name)
        if config.inputs.replace("{split}", word) in stored.headers
    }


def _columns(stored: ArraysShard, config: ArraysConfig, inputs: str, word: str) -> dict[str, Array]:
    """The columns with a role, one value for each row of the inputs."""
    names = text_roles(config, stored, word)
    rows = stored.common_rows([inputs, *names.values()])
    read = next(stored.read([], list(names.values()), max(rows, 1)), {})
    return {
        role: _names(
            config, role, read.get(name, np.empty(0)), f"column {name!r} of {stored.path}", False
        )
        for role, name in names.items()
    }


def list_arrays(config: ArraysConfig, base: Path | None) -> DataSource:
    """Arrays by name, of each part where "{split}" is in it, as in train_images, test_images."""
    stored = open_arrays(place(config.path, base, "an .npz file or a folder of .npy files"))
    parts = _words(config, stored) if "{split}" in config.inputs else {}
    arrays: list[Array] = []
    columns: list[dict[str, Array]] = []
    for word in parts.values() or [""]:
        name = config.inputs.replace("{split}", word)
        named_column(stored, name, "an embedding column")
        columns.append(_columns(stored, config, name, word))
        array = stored.mapped(name)
        _check(array, config, name, stored.path)
        if arrays and array.shape[1:] != arrays[0].shape[1:]:
            raise InputError("parts of one shape", f"{array.shape} in {name!r}", "check the arrays")
        arrays.append(as_bytes(array, name) if parts and config.kind == "image" else array)
    lengths = [len(array) for array in arrays]
    named = zip(parts or ["row"], lengths, strict=True)
    return DataSource(
        columns={role: np.concatenate([part[role] for part in columns]) for role in columns[0]},
        ids=np.array([f"{part}-{row}" for part, length in named for row in range(length)]),
        inputs=np.concatenate(arrays) if parts else arrays[0],
        kind=config.kind,
        name=config.inputs,
        split=np.repeat(list(parts), lengths) if parts else None,
    )
