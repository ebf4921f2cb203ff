"""Arrays of npy files and npz archives, batch by batch, without `numpy.load`.

`numpy.load` takes a file that it does not know for a pickle, and advises to load it as one.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from lzma import LZMAError
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

# What a damaged array or archive raises: a header may ask for any memory.
DAMAGED = (
    ValueError,
    OSError,
    EOFError,
    KeyError,
    MemoryError,
    RuntimeError,  # of zipfile: encrypted, or packed in a way it does not know
    zipfile.BadZipFile,
    zlib.error,
    LZMAError,
)

# Only a pickle can hold them.
OBJECTS = "it holds Python objects: save it again as numbers or text"

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True)
class Header:
    """What an array says of itself before its values."""

    shape: tuple[int, ...]
    by_columns: bool  # whether its first axis varies fastest
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """What all of its values take."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def rows(self) -> int:
        """Length of the first axis; 0 for a single value."""
        return int(self.shape[0]) if self.shape else 0


def read_header(file: IO[bytes]) -> Header:
    """The header of an array; the file stands at its values afterwards."""
    try:
        version = npy.read_magic(file)
    except ValueError as error:
        raise ValueError("it does not begin as a numpy array does") from error
    if version not in _HEADERS:
        raise ValueError(f"version {version} of the array format")
    try:
        shape, by_columns, dtype = _HEADERS[version](file)
    except (ValueError, SyntaxError, TypeError, TokenError, RecursionError, MemoryError) as error:
        raise ValueError("its header is damaged or cut short") from error
    if not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(f"lengths {shape}")
    return Header(shape, by_columns and len(shape) > 1, dtype)


def check_size(header: Header, held: int) -> None:
    """Hold what a header declares against the bytes behind it, before any memory is asked for."""
    if header.dtype.hasobject:
        raise ValueError(OBJECTS)
    if held != header.bytes:
        short = "it is cut short: " if held < header.bytes else ""
        raise ValueError(f"{short}{held:,} bytes where its header declares {header.bytes:,}")


def read_rows(file: IO[bytes], header: Header, batch: int) -> Iterator[NDArray[Any]]:
    """The rows that follow a header, `batch` at a time; an array by columns is read whole."""
    width = math.prod(header.shape[1:])
    if header.by_columns:
        whole = _values(file, header, header.rows * width).reshape(header.shape, order="F")
        for start in range(0, header.rows, batch):
            yield whole[start : start + batch]
        return
    for start in range(0, header.rows, batch):
        count = min(batch, header.rows - start)
        yield _values(file, header, count * width).reshape(count, *header.shape[1:])


def _values(file: IO[bytes], header: Header, count: int) -> NDArray[Any]:
    if header.dtype.hasobject:
        raise ValueError(OBJECTS)
    values = np.empty(count, dtype=header.dtype)
    if values.nbytes:
        space: Any = values.view(np.uint8)
        if file.readinto(space) < values.nbytes:  # type: ignore[attr-defined]
            raise EOFError("it is cut short")
    return values


def read_array(file: IO[bytes]) -> NDArray[Any]:
    """An array whole, of any shape."""
    header = read_header(file)
    values = _values(file, header, math.prod(header.shape))
    return values.reshape(header.shape, order="F" if header.by_columns else "C")
