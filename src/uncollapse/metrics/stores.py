"""Where a stream's moments are kept until it ends: one store for each kind of unit.

Every store adds class by class, merges with another of its kind, gives the moments of its classes,
and is a set of plain arrays for saving. Classes are numbered by their first appearance.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from uncollapse.errors import InputError
from uncollapse.metrics.moments import (
    COUNT,
    COUNT_SQUARE,
    EXTRA,
    SQUARE,
    VIEW_MEAN_SQUARE,
    ClassMoments,
    Floats,
    Integers,
    close_groups,
)


class ScatterStore:
    """Totals and centred second moments per class: exact leave-one-out intervals."""

    def __init__(self) -> None:
        self.classes: dict[int, ClassMoments] = {}

    def add(self, number: int, features: Floats, groups: list[Any] | None) -> None:
        """Add the features of whole units."""
        self._merge(number, ClassMoments.scattered(features))

    def _merge(self, number: int, part: ClassMoments) -> None:
        mine = self.classes.get(number)
        self.classes[number] = part if mine is None else mine.merged(part)

    def absorb(self, other: ScatterStore, numbers: list[int]) -> None:
        """Merge class by class."""
        for c, part in other.classes.items():
            self._merge(numbers[c], part)

    def moments(self, number: int, samples: int) -> ClassMoments:
        """The class as it stands."""
        return replace(self.classes[number], samples=samples)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Stacked over classes; a number without rows has zeros."""
        width = len(next(iter(self.classes.values())).totals)
        none = ClassMoments(0, np.zeros(width), 0, scatter=np.zeros((width, width)))
        kept = [self.classes.get(c, none) for c in range(max(self.classes) + 1)]
        scatter = [moments.scatter for moments in kept if moments.scatter is not None]
        return {
            "units": np.array([moments.units for moments in kept], dtype=np.int64),
            "totals": np.stack([moments.totals for moments in kept]),
            "scatter": np.stack(scatter),
        }

    @classmethod
    def of_arrays(cls, arrays: dict[str, NDArray[Any]]) -> ScatterStore:
        """The inverse of `arrays`."""
        store = cls()
        parts = zip(arrays["units"].tolist(), arrays["totals"], arrays["scatter"], strict=True)
        for number, (units, totals, scatter) in enumerate(parts):
            if units:
                store.classes[number] = ClassMoments(units, totals, 0, scatter=scatter)
        return store


class GroupStore:
    """Totals per (class, group): a group may be spread over a stream and over classes."""

    def __init__(self) -> None:
        self.position: dict[tuple[int, Any], int] = {}
        self.totals: Floats = np.zeros((0, 0))

    def _rows(self, keys: list[tuple[int, Any]], width: int) -> Integers:
        rows = np.array([self.position.setdefault(k, len(self.position)) for k in keys])
        needed = len(self.position)
        if needed > len(self.totals):
            grown = np.zeros((max(64, 2 * needed), width))
            grown[: len(self.totals)] = self.totals if len(self.totals) else 0
            self.totals = grown
        return rows

    def add(self, number: int, features: Floats, groups: list[Any] | None) -> None:
        """Add the features of instances to their groups."""
        assert groups is not None  # the accumulator chose this store because groups came
        place = {name: k for k, name in enumerate(dict.fromkeys(groups))}
        summed = np.zeros((len(place), features.shape[1]))
        np.add.at(summed, np.array([place[name] for name in groups]), features)
        rows = self._rows([(number, name) for name in place], features.shape[1])
        self.totals[rows] += summed

    def absorb(self, other: GroupStore, numbers: list[int]) -> None:
        """Add group by group."""
        keys = [(numbers[c], name) for c, name in other.position]
        rows = self._rows(keys, other.totals.shape[1])
        self.totals[rows] += other.totals[list(other.position.values())]

    def moments(self, number: int, samples: int) -> ClassMoments:
        """The class's groups as units, in the order of their names' codes."""
        codes: dict[Any, int] = {}
        for _, name in self.position:
            codes.setdefault(name, len(codes))
        mine = {codes[name]: row for (c, name), row in self.position.items() if c == number}
        rows = close_groups(self.totals[list(mine.values())].copy())
        return ClassMoments.of_units(rows, samples, np.array(list(mine), dtype=np.int64))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Totals with the class of each; names are JSON text in the header."""
        return {
            "totals": self.totals[: len(self.position)],
            "group_class": np.array([number for number, _ in self.position], dtype=np.int64),
        }

    @classmethod
    def of_arrays(cls, arrays: dict[str, NDArray[Any]], names: list[Any]) -> GroupStore:
        """The inverse of `arrays`."""
        store = cls()
        keys = zip(arrays["group_class"].tolist(), names, strict=True)
        store.position = {key: row for row, key in enumerate(keys)}
        store.totals = np.array(arrays["totals"], dtype=np.float64)
        return store


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Integers scrambled (the finaliser of splitmix64): blocks must not follow a file's period."""
    x = numbers * np.uint64(0x9E3779B97F4A7C15)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    return np.asarray(x ^ (x >> np.uint64(31)))


class BlockStore:
    """Totals per class of `blocks` blocks of units: intervals at the cost of the sums alone.

    Unit j of the stream goes to a block scrambled from j, so a second stream with another order has
    other blocks: its estimates are the same, its intervals differ as two samples of them do.
    """

    def __init__(self, blocks: int) -> None:
        if blocks < 8:
            raise InputError("8 blocks or more", f"{blocks}", "16 is usual")
        self.blocks = blocks
        self.seen = 0
        self.units: Integers = np.zeros(0, dtype=np.int64)
        # (classes * blocks, d) and (classes * blocks, 6): apart, because rows add to the first only
        # and to all of it, which is twice as fast where it lies in one piece.
        self.sums: Floats = np.zeros((0, 0))
        self.extras: Floats = np.zeros((0, EXTRA))
        self._wide: Floats = np.zeros((0, 0))

    def _grow(self, classes: int, dimension: int) -> None:
        if classes <= len(self.units):
            return
        room, used = max(classes, 2 * len(self.units)), len(self.sums)
        sums = np.zeros((room * self.blocks, dimension))
        extras = np.zeros((room * self.blocks, EXTRA))
        if used:
            sums[:used], extras[:used] = self.sums, self.extras
        self.units = np.pad(self.units, (0, room - len(self.units)))
        self.sums, self.extras = sums, extras

    def _next(self, count: int) -> Integers:
        numbers = np.arange(self.seen, self.seen + count, dtype=np.uint64)
        self.seen += count
        return (_mixed(numbers) % np.uint64(self.blocks)).astype(np.int64)

    def add(self, number: int, features: Floats, groups: list[Any] | None) -> None:
        """Add the features of whole units."""
        d = features.shape[1] - EXTRA
        self._grow(number + 1, d)
        self.units[number] += len(features)
        blocks = number * self.blocks + self._next(len(features))
        np.add.at(self.sums, blocks, features[:, :d])
        np.add.at(self.extras, blocks, features[:, d:])

    def widened(self, rows: NDArray[Any]) -> Floats:
        """The rows in float64, in memory that is used again for the next ones."""
        if self._wide.shape[1] != rows.shape[1] or len(self._wide) < len(rows):
            self._wide = np.empty(rows.shape)
        wide = self._wide[: len(rows)]
        np.copyto(wide, rows)
        return wide

    def add_rows(self, rows: Floats, norms: Floats, classes: Integers) -> None:
        """Add rows that are units by themselves, of many classes at once.

        Equal to `add` of `instance_features(rows / norms)`; the division happens in the sparse
        product, so that the rows are read once.
        """
        count, d = rows.shape
        self._grow(int(classes.max()) + 1, d)
        blocks = classes * self.blocks + self._next(count)
        size = len(self.sums)
        scale = sparse.csc_matrix((1 / norms, blocks, np.arange(count + 1)), shape=(size, count))
        self.sums += np.asarray(scale @ rows)
        counts = np.bincount(blocks, minlength=size)
        self.extras[:, [SQUARE, COUNT, COUNT_SQUARE, VIEW_MEAN_SQUARE]] += counts[:, None]
        self.units += np.bincount(classes, minlength=len(self.units))

    def absorb(self, other: BlockStore, numbers: list[int]) -> None:
        """Add block by block."""
        if not numbers:
            return
        self._grow(max(numbers) + 1, other.sums.shape[1])
        for c, number in enumerate(numbers):
            mine, theirs = self._blocks(number), other._blocks(c)
            self.units[number] += other.units[c]
            self.sums[mine] += other.sums[theirs]
            self.extras[mine] += other.extras[theirs]
        self.seen += other.seen

    def _blocks(self, number: int) -> slice:
        return slice(number * self.blocks, (number + 1) * self.blocks)

    def moments(self, number: int, samples: int) -> ClassMoments:
        """The class's blocks."""
        mine = self._blocks(number)
        rows = np.hstack([self.sums[mine], self.extras[mine]])
        units = int(self.units[number])
        return ClassMoments(units, rows.sum(axis=0), samples, rows=rows, blocked=True)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Blocks of all classes."""
        return {
            "sums": self.sums,
            "extras": self.extras,
            "units": self.units,
            "seen": np.array(self.seen),
        }

    @classmethod
    def of_arrays(cls, arrays: dict[str, NDArray[Any]], blocks: int) -> BlockStore:
        """The inverse of `arrays`."""
        store = cls(blocks)
        store.seen = int(arrays["seen"])
        store.units = np.array(arrays["units"], dtype=np.int64)
        store.sums = np.array(arrays["sums"], dtype=np.float64)
        store.extras = np.array(arrays["extras"], dtype=np.float64)
        return store


Store = ScatterStore | GroupStore | BlockStore
