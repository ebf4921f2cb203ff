"""Files of rows and of JSON, read by the library of their format alone."""

import csv
import gzip
import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Columns = Mapping[str, Any]


def plain_columns(path: Path, names: tuple[str, ...] = ()) -> Columns:
    """The columns of a file of rows, by the library of its format; of npz and parquet files those
    of these names alone, if any are named."""
    if path.is_dir():
        named = path / "state.json"
        parts = (
            [part["filename"] for part in strict(named)["_data_files"]] if named.is_file() else []
        )
        return _joined([_arrow(path / part) for part in parts or sorted(path.glob("*.arrow"))])
    readers: dict[str, Callable[[Path], Columns]] = {
        ".npz": lambda p: _npz(p, names),
        ".npy": lambda p: {"array": np.load(p, allow_pickle=False)},
        ".csv": _csv,
        ".tsv": lambda p: _csv(p, "\t"),
        ".gz": _csv,
        ".jsonl": _json_lines,
        ".feather": _arrow,
        ".parquet": lambda p: _parquet(p, names),
        ".arrow": _arrow,
        ".safetensors": tensors,
    }
    return readers[path.suffix](path)


def _joined(parts: list[Columns]) -> Columns:
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}


def _npz(path: Path, names: tuple[str, ...]) -> Columns:
    with zipfile.ZipFile(path) as archive:
        there = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
        wanted = [name for name in there if name in names or not names]
        held = {name: io.BytesIO(archive.read(f"{name}.npy")) for name in wanted}
    read = np.lib.format.read_array
    return {name: read(part, allow_pickle=False) for name, part in held.items()}


def _json_lines(path: Path) -> Columns:
    """Every line an object by the standard; keys of the first ones, None where one is missing."""
    data = [strict_text(line) for line in path.read_bytes().split(b"\n") if line.strip()]
    if not all(isinstance(record, dict) for record in data):
        raise ValueError("no object")
    return {key: [record.get(key) for record in data] for key in data[0]}


def _csv(path: Path, between: str = ",") -> Columns:
    opened: Any = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file, delimiter=between) if row]
    columns = dict(zip(rows[0], zip(*rows[1:], strict=True), strict=True))
    for cells in columns.values():
        if cells[:1] and cells[0].startswith("["):  # vectors as text
            vectors = [[float(n) for n in cell.strip("[]").split(",")] for cell in cells]
            return {**columns, "embedding": np.array(vectors)}
    numbered = [match for name in columns if (match := re.fullmatch(r"(.*?)(\d+)", name))]
    shared = Counter(match[1] for match in numbered).most_common(1)[0][0]
    family = {int(match[2]): columns[match[0]] for match in numbered if match[1] == shared}
    if sorted(family) != list(range(min(family), min(family) + len(family))):
        raise ValueError("a column left out")
    vectors = [[float(value) for value in family[k]] for k in sorted(family)]
    return {"embedding": np.array(vectors).T, "label": columns["label"]}


def _parquet(path: Path, names: tuple[str, ...]) -> Columns:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:  # to read it whole believes what the footer declares
        wanted = [name for name in file.schema_arrow.names if name in names or not names]
        parts = [part.to_pydict() for part in file.iter_batches(1000, columns=wanted)]
    return _joined(parts)


def described(path: Path) -> Any:
    """What `uncollapse embed` wrote of a file into it; of nonsense nothing."""
    import pyarrow.parquet as pq

    try:
        if path.suffix == ".npz":
            about = json.loads(str(plain_columns(path, ("about",))["about"]))
        else:
            about = json.loads((pq.read_schema(path).metadata or {}).get(b"uncollapse", b"{}"))
    except (ValueError, KeyError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}


def _arrow(path: Path) -> Columns:
    import pyarrow as pa

    data = path.read_bytes()
    try:
        table = pa.ipc.open_stream(data).read_all()
    except pa.ArrowInvalid:
        table = pa.ipc.open_file(data).read_all()
    return table.to_pydict()


def tensors(path: Path) -> Columns:
    from safetensors.numpy import load_file

    return load_file(path)


def strict(path: Path) -> Any:
    """JSON by its standard: no key twice, no NaN."""
    return strict_text(text_of(path))


def strict_text(content: str | bytes) -> Any:
    """The same of a text."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("a key twice")
        return dict(pairs)

    def never(text: str) -> Any:
        raise ValueError(text)

    return json.loads(content, object_pairs_hook=once, parse_constant=never)


def text_of(path: Path) -> str:
    """UTF-8, 16 or 32, as JSON's standard finds out."""
    data = path.read_bytes()
    return data.decode(json.detect_encoding(data)).removeprefix("\ufeff")
