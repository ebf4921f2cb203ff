"""What Hugging Face's `datasets` writes: saved folders, and names of codes in a table's schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.records import parse_json, read_json


def class_names(metadata: Mapping[bytes, bytes] | None, path: Path) -> dict[str, tuple[str, ...]]:
    """Names of the codes of each ClassLabel, from the metadata of a file's schema.

    Raises:
        InputError: They are there and damaged: codes would then be taken for names.
    """
    given = (metadata or {}).get(b"huggingface")
    if given is None:
        return {}
    what, remedy = f"Hugging Face's features in the schema of {path}", "save the dataset again"
    try:
        text = given.decode()
    except ValueError as error:
        raise InputError(what, str(error), remedy) from error
    info = _block(parse_json(text, what, remedy), "info", what)
    features = _block(info, "features", what)
    names = {}
    for name, feature in features.items():
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
            names[name] = tuple(_texts(feature.get("names"), f"names of {name!r}, {what}"))
            if len(set(names[name])) < len(names[name]):
                raise InputError(what, f"a name of {name!r} twice", remedy)
    return names


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


def _block(held: Any, key: str, what: str) -> dict[str, Any]:
    """An object inside an object; empty where there is none."""
    block = held.get(key, {}) if isinstance(held, dict) else None
    if block is None:
        block = {}
    if not isinstance(held, dict) or not isinstance(block, dict):
        raise InputError(what, f"no object at {key!r}", "save the dataset again")
    return block


def _texts(held: Any, what: str) -> list[str]:
    """A list of text."""
    if not isinstance(held, list) or not all(isinstance(part, str) for part in held):
        raise InputError(f"a list of texts as {what}", f"{held!r}", "save the dataset again")
    return held


def _inside(name: Any, path: Path) -> str:
    """The plain name of a part beside the file that names it."""
    text = name if isinstance(name, str) else ""
    if not text or Path(text).name != text or "\0" in text or len(text.encode()) > 255:
        raise InputError(f"plain names of parts in {path}", f"{name!r}", "save the dataset again")
    return text


def dataset_splits(folder: Path) -> list[str]:
    """The splits of a folder saved by `DatasetDict.save_to_disk`; none if it is no such folder."""
    path = folder / "dataset_dict.json"
    if not path.is_file():
        return []
    what = "the splits of a dataset"
    held = read_json(path, what, "save the dataset again")
    splits = held.get("splits") if isinstance(held, dict) else None
    return [_inside(split, path) for split in _texts(splits, f"{what} in {path}")]


def dataset_files(folder: Path) -> list[Path]:
    """The parts of a dataset saved by `Dataset.save_to_disk`; none if the folder holds no dataset.

    Raises:
        InputError: Its rows are not in order, or parts are missing.
    """
    path = folder / "state.json"
    if not path.is_file():
        return []
    what = f"the state of a dataset in {path}"
    state = read_json(path, "the state of a dataset", "save the dataset again")
    parts = state.get("_data_files") if isinstance(state, dict) else None
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise InputError(what, "no list of parts at '_data_files'", "save the dataset again")
    files = [folder / _inside(part.get("filename"), path) for part in parts]
    if state.get("_indices_data_files"):
        raise InputError(
            f"a dataset in {folder} whose rows lie in order",
            "one with an indices mapping",
            "save it again after flatten_indices()",
        )
    if not files:
        raise InputError(f"parts of a dataset in {folder}", "none", "save it again")
    if len(set(files)) < len(files):
        raise InputError(what, "a part twice", "save the dataset again")
    if missing := [file.name for file in files if not file.is_file()]:
        raise InputError(
            f"all parts of the dataset in {folder}", f"no file {missing[0]}", "copy it again"
        )
    return files
