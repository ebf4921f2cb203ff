"""An accumulator as a file: an npz of plain arrays and a JSON header, never a pickle."""

from __future__ import annotations

import json
import os
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.metrics.stores import BlockStore, GroupStore, ScatterStore
from uncollapse.metrics.stream import Accumulator
from uncollapse.tables import open_arrays

_HEADER = "uncollapse_accumulator"
_VERSION = 1
_PLAIN = ("interval", "blocks", "dropped", "dtypes", "normalised", "views", "dimension", "rows")


def check_place(path: str | Path) -> None:
    """Raise where a state may not be written: over a file that is none (embeddings, say)."""
    if Path(path).exists() and not is_state(path):
        raise InputError(
            f"a new file, or a saved state to write again, at {path}",
            "something else there",
            "choose another place",
        )


def save_state(accumulator: Accumulator, path: str | Path) -> None:
    """Write everything that `load_state` needs to go on.

    Raises:
        InputError: The file cannot be written, or would replace one that is no state.
    """
    check_place(path)
    header: dict[str, Any] = {name: getattr(accumulator, name) for name in _PLAIN}
    header |= {
        "version": _VERSION,
        "grouped": accumulator.grouped,
        "labels": list(accumulator.labels),
        "samples": accumulator.samples,
    }
    store = accumulator.store
    if isinstance(store, GroupStore):
        header["groups"] = [name for _, name in store.position]
    arrays = {} if store is None else store.arrays()
    arrays["ids"] = accumulator.ids.sorted()
    text = np.frombuffer(json.dumps(header, allow_nan=False).encode(), dtype=np.uint8)
    # Beside it first and then renamed: a state that was there is never half overwritten.
    beside = Path(f"{path}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            np.savez(file, **{_HEADER: text}, **arrays)  # type: ignore[arg-type]  # the stub mistakes ** for flags
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise InputError(
            f"a file that can be written at {path}", str(error), "choose another place"
        ) from error


def is_state(path: str | Path) -> bool:
    """Whether a file is a saved accumulator."""
    try:
        with zipfile.ZipFile(path) as archive:
            return f"{_HEADER}.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def load_state(path: str | Path) -> Accumulator:
    """Read a saved accumulator.

    Raises:
        InputError: The file is not one, is cut short, or comes from a newer version.
    """
    try:
        stored = open_arrays(Path(path))
        arrays = {name: stored.whole(name) for name in stored.headers}
        header = json.loads(bytes(arrays.pop(_HEADER)))
        newer = header["version"] > _VERSION
        accumulator = None if newer else _restored(header, arrays)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "an accumulator saved by uncollapse",
            f"{path}, which is not one or is cut short ({error})",
            "save it again",
        ) from error
    if accumulator is None:
        raise InputError(
            f"a saved accumulator of version {_VERSION}",
            f"version {header['version']} in {path}",
            "install a newer uncollapse",
        )
    return accumulator


def _restored(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Accumulator:
    """The accumulator of a header and its arrays; a KeyError for what is not there."""
    accumulator = Accumulator(header["interval"], blocks=header["blocks"])
    for name in _PLAIN:
        setattr(accumulator, name, header[name])
    accumulator.labels = {name: number for number, name in enumerate(header["labels"])}
    accumulator.samples = header["samples"]
    accumulator.ids.add(arrays.pop("ids"))
    if not arrays:
        return accumulator
    if header["grouped"]:
        accumulator.store = GroupStore.of_arrays(arrays, header["groups"])
    elif header["interval"] == "exact":
        accumulator.store = ScatterStore.of_arrays(arrays)
    else:
        accumulator.store = BlockStore.of_arrays(arrays, header["blocks"])
    return accumulator
