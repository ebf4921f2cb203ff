"""Rows of a stream that retention is computed from at its end, in bounded memory.

An instance is held while a hash of it (of its number, or of its group's name) is below a limit;
when what is held takes too much memory the limit is halved. So what stays is drawn at random,
whatever the order of the rows, whole groups together, and two streams merge to what one would hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.metrics._reference import Reference, class_pairs, comparison
from uncollapse.metrics._retention import Drawing, part_of_class, too_few
from uncollapse.metrics._stores import mixed
from uncollapse.metrics.moments import Floats
from uncollapse.records import ReferenceComparison
from uncollapse.samples import Sample, hash_ids, select

Keys = NDArray[np.uint64]
_MOST_BYTES = 1 << 28


@dataclass(frozen=True)
class _Part:
    """Instances of one class from one update."""

    label: Any
    x: Floats
    y: Floats
    keys: Keys
    groups: tuple[Any, ...] | None

    @property
    def bytes(self) -> int:
        return self.x.nbytes + self.y.nbytes

    def below(self, limit: np.uint64) -> _Part:
        kept = np.flatnonzero(self.keys <= limit)
        groups = None if self.groups is None else tuple(self.groups[k] for k in kept)
        return _Part(self.label, self.x[kept], self.y[kept], self.keys[kept], groups)


class HeldRows:
    """Instances of both embeddings of a stream."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self.halvings = 0
        self.parts: list[_Part] = []
        self.rows = 0  # in both
        self.held = 0  # of those, held
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
        if self.halvings:
            chosen = keys <= self.limit
            sample, keys = select(sample, chosen), keys[chosen]
        for pair in class_pairs(sample):
            groups = None
            if sample.groups is not None:
                names = sample.groups.names
                groups = tuple(names[code] for code in sample.groups.codes[pair.first])
            self.parts.append(_Part(pair.label, pair.x, pair.y, keys[pair.first], groups))
        self._shrink()

    def merge(self, other: HeldRows) -> None:
        """All that another has held."""
        self.halvings = max(self.halvings, other.halvings)
        self.parts = [part.below(self.limit) for part in (*self.parts, *other.parts)]
        self.rows, self.alone = self.rows + other.rows, self.alone + other.alone
        self.dimension = self.dimension or other.dimension
        for fault, count in other.dropped.items():
            self.dropped[fault] = self.dropped.get(fault, 0) + count
        self._shrink()

    def _shrink(self) -> None:
        while sum(part.bytes for part in self.parts) > self.most_bytes:
            self.halvings += 1
            self.parts = [part.below(self.limit) for part in self.parts]

    def comparison(
        self, reference: Reference, labels: Sequence[Any], drawing: Drawing
    ) -> ReferenceComparison:
        """The record, of these classes."""
        by_label: dict[Any, list[_Part]] = {label: [] for label in labels}
        for part in self.parts:
            if part.label in by_label and len(part.x):
                by_label[part.label].append(part)
        names = dict.fromkeys(name for part in self.parts for name in part.groups or ())
        codes = {name: code for code, name in enumerate(names)}
        found, units = {}, 0
        for number, (label, parts) in enumerate(by_label.items()):
            if not parts:
                found[label] = too_few(0)
                continue
            x, y = (np.concatenate([getattr(part, side) for part in parts]) for side in "xy")
            groups = None
            if codes:
                groups = np.array([codes[name] for part in parts for name in part.groups or ()])
            found[label] = part_of_class(x, y, groups, drawing.of(number))
            units += len(x)
        return comparison(
            reference,
            found,
            drawing,
            rows=units if self.halvings else self.rows,
            dimension=self.dimension,
            dropped={"only_in_embeddings": self.alone, **self.dropped},
            drawn_from=self.rows if self.halvings else None,
        )


def _keys(sample: Sample, first_row: int, named: bool) -> Keys:
    """A hash of each row's group, instance or number, the same in all of its rows."""
    names = sample.groups or (sample.instances if named else None)
    if names is not None:
        return np.asarray(hash_ids(list(names.names))[names.codes], dtype=np.uint64)
    rows = np.arange(len(sample.matrix)) if sample.instances is None else sample.instances.codes
    return np.asarray(mixed((rows + first_row).astype(np.uint64)), dtype=np.uint64)
