"""Files of named arrays: npy, npz and safetensors. Nothing is ever unpickled."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib.format import MAGIC_PREFIX
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.samples import to_numpy
from uncollapse.tables.npy import (
    DAMAGED,
    OBJECTS,
    Header,
    archive_names,
    read_header,
    read_rows,
)
from uncollapse.tables.shard import Column, unreadable, without_package

__all__ = ["NpyShard", "NpzShard", "SafetensorsShard"]


def _column(name: str, dtype: str, shape: tuple[int, ...]) -> Column:
    if len(shape) > 1:
        return Column(name, "matrix", shape[1:])
    return Column(name, "number" if dtype[:1] in "iufb" else "name")


def _rows(path: Path, shapes: dict[str, tuple[int, ...]]) -> int:
    """The common length of the arrays that are asked for."""
    lengths = {shape[0] if shape else 0 for shape in shapes.values()}
    if len(lengths) > 1:
        listed = ", ".join(f"{name} {shape[0] if shape else 0}" for name, shape in shapes.items())
        raise InputError(
            f"arrays of one length in {path}",
            f"rows: {listed}",
            "give columns of one set",
        )
    return lengths.pop() if lengths else 0


class NpyShard:
    """One array. Its rows are read, not mapped, so that they do not stay in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._header = read_header(file)
                self._offset = file.tell()
            size = math.prod(self._header.shape) * self._header.dtype.itemsize
            if not self._header.shape:
                raise ValueError("a single value")
            if self._header.dtype.hasobject:
                raise ValueError(OBJECTS)
            if path.stat().st_size < self._offset + size:
                raise EOFError("it is cut short")
        except DAMAGED as error:
            raise unreadable(path, "an array of rows", error) from error

    @property
    def rows(self) -> int:
        """Length of the array."""
        return self._header.rows

    @property
    def columns(self) -> list[Column]:
        """The one array, under the name of the file."""
        return [_column(self.path.stem, self._header.dtype.kind, self._header.shape)]

    def read(
        self, names: Sequence[str], batch: int, fill_ragged: bool
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Rows in order."""
        header = self._header
        if header.by_columns:
            mapped = np.memmap(self.path, header.dtype, "r", self._offset, header.shape, order="F")
            for start in range(0, self.rows, batch):
                yield dict.fromkeys(names, np.array(mapped[start : start + batch]))
            return
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                for part in read_rows(file, header, batch):
                    yield dict.fromkeys(names, part)
        except DAMAGED as error:
            raise unreadable(self.path, "a complete array", error) from error


class NpzShard:
    """Several arrays by name, of which only those that are asked for are read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                if file.read(len(MAGIC_PREFIX)) == MAGIC_PREFIX:
                    raise ValueError("it is a single array, as in an npy file")
            with zipfile.ZipFile(path) as archive:
                names = archive_names(archive)
        except DAMAGED as error:
            raise unreadable(path, "named arrays", error) from error
        self._headers = {name: self._header(name) for name in names}

    def _header(self, name: str) -> Header:
        with self._member(name) as file:
            return read_header(file)

    @contextmanager
    def _member(self, name: str) -> Iterator[IO[bytes]]:
        """The file of one array; what is wrong with it is said with its name."""
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as file:
                yield file
        except DAMAGED as error:
            raise unreadable(self.path, f"an array named {name!r}", error) from error

    @property
    def rows(self) -> int | None:
        """Where all arrays have as many; else it is known once columns are chosen."""
        lengths = {header.rows for header in self._headers.values()}
        return lengths.pop() if len(lengths) == 1 else None

    @property
    def columns(self) -> list[Column]:
        """The arrays."""
        return [_column(name, h.dtype.kind, h.shape) for name, h in self._headers.items()]

    def read(
        self, names: Sequence[str], batch: int, fill_ragged: bool
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Rows in order."""
        _rows(self.path, {name: self._headers[name].shape for name in names})
        streams = [self._stream(name, batch) for name in names]
        for parts in zip(*streams, strict=True):
            yield dict(zip(names, parts, strict=True))

    def _stream(self, name: str, batch: int) -> Iterator[NDArray[Any]]:
        with self._member(name) as file:
            yield from read_rows(file, read_header(file), batch)


class SafetensorsShard:
    """Several tensors by name, read slice by slice; bfloat16 needs torch."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            import safetensors
        except ImportError as error:
            raise without_package("safetensors", path) from error
        self._open = safetensors.safe_open
        self._error = safetensors.SafetensorError
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._types: dict[str, str] = {}
        try:
            path.open("rb").close()  # The library calls every file that it may not read missing.
            with self._open(path, framework="numpy") as file:
                for name in file.keys():  # noqa: SIM118  (the file is no mapping)
                    part = file.get_slice(name)
                    self._shapes[name] = tuple(part.get_shape())
                    self._types[name] = str(part.get_dtype())
        except (self._error, OSError) as error:
            raise unreadable(path, "named tensors", error) from error

    @property
    def rows(self) -> int | None:
        """Known once columns are chosen."""
        return None

    @property
    def columns(self) -> list[Column]:
        """The tensors."""
        return [_column(n, self._types[n].lower(), shape) for n, shape in self._shapes.items()]

    def read(
        self, names: Sequence[str], batch: int, fill_ragged: bool
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Rows in order."""
        rows = _rows(self.path, {name: self._shapes[name] for name in names})
        half = any(self._types[name] == "BF16" for name in names)
        if half:
            try:
                import torch  # noqa: F401  (only whether it is there)
            except ImportError as error:
                raise without_package("torch (for bfloat16)", self.path) from error
        try:
            with self._open(self.path, framework="pt" if half else "numpy") as file:
                for start in range(0, rows, batch):
                    stop = min(start + batch, rows)
                    yield {name: _plain(file.get_slice(name)[start:stop]) for name in names}
        except (self._error, OSError, AttributeError) as error:
            # AttributeError: a type of which numpy has no arrays, such as the 8-bit floats.
            raise unreadable(self.path, "complete tensors", error) from error


def _plain(values: Any) -> NDArray[Any]:
    """A numpy array or a torch tensor as numpy; bfloat16 as float32, which holds it exactly."""
    return np.asarray(values if isinstance(values, np.ndarray) else to_numpy(values)[0])
