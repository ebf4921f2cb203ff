"""Columns of Arrow as numpy arrays: without a copy where their numbers lie as numpy has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError

Array = NDArray[Any]


def is_arrow(values: Any) -> bool:
    """Whether an object hands its values out by Arrow's C interface, as an array or a stream."""
    return hasattr(values, "__arrow_c_stream__") or hasattr(values, "__arrow_c_array__")


def arrow_column(values: Any) -> Any:
    """What hands out an Arrow array, or a stream of them, as one array.

    Raises:
        InputError: pyarrow is not installed, or it is no column.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        raise InputError(
            f"pyarrow, which reads {type(values).__name__}",
            "an environment without it",
            "pip install 'uncollapse[measure]'",
        ) from error
    refuse_objects(values, [getattr(values, "dtype", "")])
    try:
        if not hasattr(values, "__arrow_c_stream__"):
            column = pa.array(values)
        else:
            chunks = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array(values)
            column = chunks.chunk(0) if chunks.num_chunks == 1 else chunks.combine_chunks()
        column.validate(full=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            "a column of numbers, names or lists",
            f"a {type(values).__name__} that is none ({error})",
            "give one column, or a whole table in place of the embeddings",
        ) from error
    return column


def refuse_objects(values: Any, types: Iterable[Any]) -> None:
    """Refuse columns of Python objects in polars, which hands out where they lie in memory."""
    if "Object" in map(str, types):
        raise InputError(
            f"columns of names or numbers in {type(values).__name__}",
            "Python objects (type Object)",
            "cast them to String",
        )


def arrow_values(values: Any) -> Array:
    """A column of Arrow: numbers (N,), names (N,) with None where one is missing, lists (N, d).

    Tensors of a fixed shape come in theirs.

    Raises:
        InputError: Lists of several lengths, or of what is no number.
    """
    column = arrow_column(values)
    if is_list(stored(column.type)):
        return VectorColumn(f"{type(values).__name__}", fill_ragged=False).read(column, 0)
    return name_values(column)


def decoded(column: Any) -> Any:
    """A column of runs, or of codes and their names (a Categorical, an Enum), as one of values."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as kinds

    if kinds.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    if not kinds.is_dictionary(column.type):
        return column
    names = column.dictionary
    if kinds.is_string_view(names.type):  # of which arrow takes none by their codes
        names = names.cast(pa.large_string())
    return names.take(column.indices)


def name_values(column: Any) -> Array:
    """A column of names or numbers; missing entries are None."""
    column = decoded(column)
    if is_number(column.type) and column.null_count == 0:
        return np.asarray(column.to_numpy(zero_copy_only=False))
    return np.array([*column.to_pylist(), None], dtype=object)[:-1]


def is_number(kind: Any) -> bool:
    """Whether a type is of numbers that numpy has."""
    import pyarrow.types as kinds

    return bool(kinds.is_floating(kind) or kinds.is_integer(kind))


def is_list(kind: Any) -> bool:
    """Whether a type is of lists."""
    import pyarrow.types as kinds

    lists = (kinds.is_list, kinds.is_large_list, kinds.is_fixed_size_list)
    views = ("list_view<", "large_list_view<")  # of which arrow 15 has none
    return any(is_(kind) for is_ in lists) or str(kind).startswith(views)


def stored(kind: Any) -> Any:
    """The type that an extension type, such as a tensor of fixed shape, is stored as."""
    return getattr(kind, "storage_type", kind)


class VectorColumn:
    """A column of numbers, lists, or lists of lists, whose lists have one length in all parts.

    `where` is what errors call it.
    """

    def __init__(self, where: str, fill_ragged: bool) -> None:
        self.where, self.fill_ragged = where, fill_ragged
        self.widths: dict[int, int] = {}

    def read(self, column: Any, first_row: int) -> Array:
        """The rows of a part; tensors of a fixed shape in theirs."""
        shape = getattr(column.type, "shape", ())
        order = getattr(column.type, "permutation", None)
        if order and list(order) != sorted(order):
            raise InputError(
                f"tensors in the order of their dimensions in {self.where}",
                "a permutation",
                "save them without",
            )
        rows = self.rows(getattr(column, "storage", column), first_row)
        return rows.reshape(len(rows), *shape) if shape else rows

    def rows(self, column: Any, first_row: int, depth: int = 0) -> Array:
        """The usual length of the lists in the first part is that of all.

        Missing lists, and with `fill_ragged` those of another length, are rows of NaN.
        """
        if not is_list(column.type):
            return self._numbers(column, "lists of " * (depth > 0))
        lengths = np.asarray(
            column.value_lengths().fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64
        )
        flat = self.rows(column.flatten(), first_row, depth + 1)
        if depth not in self.widths:
            known = lengths[lengths >= 0]
            self.widths[depth] = int(np.bincount(known).argmax()) if len(known) else 0
        width = self.widths[depth]
        shape = (len(lengths), width, *flat.shape[1:])
        good = lengths == width
        if good.all():
            return flat.reshape(shape)
        wrong = (lengths >= 0) & ~good
        if wrong.any() and not self.fill_ragged:
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(
                f"lists of one length ({width}) in {self.where}",
                f"{int(wrong.sum())} of {len(lengths)} rows of another"
                f" (first: row {first_row + row}, length {int(lengths[row])})",
                "correct them, or take them out (`uncollapse measure` does so with --drop-invalid)",
            )
        rows = np.full(shape, np.nan, dtype=np.result_type(flat.dtype, np.float32))
        rows[good] = flat[np.repeat(good, np.maximum(lengths, 0))].reshape(-1, *shape[1:])
        return rows

    def _numbers(self, column: Any, kind: str) -> Array:
        import pyarrow.types as kinds

        if is_number(column.type):
            return np.asarray(column.to_numpy(zero_copy_only=False))
        text = kinds.is_string(column.type) or kinds.is_large_string(column.type)
        plain = (kinds.is_boolean, kinds.is_decimal, kinds.is_null)
        expected = f"numbers in {self.where}"
        if not any(is_(column.type) for is_ in plain) and (kind or not text):
            raise InputError(
                expected, f"{kind}{column.type}", "give the column that holds the embeddings"
            )
        try:
            return np.array(column.to_pylist(), dtype=object).astype(np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(expected, f"text ({error})", "name the embedding columns") from error
