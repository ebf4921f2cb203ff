"""Samples part by part from files, embeddings and labels side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol, Self, TypeVar

import numpy as np

from uncollapse.errors import InputError
from uncollapse.progress import Progress, quiet
from uncollapse.samples import ByRole, stacked
from uncollapse.tables._shard import Array, Shard
from uncollapse.tables.columns import Columns, embedding_columns, named_text, roles_of
from uncollapse.tables.splits import SPLIT_COLUMN, Judged


class Place(NamedTuple):
    """A row of a file."""

    path: Path
    row: int


@dataclass(frozen=True, kw_only=True)
class Names(ByRole[Array]):
    """The columns besides the embeddings, of consecutive rows of one file."""

    place: Place  # the first of the rows
    sources: dict[str, str]  # where "labels", "instances", ... come from, for errors

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.labels)

    def take(self, rows: slice | Array) -> Self:
        """Some of the rows; their place is that of the first where they are a slice."""
        taken = self.each(lambda column, _: column[rows])
        return replace(self, **taken, place=_moved(self.place, rows))


AnyNames = TypeVar("AnyNames", bound=Names)


@dataclass(frozen=True, kw_only=True)
class Rows(Names):
    """Consecutive rows of files; that with the labels (`place`) may be another."""

    embeddings: Array  # (N, d) or (N, p, d)
    vectors_place: Place  # the first of the rows in the file with the embeddings
    reference: Array | None = None  # (N, e) or (N, p, e), another embedding of the rows
    paired: Array | None = None  # (N,) whether it has the row; None where it has all

    def take(self, rows: slice | Array) -> Self:
        """Some of the rows."""
        taken = super().take(rows)
        return replace(
            taken,
            embeddings=self.embeddings[rows],
            vectors_place=_moved(self.vectors_place, rows),
            reference=None if self.reference is None else self.reference[rows],
            paired=None if self.paired is None else self.paired[rows],
        )


@dataclass(frozen=True)
class Vectors:
    """Embeddings of consecutive rows of one file."""

    matrix: Array
    place: Place
    source: str

    def __len__(self) -> int:
        return len(self.matrix)

    def take(self, rows: slice) -> Vectors:
        """Some of the rows."""
        return replace(self, matrix=self.matrix[rows], place=_moved(self.place, rows))

    def beside(self, names: Names) -> Rows:
        """These with the other columns of the same rows."""
        sources = {"embeddings": self.source, **names.sources}
        return Rows(
            **vars(names) | {"sources": sources}, embeddings=self.matrix, vectors_place=self.place
        )


def _moved(place: Place, rows: slice | Array) -> Place:
    return place._replace(row=place.row + (rows.start or 0)) if isinstance(rows, slice) else place


class Beside(Protocol):
    """Another embedding of the same rows."""

    def beside(self, parts: Iterator[Rows], batch: int) -> Iterator[Rows]:
        """The parts, each with its rows of it."""


@dataclass(frozen=True)
class Reading:
    """Files with embeddings to read in order.

    `others` hold labels and the rest, when they lie in other files: read side by side, row by row,
    however the rows are divided.
    """

    shards: Sequence[Shard]
    others: Sequence[Shard]
    columns: Columns
    judged: Judged | None = None  # the rows that are read; None for all
    fill_ragged: bool = False  # whether a vector of another length becomes a row of NaN
    batch: int = 65536  # rows per part at most
    may_be_empty: bool = False  # whether other machines hold other rows

    @property
    def rows(self) -> int | None:
        """Rows in all, where the files tell without being read."""
        counts = [shard.rows for shard in self.shards]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def parts(self, other: Beside | None = None) -> Iterator[Rows]:
        """All rows in order, with those of another embedding where one is given.

        Raises:
            InputError: A column that is not there, files of different length, no rows.
        """
        rows = 0
        parts = self._side_by_side() if self.others else self._together()
        for part in parts if other is None else other.beside(parts, self.batch):
            part = self._kept(part)
            if len(part):
                yield part
            rows += len(part)
        if not rows and not self.may_be_empty:
            path = self.shards[0].path
            raise InputError(f"rows in {path}", "none", "name one that holds embeddings")

    def whole(self, progress: Progress = quiet, other: Beside | None = None) -> Rows:
        """All rows at once, as `parts` has them.

        `progress` is called with the rows so far, and in all where known.
        """
        parts, done = [], 0
        for part in self.parts(other):
            parts.append(part)
            done += len(part)
            progress(done, self.rows)
        return joined(parts)

    def _together(self) -> Iterator[Rows]:
        for shard in self.shards:
            vectors = self._dimensions(shard)
            columns = roles_of(shard, self._roles, vectors)
            declared = self._as_text(shard)
            for place, part in self._read(shard, vectors, columns):
                names = _names(part, columns, place, declared)
                yield _vectors(part, vectors, place).beside(names)

    def _dimensions(self, shard: Shard) -> list[str]:
        """The columns of vectors, the same in all shards where they are single dimensions."""
        vectors = embedding_columns(shard, self.columns.embedding)
        first = embedding_columns(self.shards[0], self.columns.embedding)
        if len(vectors) > 1 and vectors != first:
            odd = sorted({*vectors} ^ {*first})[:5] or vectors[:5]
            raise InputError(
                f"the columns of {self.shards[0].path} in {shard.path}",
                f"{', '.join(odd)} in one of them alone",
                "use files of one model together, or name the columns with commas between them",
            )
        return vectors

    @property
    def _roles(self) -> Columns:
        """The columns with a role, and that of splits where it says which rows are judged."""
        if self.judged is None or SPLIT_COLUMN in self.columns.slices:
            return self.columns
        return replace(self.columns, slices=(*self.columns.slices, SPLIT_COLUMN))

    def _kept(self, part: AnyNames) -> AnyNames:
        """The rows that are judged."""
        if self.judged is None:
            return part
        rows = self.judged.rows(part.slices[SPLIT_COLUMN])
        sources = {
            role: f"{source}, split {self.judged.part}" for role, source in part.sources.items()
        }
        wanted = {name: part.slices[name] for name in self.columns.slices}
        part = replace(part, slices=wanted, sources=sources)
        return part.take(rows) if len(rows) < len(part) else part

    def named(self) -> Iterator[Names]:
        """Labels and the other columns alone."""
        for part in self._all_named():
            yield self._kept(part)

    def _all_named(self) -> Iterator[Names]:
        for shard in self.others or self.shards:
            vectors = [] if self.others else embedding_columns(shard, self.columns.embedding)
            columns, declared = roles_of(shard, self._roles, vectors), self._as_text(shard)
            for place, part in self._read(shard, [], columns):
                yield _names(part, columns, place, declared)

    def _as_text(self, shard: Shard) -> Callable[[Array, str, str], Array]:
        """A column, its role and its name -> the column as it is declared."""
        embedded = bool(shard.about)

        def declared(column: Array, role: str, name: str) -> Array:
            label = role in ("labels", "fine_labels")
            column = named_text(column, name in self.columns.text, shard.is_untyped(name) and label)
            if role != "labels" or not embedded:
                return column
            # `uncollapse embed` writes no label for the rows that its data have as unlabelled.
            names = column.astype(object)
            names[[value is None or value == "" for value in names.tolist()]] = -1
            return names

        return declared

    def vectors(self) -> Iterator[Vectors]:
        """The embeddings alone."""
        for shard in self.shards:
            vectors = self._dimensions(shard)
            for place, part in self._read(shard, vectors, None):
                yield _vectors(part, vectors, place)

    def _read(
        self, shard: Shard, vectors: list[str], columns: ByRole[str] | None
    ) -> Iterator[tuple[Place, dict[str, Array]]]:
        names = [] if columns is None else list(dict.fromkeys(columns.all().values()))
        row = 0
        for part in shard.read(vectors, names, self.batch, self.fill_ragged):
            yield Place(shard.path, row), part
            row += len(next(iter(part.values())))

    def _side_by_side(self) -> Iterator[Rows]:
        left, right = self.vectors(), self._all_named()
        vectors, names, used = next(left, None), next(right, None), 0
        while vectors is not None and names is not None:
            count = min(len(vectors), len(names))
            yield vectors.take(slice(0, count)).beside(names.take(slice(0, count)))
            used += count
            vectors = vectors.take(slice(count, None)) if count < len(vectors) else next(left, None)
            names = names.take(slice(count, None)) if count < len(names) else next(right, None)
        if vectors is not None or names is not None:
            rest = sum(map(len, left)) + (0 if vectors is None else len(vectors))
            more = sum(map(len, right)) + (0 if names is None else len(names))
            raise InputError(
                f"as many rows in {_listed(self.others)} as in {_listed(self.shards)}",
                f"{used + more} and {used + rest}",
                "give files that belong together, in the same order",
            )


def _names(
    part: dict[str, Array],
    columns: ByRole[str],
    place: Place,
    declared: Callable[[Array, str, str], Array],
) -> Names:
    sources = columns.each(lambda column, _: f"column {column!r} of {place.path}")
    sources["slices"] = str(place.path)
    return Names(
        **columns.each(lambda column, role: declared(part[column], role, column)),
        place=place,
        sources={role: source for role, source in sources.items() if source is not None},
    )


def _vectors(part: dict[str, Array], names: list[str], place: Place) -> Vectors:
    named = names[0] if len(names) == 1 else f"{names[0]}..{names[-1]}"
    matrix = part[names[0]]
    if len(names) > 1:
        matrix = np.stack([part[name] for name in names], axis=1)
    return Vectors(matrix, place, f"column {named!r} of {place.path}")


def _listed(shards: Sequence[Shard]) -> str:
    more = f" and {len(shards) - 1} more" if len(shards) > 1 else ""
    return f"{shards[0].path}{more}"


def together(arrays: Sequence[Array]) -> Array:
    """Parts of one column as one; numbers and text stay what they are, as in a stream."""
    kinds = {array.dtype.kind for array in arrays}
    if "O" in kinds or (kinds & {"U", "S"} and kinds - {"U", "S"}):
        arrays = [array.astype(object) for array in arrays]  # numpy would make text of both
    return np.concatenate(arrays)


def joined_names(parts: Sequence[AnyNames]) -> AnyNames:
    """Columns of several parts as those of one, whose place is that of the first."""
    first = parts[0]
    sources = {}
    for role in first.sources:
        several = list(dict.fromkeys(part.sources[role] for part in parts))
        more = f" and {len(several) - 1} more" if len(several) > 1 else ""
        sources[role] = several[0] + more
    columns = [part.all() for part in parts]
    whole = first.each(lambda _, role: together([by_role[role] for by_role in columns]))
    return replace(first, **whole, sources=sources)


def joined(parts: Sequence[Rows]) -> Rows:
    """Several parts as one.

    Raises:
        InputError: Their embeddings differ in length.
    """
    if len(parts) == 1:
        return parts[0]
    shapes = {part.embeddings.shape[1:] for part in parts}
    if len(shapes) > 1:
        raise InputError(
            "embeddings of one length in all files",
            " and ".join(str(shape) for shape in sorted(shapes)),
            "use files of one model together",
        )
    return replace(
        joined_names(parts),
        embeddings=stacked([part.embeddings for part in parts]),
        reference=_present([part.reference for part in parts]),
        paired=_present([part.paired for part in parts]),
    )


def _present(arrays: Sequence[Array | None]) -> Array | None:
    there = [array for array in arrays if array is not None]
    return stacked(there) if there else None
