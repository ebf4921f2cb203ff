"""Rows of a table: encoded images, vectors, or stored views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.data.config import TableConfig
from uncollapse.data.decode import EncodedBytes, Progress
from uncollapse.data.inputs import ArrayInputs, OpenedInputs
from uncollapse.data.listing import Listing, Opener, open_encoded, place
from uncollapse.data.sources.numbers import check_finite
from uncollapse.data.sources.reading import ReadTable, TextColumns, read_table
from uncollapse.errors import InputError

__all__ = ["list_table", "row_ids", "text_roles"]


def text_roles(config: Any) -> list[str]:
    """Columns that are read as text: all that have a role besides the inputs."""
    named = (config.label or "label", config.group, config.id, config.split.column)
    return list(dict.fromkeys([*filter(None, named), *config.fine, *config.slices]))


def row_ids(read: ReadTable) -> NDArray[Any]:
    """Part and number of each row, which stay as long as the files do."""
    parts = np.full(len(read.table), "row") if read.split is None else read.split
    return np.array([f"{part}-{row}" for row, part in enumerate(parts.tolist())])


def _column(read: ReadTable, name: str, what: str) -> Any:
    if name not in read.table.column_names:
        raise InputError(
            f"a column {name!r} with {what} in {read.path}",
            f"columns {', '.join(map(repr, read.table.column_names))}",
            "name one of them",
        )
    return read.table.column(name)


def _level(array: Any, name: str, what: str) -> tuple[Any, int]:
    """Values of a list array whose rows have one length, and that length."""
    import pyarrow.compute as pc
    import pyarrow.types as kinds

    lists = (kinds.is_list, kinds.is_large_list, kinds.is_fixed_size_list)
    if not any(is_(array.type) for is_ in lists):
        raise InputError(f"{what} in column {name!r}", str(array.type), "name another column")
    if array.null_count:
        raise InputError(
            f"{what} in every row of column {name!r}",
            f"{array.null_count} of {len(array)} rows without",
            "take them out",
        )
    lengths = set(pc.list_value_length(array).to_pylist())
    if len(lengths) != 1 or 0 in lengths:
        shown = ", ".join(map(str, sorted(lengths)[:5]))
        raise InputError(f"lists of one length in column {name!r}", f"lengths {shown}", "check it")
    return pc.list_flatten(array), lengths.pop()


def _floats(array: Any, name: str) -> NDArray[np.float32]:
    import pyarrow.types as kinds

    numeric = (kinds.is_integer, kinds.is_floating, kinds.is_boolean, kinds.is_decimal)
    if not any(is_(array.type) for is_ in numeric):
        raise InputError(
            f"numbers in column {name!r}", f"type {array.type}", "convert it, or leave it out"
        )
    values = np.asarray(array.to_numpy(zero_copy_only=False))
    with np.errstate(over="ignore"):  # what is too large is refused by name in check_finite
        return values.astype(np.float32)


def _vectors(read: ReadTable, config: TableConfig) -> NDArray[np.float32]:
    """(N, D) from one column of lists, or from number columns."""
    import pyarrow.types as kinds

    names = [config.vector] if isinstance(config.vector, str) else list(config.vector or ())
    if names == ["*"]:
        schema, taken = read.table.schema, set(text_roles(config))
        number = (kinds.is_integer, kinds.is_floating)
        names = [f.name for f in schema if f.name not in taken and any(k(f.type) for k in number)]
        if not names:
            raise InputError(f"number columns in {read.path}", "none", "name them with `vector`")
    columns = [_column(read, name, "numbers").combine_chunks() for name in names]
    if len(columns) == 1 and kinds.is_nested(columns[0].type):
        values, width = _level(columns[0], names[0], "lists of numbers")
        vectors = _floats(values, names[0]).reshape(-1, width)
        check_finite(vectors, names[0])
        return vectors
    matrix = np.empty((len(read.table), len(columns)), np.float32)
    for place_, (column, name) in enumerate(zip(columns, names, strict=True)):
        matrix[:, place_] = _floats(column, name)
        check_finite(matrix[:, place_], name)
    return matrix


def _views(read: ReadTable, name: str) -> NDArray[np.float32]:
    """(N, V, D) from a column of lists of lists."""
    column = _column(read, name, "lists of views").combine_chunks()
    inner, views = _level(column, name, "lists of views")
    values, width = _level(inner, name, "lists of numbers within lists")
    stored = _floats(values, name).reshape(-1, views, width)
    check_finite(stored, name)
    return stored


def _images(read: ReadTable, name: str) -> EncodedBytes:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as kinds

    column = _column(read, name, "encoded images")
    if kinds.is_struct(column.type) and "bytes" in [field.name for field in column.type]:
        column = pc.struct_field(column, "bytes")
    if not (kinds.is_binary(column.type) or kinds.is_large_binary(column.type)):
        remedy = "name the column with the bytes; for paths use the source image-folder"
        raise InputError(f"encoded images in column {name!r}", f"type {column.type}", remedy)
    if isinstance(column, pa.ChunkedArray) and column.null_count:
        remedy = "embed the images (Dataset.save_to_disk does), or use the source image-folder"
        raise InputError(
            f"bytes in every row of column {name!r}", f"{column.null_count} rows without", remedy
        )
    return EncodedBytes(column, f"column {name!r} of {read.path}")


def list_table(config: TableConfig, base: Path | None) -> Listing:
    """Rows of a table.

    Raises:
        InputError: No such column, NaN, lists of different length, unreadable files.
    """
    read = read_table(place(config.path, base, "a table"), text_roles(config))
    opener: Opener
    if config.image_column is not None:
        encoded = _images(read, config.image_column)
        opener = open_encoded(encoded, config.image, config.memory_mib)
    else:
        stored = config.views is not None
        values = _views(read, config.views) if config.views else _vectors(read, config)

        def opener(rows: NDArray[np.int64], progress: Progress | None) -> OpenedInputs:
            return ArrayInputs(values[rows], "views" if stored else "vector")

    columns = TextColumns(read)
    return Listing(
        columns=columns,
        ids=row_ids(read),
        open=opener,
        label="label" if "label" in columns else None,
        split=read.split,
        orders=read.classes,
    )
