"""Tables: parquet, CSV, and the arrow files of a Hugging Face dataset folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.tables.shard import Column, unreadable, without_package

# Bytes of a parquet column that are read at once.
_PAGES = 1 << 20

__all__ = ["ArrowShard", "CsvShard", "ParquetShard"]


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise without_package("pyarrow", path) from error
    return pa


def _columns(schema: Any) -> list[Column]:
    import pyarrow.types as kinds

    found = []
    for field in schema:
        kind = "name"
        shape: tuple[int, ...] = ()
        if kinds.is_fixed_size_list(field.type):
            kind, shape = "matrix", (field.type.list_size,)
        elif kinds.is_list(field.type) or kinds.is_large_list(field.type):
            kind = "matrix"
        elif kinds.is_floating(field.type) or kinds.is_integer(field.type):
            kind = "number"
        found.append(Column(field.name, kind, shape))
    return found


def class_names(schema: Any) -> dict[str, list[str]]:
    """Names of the integer codes that Hugging Face datasets keep in the schema's metadata."""
    text = (schema.metadata or {}).get(b"huggingface")
    if text is None:
        return {}
    features = json.loads(text).get("info", {}).get("features", {})
    return {
        name: list(feature["names"])
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    }


class _Table:
    """What the three kinds of table share: how a column becomes an array."""

    path: Path
    schema: Any

    @property
    def columns(self) -> list[Column]:
        """Its columns in order."""
        return _columns(self.schema)

    def arrays(
        self, batch: Any, names: Sequence[str], first_row: int, fill_ragged: bool, width: list[int]
    ) -> dict[str, NDArray[Any]]:
        """Columns of one record batch."""
        coded = class_names(self.schema)
        kinds = {column.name: column.kind for column in self.columns}
        found = {}
        for name in names:
            column = batch.column(batch.schema.get_field_index(name))
            if kinds[name] == "matrix":
                found[name] = self._matrix(column, name, first_row, fill_ragged, width)
            else:
                found[name] = _names(column, coded.get(name))
        return found

    def _matrix(
        self, column: Any, name: str, first_row: int, fill_ragged: bool, width: list[int]
    ) -> NDArray[Any]:
        """A list column as rows; a missing list is a row of NaN."""
        lengths = np.asarray(
            column.value_lengths().fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64
        )
        if not width:
            known = lengths[lengths >= 0]
            width.append(int(np.bincount(known).argmax()) if len(known) else 0)
        values = column.flatten()
        try:
            flat = values.to_numpy(zero_copy_only=False)
        except NotImplementedError as error:
            raise unreadable(self.path, f"numbers in column {name!r}", error) from error
        if flat.dtype == object or flat.dtype.kind not in "fiu":
            raise InputError(
                f"numbers in column {name!r} of {self.path}",
                f"lists of {column.type.value_type}",
                "give the column that holds the embeddings",
            )
        d = width[0]
        if np.all(lengths == d):
            return np.asarray(flat.reshape(-1, d))
        wrong = (lengths >= 0) & (lengths != d)
        if wrong.any() and not fill_ragged:
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(
                f"lists of one length ({d}) in column {name!r} of {self.path}",
                f"{int(wrong.sum())} of {len(lengths)} rows of another"
                f" (first: row {first_row + row}, length {int(lengths[row])})",
                "correct them, or drop them with drop_invalid (--drop-invalid)",
            )
        rows = np.full((len(lengths), d), np.nan, dtype=np.result_type(flat.dtype, np.float32))
        present = np.maximum(lengths, 0)
        owner = np.repeat(np.arange(len(lengths)), present)
        kept = (lengths == d)[owner]
        rows[lengths == d] = flat[kept].reshape(-1, d)
        return rows


def _names(column: Any, coded: list[str] | None) -> NDArray[Any]:
    """A column of labels or ids; missing entries are None, or NaN in a column of floats."""
    import pyarrow.types as kinds

    if kinds.is_dictionary(column.type):
        column = column.dictionary_decode()
    plain = kinds.is_floating(column.type) or kinds.is_integer(column.type)
    if coded is not None:
        values = np.array([*coded, None], dtype=object)
        codes = column.fill_null(-1).to_numpy(zero_copy_only=False)
        return np.asarray(values[codes])
    if plain and column.null_count == 0:
        return np.asarray(column.to_numpy(zero_copy_only=False))
    return np.array([*column.to_pylist(), None], dtype=object)[:-1]


class ParquetShard(_Table):
    """A parquet file, read page by page whatever the size of its row groups."""

    def __init__(self, path: Path) -> None:
        self.path = path
        pa = _pyarrow(path)
        self._errors = (pa.ArrowException, OSError)
        with self._open() as file:
            self.schema = file.schema_arrow
            self._rows = int(file.metadata.num_rows)

    def _open(self) -> Any:
        import pyarrow.parquet as pq

        try:
            # By default whole column chunks of many row groups are read ahead and kept.
            return pq.ParquetFile(self.path, pre_buffer=False, buffer_size=_PAGES)
        except self._errors as error:
            raise unreadable(self.path, "a parquet table", error) from error

    @property
    def rows(self) -> int:
        """From the file's footer."""
        return self._rows

    def read(
        self, names: Sequence[str], batch: int, fill_ragged: bool
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Rows in order."""
        first, width = 0, list[int]()
        try:
            with self._open() as file:
                for part in file.iter_batches(batch, columns=list(names), use_threads=False):
                    yield self.arrays(part, names, first, fill_ragged, width)
                    first += part.num_rows
        except self._errors as error:
            raise unreadable(self.path, "a complete parquet table", error) from error


class ArrowShard(_Table):
    """An arrow stream or file, as Hugging Face datasets save their parts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        pyarrow = _pyarrow(path)
        self._errors = (pyarrow.ArrowException, OSError)
        self.schema = self._open().schema

    def _open(self) -> Any:
        import pyarrow as pa
        from pyarrow import ipc

        try:
            source = pa.OSFile(str(self.path))
            try:
                return ipc.open_stream(source)
            except pa.ArrowInvalid:
                return ipc.open_file(pa.OSFile(str(self.path)))
        except self._errors as error:
            raise unreadable(self.path, "an arrow table", error) from error

    @property
    def rows(self) -> int | None:
        """Only reading tells."""
        return None

    def read(
        self, names: Sequence[str], batch: int, fill_ragged: bool
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Rows in order."""
        reader, first, width = self._open(), 0, list[int]()
        parts = (
            reader
            if not hasattr(reader, "num_record_batches")
            else (reader.get_batch(k) for k in range(reader.num_record_batches))
        )
        try:
            for whole in parts:
                for start in range(0, whole.num_rows, batch):
                    part = whole.slice(start, batch)
                    yield self.arrays(part, names, first, fill_ragged, width)
                    first += part.num_rows
        except self._errors as error:
            raise unreadable(self.path, "a complete arrow table", error) from error


class CsvShard(_Table):
    """A CSV file with a header line, one column per dimension."""

    def __init__(self, path: Path) -> None:
        self.path = path
        pyarrow = _pyarrow(path)
        self._errors = (pyarrow.ArrowException, OSError)
        self.schema = self._open().schema

    def _open(self) -> Any:
        from pyarrow import csv

        try:
            return csv.open_csv(
                self.path,
                convert_options=csv.ConvertOptions(strings_can_be_null=True),
                read_options=csv.ReadOptions(block_size=1 << 24, use_threads=False),
            )
        except self._errors as error:
            raise unreadable(self.path, "a CSV table with a header line", error) from error

    @property
    def rows(self) -> int | None:
        """Only reading tells."""
        return None

    def read(
        self, names: Sequence[str], batch: int, fill_ragged: bool
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Rows in order."""
        first = 0
        try:
            for whole in self._open():
                for start in range(0, whole.num_rows, batch):
                    part = whole.slice(start, batch)
                    yield self.arrays(part, names, first, fill_ragged, [])
                    first += part.num_rows
        except self._errors as error:
            raise unreadable(self.path, "a complete CSV table", error) from error
