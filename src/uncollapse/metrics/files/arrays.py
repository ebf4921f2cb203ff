"""Files of named arrays: npy, npz and safetensors. Nothing is ever unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.metrics.files.shard import Column, unreadable, without_package
from uncollapse.metrics.sphere import to_numpy

# What a damaged archive raises, besides being of another format: a header may ask for any memory.
_DAMAGED = (
    ValueError,
    OSError,
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)

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
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise unreadable(path, "a numeric array", error) from error
        if not isinstance(mapped, np.memmap) or mapped.ndim == 0:
            raise unreadable(path, "a numeric array of rows", ValueError("no rows"))
        self.shape, self.dtype = mapped.shape, mapped.dtype
        self._offset = int(mapped.offset)
        self._by_columns = mapped.ndim > 1 and not mapped.flags.c_contiguous

    @property
    def rows(self) -> int:
        """Length of the array."""
        return int(self.shape[0])

    @property
    def columns(self) -> list[Column]:
        """The one array, under the name of the file."""
        return [_column(self.path.stem, self.dtype.kind, self.shape)]

    def read(
        self, names: Sequence[str], batch: int, fill_ragged: bool
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Rows in order."""
        if self._by_columns:
            mapped = np.load(self.path, mmap_mode="r", allow_pickle=False)
            for start in range(0, self.rows, batch):
                yield dict.fromkeys(names, np.array(mapped[start : start + batch]))
            return
        width = int(np.prod(self.shape[1:], dtype=np.int64))
        with self.path.open("rb") as file:
            file.seek(self._offset)
            for start in range(0, self.rows, batch):
                count = min(batch, self.rows - start)
                part = np.fromfile(file, dtype=self.dtype, count=count * width)
                if len(part) < count * width:
                    raise unreadable(self.path, "a complete array", EOFError("it is cut short"))
                yield dict.fromkeys(names, part.reshape(count, *self.shape[1:]))


class NpzShard:
    """Several arrays by name; each that is asked for is read whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                archive = np.load(file, allow_pickle=False)
                if not isinstance(archive, np.lib.npyio.NpzFile):
                    raise ValueError("it is a single array, as in an npy file")
                self._names = list(archive.files)
        except _DAMAGED as error:
            raise unreadable(path, "named arrays", error) from error
        self._loaded: dict[str, NDArray[Any]] = {}

    def _array(self, name: str) -> NDArray[Any]:
        if name not in self._loaded:
            try:
                with self.path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                    self._loaded[name] = archive[name]
            except _DAMAGED as error:
                raise unreadable(self.path, f"an array named {name!r}", error) from error
        return self._loaded[name]

    @property
    def rows(self) -> int | None:
        """Known once columns are chosen."""
        return None

    @property
    def columns(self) -> list[Column]:
        """The arrays."""
        return [_column(n, self._array(n).dtype.kind, self._array(n).shape) for n in self._names]

    def read(
        self, names: Sequence[str], batch: int, fill_ragged: bool
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Rows in order."""
        arrays = {name: self._array(name) for name in names}
        rows = _rows(self.path, {name: array.shape for name, array in arrays.items()})
        for start in range(0, rows, batch):
            yield {name: array[start : start + batch] for name, array in arrays.items()}
        self._loaded.clear()


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
