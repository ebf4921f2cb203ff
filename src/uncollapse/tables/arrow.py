"""Tables: parquet, and the arrow files of a Hugging Face dataset folder."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from uncollapse.errors import InputError
from uncollapse.samples import (
    VectorColumn,
    decoded,
    is_list,
    is_number,
    name_values,
    stored,
)
from uncollapse.tables._shard import Array, Column, Shard, unreadable, without_package
from uncollapse.tables.huggingface import class_names, names_of_codes

# Bytes of a parquet column that are read at once.
_PAGES = 1 << 20


class TableShard(Shard):
    """What the three kinds of table share."""

    kind: ClassVar[str]

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            import pyarrow as pa
        except ImportError as error:
            raise without_package("pyarrow", path) from error
        self._errors = (pa.ArrowException, OSError, UnicodeDecodeError)
        with self._reading("a"):
            self.schema: Any = self._read_schema()
            self.columns = [_column(field.name, field.type) for field in self.schema]
        self.classes = class_names(self.schema.metadata, path)

    @property
    def about(self) -> str:
        """What its schema holds under "uncollapse"."""
        noted: bytes = (self.schema.metadata or {}).get(b"uncollapse", b"")
        return noted.decode("utf-8", "backslashreplace")

    @contextmanager
    def _reading(self, article: str) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            article += "n" * (article == "a" and self.kind[0] in "aeiou")
            raise unreadable(self.path, f"{article} {self.kind}", error) from error

    @abstractmethod
    def _open(self) -> Any:
        """The reader of the file."""

    def _read_schema(self) -> Any:
        return self._open().schema

    @abstractmethod
    def _batches(self, vectors: Sequence[str], names: Sequence[str], batch: int) -> Iterator[Any]:
        """Record batches that hold these columns, and maybe others."""

    def read(
        self, vectors: Sequence[str], names: Sequence[str], batch: int, fill_ragged: bool = False
    ) -> Iterator[dict[str, Array]]:
        """Rows in order."""
        first = 0
        self._refuse_repeated([*vectors, *names])
        columns = {n: VectorColumn(f"column {n!r} of {self.path}", fill_ragged) for n in vectors}
        with self._reading("a complete"):
            for whole in self._batches(vectors, names, batch):
                _checked(whole)
                for start in range(0, whole.num_rows, batch):
                    part = whole.slice(start, batch)
                    arrays = {n: c.read(part.column(n), first) for n, c in columns.items()}
                    yield arrays | {name: self._names(part.column(name), name) for name in names}
                    first += part.num_rows

    def _refuse_repeated(self, wanted: Sequence[str]) -> None:
        """Of two columns of one name nobody knows which is meant."""
        counts = Counter(column.name for column in self.columns)
        if repeated := [name for name in wanted if counts[name] > 1]:
            raise InputError(
                f"one column {repeated[0]!r} in {self.path}",
                f"{counts[repeated[0]]} of that name",
                "give every column a name of its own",
            )

    def count_rows(self) -> int:
        """Number of rows, if need be by reading."""
        if self.rows is not None:
            return self.rows
        with self._reading("a complete"):
            batches = self._batches([], [self.columns[0].name], 1 << 16)
            return sum(batch.num_rows for batch in batches)

    def _names(self, column: Any, name: str) -> Array:
        """Labels or ids; missing entries are None."""
        import pyarrow.types as kinds

        column = decoded(column)
        if kinds.is_nested(column.type):
            raise InputError(
                f"one name or number per row in column {name!r} of {self.path}",
                str(column.type),
                "name another column, or make one name of each list",
            )
        if name in self.classes and is_number(column.type):  # else what it says is out of date
            where = f"column {name!r} of {self.path}"
            return names_of_codes(column.to_pylist(), self.classes[name], where)
        return name_values(column)

    def encoded(self, name: str) -> Any:
        """A column of encoded files as an arrow array of bytes, mapped where the file allows it."""
        import pyarrow.compute as pc
        import pyarrow.types as kinds

        with self._reading("a complete"):
            column = self._whole(name)
        if kinds.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
            column = pc.struct_field(column, "bytes")
        if not (kinds.is_binary(column.type) or kinds.is_large_binary(column.type)):
            raise InputError(
                f"encoded images in column {name!r} of {self.path}",
                f"type {column.type}",
                "name the column with the bytes; for paths use the source image-folder",
            )
        if column.null_count:
            raise InputError(
                f"bytes in every row of column {name!r} of {self.path}",
                f"{column.null_count} rows without",
                "embed the images (Dataset.save_to_disk does), or use the source image-folder",
            )
        return column

    def _whole(self, name: str) -> Any:
        """A column whole, as a chunked array."""
        import pyarrow as pa

        batches = list(self._batches([], [name], 1 << 16))
        if not batches:
            raise pa.ArrowInvalid("no rows")
        return _checked(pa.Table.from_batches(batches).column(name))


def _checked(read: Any) -> Any:
    """What was read, whose offsets and text arrow trusts until it crashes on them."""
    read.validate(full=True)
    return read


def _column(name: str, kind: Any) -> Column:
    import pyarrow.types as kinds

    inside = stored(kind)
    if is_list(inside):
        fixed = kinds.is_fixed_size_list(inside)
        shape = tuple(getattr(kind, "shape", ())) or ((inside.list_size,) if fixed else ())
        return Column(name, "matrix", shape, str(kind))
    return Column(name, "number" if is_number(kind) else "name", (), str(kind))


class ParquetShard(TableShard):
    """A parquet file, read page by page whatever the size of its row groups."""

    kind = "parquet table"

    def _open(self) -> Any:
        import pyarrow.parquet as pq

        # By default whole column chunks of many row groups are read ahead and kept.
        return pq.ParquetFile(self.path, pre_buffer=False, buffer_size=_PAGES)

    def _read_schema(self) -> Any:
        with self._open() as file:
            self.rows = int(file.metadata.num_rows)
            groups = range(file.metadata.num_row_groups)
            self._agree(sum(file.metadata.row_group(k).num_rows for k in groups), self.rows)
            return file.schema_arrow

    def _agree(self, rows: int, declared: int) -> None:
        """Of rows that are missing or too many arrow itself says nothing."""
        if rows != declared:
            lies = EOFError(f"{rows:,} rows where its footer declares {declared:,}")
            raise unreadable(self.path, f"a complete {self.kind}", lies)

    def _batches(self, vectors: Sequence[str], names: Sequence[str], batch: int) -> Iterator[Any]:
        wanted = list(dict.fromkeys([*vectors, *names]))
        with self._open() as file:
            came, declared = 0, int(file.metadata.num_rows)
            for part in file.iter_batches(batch, columns=wanted, use_threads=False):
                came += part.num_rows
                yield part
        self._agree(came, declared)


class ArrowShard(TableShard):
    """An arrow stream or file, as Hugging Face datasets save their parts."""

    kind = "arrow table"

    def _open(self, *, mapped: bool = False) -> Any:
        import pyarrow as pa
        from pyarrow import ipc

        opened = pa.memory_map if mapped else pa.OSFile
        try:
            return ipc.open_stream(opened(str(self.path)))
        except pa.ArrowInvalid:
            return ipc.open_file(opened(str(self.path)))

    def _batches(self, vectors: Sequence[str], names: Sequence[str], batch: int) -> Iterator[Any]:
        reader = self._open()
        if not hasattr(reader, "num_record_batches"):
            yield from reader
            return
        for k in range(reader.num_record_batches):
            yield reader.get_batch(k)

    def _whole(self, name: str) -> Any:
        return _checked(self._open(mapped=True).read_all().column(name))
