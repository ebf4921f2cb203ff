"""Tables of text: CSV and TSV files, whose columns have no types of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from uncollapse.errors import InputError
from uncollapse.tables._unpacked import PACKED, unpacked
from uncollapse.tables.arrow import TableShard

# A vector written as text: in brackets, or several numbers of which one has a point or exponent.
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_BRACKETED = re.compile(rf"\s*[\[({{]\s*(?:{_NUMBER}|nan|-?inf)[\s,;\])}}]", re.IGNORECASE)
_BARE = re.compile(rf"\s*{_NUMBER}(?:(?:\s*[,;]\s*|\s+){_NUMBER})+\s*")
_AROUND, _BETWEEN = "[](){} \t\r\n", r"(?:\s*[,;]\s*|\s+)"


class CsvShard(TableShard):
    """A CSV file with a header line, a column for each dimension or vectors written as text.

    What a column is follows from what it is read for, never from its first rows: vectors are
    numbers, and labels and ids stay the text that is written (007, 1.10, 1e2, TRUE, NA), of which
    only empty text is missing.
    """

    kind = "CSV table with a header line"
    untyped = True
    delimiter: ClassVar[str] = ","

    def __init__(self, path: Path) -> None:
        self._written: set[str] = set()  # columns of vectors as text
        super().__init__(path)
        self.columns = [
            replace(column, kind="matrix", type="vectors as text")
            if column.name in self._written
            else column
            for column in self.columns
        ]

    @property
    def size(self) -> float:
        """Packed text takes a few times its file."""
        return super().size * (5 if self.path.suffix.lower() in PACKED else 1)

    def _open(self, vectors: Sequence[str] = (), names: Sequence[str] = ()) -> Any:
        import pyarrow as pa
        from pyarrow import csv

        types = {name: pa.string() if name in self._written else pa.float64() for name in vectors}
        types |= dict.fromkeys(names, pa.string())
        return csv.open_csv(
            unpacked(self.path) or str(self.path),
            convert_options=csv.ConvertOptions(column_types=types, include_columns=list(types)),
            read_options=csv.ReadOptions(block_size=1 << 24, use_threads=False),
            parse_options=csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
        )

    def _read_schema(self) -> Any:
        reader = self._open()
        try:
            names = reader.schema.names  # decoded when they are asked for
        except UnicodeDecodeError as error:
            raise InputError(
                f"a header in UTF-8 in {self.path}",
                f"other bytes ({error.object[:20]!r})",
                "save the file as UTF-8 (iconv -f ENCODING -t UTF-8)",
            ) from error
        texts = [field.name for field in reader.schema if str(field.type) == "string"]
        first = next(iter(reader), None) if texts and len(set(names)) == len(names) else None
        if first is not None:
            self._written = {name for name in texts if _is_vector(first.column(name))}
        return reader.schema

    def _batches(self, vectors: Sequence[str], names: Sequence[str], batch: int) -> Iterator[Any]:
        row = 0
        try:
            for part in self._open(vectors, names):
                for name in self._written.intersection(vectors):
                    where = f"column {name!r} of {self.path}"
                    numbers = _vectors(part.column(name), where, row)
                    part = part.set_column(part.schema.get_field_index(name), name, numbers)
                row += part.num_rows
                yield part
        except self._errors as error:
            said = re.search(r"column #(\d+): Row #(\d+): .* to double: (.*)", str(error))
            if said is None:
                raise
            raise InputError(
                f"numbers in column {self.columns[int(said[1])].name!r} of {self.path}",
                f"text ({said[3]} in line {said[2]})",
                "correct it, or name the embedding columns",
            ) from error


class TsvShard(CsvShard):
    """The same with tabs between the columns."""

    kind = "TSV table with a header line"
    delimiter = "\t"


def _is_vector(column: Any) -> bool:
    """Whether the first text of a column is a vector."""
    first = next((value for value in column[:1000].to_pylist() if value), "")
    bare = _BARE.fullmatch(first) is not None and re.search("[.eE]", first) is not None
    return bare or _BRACKETED.match(first) is not None


def _vectors(column: Any, where: str, first_row: int) -> Any:
    """Lists of numbers from "[0.1, 0.2]", "(0.1 0.2)", "0.1 0.2" or "0.1;0.2"."""
    import pyarrow as pa
    import pyarrow.compute as pc

    bare = pc.utf8_trim(column, characters=_AROUND)
    bare = pc.if_else(pc.equal(bare, ""), pa.scalar(None, pa.string()), bare)
    parts = pc.split_pattern_regex(bare, pattern=_BETWEEN)
    try:
        return parts.cast(pa.list_(pa.float64()))
    except pa.ArrowInvalid as error:
        row, text = _first_wrong(parts.to_pylist())
        cut = "..." in text
        raise InputError(
            f"numbers in {where}",
            f"text ({text!r} in row {first_row + row})",
            "numpy wrote the ends of the vectors alone: write them whole (tolist)"
            if cut
            else "correct it, or name the column of the embeddings",
        ) from error


def _first_wrong(rows: list[list[str] | None]) -> tuple[int, str]:
    """The first row, and text in it, that is no number."""
    for row, parts in enumerate(rows):
        for text in parts or ():
            try:
                float(text)
            except ValueError:
                return row, text
    return 0, ""
