"""Tables and streams of Arrow that the caller holds, read as files are."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from uncollapse.errors import InputError
from uncollapse.samples import is_arrow, refuse_objects
from uncollapse.tables.arrow import TableShard

# Bytes of a stream that are held, so that it can be read again; one that is longer is read once.
_HELD_BYTES = 1 << 28
_IN_MEMORY = ("pyarrow", "polars", "pandas")


@runtime_checkable
class ArrowStream(Protocol):
    """What hands out its rows by Arrow's C interface: a table, a query's result, a stream."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """A capsule of the stream."""


@dataclass(frozen=True)
class Batches:
    """Rows of a store, asked for again each time that they are read.

    Anything that takes Arrow takes it: `pyarrow.table(...)`, `polars.from_arrow(...)`.

    Attributes:
        name: What errors call it.
        schema: Its `pyarrow.Schema`.
        batches: Gives the record batches from the first on.
        rows: How many rows there are, where that is known.
    """

    name: str
    schema: Any
    batches: Callable[[], Iterator[Any]]
    rows: int | None = None

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """A capsule of the stream, as Arrow's C interface has it."""
        return self.reader().__arrow_c_stream__(requested_schema)

    def reader(self) -> Any:
        """A `pyarrow.RecordBatchReader` from the first row on."""
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(self.schema, self.batches())


def is_table(given: Any) -> bool:
    """Whether an object hands out Arrow of several columns, and no single one."""
    if not is_arrow(given) or hasattr(given, "dtype"):  # a Series of pandas or polars
        return False
    kind = getattr(given, "type", None)  # of pyarrow's arrays
    return not hasattr(kind, "num_fields") or str(kind).startswith("struct")


class StreamShard(TableShard):
    """Rows of an object of Arrow.

    A table is read as often as need be. A stream is held where it ends within 256 MiB; else only
    its first part is, and it is read once.
    """

    kind = "stream of Arrow"

    def __init__(self, given: Any, name: str | None = None) -> None:
        self._given = given
        self._held: list[Any] = []
        self._rest: Any = None  # of a stream that is longer than what is held
        self._gone = False
        super().__init__(Path(name or _name(given)))

    @property
    def size(self) -> float:
        """Bytes that its rows take, as far as that is known."""
        unknown = self._rest is not None or self.rows is None
        return float("inf") if unknown else float(sum(batch.nbytes for batch in self._held))

    def fingerprint(self) -> tuple[int, str]:
        """Of its rows as a stream of Arrow; none of a stream that is gone."""
        if self._rest is not None:
            return 0, ""
        from pyarrow import ipc

        written = _Digest()
        with ipc.new_stream(written, self.schema) as stream:
            for part in self._batches(self.schema.names, [], 0):
                stream.write_batch(part)
        return written.tell(), written.digest.hexdigest()

    @contextmanager
    def _reading(self, article: str) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(
                f"rows from {self.path}", f"an error ({reason})", "check what gives them"
            ) from error

    def _read_schema(self) -> Any:
        reader, size = _reader(self._given), 0
        if isinstance(self._given, Batches):
            self.rows = self._given.rows
            return reader.schema
        for batch in reader:
            self._held.append(batch)
            size += batch.nbytes
            if size > _HELD_BYTES and not _lasting(self._given):
                self._rest = reader
                return reader.schema
        self.rows = sum(batch.num_rows for batch in self._held)
        return reader.schema

    def _open(self) -> Any:
        return _reader(self._given)

    def _batches(self, vectors: Sequence[str], names: Sequence[str], batch: int) -> Iterator[Any]:
        wanted = list(dict.fromkeys([*vectors, *names]))
        source: Any = self._held
        if isinstance(self._given, Batches):
            source = self._given.batches()
        if self._rest is not None:
            if self._gone:
                raise InputError(
                    f"rows of {self.path} that can be read again",
                    "a stream of more than 256 MiB, which is gone once it was read",
                    "write it to a file, or leave out what takes a second look at the rows (a"
                    " column of splits, ids of a reference, --drop-invalid with instances)",
                )
            self._gone, first, self._held = True, self._held, []
            source = chain(first, self._rest)
        for part in source:
            yield part.select(wanted)


class _Digest(io.RawIOBase):
    """A file that keeps the SHA-256 of what is written to it."""

    def __init__(self) -> None:
        self.digest, self._size = hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size


def _name(given: Any) -> str:
    if isinstance(given, Batches):
        return given.name
    kind = type(given)
    return f"{kind.__module__.partition('.')[0]}.{kind.__name__}"


def _lasting(given: Any) -> bool:
    """Whether an object holds its rows itself, so that to hold its batches costs nothing."""
    return hasattr(given, "shape") and _name(given).partition(".")[0] in _IN_MEMORY


def _reader(given: Any) -> Any:
    """A reader of record batches from the first row on.

    Raises:
        InputError: It is no table.
    """
    import pyarrow as pa

    if isinstance(given, Batches):
        return given.reader()
    refuse_objects(given, getattr(given, "dtypes", ()))
    try:
        if isinstance(given, pa.RecordBatchReader):
            return given
        if hasattr(given, "__arrow_c_stream__"):
            return pa.RecordBatchReader.from_stream(given)
        batch = pa.record_batch(given)
        return pa.RecordBatchReader.from_batches(batch.schema, [batch])
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"a table of columns in {_name(given)}",
            f"what is none ({error})",
            "give a table with the embeddings and the labels, or both as columns",
        ) from error
