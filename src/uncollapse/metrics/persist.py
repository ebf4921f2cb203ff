"""An accumulator as a file: an npz of plain arrays and a JSON header, never a pickle."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from uncollapse.errors import InputError
from uncollapse.metrics._state import StateHeader, StateReference, check_arrays
from uncollapse.metrics._stores import GroupStore
from uncollapse.metrics.stream import Accumulator
from uncollapse.samples import CopyCounter
from uncollapse.storage import beside, check_output, is_stream
from uncollapse.tables import Columns, Source, open_arrays, part_of

_HEADER = "uncollapse_accumulator"
Paths = Sequence[Source]

_NOTED = ("dtypes", "normalised", "dropped")
_PLAIN = ("interval", "blocks", "views", "dimension", "rows", "split", "stored")


def check_place(path: str | Path) -> None:
    """Raise where a state may not be written: over a file that is none (embeddings, say)."""
    check_output(Path(path))
    if is_stream(Path(path)):
        raise InputError("a file for the state", f"the stream {path}", "give a file name")
    if Path(path).is_file() and not _is_state(path):
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
    held = accumulator.held if accumulator.rows else None
    store = accumulator.store
    header = StateHeader(
        **{name: getattr(accumulator, name) for name in _NOTED + _PLAIN},
        copies_halved=None if accumulator.copies is None else accumulator.copies.halvings,
        grouped=accumulator.grouped,
        labels=list(accumulator.labels),
        samples=accumulator.samples,
        groups=[name for _, name in store.position] if isinstance(store, GroupStore) else None,
        reference=None if held is None else StateReference.of(held),
    )
    arrays = {} if store is None else store.arrays()
    arrays["ids"] = accumulator.ids.sorted()
    if accumulator.copies is not None:
        arrays["copies"] = accumulator.copies.array()
    arrays |= {} if held is None else held.arrays()
    text = np.frombuffer(header.to_json(None).encode(), dtype=np.uint8)
    with beside(Path(path)) as part, part.open("wb") as file:
        np.savez(file, **{_HEADER: text}, **arrays)  # type: ignore[arg-type]  # the stub mistakes ** for flags


def _is_state(path: str | Path) -> bool:
    """Whether a file is a saved accumulator."""
    if not Path(path).is_file():  # a pipe would be waited for
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return f"{_HEADER}.npy" in archive.namelist()
    except (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile):
        return False  # What is wrong with it is said where it is read.


def load_state(path: str | Path) -> Accumulator:
    """Read a saved accumulator.

    Raises:
        InputError: The file is not one, is cut short, or comes from a newer version.
    """
    try:
        stored = open_arrays(Path(path))
        arrays = {name: stored.whole(name) for name in stored.headers}
        text = bytes(arrays.pop(_HEADER)).decode()
        header = StateHeader.from_json(text, str(path))
        for name, values in arrays.items():
            if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
                raise ValueError(f"{name} that are no finite numbers")
        held = {name: arrays.pop(name) for name in list(arrays) if name.startswith("held_")}
        check_arrays(header, arrays)
        accumulator = Accumulator()
        if header.reference is not None:
            accumulator.held = header.reference.held(held, header.dimension)
        for name in _PLAIN:
            setattr(accumulator, name, header[name])
        accumulator.note(*(header[name] for name in _NOTED))
        accumulator.labels = {name: number for number, name in enumerate(header.labels)}
        accumulator.samples = header.samples
        accumulator.ids.add(arrays.pop("ids"))
        accumulator.copies = None
        if header.copies_halved is not None:
            kept = arrays.pop("copies").astype(np.uint64)
            accumulator.copies = CopyCounter.restored(kept, header.copies_halved)
        if arrays:
            store, _ = accumulator.begin((header.dimension, header.views, header.grouped))
            store.restore(arrays, header.groups or [])
        return accumulator
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(
            "an accumulator saved by uncollapse",
            f"{path}, which is not one or is cut short ({error})",
            "save it again",
        ) from error


def merged_states(
    paths: Paths, columns: Columns, labels_from: Paths, drop_invalid: bool, split: str | None
) -> Accumulator | None:
    """The saved accumulators as one, of this part where they say theirs; None if there are none."""
    states = [path for path in paths if isinstance(path, str | Path) and _is_state(path)]
    if not states:
        return None
    if len(states) < len(paths):
        raise InputError("saved accumulators only", "other files besides", "measure them apart")
    if labels_from or columns != Columns():
        raise InputError(
            "saved accumulators alone",
            "columns or files with labels besides",
            "name them when the state is saved; it holds neither finer labels nor slices",
        )
    merged = load_state(states[0])
    for path in states[1:]:
        merged.merge(load_state(path))
    if split and merged.split and (part_of(split) or split) != merged.split:
        raise InputError(
            f"saved rows of split {split}",
            f"those of {merged.split}",
            "leave --split out, or name the part when the state is saved",
        )
    merged.drop_invalid = merged.drop_invalid or drop_invalid
    return merged
