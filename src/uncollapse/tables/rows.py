"""Samples part by part from files, embeddings and labels side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.tables.columns import Columns, embedding_columns, named_column
from uncollapse.tables.shard import Shard

__all__ = ["Part", "Reading"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Part:
    """Consecutive rows of one file.

    Attributes:
        embeddings: (N, d) or (N, p, d).
        columns: The other columns by role: "labels", "instances", "groups", "fine_labels" and
            "slice NAME".
        sources: Where each role comes from, for errors.
        path: File of the embeddings.
        first_row: Of the part in that file.
        other_path: File of the other columns.
        other_first_row: Of the part in that file.
    """

    embeddings: Array
    columns: dict[str, Array]
    sources: dict[str, str]
    path: Path
    first_row: int
    other_path: Path
    other_first_row: int

    def cut(self, start: int, stop: int) -> Part:
        """Some of its rows."""
        return replace(
            self,
            embeddings=self.embeddings[start:stop],
            columns={role: values[start:stop] for role, values in self.columns.items()},
            first_row=self.first_row + start,
            other_first_row=self.other_first_row + start,
        )


@dataclass(frozen=True)
class Reading:
    """Files to read in order.

    Attributes:
        shards: Those with the embeddings.
        others: Those with labels and the rest, when they lie in other files; read side by side with
            `shards`, row by row, however the rows are divided.
        columns: What is where.
        fill_ragged: Whether a vector of another length becomes a row of NaN.
        batch: Rows per part at most.
    """

    shards: list[Shard]
    others: list[Shard]
    columns: Columns
    fill_ragged: bool = False
    batch: int = 65536

    @property
    def rows(self) -> int | None:
        """Rows in all, where the files tell without being read."""
        counts = [shard.rows for shard in self.shards]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def no_rows(self) -> InputError:
        """The error for files without any."""
        path = self.shards[0].path
        return InputError(f"rows in {path}", "none", "give a file that holds embeddings")

    def parts(self) -> Iterator[Part]:
        """All rows in order.

        Raises:
            InputError: A column that is not there, files of different length.
        """
        if not self.others:
            for shard in self.shards:
                yield from self._one_file(shard)
            return
        yield from self._two_files()

    def named(self) -> Iterator[tuple[Path, dict[str, str], dict[str, Array], int]]:
        """Labels and the other columns alone: file, column of each role, values, first row."""
        for shard in self.others or self.shards:
            vectors = [] if self.others else embedding_columns(shard, self.columns)
            roles, first = self._roles(shard, vectors[0] if vectors else None), 0
            for part in shard.read(list(dict.fromkeys(roles.values())), self.batch, False):
                values = {role: part[name] for role, name in roles.items()}
                yield shard.path, roles, values, first
                first += len(values["labels"])

    def _roles(self, shard: Shard, embedding: str | None) -> dict[str, str]:
        """Column of each role besides the embedding."""
        if embedding is not None and shard.path.suffix == ".npy":
            raise InputError(
                f"labels beside the embeddings in {shard.path}",
                "a single array",
                "give the file with the labels (--labels-from)",
            )
        c = self.columns
        roles = {"labels": named_column(shard, c.label, embedding)}
        for role, name in (("instances", c.instance), ("groups", c.group), ("fine_labels", c.fine)):
            if name is not None:
                roles[role] = named_column(shard, name, embedding)
        return roles | {f"slice {name}": named_column(shard, name, None) for name in c.slices}

    def _one_file(self, shard: Shard) -> Iterator[Part]:
        vectors = embedding_columns(shard, self.columns)
        roles = self._roles(shard, vectors[0])
        wanted = list(dict.fromkeys([*vectors, *roles.values()]))
        first = 0
        for part in shard.read(wanted, self.batch, self.fill_ragged):
            yield Part(
                _matrix(part, vectors, shard.path),
                {role: part[name] for role, name in roles.items()},
                _sources(shard.path, vectors, shard.path, roles),
                shard.path,
                first,
                shard.path,
                first,
            )
            first += len(part[vectors[0]])

    def _two_files(self) -> Iterator[Part]:
        left, right = self._embeddings(), self.named()
        mine, other = next(left, None), next(right, None)
        used, mine_at, other_at = 0, 0, 0
        while mine is not None and other is not None:
            path, vectors, matrix, first = mine
            other_path, roles, values, other_first = other
            count = min(len(matrix) - mine_at, len(next(iter(values.values()))) - other_at)
            yield Part(
                matrix[mine_at : mine_at + count],
                {role: array[other_at : other_at + count] for role, array in values.items()},
                _sources(path, vectors, other_path, roles),
                path,
                first + mine_at,
                other_path,
                other_first + other_at,
            )
            used, mine_at, other_at = used + count, mine_at + count, other_at + count
            if mine_at == len(matrix):
                mine, mine_at = next(left, None), 0
            if other_at == len(next(iter(values.values()))):
                other, other_at = next(right, None), 0
        if mine is not None or other is not None:
            rest = sum(len(m[2]) for m in left) + (0 if mine is None else len(mine[2]) - mine_at)
            more = sum(len(next(iter(o[2].values()))) for o in right)
            more += 0 if other is None else len(next(iter(other[2].values()))) - other_at
            raise InputError(
                f"as many rows in {_listed(self.others)} as in {_listed(self.shards)}",
                f"{used + more} and {used + rest}",
                "give files that belong together, in the same order",
            )

    def _embeddings(self) -> Iterator[tuple[Path, list[str], Array, int]]:
        for shard in self.shards:
            vectors, first = embedding_columns(shard, self.columns), 0
            for part in shard.read(vectors, self.batch, self.fill_ragged):
                matrix = _matrix(part, vectors, shard.path)
                yield shard.path, vectors, matrix, first
                first += len(matrix)


def _matrix(part: dict[str, Array], vectors: list[str], path: Path) -> Array:
    if len(vectors) == 1:
        return part[vectors[0]]
    return np.stack([_numbers(part[name], name, path) for name in vectors], axis=1)


def _numbers(column: Array, name: str, path: Path) -> Array:
    """A column of numbers; missing ones become NaN."""
    if column.dtype.kind in "fiub":
        return column
    try:
        return column.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"numbers in column {name!r} of {path}", f"text ({error})", "name the embedding columns"
        ) from error


def _sources(
    path: Path, vectors: list[str], other_path: Path, roles: dict[str, str]
) -> dict[str, str]:
    named = vectors[0] if len(vectors) == 1 else f"{vectors[0]}..{vectors[-1]}"
    found = {"embeddings": f"column {named!r} of {path}"}
    return found | {role: f"column {name!r} of {other_path}" for role, name in roles.items()}


def _listed(shards: list[Shard]) -> str:
    more = f" and {len(shards) - 1} more" if len(shards) > 1 else ""
    return f"{shards[0].path}{more}"
