"""From paths to shards: by the ending of a file's name, or by what a folder holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from uncollapse.errors import InputError
from uncollapse.tables.arrow import ArrowShard, CsvShard, ParquetShard
from uncollapse.tables.numpy_files import NpyShard, NpzShard, SafetensorsShard
from uncollapse.tables.shard import Shard, unreadable

__all__ = ["ENDINGS", "open_shards", "paths_of"]

ENDINGS: dict[str, Callable[[Path], Shard]] = {
    ".npy": NpyShard,
    ".npz": NpzShard,
    ".safetensors": SafetensorsShard,
    ".parquet": ParquetShard,
    ".arrow": ArrowShard,
    ".csv": CsvShard,
}


def paths_of(path: Path) -> list[Path]:
    """The files of one path: itself, or what a folder holds.

    Raises:
        InputError: There is no such file, or no file of a known format in the folder.
    """
    try:
        return _of_folder(path) if path.is_dir() else _of_file(path)
    except OSError as error:
        raise InputError(
            f"a file or folder that can be read at {path}", str(error), "check its permissions"
        ) from error


def _of_file(path: Path) -> list[Path]:
    if not path.is_file():
        raise InputError(f"a file or folder at {path}", "none", "check the path")
    return [path]


def _of_folder(path: Path) -> list[Path]:
    if (path / "dataset_dict.json").is_file():
        try:
            record = json.loads((path / "dataset_dict.json").read_text())
            splits = [str(name) for name in record["splits"]]
        except (ValueError, KeyError, TypeError) as error:
            raise unreadable(
                path / "dataset_dict.json", "the splits of a dataset", error
            ) from error
        raise InputError(
            f"one split of the dataset in {path}",
            f"the splits {', '.join(splits)}",
            f"give {path / splits[0] if splits else path}",
        )
    if (path / "state.json").is_file():
        return _of_dataset(path)
    files = sorted(p for p in path.iterdir() if p.suffix in ENDINGS)
    kinds = {p.suffix for p in files}
    if len(kinds) != 1:
        raise InputError(
            f"files of one known format ({', '.join(ENDINGS)}) in {path}",
            ", ".join(sorted(kinds)) or "none",
            "name the files",
        )
    return files


def _of_dataset(path: Path) -> list[Path]:
    """The data files of a dataset saved by `datasets.Dataset.save_to_disk`."""
    try:
        state = json.loads((path / "state.json").read_text())
        files = [path / entry["filename"] for entry in state["_data_files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise unreadable(path / "state.json", "the state of a dataset", error) from error
    if state.get("_indices_data_files"):
        raise InputError(
            f"a dataset in {path} whose rows lie in order",
            "one with an indices mapping",
            "save it again after flatten_indices()",
        )
    if not files:
        raise InputError(f"parts of a dataset in {path}", "none", "save it again")
    if missing := [file for file in files if not file.is_file()]:
        raise InputError(
            f"all parts of the dataset in {path}", f"no file {missing[0].name}", "copy it again"
        )
    return files


def open_shards(paths: Sequence[str | Path]) -> list[Shard]:
    """Every file of the paths, in order, opened far enough to know its columns.

    Raises:
        InputError: A path that is not there, a format that is not known, a file that is not what
            its name says or is cut short, a package that is not installed.
    """
    files = [file for path in paths for file in paths_of(Path(path))]
    if not files:
        raise InputError("one file or more", "none", "name the files to measure")
    shards: list[Shard] = []
    for file in files:
        if file.suffix not in ENDINGS:
            raise InputError(
                f"a file ending in one of {', '.join(ENDINGS)}",
                str(file),
                "convert it, or rename it to its format",
            )
        shards.append(ENDINGS[file.suffix](file))
    return shards
