"""Tables from CSV, parquet, and saved Hugging Face datasets, with pyarrow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.data.listing import texts
from uncollapse.data.splits import part_names
from uncollapse.errors import InputError

__all__ = ["ReadTable", "TextColumns", "read_table"]

# train-00000-of-00002.parquet, val.parquet, test_1.parquet
_PART = re.compile(r"(train|training|val|valid|validation|dev|test|testing)([-_.\d].*)?$")


@dataclass(frozen=True)
class ReadTable:
    """A table and what lies around it.

    Attributes:
        table: pyarrow table.
        split: (N,) parts that the file names or the dataset say; None if they do not.
        classes: Names of the codes of a column (Hugging Face's ClassLabel).
        path: Where it came from.
    """

    table: Any
    split: NDArray[Any] | None
    classes: Mapping[str, tuple[str, ...]]
    path: Path


class TextColumns(Mapping[str, NDArray[Any]]):
    """The columns of single values as text, made when they are asked for."""

    def __init__(self, read: ReadTable) -> None:
        import pyarrow.types as kinds

        self._read = read
        nested = (
            kinds.is_nested,
            kinds.is_binary,
            kinds.is_large_binary,
            kinds.is_fixed_size_binary,
        )
        self._names = [
            field.name for field in read.table.schema if not any(is_(field.type) for is_ in nested)
        ]

    def __getitem__(self, name: str) -> NDArray[Any]:
        """(N,) text, None where a value is missing."""
        if name not in self._names:
            raise KeyError(name)
        values = self._read.table.column(name).to_pylist()
        classes = self._read.classes.get(name)
        if classes is not None:
            # A ClassLabel of -1 means that the label is withheld.
            values = [None if code is None or code < 0 else classes[code] for code in values]
        return texts(values)

    def __iter__(self) -> Iterator[str]:
        """Names in the order of the table."""
        return iter(self._names)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._names)


def _files(path: Path) -> list[tuple[Path, str]]:
    """The files of a table, each with the part it is named for ("" for none)."""
    if path.is_file():
        return [(path, "")]
    if (path / "dataset_dict.json").is_file():
        parts = _json(path / "dataset_dict.json").get("splits", [])
        return [file for part in parts for file in _arrow_files(path / part, part)]
    if (path / "state.json").is_file():
        return _arrow_files(path, "")
    found = sorted(path.rglob("*.parquet"))
    if not found:
        raise InputError(
            "a CSV or parquet file, a folder of parquet files, or a saved Hugging Face dataset",
            f"none in {path}",
            "check the path",
        )
    return [(file, _part_of(file, path)) for file in found]


def _part_of(file: Path, folder: Path) -> str:
    match = _PART.match(file.stem)
    if match is None and file.parent != folder:
        match = _PART.fullmatch(file.parent.name)
    return match[1] if match else ""


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"JSON in {path}", str(error), "save the dataset again") from error
    if not isinstance(content, dict):
        raise InputError(f"an object in {path}", type(content).__name__, "save the dataset again")
    return content


def _arrow_files(folder: Path, part: str) -> list[tuple[Path, str]]:
    state = _json(folder / "state.json")
    if state.get("_indices_data_files"):
        raise InputError(
            f"a dataset without an indices file in {folder}",
            "one that was filtered or shuffled",
            "call flatten_indices() before save_to_disk()",
        )
    return [(folder / entry["filename"], part) for entry in state.get("_data_files", [])]


def _read_file(path: Path, text_columns: Sequence[str]) -> Any:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    try:
        match path.suffix.lower():
            case ".parquet":
                return pyarrow.parquet.ParquetFile(path).read()
            case ".csv":
                # Labels such as 007 stay as they are written.
                types = {name: pa.string() for name in text_columns}
                options = pyarrow.csv.ConvertOptions(column_types=types)
                return pyarrow.csv.read_csv(path, convert_options=options)
            case ".arrow":
                return pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"a table in {path}", str(error).splitlines()[0], "mend or replace the file"
        ) from error
    raise InputError("a CSV or parquet file", str(path), "convert it")


def _class_names(schema: Any) -> dict[str, tuple[str, ...]]:
    """Names of codes, from the metadata that Hugging Face's datasets writes into the schema."""
    metadata = (schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(metadata)["info"]["features"] if metadata else {}
        return {
            name: tuple(feature["names"])
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError):
        return {}


def read_table(path: Path, text_columns: Sequence[str]) -> ReadTable:
    """Reads a table whole; the files of a saved Hugging Face dataset are mapped.

    Args:
        path: File or folder.
        text_columns: Columns that a CSV file holds as text whatever they look like.

    Raises:
        InputError: A file that cannot be read, files with different columns, two columns of a name,
            parts named by some of the files only.
    """
    import pyarrow as pa

    files = _files(path)
    tables = [_read_file(file, text_columns) for file, _ in files]
    parts = [part for _, part in files]
    if any(parts) and not all(parts):
        odd = next(file.name for file, part in files if not part)
        raise InputError(
            f"files of {path} that are all named for their part, or none", odd, "rename or move it"
        )
    names = tables[0].column_names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"columns of different names in {path}", f"{twice!r} twice", "rename one")
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise InputError(
            f"files of the same columns in {path}", str(error).splitlines()[0], "convert them"
        ) from error
    split = None
    if any(parts):
        words = part_names(parts, str(path))
        split = np.repeat(words, [len(table) for table in tables])
    return ReadTable(table, split, _class_names(tables[0].schema), path)
