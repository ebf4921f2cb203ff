"""Exact copies among rows: found by a hash of their bytes, and linked into independent units.

Two rows alike to the last bit are one draw that was written twice, or two inputs that an encoder
maps to one point. Of the first kind are oversampled classes and duplicates in a data set: every
distinct row occurs a few times. Of the second is collapse: few distinct rows, or one that stands
for a large part of a class. Only the first are one unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Integers = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# A class has copies, and is not collapsed to a few points, where it has so many distinct rows...
LEAST_DISTINCT = 5
# ... none of which is more than this part of it.
MOST_OF_CLASS = 0.2
# Kinds of a class that say how often its rows are there, where only a part was kept.
_ENOUGH_KINDS = 64
# Words that are hashed at once: they stay in the processor's cache.
_CHUNK = 1 << 15
_ODD, _HALF, _FOLD = np.uint64(0x9E3779B97F4A7C15), np.uint64(32), np.uint64(33)


@dataclass(frozen=True)
class Copies:
    """Which rows are copies of others in other units."""

    extra: int  # rows beyond the first of each kind
    units: Integers | None  # (N,) unit of each row, copies of a class in one; None: as they were

    def take(self, rows: NDArray[Any]) -> Self:
        """Some of the rows."""
        return self if self.units is None else replace(self, units=self.units[rows])


def row_hashes(matrix: NDArray[Any]) -> Hashes:
    """64 bits of each row, a function of its numbers in their type alone."""
    whole = np.ascontiguousarray(matrix).reshape(len(matrix), math.prod(matrix.shape[1:]))
    width = whole.shape[1] * whole.dtype.itemsize
    words = -(-width // 8)
    weights = np.random.default_rng(64).integers(1, 1 << 63, words, dtype=np.uint64) * 2 + 1
    hashes = np.empty(len(whole), dtype=np.uint64)
    step = max(1, _CHUNK // words)
    for start in range(0, len(whole), step):
        part = whole[start : start + step]
        if part.dtype.kind == "f":
            part = part + part.dtype.type(0)  # -0.0 is 0.0
        part = part.view(np.uint8)
        if width % 8:
            part = np.pad(part, ((0, 0), (0, 8 * words - width)))
        mixed = part.view(np.uint64) >> _FOLD  # High bits of numbers alike but for a sign.
        mixed ^= part.view(np.uint64)
        mixed *= _ODD
        mixed ^= mixed >> _HALF  # Low bits of short numbers are all zero.
        np.matmul(mixed, weights, out=hashes[start : start + step])
    return hashes


def row_keys(matrix: NDArray[Any], norms: Floats) -> Hashes:
    """64 bits of each row that its copies share, cheaper than a hash: those of its norm.

    Rows of whole numbers, and rows that were normalised, have few norms; theirs are hashes.
    """
    keys = norms.view(np.uint64) * _ODD
    keys ^= keys >> _HALF
    with np.errstate(over="ignore", invalid="ignore"):
        squares = norms * norms
        whole = np.flatnonzero(np.abs(squares - np.rint(squares)) <= 1e-12 * squares)
    if len(whole):
        keys[whole] = row_hashes(matrix if len(whole) == len(matrix) else matrix[whole])
    return keys


def find_copies(
    hashes: Hashes, labels: Integers, units: Integers | None, counts: Integers | None = None
) -> Copies | None:
    """Copies among rows with these hashes, labels and units (None: each its own); None without.

    `counts` say how often each row is there, once by default.
    Copies inside one unit, as views of an instance that are not augmented, are none.
    """
    if len(np.unique(hashes)) == len(hashes):
        return None
    kinds = np.unique(hashes, return_inverse=True)[1]
    rows = np.arange(len(hashes)) if units is None else units
    pairs = np.unique(np.stack([kinds, rows]), axis=1)
    extra = pairs.shape[1] - int(kinds.max()) - 1
    if not extra:
        return None
    # Copies in several classes say nothing of how far these spread; only those of one are linked.
    cells = np.unique(np.stack([labels, kinds]), axis=1, return_inverse=True)[1].reshape(-1)
    linked = _may_be_copies(cells, labels, counts)[cells]
    if not linked.any():
        return Copies(extra, None)
    size = len(hashes) if units is None else int(units.max()) + 1
    first = np.full(int(cells.max()) + 1, -1, dtype=np.int64)
    first[cells[linked]] = rows[linked]
    edges = (np.ones(linked.sum()), (first[cells[linked]], rows[linked]))
    graph = sparse.coo_array(edges, shape=(size, size))
    components = sparse.csgraph.connected_components(graph, directed=False)[1]
    return Copies(extra, components[rows].astype(np.int64))


def _may_be_copies(cells: Integers, labels: Integers, counts: Integers | None) -> Bools:
    """Of each cell, the rows of one kind in one class, whether its class has copies."""
    sizes = np.bincount(cells, counts)
    owner = np.zeros(len(sizes), dtype=np.int64)
    owner[cells] = labels
    copied = _copied(owner, sizes, np.bincount(labels, counts).astype(np.float64))
    return np.asarray(copied[owner] & (sizes > 1))


def _copied(owner: Integers, sizes: Integers | Floats, classes: Floats, part: float = 1.0) -> Bools:
    """Whether copies of a class are one unit, from the class and size of every cell.

    `classes` are the rows of each, and `part` is the part of all kinds that the cells are.
    """
    distinct = np.bincount(owner, minlength=len(classes)) / part
    largest = np.zeros(len(classes))
    np.maximum.at(largest, owner, sizes)
    few = (distinct < LEAST_DISTINCT) | (largest > MOST_OF_CLASS * classes)
    return np.asarray(~few & (largest > 1))


@dataclass(frozen=True)
class Repeats:
    """How often the units of a class are there; they are one where copies are."""

    times: float = 1.0  # sum m^2 / sum m over the distinct ones, each there m times
    distinct: float = 1.0  # part of the units that are distinct


class CopyCounter:
    """Counts copies in a stream, exactly up to some distinct rows and from a part of them beyond.

    The part is chosen by a key that all copies of a row share: all of them are in it, or none.
    """

    def __init__(self, most: int = 1 << 18) -> None:
        self.most = most
        self.halvings = 0
        self.by_class = True  # False where older states were counted without
        # A key, a hash and the class of each kind in each class, and how often it is there.
        self._kept = np.zeros((3, 0), dtype=np.uint64)
        self._counts = np.zeros(0, dtype=np.int64)
        self._new: list[tuple[NDArray[np.uint64], Integers]] = []

    def add(self, keys: Hashes, hashes: Callable[[Integers], Hashes], classes: Integers) -> None:
        """Add units by their keys; `hashes` gives those of some of them, by position."""
        chosen = np.flatnonzero(self._chosen(keys))
        kinds = np.stack([keys[chosen], hashes(chosen), classes[chosen].astype(np.uint64)])
        self._take(kinds, np.ones(len(chosen), dtype=np.int64))

    def merge(self, other: CopyCounter, classes: Sequence[int] | None = None) -> None:
        """Add what another has counted, whose classes have these numbers here; None: the same."""
        other._settle()
        self.halvings = max(self.halvings, other.halvings)
        self.by_class = self.by_class and other.by_class
        kinds = other._kept.copy()
        if other.by_class and classes is not None:
            kinds[2] = np.asarray(classes, dtype=np.uint64)[kinds[2].astype(np.int64)]
        self._take(kinds, other._counts)
        self._settle()

    def array(self) -> Hashes:
        """All that must be kept: (4, n) keys, hashes, counts and classes."""
        self._settle()
        parts = [self._kept[:2], self._counts.astype(np.uint64)[None], self._kept[2:]]
        return np.vstack(parts if self.by_class else parts[:2])

    @classmethod
    def restored(cls, array: Hashes, halvings: int, most: int = 1 << 18) -> CopyCounter:
        """The counter that an array was taken from; older ones lack the classes."""
        counter = cls(most)
        counter.halvings = halvings
        counter.by_class = len(array) == 4
        classes = array[3] if counter.by_class else np.zeros(array.shape[1], dtype=np.uint64)
        counter._kept, counter._counts = np.stack([*array[:2], classes]), array[2].astype(np.int64)
        return counter

    @property
    def extra(self) -> int:
        """Units beyond the first of each kind, estimated where only a part was kept."""
        self._settle()
        hashes = np.sort(self._kept[1])
        again = np.count_nonzero(hashes[1:] == hashes[:-1])  # a kind in several classes
        return int(self._counts.sum() - len(hashes) + again) << self.halvings

    def repeats(self, units: Sequence[int]) -> list[Repeats]:
        """Of each class, of so many units, how often its units are there.

        Where only a part was kept and little of it is of a class, all classes together say it.
        """
        self._settle()
        owner, sizes = self._kept[2].astype(np.int64), self._counts
        counts = np.asarray(units, dtype=np.float64)
        copied = _copied(owner, sizes, counts, 0.5**self.halvings)
        weights = np.array([np.ones(len(sizes)), sizes, sizes**2], dtype=np.float64)
        sums = np.stack([np.bincount(owner, row, len(counts)) for row in weights], axis=1)
        if self.halvings:
            sums[sums[:, 0] < _ENOUGH_KINDS] = sums[copied].sum(axis=0)
        return [
            Repeats(squares / total, kinds / total) if one and total else Repeats()
            for one, (kinds, total, squares) in zip(copied, sums.tolist(), strict=True)
        ]

    def between(self, classes: Integers, groups: Integers) -> Copies | None:
        """Copies in several groups, where units were added by places of these classes and groups.

        Its units are those of each place, linked by what was kept.
        """
        self._settle()
        place = self._kept[2].astype(np.int64)
        found = find_copies(self._kept[1], classes[place], groups[place], self._counts)
        if found is None or found.units is None:
            return found if found is None else Copies(found.extra << self.halvings, None)
        owners = len(groups) + groups  # of a place of which nothing was kept: its own group
        owners[place] = found.units
        return Copies(found.extra << self.halvings, owners)

    def _chosen(self, keys: Hashes) -> Bools:
        return np.asarray(keys & np.uint64((1 << self.halvings) - 1) == 0)

    def _take(self, kinds: NDArray[np.uint64], counts: Integers) -> None:
        self._new.append((kinds, counts))
        if sum(len(counts) for _, counts in self._new) > self.most:
            self._settle()

    def _settle(self) -> None:
        if self._new:
            kinds = np.concatenate([self._kept, *(kinds for kinds, _ in self._new)], axis=1)
            counts = np.concatenate([self._counts, *(counts for _, counts in self._new)])
            self._new = []
            cells = kinds[1] + kinds[2] * _ODD
            order = np.argsort(cells)
            cells = cells[order]
            starts = np.flatnonzero(np.r_[True, cells[1:] != cells[:-1]][: len(cells)])
            self._kept = kinds[:, order[starts]]
            self._counts = np.add.reduceat(counts[order], starts) if len(starts) else counts
        while True:
            chosen = self._chosen(self._kept[0])
            if not chosen.all():
                self._kept, self._counts = self._kept[:, chosen], self._counts[chosen]
            if len(self._counts) <= self.most:
                return
            self.halvings += 1
