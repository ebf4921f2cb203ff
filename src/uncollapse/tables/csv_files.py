"""Tables of text: CSV files, whose columns have no types of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from uncollapse.errors import InputError
from uncollapse.tables.arrow import TableShard


class CsvShard(TableShard):
    """A CSV file with a header line, one column per dimension.

    What a column is follows from what it is read for, never from its first rows: vectors are
    numbers, and labels and ids stay the text that is written (007, 1.10, 1e2, TRUE, NA), of which
    only empty text is missing.
    """

    kind = "CSV table with a header line"
    untyped = True

    def _open(self, vectors: Sequence[str] = (), names: Sequence[str] = ()) -> Any:
        import pyarrow as pa
        from pyarrow import csv

        types = dict.fromkeys(vectors, pa.float64()) | dict.fromkeys(names, pa.string())
        return csv.open_csv(
            self.path,
            convert_options=csv.ConvertOptions(column_types=types, include_columns=list(types)),
            read_options=csv.ReadOptions(block_size=1 << 24, use_threads=False),
        )

    def _read_schema(self) -> Any:
        schema = super()._read_schema()
        try:
            schema.names  # noqa: B018  (decoded when they are asked for)
            return schema
        except UnicodeDecodeError as error:
            raise InputError(
                f"a header in UTF-8 in {self.path}",
                f"other bytes ({error.object[:20]!r})",
                "save the file as UTF-8 (iconv -f ENCODING -t UTF-8)",
            ) from error

    def _batches(self, vectors: Sequence[str], names: Sequence[str], batch: int) -> Iterator[Any]:
        try:
            yield from self._open(vectors, names)
        except self._errors as error:
            said = re.search(r"column #(\d+): Row #(\d+): .* to double: (.*)", str(error))
            if said is None:
                raise
            raise InputError(
                f"numbers in column {self.columns[int(said[1])].name!r} of {self.path}",
                f"text ({said[3]} in line {said[2]})",
                "correct it, or name the embedding columns",
            ) from error
