"""What a source tells before its inputs are read, and reading them; one module per kind."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.data._images import (
    DecodedWhenRead,
    Encoded,
    as_bytes,
    channels_first,
    choose_decoding,
    decode_images,
    distinct_files,
    fit_pixels,
)
from uncollapse.data.config import DataConfig
from uncollapse.data.dataset import Inputs
from uncollapse.errors import InputError
from uncollapse.progress import Progress
from uncollapse.records import InputKind
from uncollapse.tables import distinct_rows, is_elsewhere

LabelMap = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class DataSource:
    """The N rows of a source, whose inputs are not yet read."""

    columns: Mapping[str, NDArray[Any]]  # (N,) text, None where a value is missing
    ids: NDArray[Any]  # (N,) text that names each row
    inputs: Encoded | NDArray[Any]  # images are (N, H, W) or (N, H, W, C)
    kind: InputKind = "image"
    name: str = "inputs"  # of the inputs
    label: str = "label"  # column that is the training label when none is named
    split: NDArray[Any] | None = None  # (N,) words for the parts, if the source has parts
    orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # values of a column
    maps: Mapping[str, LabelMap] = field(default_factory=dict)  # built in, by name
    licence: str = ""
    notes: tuple[str, ...] = ()  # what the reader must know

    def column(self, name: str, role: str) -> NDArray[Any]:
        """A column by name, or an error that lists those there are."""
        if name not in self.columns:
            raise InputError(
                f"a {role} column {name!r}", f"columns {quoted(self.columns)}", "name one of them"
            )
        return self.columns[name]

    def open(self, rows: NDArray[np.int64], config: DataConfig, progress: Progress) -> Inputs:
        """Some of the rows: in memory where they fit, else as they lie in their files."""
        stored, image, most = self.inputs, self.kind == "image", config.memory_mib * 2**20
        if isinstance(stored, Encoded):
            decoding, notes = choose_decoding(stored, rows, config.image)
            if math.prod(decoding.shape) * len(rows) <= most:
                pixels = decode_images(stored, rows, decoding, progress)
                notes += _copies(distinct_rows(pixels), len(rows))
                return Inputs(pixels, "image", notes=tuple(notes))
            notes += _copies(distinct_files(stored, rows), len(rows))
            # To read every file for its fingerprint would cost an epoch.
            digest = hashlib.sha256(repr(decoding).encode())
            for item in rows.tolist():
                digest.update(f"{stored.name(item)}\0{stored.length(item)}\n".encode())
            identity = (digest.digest(), "names and encoded sizes of the images")
            return Inputs(DecodedWhenRead(stored, decoding), "image", rows, identity, tuple(notes))
        changed = image and (config.image.size, config.image.channels) != (None, None)
        as_is = stored.dtype == (np.uint8 if image else np.float32) and not changed
        if isinstance(stored, np.memmap) and stored.nbytes > most and as_is:
            file = f"{self.name}.npy, {Path(str(stored.filename)).stat().st_size} bytes"
            identity = (file.encode(), "name and size of the mapped file")
            return Inputs(channels_first(stored) if image else stored, self.kind, rows, identity)
        values = np.asarray(stored[rows])
        if image:
            return Inputs(fit_pixels(as_bytes(values, self.name), config.image), "image")
        return Inputs(values.astype(np.float32, copy=False), self.kind)


def _copies(distinct: int, images: int) -> list[str]:
    return [f"{distinct} distinct images of {images}"] if distinct < images else []


def quoted(names: Iterable[str], most: int = 12) -> str:
    """Names in quotes, the first few of many."""
    names = list(names)
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, float):
        # A column of whole numbers with gaps becomes float in many tools: 3.0 is still class 3.
        return None if math.isnan(value) else str(int(value) if value.is_integer() else value)
    return None if value is None or value == "" else str(value)


def texts(values: Iterable[Any]) -> NDArray[Any]:
    """Values as an object array of text; None for None, NaN and empty text.

    Examples:
        >>> texts([3, 3.0, "a", float("nan"), ""]).tolist()
        ['3', '3', 'a', None, None]
    """
    listed = values.tolist() if isinstance(values, np.ndarray) else list(values)
    column = np.empty(len(listed), object)
    column[:] = [_text(value) for value in listed]
    return column


def resolve(path: str, base: Path | None) -> Path:
    """A path of the configuration, relative to its folder."""
    return (base or Path()) / Path(path).expanduser()


def place(path: str, base: Path | None, what: str) -> Path:
    """A path of the configuration that must exist."""
    resolved = resolve(path, base)
    try:
        there = resolved.exists()
    except OSError as error:  # a name that no file can have
        raise InputError(f"{what} at {resolved}", str(error.strerror), "check the path") from error
    if not there:
        if is_elsewhere(path):
            found = "an address, which a configuration cannot name"
            raise InputError(f"{what} on this machine", f"{path}, {found}", "copy it here first")
        raise InputError(f"{what} at {resolved}", "none", "check the path")
    return resolved
