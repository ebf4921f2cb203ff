"""What a source tells before its inputs are read: columns, ids, parts, and how to open rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.data._decode import (
    Encoded,
    choose_decoding,
    decode_images,
    fit_pixels,
)
from uncollapse.data._inputs import ArrayInputs, EncodedImages, OpenedInputs
from uncollapse.data.config import ImageOptions
from uncollapse.errors import InputError
from uncollapse.progress import Progress

LabelMap = Mapping[str, tuple[str, ...]]
Opener = Callable[[NDArray[np.int64], Progress | None], OpenedInputs]


@dataclass(frozen=True)
class DataSource:
    """The rows of a source, not yet read.

    Attributes:
        columns: (N,) object arrays of text, None where a value is missing.
        ids: (N,) text that names each row.
        open: Reads the given rows.
        label: Column that is the training label when none is named.
        split: (N,) "train", "validation", "test"; None if the source has no parts.
        orders: Order of the values of a column, where the source has one.
        maps: Built-in label maps by name.
        licence: Of the data; empty where the source does not say.
        notes: What the reader must know.
    """

    columns: Mapping[str, NDArray[Any]]
    ids: NDArray[Any]
    open: Opener
    label: str | None = None
    split: NDArray[Any] | None = None
    orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    maps: Mapping[str, LabelMap] = field(default_factory=dict)
    licence: str = ""
    notes: tuple[str, ...] = ()


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
    if not resolved.exists():
        raise InputError(what, f"nothing at {resolved}", "check the path")
    return resolved


def open_encoded(encoded: Encoded, options: ImageOptions, memory_mib: float) -> Opener:
    """Opener of encoded images: decoded into memory where they fit, and else when read."""

    def opener(rows: NDArray[np.int64], progress: Progress | None) -> OpenedInputs:
        decoding = choose_decoding(encoded, rows, options)
        if math.prod(decoding.shape) * len(rows) > memory_mib * 2**20:
            return EncodedImages(encoded, decoding, rows)
        return ArrayInputs(decode_images(encoded, rows, decoding, progress), "image")

    return opener


def open_pixels(pixels: NDArray[np.uint8], options: ImageOptions) -> Opener:
    """Opener of images that are in memory as (N, H, W) or (N, H, W, C)."""
    return lambda rows, _: ArrayInputs(fit_pixels(pixels[rows], options), "image")
