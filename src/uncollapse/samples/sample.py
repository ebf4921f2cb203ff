"""Rows to measure: embeddings, and what is known of each row besides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.samples.codes import Codes, Integers, encode, label_codes, refuse_lookalikes
from uncollapse.samples.copies import Copies, Floats, Hashes, find_copies, row_hashes, row_keys
from uncollapse.samples.embeddings import as_matrix

T = TypeVar("T")

# Roles whose -1 means unlabelled; an instance, group or slice may well be called so.
_LABELS = ("labels", "fine_labels")


@dataclass(frozen=True, kw_only=True)
class ByRole(Generic[T]):
    """The columns besides the embeddings: arrays of names, their codes, or what they are called."""

    labels: T  # class of each row
    instances: T | None = None  # None when every row is its own
    groups: T | None = None  # what is independent; None when every instance is its own
    fine_labels: T | None = None
    slices: Mapping[str, T] = field(default_factory=dict)

    def all(self) -> dict[str, T]:
        """The columns that there are, by role: of a slice "slice 'NAME'", as errors call it."""
        columns = {
            "labels": self.labels,
            "instances": self.instances,
            "groups": self.groups,
            "fine_labels": self.fine_labels,
        }
        there = {role: column for role, column in columns.items() if column is not None}
        return there | {f"slice {name!r}": column for name, column in self.slices.items()}

    def each(self, change: Callable[[T, str], Any]) -> dict[str, Any]:
        """Every column changed, by column and role, as the arguments of a `ByRole`."""
        changed = {role: change(column, role) for role, column in self.all().items()}
        slices = {name: changed.pop(f"slice {name!r}") for name in self.slices}
        absent = dict.fromkeys(("labels", "instances", "groups", "fine_labels"))
        return absent | changed | {"slices": slices}


@dataclass(frozen=True)
class Beside:
    """Another embedding of the same rows, the reference."""

    matrix: NDArray[Any]  # (N, e)
    paired: NDArray[np.bool_]  # rows that it has and that can be used
    dropped: Mapping[str, int] = field(default_factory=dict)  # those that cannot, by fault

    def take(self, rows: NDArray[Any]) -> Beside:
        """Some of the rows."""
        return replace(self, matrix=self.matrix[rows], paired=self.paired[rows])


@dataclass(frozen=True, kw_only=True)
class Sample(ByRole[Codes]):
    """Rows to measure."""

    matrix: NDArray[Any]  # (N, d) rows as they came
    dtype: str  # name of the type that they came in
    beside: Beside | None = None  # another embedding of the same rows
    copies: Copies | None = None  # rows that are alike to the last bit, once they were looked for
    normalised: bool = True  # whether they came with unit norm
    dropped: Mapping[str, int] = field(default_factory=dict)  # rows left out, by fault
    # Where "embeddings", "labels", ... came from, for errors.
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def units(self) -> Integers | None:
        """(N,) independent unit of each row: groups, else instances, copies together.

        None where every row is its own.
        """
        if self.copies is not None and self.copies.units is not None:
            return self.copies.units
        names = self.groups or self.instances
        return None if names is None else names.codes


def sample_of(
    embeddings: Any,
    columns: ByRole[Any],
    sources: Mapping[str, str] | None = None,
    *,
    reference: Any = None,
    paired: Any = None,
) -> Sample:
    """Arrays or tensors of one length as a `Sample`; with (N, p, d) embeddings, N labels.

    The reference is another embedding of the same rows, (N, e) or (N, p, e); `paired` (N,) says
    which of them it has, by default all.
    """
    sources = dict(sources or {})
    try:
        matrix, dtype, views = as_matrix(embeddings)
    except InputError as error:
        if (where := sources.get("embeddings")) is None:
            raise
        raise InputError(error.expected, f"{error.found} in {where}", error.remedy) from error
    if columns.labels is None:
        raise InputError("labels, one per row", "none", "say which class each row is of")
    rows = len(matrix) // views
    if views > 1 and columns.instances is None:
        columns = replace(columns, instances=np.arange(rows))
    # What has no source of its own are slices, of which the file is known at most.
    file = f" of {sources['slices']}" if "slices" in sources else ""

    def coded(values: Any, role: str) -> Codes:
        what = sources.get(role, f"{role}{file}")
        codes = (label_codes if role in _LABELS else encode)(values, what, rows)
        if role.startswith("slice "):
            refuse_lookalikes(codes.names, what)  # A record has them by their text.
        return codes.take(np.repeat(np.arange(rows), views)) if views > 1 else codes

    beside = None
    if reference is not None:
        where = sources.get("reference", "the reference")
        beside = _beside(reference, paired, rows, views, where)
    return Sample(**columns.each(coded), matrix=matrix, dtype=dtype, beside=beside, sources=sources)


def _beside(reference: Any, paired: Any, rows: int, views: int, where: str) -> Beside:
    """The reference row by row; one row for each instance stands for all of its views."""
    matrix, _, its_views = as_matrix(reference)
    if len(matrix) != rows * its_views or its_views not in (1, views):
        viewed = len(matrix) == rows * its_views
        raise InputError(
            f"one row in {where} for each of the {rows} rows of the embeddings",
            f"{len(matrix) // its_views} rows" + (f" of {its_views} views" if viewed else ""),
            "give one vector for each row"
            if viewed
            else "give the same rows in the same order, or join them by an id column (--key)",
        )
    known = np.ones(rows, dtype=bool) if paired is None else np.asarray(paired, dtype=bool)
    if known.shape != (rows,):
        shape = f"shape {known.shape}"
        raise InputError(f"paired with one entry for each of {rows} rows", shape, "leave it out")
    matrix = np.repeat(matrix, views // its_views, axis=0) if views > its_views else matrix
    return Beside(matrix, np.repeat(known, views))


def select(sample: Sample, rows: NDArray[Any]) -> Sample:
    """Some of the rows, by a mask or by their numbers."""
    columns = sample.each(lambda column, _: column.take(rows))
    beside = None if sample.beside is None else sample.beside.take(rows)
    copies = None if sample.copies is None else sample.copies.take(rows)
    return replace(sample, **columns, matrix=sample.matrix[rows], beside=beside, copies=copies)


class Contents:
    """What tells copies: a key of each independent row or instance, and a hash of its bytes.

    Copies agree in both; of instances all views together are compared.
    """

    def __init__(self, sample: Sample, norms: Floats) -> None:
        self._sample = sample
        self._hashes: Hashes | None = None
        self.first: Integers = np.arange(len(sample.matrix))  # a row of each
        self.of_row = self.first  # which is each row's
        if sample.instances is None:
            self.keys = row_keys(sample.matrix, norms)
            return
        codes = sample.instances.codes
        _, self.first, self.of_row = np.unique(codes, return_index=True, return_inverse=True)
        self.keys = self._hashes = self._least(self.of_row, row_hashes(sample.matrix))

    def _least(self, owners: Integers, hashes: Hashes) -> Hashes:
        """The smallest hash of each one's views: the same in whatever order they come."""
        least = np.full(len(self.first), ~np.uint64(0))
        np.minimum.at(least, owners, hashes)
        return least

    def hashes(self, some: Integers) -> Hashes:
        """Hashes of some, by position."""
        if self._hashes is not None:
            return self._hashes[some]
        if len(some) < len(self.first):
            return row_hashes(self._sample.matrix[self.first[some]])
        self._hashes = row_hashes(self._sample.matrix)
        return self._hashes

    def in_both(self, some: Integers) -> Hashes:
        """Hashes of some, by position, with their reference."""
        chosen = np.zeros(len(self.first), dtype=bool)
        chosen[some] = True
        rows = np.flatnonzero(chosen[self.of_row])
        return self._least(self.of_row[rows], _with_reference(self._sample, rows))[some]


def _with_reference(sample: Sample, rows: Integers) -> Hashes:
    """Hashes of rows and their reference."""
    assert sample.beside is not None  # the callers have asked
    return hashes_in_both(sample.matrix[rows], sample.beside.matrix[rows])


def hashes_in_both(rows: NDArray[Any], reference: NDArray[Any]) -> Hashes:
    """64 bits of each row and its reference."""
    return row_hashes(np.stack([row_hashes(side) for side in (rows, reference)], axis=1))


def with_copies(sample: Sample) -> Sample:
    """The sample, of whose rows it is known which are exact copies."""
    return replace(sample, copies=_copies(sample, row_hashes(sample.matrix)))


def with_copies_in_both(sample: Sample) -> Sample:
    """The sample, of whose copies it is known which are alike in the reference too."""
    if sample.beside is None or sample.copies is None:
        return sample
    hashes = row_hashes(sample.matrix)
    ranked = np.sort(hashes)
    again = np.flatnonzero(np.isin(hashes, ranked[1:][ranked[1:] == ranked[:-1]]))
    hashes[again] = _with_reference(sample, again)
    return replace(sample, copies=_copies(sample, hashes))


def _copies(sample: Sample, hashes: Hashes) -> Copies | None:
    names = sample.groups or sample.instances
    return find_copies(hashes, sample.labels.codes, None if names is None else names.codes)
