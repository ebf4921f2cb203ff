"""From paths to shards: by the ending of a file's name, or by what a folder holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from uncollapse.errors import InputError, near_file
from uncollapse.samples import is_arrow
from uncollapse.tables._shard import Shard
from uncollapse.tables._unpacked import PACKED
from uncollapse.tables.arrow import ArrowShard, ParquetShard
from uncollapse.tables.csv_files import CsvShard, TsvShard
from uncollapse.tables.elsewhere import is_elsewhere, open_elsewhere, refuse_other_scheme
from uncollapse.tables.hive import KeyedShard, keyed_files, keys_of
from uncollapse.tables.huggingface import dataset_files, dataset_splits
from uncollapse.tables.json_lines import JsonLinesShard
from uncollapse.tables.numpy_files import ArraysShard, NpyShard, NpzShard, SafetensorsShard
from uncollapse.tables.queries import Query, QueryShard
from uncollapse.tables.splits import SPLIT_COLUMN, SPLIT_WORDS
from uncollapse.tables.streams import ArrowStream, StreamShard
from uncollapse.tables.views import of_one_kind

# A file, folder or URL, "-" for the standard input, a query of a database, or rows as Arrow.
Source = str | Path | Query | ArrowStream

_TEXT: dict[str, Callable[[Path], Shard]] = {
    ".csv": CsvShard,
    ".tsv": TsvShard,
    ".jsonl": JsonLinesShard,
    ".ndjson": JsonLinesShard,
}
ENDINGS: dict[str, Callable[[Path], Shard]] = {
    ".npy": NpyShard,
    ".npz": NpzShard,
    ".safetensors": SafetensorsShard,
    ".parquet": ParquetShard,
    ".arrow": ArrowShard,
    ".arrows": ArrowShard,
    ".feather": ArrowShard,
    ".ipc": ArrowShard,
    **_TEXT,
    **{f"{text}{packed}": shard for packed in PACKED for text, shard in _TEXT.items()},
}
# Beside rows in another format, files of these are journals.
_JOURNALS = (".jsonl", ".ndjson")

# train-00000-of-00002.parquet, val.parquet, test_1.parquet
_WORDS = "|".join(word for words in SPLIT_WORDS.values() for word in words)
_SPLIT = re.compile(rf"({_WORDS})([-_.\d].*)?$", re.IGNORECASE)


def ending_of(path: str | Path) -> str:
    """The known ending of a file's name, as .csv or .csv.gz; "" where it has none."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    several = ("".join(suffixes[-count:]) for count in (2, 1))
    return next((ending for ending in several if ending in ENDINGS), "")


def is_rows(given: Any) -> bool:
    """Whether what is given can hold rows: Arrow, a query, "-", a URL, or by a file's ending."""
    elsewhere = isinstance(given, str | Path) and is_elsewhere(given)
    return isinstance(given, Query) or is_arrow(given) or elsewhere or bool(ending_of(given))


def sources_of(given: Source | Iterable[Source]) -> list[Source]:
    """Several sources of rows as a list, and a single one as a list of it."""
    one = isinstance(given, str | Path | Query) or is_arrow(given)
    return [given] if one else list(given)  # type: ignore[list-item, arg-type]  # of one of both


def open_shards(
    paths: Source | Iterable[Source], *, views: bool = False, local: bool = False
) -> list[Shard]:
    """Every file, query or Arrow table, in order, opened far enough to know its columns.

    With `local` an address is the name of a file: for paths that a stranger's file may name.

    Of files in which `uncollapse embed --views` wrote each instance as it is and its augmented
    views, the instances are read, or with `views` the views.

    Raises:
        InputError: A path that is not there, a format that is not known, a file that is not what
            its name says or is cut short, a package that is not installed.
    """
    shards = [shard for given in sources_of(paths) for shard in _opened(given, local)]
    if not shards:
        raise InputError("one file or more", "none", "name the files to measure")
    return [of_one_kind(shard, views=views) for shard in shards]


def _opened(given: Source, local: bool) -> list[Shard]:
    if isinstance(given, Query):
        return [QueryShard(given)]
    if not isinstance(given, str | Path):
        return [StreamShard(given)]
    if is_elsewhere(given) and not local:
        return open_elsewhere(given, _open)
    path = Path(given)
    shards = []
    for file in _files_of(path):
        keys = keys_of(file, path) if file != path else {}
        shards.append(KeyedShard(_open(file), keys) if keys else _open(file))
    return shards


def open_splits(path: Path) -> list[tuple[Shard, str]]:
    """The tables of one path, each with the split that its name or the dataset says, or "".

    Of a file, of a folder of parquet files at any depth, of folders named for values
    (label=cat/part-0.csv, split=test/), or of a saved Hugging Face dataset.
    """
    if not path.is_dir():
        return [(_open(file), "") for file in _files_of(path)]
    if splits := dataset_splits(path):
        return [(_open(file), name) for name in splits for file in _dataset(path / name)]
    if files := dataset_files(path):
        return [(_open(file), "") for file in files]
    if files := _keyed_files(path):
        return [(KeyedShard(_open(f), keys_of(f, path)), _split_of(f, path)) for f in files]
    files = sorted(path.rglob("*.parquet"), key=_natural)
    if not files:
        raise InputError(
            "a CSV or parquet file, a folder of parquet files, or a saved Hugging Face dataset",
            f"none in {path}",
            "check the path",
        )
    return [(_open(file), _split_of(file, path)) for file in files]


def _keyed_files(folder: Path) -> list[Path]:
    """Files of tables below folders that are named for a value."""
    return sorted((file for file in keyed_files(folder) if ending_of(file)), key=_natural)


def open_arrays(path: Path) -> ArraysShard:
    """An npz archive, or a folder of npy files."""
    if path.is_dir():
        return NpyShard(path)
    if not path.is_file():
        raise InputError(f"a file or folder at {path}", "none", "check the path")
    return NpzShard(path)


def _split_of(file: Path, folder: Path) -> str:
    if word := keys_of(file, folder).get(SPLIT_COLUMN):
        return word
    match = _SPLIT.match(file.stem)
    if match is None and file.parent != folder:
        match = _SPLIT.fullmatch(file.parent.name)
    return match[1] if match else ""


def _natural(path: Path) -> list[tuple[int, str]]:
    """What sorts paths with numbers in their names by these: emb_2 before emb_10."""
    parts = re.split(r"(\d+)", str(path))
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts] + [(0, str(path))]


def check_order(paths: Iterable[Source]) -> None:
    """Refuse files in the order in which a shell lists them where their numbers say another.

    Raises:
        InputError: emb_1, emb_10, emb_2, to be joined by position with rows of other files.
    """
    names = [Path(path) for path in paths if isinstance(path, str | Path)]
    if len(set(names)) > 1 and names == sorted(names) != sorted(names, key=_natural):
        odd = next(a for a, b in zip(names, sorted(names, key=_natural), strict=True) if a != b)
        raise InputError(
            "files in the order of their numbers, as their rows are joined by position",
            f"{odd} where a shell sorts it",
            f"give the folder {odd.parent}, or the files in order",
        )


def _open(file: Path) -> Shard:
    if not (ending := ending_of(file)):
        raise InputError(
            f"a file ending in one of {', '.join(ENDINGS)}",
            str(file),
            "convert it, or rename it to its format",
        )
    if not file.is_file() and not file.is_dir():  # a pipe in a folder would be waited for
        raise InputError(f"a file at {file}", "none, or a pipe or a device", "take it out")
    return ENDINGS[ending](file)


def _dataset(folder: Path) -> list[Path]:
    files = dataset_files(folder)
    if not files:
        raise InputError(f"a saved dataset in {folder}", "no state.json", "copy it again")
    return files


def _files_of(path: Path) -> list[Path]:
    """The files of one path: itself, or what a folder holds."""
    try:
        if not path.is_dir():
            if not path.is_file():
                if path.exists():
                    found = "a pipe or a device"
                    remedy = "pipe it to the standard input and name -, or copy it to a file"
                    raise InputError(f"a file or folder at {path}", found, remedy)
                refuse_other_scheme(path)
                remedy = near_file(path, "check the path")
                raise InputError(f"a file or folder at {path}", "none", remedy)
            return [path]
        if splits := dataset_splits(path):
            raise InputError(
                f"one split of the dataset in {path}",
                f"the splits {', '.join(splits)}",
                f"give {path / splits[0]}",
            )
        if files := dataset_files(path):
            return files
        files = _keyed_files(path)
        files = files or sorted((p for p in path.iterdir() if ending_of(p)), key=_natural)
    except OSError as error:
        raise InputError(
            f"a file or folder that can be read at {path}",
            str(error.strerror),
            "check its permissions",
        ) from error
    kinds = {ending_of(p) for p in files}
    if len(kinds) > 1:
        kinds -= {*_JOURNALS}
        files = [file for file in files if ending_of(file) in kinds]
    if len(kinds) != 1:
        raise InputError(
            f"files of one known format ({', '.join(ENDINGS)}) in {path}",
            ", ".join(sorted(kinds)) or "none",
            "name the files",
        )
    return files
