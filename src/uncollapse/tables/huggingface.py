"""What Hugging Face's `datasets` writes: saved folders, and names of codes in a table's schema."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.tables._shard import unreadable


def class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, tuple[str, ...]]:
    """Names of the codes of each ClassLabel, from the metadata of a schema."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {
            name: tuple(feature["names"])
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def names_of_codes(codes: Sequence[Any], names: tuple[str, ...], where: str) -> NDArray[Any]:
    """Names of the codes of a ClassLabel; -1 where one is withheld, by that code or by none.

    Raises:
        InputError: A code that is no whole number from -1 to the last name's, or names alike.
    """
    if len(set(names)) < len(names):
        raise InputError(f"names that differ for the codes of {where}", f"{names}", "rename them")
    known: dict[Any, Any] = dict(enumerate(names)) | {-1: -1, None: -1}
    column = np.full(len(codes), -1, object)
    for row, code in enumerate(codes):
        if code != code:  # a float's NaN
            continue
        if code not in known:
            raise InputError(
                f"codes from 0 to {len(names) - 1}, or -1 for unlabelled, in {where}",
                f"{code} (first: row {row})",
                "save it with a name for every code, and rows to be ignored as -1",
            )
        column[row] = known[code]
    return column


def _entry(path: Path, what: str, key: str) -> Any:
    """An entry of a JSON object."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))[key]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise unreadable(path, what, error) from error


def dataset_splits(folder: Path) -> list[str]:
    """The splits of a folder saved by `DatasetDict.save_to_disk`; none if it is no such folder."""
    path = folder / "dataset_dict.json"
    if not path.is_file():
        return []
    return [str(split) for split in _entry(path, "the splits of a dataset", "splits")]


def dataset_files(folder: Path) -> list[Path]:
    """The parts of a dataset saved by `Dataset.save_to_disk`; none if the folder holds no dataset.

    Raises:
        InputError: Its rows are not in order, or parts are missing.
    """
    path = folder / "state.json"
    if not path.is_file():
        return []
    what = "the state of a dataset"
    try:
        files = [folder / entry["filename"] for entry in _entry(path, what, "_data_files")]
    except (KeyError, TypeError) as error:
        raise unreadable(path, what, error) from error
    if json.loads(path.read_text(encoding="utf-8")).get("_indices_data_files"):
        raise InputError(
            f"a dataset in {folder} whose rows lie in order",
            "one with an indices mapping",
            "save it again after flatten_indices()",
        )
    if not files:
        raise InputError(f"parts of a dataset in {folder}", "none", "save it again")
    if missing := [file.name for file in files if not file.is_file()]:
        raise InputError(
            f"all parts of the dataset in {folder}", f"no file {missing[0]}", "copy it again"
        )
    return files
