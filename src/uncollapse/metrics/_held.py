"""Rows of a stream that retention is computed from at its end, in bounded memory.

An instance is held while a hash of it (of its content, or of its group's name) is below a limit;
when what is held takes too much memory the limit is halved. So what stays is drawn at random,
whatever the order of the rows, whole groups and all copies of a row together, and two streams merge
to what one would hold. At the end fewer may be used of large classes, as in memory (`_drawn`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.metrics._drawn import Keys, keys_of, most_of_class, smallest
from uncollapse.metrics._held_part import HeldPart, together
from uncollapse.metrics._reference import Reference, comparison, of_several, paired_instances
from uncollapse.metrics._retention import Drawing, PartOfClass, part_of_class, too_few
from uncollapse.metrics.features import Integers
from uncollapse.records import ReferenceComparison
from uncollapse.samples import Codes, Contents, Sample

_MOST_BYTES = 1 << 25


class HeldRows:
    """Instances of both embeddings of a stream; of the reference what the record says of it."""

    def __init__(self, reference: Reference, most_bytes: int | None = None) -> None:
        self.reference = replace(reference, array=None, paired=None)
        self.most_bytes = most_bytes or _MOST_BYTES
        self.halvings = 0
        self.parts: list[HeldPart] = []
        self.bytes = 0
        self.labels: dict[Any, int] = {}
        self.groups: dict[Any, int] = {}
        self.rows = 0  # in both
        self.alone = 0  # rows that the reference lacks
        self.dropped: dict[str, int] = {}
        self.dimension = 0

    @property
    def limit(self) -> np.uint64:
        """The largest hash that is held."""
        return np.uint64((1 << (64 - self.halvings)) - 1)

    def add(self, sample: Sample, contents: Contents) -> None:
        """Rows of a usable sample, and what tells copies of its instances."""
        assert sample.beside is not None  # the caller has asked
        self._check(self.reference, sample.beside.matrix.shape[1])
        self.rows += int(sample.beside.paired.sum())
        for fault, count in sample.beside.dropped.items():
            self.dropped[fault] = self.dropped.get(fault, 0) + count
        keys = keys_of(sample, contents)
        owner = contents.of_row[sample.beside.paired]
        there = owner if sample.instances is None else np.unique(owner)
        numbers = sample.matrix.shape[1] + sample.beside.matrix.shape[1]
        self._make_room(keys[there], numbers * np.dtype(np.float64).itemsize)
        chosen = (keys <= self.limit)[contents.of_row]
        rows = np.flatnonzero(sample.beside.paired & chosen)
        if sample.instances is None:
            x, y, first = sample.matrix[rows], sample.beside.matrix[rows], rows
            units, hashes = rows, None
        else:
            x, y, first = paired_instances(sample, rows)
            units = contents.of_row[first]
            hashes = contents.in_both(units)
        groups = None if sample.groups is None else _numbers(self.groups, sample.groups, first)
        labels = _numbers(self.labels, sample.labels, first)
        part = HeldPart(x, y, keys[units], hashes, labels, groups, sample.instances is None)
        self.parts.append(part)
        self.bytes += part.bytes

    def _check(self, reference: Reference, dimension: int) -> None:
        """Refuse another reference than the one before; take its dimension where there is none."""
        mine, theirs = (
            (each.name, each.joined_by, each.key, size)
            for each, size in (
                (self.reference, self.dimension or dimension),
                (reference, dimension or self.dimension),
            )
        )
        if mine != theirs:
            before, now = (
                f"{name!r} of {size} dimensions, joined by {key or how}"
                for name, how, key, size in (mine, theirs)
            )
            raise InputError(
                f"one reference beside all rows, which was {before}",
                now,
                "give every part the same reference, under one name",
            )
        self.dimension = self.dimension or dimension

    def merge(self, other: HeldRows) -> None:
        """All that another has held.

        Raises:
            InputError: It was of another reference.
        """
        self._check(other.reference, other.dimension)
        self.reference = _of_both(self.reference, other.reference)
        self.halvings = max(self.halvings, other.halvings)
        labels, groups = (
            np.array([mine.setdefault(name, len(mine)) for name in theirs], dtype=np.int64)
            for mine, theirs in ((self.labels, other.labels), (self.groups, other.groups))
        )
        renamed = [
            replace(
                part,
                labels=labels[part.labels],
                groups=None if part.groups is None else groups[part.groups],
            )
            for part in other.parts
        ]
        self.parts = [part.below(self.limit) for part in (*self.parts, *renamed)]
        self.bytes = sum(part.bytes for part in self.parts)
        self.rows, self.alone = self.rows + other.rows, self.alone + other.alone
        for fault, count in other.dropped.items():
            self.dropped[fault] = self.dropped.get(fault, 0) + count
        self._make_room(np.zeros(0, dtype=np.uint64), 0)

    def together(self) -> HeldPart:
        """All that is held, in the order that it came in."""
        if self.parts:
            self.parts = [together(self.parts)]
            return self.parts[0]
        nothing, none = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
        empty = np.zeros((0, 0)), np.zeros((0, self.dimension))
        return HeldPart(*empty, nothing, nothing, none, None)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is held, as plain arrays."""
        columns = self.together().ready().columns()
        return {f"held_{name}": column for name, column in columns.items()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Hold what plain arrays hold; everything else is as it was."""
        names = ("x", "y", "keys", "contents", "labels")  # the reader has checked them
        columns: dict[str, Any] = {name: arrays[f"held_{name}"] for name in names}
        self.parts = [HeldPart(**columns, groups=arrays.get("held_groups"))]
        self.bytes = self.parts[0].bytes
        self._make_room(np.zeros(0, dtype=np.uint64), 0)

    def _make_room(self, keys: Keys, each: int) -> None:
        """Halve what is held until instances of these keys, of so many bytes, fit in beside it."""
        while self.bytes + each * np.count_nonzero(keys <= self.limit) > self.most_bytes:
            self.halvings += 1
            self.parts = [part.below(self.limit) for part in self.parts]
            self.bytes = sum(part.bytes for part in self.parts)

    def comparison(
        self, labels: Sequence[Any], drawing: Drawing, *, sums: bool = False
    ) -> ReferenceComparison:
        """The record, of these classes; `sums` says that nothing else is kept of the stream."""
        found: dict[Any, PartOfClass] = dict.fromkeys(labels, too_few(0))
        whole = self.together()
        owners = whole.units()
        dimensions = whole.x.shape[1], self.dimension
        counts, grouped = np.bincount(whole.labels), owners is not None
        most = most_of_class(counts, dimensions, self.rows, grouped=grouped, sums=sums)
        keys = whole.keys if whole.contents is None or whole.groups is None else whole.contents
        used = smallest(keys, whole.labels, most)
        drawn = len(used) < len(whole.keys) or self.halvings > 0
        order = used[np.argsort(whole.labels[used], kind="stable")]
        ends = np.searchsorted(whole.labels[order], np.arange(len(self.labels) + 1))
        for number, label in enumerate(labels):
            code = self.labels.get(label)
            rows = order[:0] if code is None else order[ends[code] : ends[code + 1]]
            if len(rows):
                groups = None if owners is None else owners[rows]
                if groups is not None and whole.groups is None:
                    groups = of_several(groups)
                both = whole.unit_vectors(rows)
                found[label] = part_of_class(*both, groups, drawing.of(number))
        return comparison(
            self.reference,
            found,
            drawing,
            rows=len(used) if drawn else self.rows,
            dimension=self.dimension,
            dropped={"only_in_embeddings": self.alone, **self.dropped},
            drawn_from=self.rows if drawn else None,
        )


def held_with(
    held: HeldRows | None, reference: Reference | None, *, first: bool
) -> HeldRows | None:
    """Where the rows of an update are held; None without a reference.

    Raises:
        InputError: Some parts of the stream have a reference, and some have none.
    """
    if not first and (reference is None) != (held is None):
        raise InputError(
            "a reference in all parts of a stream, or in none",
            "some with one and some without",
            "give it with every part",
        )
    if reference is None:
        return None
    held = held or HeldRows(reference)
    if reference.paired is not None:
        held.alone += int(np.count_nonzero(~np.asarray(reference.paired)))
    return held


def held_together(
    mine: HeldRows | None, theirs: HeldRows | None, *, first: bool
) -> HeldRows | None:
    """What two streams have held; `first` says that mine has seen no rows.

    Raises:
        InputError: One of them has a reference, and one has none.
    """
    if not first and (mine is None) != (theirs is None):
        raise InputError(
            "two accumulators with a reference, or two without",
            "one with and one without",
            "accumulate both in one way",
        )
    if theirs is not None:
        mine = mine or HeldRows(theirs.reference, theirs.most_bytes)
        mine.merge(theirs)
    return mine


def _of_both(mine: Reference, theirs: Reference) -> Reference:
    """The reference of two streams of different rows; `ids` say whether it is the same file."""
    alone = mine.only_in_reference + theirs.only_in_reference
    if mine.ids is not None and mine.ids == theirs.ids:
        alone -= mine.ids.rows  # Rows that one stream had were counted by the other.
    return replace(mine, only_in_reference=max(0, alone))


def _numbers(known: dict[Any, int], names: Codes, rows: Integers) -> Integers:
    """Numbers of the names of rows, given to new ones in order."""
    codes = names.codes[rows]
    present, inverse = np.unique(codes, return_inverse=True)
    numbers = [known.setdefault(names.names[code], len(known)) for code in present.tolist()]
    return np.array(numbers, dtype=np.int64)[inverse]
