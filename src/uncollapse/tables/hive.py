"""Folders that are named for the value of a column: site=a/label=cat/part-0.parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from uncollapse.errors import InputError
from uncollapse.tables._shard import Array, Column, Shard

# What is written where a value is missing.
_MISSING = "__HIVE_DEFAULT_PARTITION__"
DEEPEST = 16


def keyed_files(folder: Path) -> list[Path]:
    """All files below the folders of a folder that are named for a value; none without such."""
    if not any("=" in inside.name and inside.is_dir() for inside in folder.iterdir()):
        return []
    found: list[Path] = []
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        if len(here.relative_to(folder).parts) > DEEPEST:
            raise InputError(f"folders at most {DEEPEST} deep in {folder}", "more", "move them")
        for inside in here.iterdir():
            if inside.is_dir():
                waiting += [inside] if "=" in inside.name else []
            elif inside.is_file() and inside.name[:1] not in "._":
                found.append(inside)
    return found


def keys_of(file: Path, folder: Path) -> dict[str, str | None]:
    """The columns that the names of the folders between two paths say, values as text."""
    named = [part.partition("=") for part in file.relative_to(folder).parts[:-1] if "=" in part]
    return {key: None if value == _MISSING else unquote(value) for key, _, value in named}


class KeyedShard(Shard):
    """A file with a column more for each value that its folders are named for."""

    def __init__(self, inside: Shard, keys: Mapping[str, str | None]) -> None:
        self._inside, self._keys = inside, keys
        self.path, self.rows, self.classes = inside.path, inside.rows, inside.classes
        self.untyped = inside.untyped  # type: ignore[misc]  # of the class elsewhere
        self.columns = [*inside.columns, *(Column(name, "name", (), "folder") for name in keys)]

    def is_untyped(self, name: str) -> bool:
        """The name of a folder has no type; the rest is as in the file."""
        return name in self._keys or self._inside.is_untyped(name)

    @property
    def about(self) -> str:
        """As in the file."""
        return self._inside.about

    @property
    def size(self) -> float:
        """That of the file."""
        return self._inside.size

    @property
    def stored(self) -> Shard:
        """What is in it."""
        return self._inside.stored

    def fingerprint(self) -> tuple[int, str]:
        """Those of the file."""
        return self._inside.fingerprint()

    def read(
        self, vectors: Sequence[str], names: Sequence[str], batch: int, fill_ragged: bool = False
    ) -> Iterator[dict[str, Array]]:
        """Rows in order."""
        inside = [name for name in names if name not in self._keys]
        counted = [] if vectors or inside else [self._inside.columns[0].name]
        single = self._inside.columns[0].kind != "matrix"
        wanted = (vectors, [*inside, *counted]) if single else ([*vectors, *counted], inside)
        for part in self._inside.read(*wanted, batch, fill_ragged):
            rows = len(next(iter(part.values())))
            constant = {name: np.full(rows, value, object) for name, value in self._keys.items()}
            yield {name: part[name] for name in (*vectors, *inside)} | constant
