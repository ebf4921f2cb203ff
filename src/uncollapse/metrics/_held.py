"""Rows of a stream that retention is computed from at its end, in bounded memory.

An instance is held while a hash of it (of its number, or of its group's name) is below a limit;
when what is held takes too much memory the limit is halved. So what stays is drawn at random,
whatever the order of the rows, whole groups together, and two streams merge to what one would hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.metrics._reference import Reference, comparison, paired_instances
from uncollapse.metrics._retention import Drawing, PartOfClass, part_of_class, too_few
from uncollapse.metrics._stores import mixed
from uncollapse.metrics.moments import Floats, Integers
from uncollapse.records import ReferenceComparison
from uncollapse.samples import Codes, Sample, hash_ids

Keys = NDArray[np.uint64]
_MOST_BYTES = 1 << 26


@dataclass(frozen=True)
class _Part:
    """Instances from one update."""

    x: Floats
    y: Floats
    keys: Keys
    labels: Integers
    groups: Integers | None

    @property
    def bytes(self) -> int:
        return self.x.nbytes + self.y.nbytes

    def below(self, limit: np.uint64) -> _Part:
        kept = self.keys <= limit
        groups = None if self.groups is None else self.groups[kept]
        return _Part(self.x[kept], self.y[kept], self.keys[kept], self.labels[kept], groups)


class HeldRows:
    """Instances of both embeddings of a stream; of the reference what the record says of it."""

    def __init__(self, reference: Reference, most_bytes: int = _MOST_BYTES) -> None:
        self.reference = replace(reference, array=None, paired=None)
        self.most_bytes = most_bytes
        self.halvings = 0
        self.parts: list[_Part] = []
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

    def add(self, sample: Sample, first_row: int, *, named: bool) -> None:
        """Rows of a usable sample, the first of them row `first_row` of the stream.

        `named` says whether its instances have ids, by which they come back.
        """
        assert sample.beside is not None  # the caller has asked
        self.dimension = sample.beside.matrix.shape[1]
        self.rows += int(sample.beside.paired.sum())
        for fault, count in sample.beside.dropped.items():
            self.dropped[fault] = self.dropped.get(fault, 0) + count
        keys = _keys(sample, first_row, named)
        rows = np.flatnonzero(sample.beside.paired & (keys <= self.limit))
        x, y, first = paired_instances(sample, rows)
        groups = None if sample.groups is None else _numbers(self.groups, sample.groups, first)
        labels = _numbers(self.labels, sample.labels, first)
        self.parts.append(_Part(x, y, keys[first], labels, groups))
        self.bytes += self.parts[-1].bytes
        self._shrink()

    def merge(self, other: HeldRows) -> None:
        """All that another has held."""
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
        self.dimension = self.dimension or other.dimension
        for fault, count in other.dropped.items():
            self.dropped[fault] = self.dropped.get(fault, 0) + count
        self._shrink()

    def _shrink(self) -> None:
        while self.bytes > self.most_bytes:
            self.halvings += 1
            self.parts = [_together([part.below(self.limit) for part in self.parts])]
            self.bytes = self.parts[0].bytes

    def comparison(self, labels: Sequence[Any], drawing: Drawing) -> ReferenceComparison:
        """The record, of these classes."""
        found: dict[Any, PartOfClass] = dict.fromkeys(labels, too_few(0))
        whole = _together(self.parts)
        self.parts = [whole]
        order = np.argsort(whole.labels, kind="stable")
        ends = np.searchsorted(whole.labels[order], np.arange(len(self.labels) + 1))
        for number, label in enumerate(labels):
            code = self.labels.get(label)
            rows = order[:0] if code is None else order[ends[code] : ends[code + 1]]
            if len(rows):
                groups = None if whole.groups is None else whole.groups[rows]
                found[label] = part_of_class(
                    whole.x[rows], whole.y[rows], groups, drawing.of(number)
                )
        units = len(whole.x)
        return comparison(
            self.reference,
            found,
            drawing,
            rows=units if self.halvings else self.rows,
            dimension=self.dimension,
            dropped={"only_in_embeddings": self.alone, **self.dropped},
            drawn_from=self.rows if self.halvings else None,
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


def _together(parts: Sequence[_Part]) -> _Part:
    """Several parts as one."""
    if len(parts) == 1:
        return parts[0]
    x, y, keys, labels = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("x", "y", "keys", "labels")
    )
    groups = [part.groups for part in parts if part.groups is not None]
    return _Part(x, y, keys, labels, np.concatenate(groups) if groups else None)


def _numbers(known: dict[Any, int], names: Codes, rows: Integers) -> Integers:
    """Numbers of the names of rows, given to new ones in order."""
    codes = names.codes[rows]
    present, inverse = np.unique(codes, return_inverse=True)
    numbers = [known.setdefault(names.names[code], len(known)) for code in present.tolist()]
    return np.array(numbers, dtype=np.int64)[inverse]


def _keys(sample: Sample, first_row: int, named: bool) -> Keys:
    """A hash of each row's group, instance or number, the same in all of its rows."""
    if sample.copies is not None and sample.copies.units is not None:
        return np.asarray(mixed(sample.copies.units.astype(np.uint64)), dtype=np.uint64)
    names = sample.groups or (sample.instances if named else None)
    if names is not None:
        return np.asarray(hash_ids(list(names.names))[names.codes], dtype=np.uint64)
    rows = np.arange(len(sample.matrix)) if sample.instances is None else sample.instances.codes
    return np.asarray(mixed((rows + first_row).astype(np.uint64)), dtype=np.uint64)
