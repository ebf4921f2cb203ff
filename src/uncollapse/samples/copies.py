"""Exact copies among rows: found by a hash of their bytes, and linked into independent units.

Two rows alike to the last bit are one draw that was written twice, or two inputs that an encoder
maps to one point. Of the first kind are oversampled classes and duplicates in a data set: every
distinct row occurs a few times. Of the second is collapse: few distinct rows, or one that stands
for a large part of a class. Only the first are one unit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Integers = NDArray[np.int64]
Hashes = NDArray[np.uint64]

# A class has copies, and is not collapsed to a few points, where it has so many distinct rows...
LEAST_DISTINCT = 5
# ... none of which is more than this part of it.
MOST_OF_CLASS = 0.2
# Words that are hashed at once: they stay in the processor's cache.
_CHUNK = 1 << 15
_ODD, _HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)


@dataclass(frozen=True)
class Copies:
    """Which rows are copies of others in other units."""

    extra: int  # rows beyond the first of each kind
    units: Integers | None  # (N,) unit of each row, copies of a class in one; None: as they were

    def take(self, rows: NDArray[Any]) -> Self:
        """Some of the rows."""
        return self if self.units is None else replace(self, units=self.units[rows])


def row_hashes(matrix: NDArray[Any]) -> Hashes:
    """64 bits of each row, a function of its bytes alone."""
    whole = np.ascontiguousarray(matrix).reshape(len(matrix), -1)
    width = whole.shape[1] * whole.dtype.itemsize
    words = -(-width // 8)
    weights = np.random.default_rng(64).integers(1, 1 << 63, words, dtype=np.uint64) * 2 + 1
    hashes = np.empty(len(whole), dtype=np.uint64)
    step = max(1, _CHUNK // words)
    for start in range(0, len(whole), step):
        part = whole[start : start + step].view(np.uint8)
        if width % 8:
            part = np.pad(part, ((0, 0), (0, 8 * words - width)))
        mixed = part.view(np.uint64) * _ODD
        mixed ^= mixed >> _HALF  # Low bits of short numbers are all zero.
        np.matmul(mixed, weights, out=hashes[start : start + step])
    return hashes


def find_copies(hashes: Hashes, labels: Integers, units: Integers | None) -> Copies | None:
    """Copies among rows with these hashes, labels and units (None: each its own); None without.

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
    linked = _may_be_copies(cells, labels)[cells]
    if not linked.any():
        return Copies(extra, None)
    size = len(hashes) if units is None else int(units.max()) + 1
    first = np.full(int(cells.max()) + 1, -1, dtype=np.int64)
    first[cells[linked]] = rows[linked]
    edges = (np.ones(linked.sum()), (first[cells[linked]], rows[linked]))
    graph = sparse.coo_array(edges, shape=(size, size))
    components = sparse.csgraph.connected_components(graph, directed=False)[1]
    return Copies(extra, components[rows].astype(np.int64))


def _may_be_copies(cells: Integers, labels: Integers) -> NDArray[np.bool_]:
    """Of each cell, the rows of one kind in one class, whether its class has copies."""
    sizes = np.bincount(cells)
    owner = np.zeros(len(sizes), dtype=np.int64)
    owner[cells] = labels
    classes = np.bincount(labels)
    distinct = np.bincount(owner, minlength=len(classes))
    largest = np.zeros(len(classes), dtype=np.int64)
    np.maximum.at(largest, owner, sizes)
    copied = (distinct >= LEAST_DISTINCT) & (largest <= MOST_OF_CLASS * classes)
    return np.asarray(copied[owner] & (sizes > 1))


class CopyCounter:
    """Counts copies in a stream, exactly up to some distinct rows and from a part of them beyond.

    The part is chosen by the norm, so that all copies of a row are in it, or none.
    """

    def __init__(self, most: int = 1 << 18) -> None:
        self.most = most
        self.halvings = 0
        self._kept = np.zeros((2, 0), dtype=np.uint64)  # a key of the norm, a hash of the row
        self._counts = np.zeros(0, dtype=np.int64)
        self._new: list[tuple[NDArray[np.uint64], Integers]] = []

    def add(self, matrix: NDArray[Any], norms: NDArray[np.float64]) -> None:
        """Add rows, with their norms."""
        keys = norms.view(np.uint64) * _ODD
        keys ^= keys >> _HALF
        rows = np.flatnonzero(self._chosen(keys))
        hashes = row_hashes(matrix if len(rows) == len(matrix) else matrix[rows])
        self._take(np.stack([keys[rows], hashes]), np.ones(len(rows), dtype=np.int64))

    def merge(self, other: CopyCounter) -> None:
        """Add what another has counted."""
        other._settle()
        self.halvings = max(self.halvings, other.halvings)
        self._take(other._kept, other._counts)
        self._settle()

    def array(self) -> Hashes:
        """All that must be kept: (3, n) keys, hashes and counts."""
        self._settle()
        return np.vstack([self._kept, self._counts.astype(np.uint64)])

    @classmethod
    def restored(cls, array: Hashes, halvings: int) -> CopyCounter:
        """The counter that an array was taken from."""
        counter = cls()
        counter.halvings = halvings
        counter._kept, counter._counts = array[:2], array[2].astype(np.int64)
        return counter

    @property
    def extra(self) -> int:
        """Rows beyond the first of each kind, estimated where only a part was kept."""
        self._settle()
        return int(self._counts.sum() - len(self._counts)) << self.halvings

    def _chosen(self, keys: Hashes) -> NDArray[np.bool_]:
        return np.asarray(keys & np.uint64((1 << self.halvings) - 1) == 0)

    def _take(self, pairs: NDArray[np.uint64], counts: Integers) -> None:
        self._new.append((pairs, counts))
        if sum(len(counts) for _, counts in self._new) > self.most:
            self._settle()

    def _settle(self) -> None:
        pairs = np.concatenate([self._kept, *(pairs for pairs, _ in self._new)], axis=1)
        counts = np.concatenate([self._counts, *(counts for _, counts in self._new)])
        self._new = []
        _, first, kind = np.unique(pairs[1], return_index=True, return_inverse=True)
        self._kept = pairs[:, first]
        self._counts = np.bincount(kind, weights=counts, minlength=len(first)).astype(np.int64)
        while True:
            chosen = self._chosen(self._kept[0])
            self._kept, self._counts = self._kept[:, chosen], self._counts[chosen]
            if len(self._counts) <= self.most:
                return
            self.halvings += 1
