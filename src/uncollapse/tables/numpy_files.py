"""Files of named arrays: npy, npz and safetensors. Nothing is ever unpickled."""

from __future__ import annotations

import weakref
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.lib.format import MAGIC_PREFIX

from uncollapse.errors import InputError
from uncollapse.samples import as_it_came
from uncollapse.tables._npy import (
    DAMAGED,
    Header,
    check_size,
    read_array,
    read_header,
    read_rows,
)
from uncollapse.tables._shard import Array, Column, Shard, unreadable, without_package

# Deflate makes a byte of 1,032 at most.
_MOST_PACKED = 1_100


def _column(name: str, dtype: str, shape: tuple[int, ...]) -> Column:
    if len(shape) > 1:
        return Column(name, "matrix", shape[1:])
    return Column(name, "number" if dtype[:1] in "iufb" else "name")


def _common_rows(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> int:
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


def _one_each(path: Path, part: dict[str, Array], names: Sequence[str]) -> dict[str, Array]:
    """A part in which names stored as (N, 1) are (N,)."""
    for name in names:
        values = part[name].reshape(len(part[name]), -1)
        if values.shape[1] != 1:
            raise InputError(
                f"one name or number per row in column {name!r} of {path}",
                f"{values.shape[1]} in each",
                "name another column",
            )
        part = part | {name: values[:, 0]}
        try:
            "".join(values[:, 0]).encode() if values.dtype.kind == "U" else b""
        except UnicodeEncodeError as error:
            raise unreadable(path, f"text in column {name!r}", error) from error
    return part


class ArraysShard(Shard):
    """Arrays by name, of which only those that are asked for are read, and not mapped.

    Mapped rows stay in memory.
    """

    def __init__(
        self, path: Path, members: Mapping[str, Callable[[], AbstractContextManager[IO[bytes]]]]
    ) -> None:
        self.path = path
        self._members = members
        self.headers: dict[str, Header] = {}
        for name, opened in members.items():
            with opened() as file:
                self.headers[name] = read_header(file)
        self.columns = [_column(n, h.dtype.kind, h.shape) for n, h in self.headers.items()]
        lengths = {header.rows for header in self.headers.values() if header.shape}
        if len(lengths) == 1:  # else it is known once columns are chosen
            self.rows = lengths.pop()

    @property
    def about(self) -> str:
        """The single text under that name."""
        header = self.headers.get("about")
        text = header is not None and header.shape == () and header.dtype.kind == "U"
        return str(self.whole("about")) if text else ""

    def read(
        self, vectors: Sequence[str], names: Sequence[str], batch: int, fill_ragged: bool = False
    ) -> Iterator[dict[str, Array]]:
        """Rows in order."""
        wanted = list(dict.fromkeys([*vectors, *names]))
        self.common_rows(wanted)
        streams = [self._stream(name, batch) for name in wanted]
        for parts in zip(*streams, strict=True):
            yield _one_each(self.path, dict(zip(wanted, parts, strict=True)), names)

    def common_rows(self, names: Sequence[str]) -> int:
        """Rows of these arrays, which must have as many."""
        return _common_rows(self.path, {name: self.headers[name].shape for name in names})

    def _stream(self, name: str, batch: int) -> Iterator[Array]:
        with self._members[name]() as file:
            yield from read_rows(file, read_header(file), batch)

    def whole(self, name: str) -> Array:
        """An array whole, of any shape."""
        with self._members[name]() as file:
            return read_array(file)

    def mapped(self, name: str) -> Array:
        """An array as it lies in the file, where it can be mapped; else whole."""
        return self.whole(name)


class NpzShard(ArraysShard):
    """An npz archive."""

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                if file.read(len(MAGIC_PREFIX)) == MAGIC_PREFIX:
                    raise ValueError("it is a single array, as in an npy file")
            # Open as long as the shard is: to read the list for every array takes minutes.
            archive = zipfile.ZipFile(path)
            members = [name for name in archive.namelist() if name.endswith(".npy")]
            if len(set(members)) < len(members):
                raise ValueError(f"{Counter(members).most_common(1)[0][0]!r} twice")
        except DAMAGED as error:
            raise unreadable(path, "named arrays", error) from error
        weakref.finalize(self, archive.close)
        names = [member.removesuffix(".npy") for member in members]
        super().__init__(path, {name: partial(_archived, archive, path, name) for name in names})


@contextmanager
def _archived(archive: zipfile.ZipFile, path: Path, name: str) -> Iterator[IO[bytes]]:
    """The file of one array of an archive; what is wrong with it is said with its name."""
    try:
        info = archive.getinfo(f"{name}.npy")
        packed = min(info.compress_size, path.stat().st_size)
        if info.file_size > _MOST_PACKED * max(1, packed):
            raise ValueError(f"{info.file_size:,} bytes declared in {packed:,}")
        with archive.open(info) as file:
            header = read_header(file)
            check_size(header, info.file_size - file.tell())
            file.seek(0)
            yield file
    except DAMAGED as error:
        raise unreadable(path, f"an array named {name!r}", error) from error


@contextmanager
def _array_file(path: Path) -> Iterator[IO[bytes]]:
    """An npy file that holds all of its array, which is one of rows."""
    try:
        if not path.is_file():
            raise ValueError("a pipe, a device or a folder")  # a pipe would be waited for
        with path.open("rb") as file:
            header, offset = read_header(file), file.tell()
            if not header.shape:
                raise ValueError("a single value")
            check_size(header, path.stat().st_size - offset)
            file.seek(0)
            yield file
    except DAMAGED as error:
        raise unreadable(path, "an array of rows", error) from error


class NpyShard(ArraysShard):
    """One npy file under its name, or a folder of them."""

    def __init__(self, path: Path) -> None:
        files = sorted(path.glob("*.npy")) if path.is_dir() else [path]
        self._files = {file.stem: file for file in files}
        super().__init__(path, {name: partial(_array_file, f) for name, f in self._files.items()})

    def mapped(self, name: str) -> Array:
        """An array as it lies in the file."""
        header = self.headers[name]
        with _array_file(self._files[name]) as file:
            read_header(file)
            order: Literal["F", "C"] = "F" if header.by_columns else "C"
            return np.memmap(self._files[name], header.dtype, "r", file.tell(), header.shape, order)

    def _stream(self, name: str, batch: int) -> Iterator[Array]:
        header = self.headers[name]
        if not header.by_columns:
            yield from super()._stream(name, batch)
            return
        mapped = self.mapped(name)  # To read it whole would take all memory.
        for start in range(0, header.rows, batch):
            yield np.array(mapped[start : start + batch])


# Types that numpy has no arrays of.
_OF_TORCH = ("BF16", "F8_E4M3", "F8_E5M2")


class SafetensorsShard(Shard):
    """Several tensors by name, read slice by slice; bfloat16 and 8-bit floats need torch."""

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
        shapes = self._shapes.items()
        self.columns = [_column(name, self._types[name].lower(), shape) for name, shape in shapes]

    def read(
        self, vectors: Sequence[str], names: Sequence[str], batch: int, fill_ragged: bool = False
    ) -> Iterator[dict[str, Array]]:
        """Rows in order."""
        wanted = list(dict.fromkeys([*vectors, *names]))
        rows = _common_rows(self.path, {name: self._shapes[name] for name in wanted})
        half = any(self._types[name] in _OF_TORCH for name in wanted)
        if half:
            try:
                import torch  # noqa: F401  (only whether it is there)
            except ImportError as error:
                raise without_package("torch (for bfloat16 and float8)", self.path) from error
        try:
            with self._open(self.path, framework="pt" if half else "numpy") as file:
                for start in range(0, rows, batch):
                    stop = min(start + batch, rows)
                    cut = {name: file.get_slice(name)[start:stop] for name in wanted}
                    part = {name: as_it_came(values) for name, values in cut.items()}
                    yield _one_each(self.path, part, names)
        except (self._error, OSError) as error:
            raise unreadable(self.path, "complete tensors", error) from error
        except (AttributeError, TypeError) as error:
            types = ", ".join(dict.fromkeys(self._types[name] for name in wanted))
            raise InputError(
                f"tensors of a type that numpy or torch can convert in {self.path}",
                f"type {types}",
                "save them as float32",
            ) from error
