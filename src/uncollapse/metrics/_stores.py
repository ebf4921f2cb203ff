"""Where a stream's moments are kept until it ends: one store for each kind of unit.

Every store adds features of instances (with the names of their groups, where they have some) class
by class, absorbs another of its kind, gives the moments of its classes, and is a set of plain
arrays for saving. Classes are numbered by their first appearance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from uncollapse.errors import InputError
from uncollapse.metrics.features import (
    COUNT,
    COUNT_SQUARE,
    EXTRA,
    SQUARE,
    VIEW_MEAN_SQUARE,
    Floats,
    Integers,
    close_groups,
)
from uncollapse.metrics.moments import ClassMoments
from uncollapse.samples import Codes


class ScatterStore:
    """Totals and centred second moments per class: exact leave-one-out intervals.

    A class of fewer units than features is kept as its units, which are the smaller of the two.
    """

    def __init__(self) -> None:
        self.classes: list[ClassMoments] = []

    def add(self, number: int, features: Floats, groups: list[Any] | None) -> None:
        self._merge(number, ClassMoments.of_units(features, 0))

    def _merge(self, number: int, part: ClassMoments) -> None:
        zeros = np.zeros_like(part.totals)
        while len(self.classes) <= number:  # a label may have no rows that can be used
            self.classes.append(ClassMoments(0, zeros, 0, rows=np.zeros((0, len(zeros)))))
        mine = self.classes[number]
        self.classes[number] = mine.merged(part) if mine.units else part

    def absorb(self, other: ScatterStore, numbers: list[int]) -> None:
        for number, part in zip(numbers, other.classes, strict=False):
            if part.units:
                self._merge(number, part)

    def moments(self, number: int) -> ClassMoments:
        return self.classes[number]

    def arrays(self) -> dict[str, NDArray[Any]]:
        width = len(self.classes[0].totals) if self.classes else 0
        scattered = [c for c, part in enumerate(self.classes) if part.scatter is not None]
        kept = [part.rows for part in self.classes if part.rows is not None]
        return {
            "units": np.array([part.units for part in self.classes]),
            "totals": np.array([part.totals for part in self.classes]),
            "scattered": np.array(scattered, dtype=np.int64),
            "scatter": np.array([self.classes[c].scatter for c in scattered]).reshape(
                -1, width, width
            ),
            "kept": np.concatenate([np.zeros((0, width)), *kept]),
        }

    def restore(self, arrays: dict[str, NDArray[Any]], groups: list[Any]) -> None:
        units, totals = arrays["units"], arrays["totals"]
        scattered = arrays.get("scattered", np.arange(len(units)))  # all of them, in older files
        scatter = dict(zip(scattered.tolist(), arrays["scatter"], strict=True))
        first = 0
        for c, count in enumerate(units.tolist()):
            if c in scatter:
                part = ClassMoments(count, totals[c], 0, scatter=scatter[c])
            else:
                part = ClassMoments(count, totals[c], 0, rows=arrays["kept"][first : first + count])
                first += count
            self.classes.append(part)


class GroupStore:
    """Totals per (class, group): a group may be spread over a stream and over classes."""

    def __init__(self, dimension: int) -> None:
        self.position: dict[tuple[int, Any], int] = {}
        self.totals: Floats = np.zeros((0, dimension + EXTRA))

    def _add(self, keys: list[tuple[int, Any]], totals: Floats) -> None:
        rows = [self.position.setdefault(key, len(self.position)) for key in keys]
        if len(self.position) > len(self.totals):
            room = max(64, 2 * len(self.position)) - len(self.totals)
            self.totals = np.pad(self.totals, ((0, room), (0, 0)))
        self.totals[rows] += totals

    def add(self, number: int, features: Floats, groups: list[Any] | None) -> None:
        assert groups is not None  # the accumulator chose this store because groups came
        place = {name: k for k, name in enumerate(dict.fromkeys(groups))}
        summed = np.zeros((len(place), features.shape[1]))
        np.add.at(summed, np.array([place[name] for name in groups]), features)
        self._add([(number, name) for name in place], summed)

    def absorb(self, other: GroupStore, numbers: list[int]) -> None:
        keys = [(numbers[c], name) for c, name in other.position]
        self._add(keys, other.totals[: len(keys)])

    def places(self, numbers: Integers, groups: Codes, rows: Integers) -> Integers:
        """Where the totals of the classes and groups of some rows are, or will be."""
        pairs = numbers * len(groups.names) + groups.codes[rows]
        present, inverse = np.unique(pairs, return_inverse=True)
        keys = (divmod(pair, len(groups.names)) for pair in present.tolist())
        places = [
            self.position.setdefault((number, groups.names[code]), len(self.position))
            for number, code in keys
        ]
        return np.array(places, dtype=np.int64)[inverse]

    def codes(self) -> tuple[Integers, Integers]:
        """Class and group of each place."""
        names: dict[Any, int] = {}
        groups = [names.setdefault(name, len(names)) for _, name in self.position]
        classes = [number for number, _ in self.position]
        return np.array(classes, dtype=np.int64), np.array(groups, dtype=np.int64)

    def moments(self, number: int) -> ClassMoments:
        """The class's groups as units, in the order of their names' codes."""
        return self.moments_of(number, *self.codes())

    def moments_of(self, number: int, classes: Integers, owners: Integers) -> ClassMoments:
        """The class's units, of places of these classes and owners."""
        mine = np.flatnonzero(classes == number)
        names, first, inverse = np.unique(owners[mine], return_index=True, return_inverse=True)
        order = np.argsort(first)  # in the order of their appearance
        rows = np.zeros((len(names), self.totals.shape[1]))
        np.add.at(rows, np.argsort(order)[inverse], self.totals[mine])
        return ClassMoments.of_units(close_groups(rows), 0, names[order])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Totals with the class of each; names are JSON text in the header."""
        return {
            "totals": self.totals[: len(self.position)],
            "group_class": np.array([number for number, _ in self.position], dtype=np.int64),
        }

    def restore(self, arrays: dict[str, NDArray[Any]], groups: list[Any]) -> None:
        keys = zip(arrays["group_class"].tolist(), groups, strict=True)
        self.position = {key: row for row, key in enumerate(keys)}
        if len(self.position) < len(arrays["totals"]):
            raise ValueError("a group that is twice in a class")
        self.totals = np.array(arrays["totals"], dtype=np.float64)


def mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
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

    def __init__(self, blocks: int, dimension: int) -> None:
        if blocks < 8:
            raise InputError("8 blocks or more", f"{blocks}", "16 is usual")
        self.blocks = blocks
        self.seen = 0
        self.units: Integers = np.zeros(0, dtype=np.int64)
        # Where the sums of each class's blocks are; -1 for a block without units, which has none:
        # of many small classes most blocks stay empty.
        self.place: Integers = np.zeros(0, dtype=np.int64)
        self.used = 0
        # (places, d) and (places, 6): apart, because rows add to the first only and to all of it,
        # which is twice as fast where it lies in one piece.
        self.sums: Floats = np.zeros((0, dimension))
        self.extras: Floats = np.zeros((0, EXTRA))
        self._wide: Floats = np.zeros((0, dimension))

    def _grow(self, classes: int) -> None:
        if classes > len(self.units):
            room = max(classes, 2 * len(self.units)) - len(self.units)
            self.units = np.pad(self.units, (0, room))
            self.place = np.pad(self.place, (0, room * self.blocks), constant_values=-1)

    def _places(self, blocks: Integers) -> Integers:
        """Places of the sums of these blocks, which get one where they have none."""
        fresh = np.unique(blocks[self.place[blocks] < 0])
        self.place[fresh] = self.used + np.arange(len(fresh))
        self.used += len(fresh)
        if self.used > len(self.sums):
            room = ((0, max(self.used, len(self.sums) * 5 // 4) - len(self.sums)), (0, 0))
            self.sums, self.extras = np.pad(self.sums, room), np.pad(self.extras, room)
        return self.place[blocks]

    def _next(self, count: int) -> Integers:
        numbers = np.arange(self.seen, self.seen + count, dtype=np.uint64)
        self.seen += count
        return (mixed(numbers) % np.uint64(self.blocks)).astype(np.int64)

    def add(self, number: int, features: Floats, groups: list[Any] | None) -> None:
        d = features.shape[1] - EXTRA
        self._grow(number + 1)
        self.units[number] += len(features)
        places = self._places(number * self.blocks + self._next(len(features)))
        np.add.at(self.sums, places, features[:, :d])
        np.add.at(self.extras, places, features[:, d:])

    def widened(self, rows: NDArray[Any]) -> Floats:
        """The rows in float64, in memory that is used again for the next ones."""
        if len(self._wide) < len(rows):
            self._wide = np.empty(rows.shape)
        wide = self._wide[: len(rows)]
        np.copyto(wide, rows)
        return wide

    def add_rows(self, rows: Floats, norms: Floats, classes: Integers) -> None:
        """Add rows that are units by themselves, of many classes at once.

        Equal to `add` of `instance_features(rows / norms)`; the division happens in the sparse
        product, so that the rows are read once.
        """
        count = len(rows)
        self._grow(int(classes.max()) + 1)
        places = self._places(classes * self.blocks + self._next(count))
        touched: Any = slice(0, self.used)
        size = self.used
        if size > count:  # else nearly all of them are, and one piece is faster
            touched, places = np.unique(places, return_inverse=True)
            size = len(touched)
        scale = sparse.csc_matrix((1 / norms, places, np.arange(count + 1)), shape=(size, count))
        self.sums[touched] += np.asarray(scale @ rows)
        counts = np.bincount(places, minlength=size)[:, None]
        extras = self.extras[touched]
        extras[:, [SQUARE, COUNT, COUNT_SQUARE, VIEW_MEAN_SQUARE]] += counts
        self.extras[touched] = extras
        self.units += np.bincount(classes, minlength=len(self.units))

    def absorb(self, other: BlockStore, numbers: list[int]) -> None:
        self._grow(max(numbers, default=-1) + 1)
        for c, number in enumerate(numbers[: len(other.units)]):
            theirs = other.place[other._blocks(c)]
            mine = self._places(number * self.blocks + np.flatnonzero(theirs >= 0))
            theirs = theirs[theirs >= 0]
            self.units[number] += other.units[c]
            self.sums[mine] += other.sums[theirs]
            self.extras[mine] += other.extras[theirs]
        self.seen += other.seen

    def _blocks(self, number: int) -> slice:
        return slice(number * self.blocks, (number + 1) * self.blocks)

    def moments(self, number: int) -> ClassMoments:
        places = self.place[self._blocks(number)]
        places = places[places >= 0]
        rows = np.hstack([self.sums[places], self.extras[places]])
        units = int(self.units[number])
        return ClassMoments(units, rows.sum(axis=0), 0, rows=rows, blocks=self.blocks)

    def arrays(self) -> dict[str, NDArray[Any]]:
        sums = {"sums": self.sums[: self.used], "extras": self.extras[: self.used]}
        return sums | {name: np.asarray(getattr(self, name)) for name in ("units", "seen", "place")}

    def restore(self, arrays: dict[str, NDArray[Any]], groups: list[Any]) -> None:
        self.seen = int(arrays["seen"])
        self.units = np.array(arrays["units"], dtype=np.int64)
        self.sums = np.array(arrays["sums"], dtype=np.float64)
        self.extras = np.array(arrays["extras"], dtype=np.float64)
        self.used = len(self.sums)
        # Older files have a place for every block.
        self.place = np.array(arrays.get("place", np.arange(self.used)), dtype=np.int64)


Store = ScatterStore | GroupStore | BlockStore
