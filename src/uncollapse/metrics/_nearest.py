"""The nearest rows of other units, exactly: found in single precision, proved in double."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from uncollapse.metrics.features import Floats, Integers
from uncollapse.progress import Progress, quiet

Singles = NDArray[np.float32]
_BLOCK = 1024
_PROVED = 256  # rows whose candidates are held in double precision at once
_MORE = 4  # candidates beyond those wanted, so that rounding of the others can be ruled out


def nearest_rows(
    rows: Floats, units: Integers, k: int, progress: Progress = quiet
) -> tuple[Integers, Floats]:
    """Positions (n, k) of the nearest rows of other units, best first, and squared distances.

    -1 and infinity where there are none. Every pair of rows is compared once, in float32 about the
    mean of one's block, and k + 4 candidates of each row in float64. These hold the k nearest where
    the k-th is nearer than what is left out can be; rows where rounding leaves that open (points
    that nearly coincide, among far others) are compared with all in float64. It is quick where rows
    that are near each other stand together.
    """
    found = _Candidates(len(rows), min(k + _MORE, len(rows)))
    blocks = [slice(start, start + _BLOCK) for start in range(0, len(rows), _BLOCK)]
    alone, widest = len(np.unique(units)) == len(units), 0.0
    for one, others in _pairs(blocks):
        mean = rows[one].mean(axis=0)
        left = _factors(rows[one] - mean)
        widest = max(widest, float(left[:, -1].max()))
        for other in others:
            far = left @ _swapped(left if one == other else _factors(rows[other] - mean)).T
            if not alone:
                far[units[one, None] == units[other]] = np.inf
            elif one == other:
                np.fill_diagonal(far, np.inf)
            found.offer(one.start, other.start, far)
        progress(min(one.stop, len(rows)), len(rows))
    positions, squares, is_proved = found.proved(rows, k, widest)
    for open_rows in _pieces(np.flatnonzero(~is_proved), len(rows)):
        positions[open_rows], squares[open_rows] = among_all(rows, units, k, open_rows)
    return positions, squares


def among_all(rows: Floats, units: Integers, k: int, asked: Integers) -> tuple[Integers, Floats]:
    """As `nearest_rows` of the rows `asked` alone, in double precision."""
    squares = np.einsum("ij,ij->i", rows, rows)
    far = squares[asked, None] + squares - 2 * (rows[asked] @ rows.T)
    far[units[asked, None] == units] = np.inf
    best = np.argpartition(far, min(k, len(rows)) - 1, axis=1)[:, :k]
    is_none = np.isinf(np.take_along_axis(far, best, 1))
    return _ordered(rows, asked, np.where(is_none, -1, best), k)


class _Candidates:
    """(n, m) the nearest of what was offered so far, by distances in single precision."""

    def __init__(self, rows: int, most: int) -> None:
        self.most = most
        self.far = np.full((rows, most), np.inf, dtype=np.float32)
        self.positions = np.full((rows, most), -1, dtype=np.int64)
        self.last = np.full(rows, np.inf, dtype=np.float32)

    def offer(self, first: int, second: int, far: Singles) -> None:
        """Distances of rows from `first` on to those from `second` on, each to the other."""
        rows, columns = far.shape
        if first == second:
            best = np.argpartition(far, min(self.most, columns) - 1, axis=1)[:, : self.most]
            who = np.repeat(np.arange(rows), best.shape[1])
            self._take(first + who, first + best.ravel(), far[who, best.ravel()])
            return
        who, what = np.divmod(np.flatnonzero(far < self.last[first : first + rows, None]), columns)
        self._take(first + who, second + what, far[who, what])
        who, what = np.divmod(np.flatnonzero(far < self.last[second : second + columns]), columns)
        order = np.argsort(what, kind="stable")
        who, what = who[order], what[order]
        self._take(second + what, first + who, far[who, what])

    def _take(self, to: Integers, positions: Integers, far: Singles) -> None:
        """Candidates at `positions` of the rows `to`, which ascend."""
        if not len(to):
            return
        begins = np.flatnonzero(np.diff(to, prepend=-1))
        counts, most = np.diff(begins, append=len(to)), self.most
        of, place = np.repeat(np.arange(len(begins)), counts), np.arange(len(to))
        place += most - np.repeat(begins, counts)
        rows = to[begins]
        values = np.full((len(rows), most + counts.max()), np.inf, dtype=np.float32)
        found = np.full(values.shape, -1, dtype=np.int64)
        values[:, :most], found[:, :most] = self.far[rows], self.positions[rows]
        values[of, place], found[of, place] = far, positions
        best = np.argpartition(values, most - 1, axis=1)[:, :most]
        self.far[rows] = np.take_along_axis(values, best, 1)
        self.positions[rows] = np.take_along_axis(found, best, 1)
        self.last[rows] = self.far[rows].max(axis=1)

    def proved(
        self, rows: Floats, k: int, widest: float
    ) -> tuple[Integers, Floats, NDArray[np.bool_]]:
        """The k nearest by double precision, and whether no other row can be among them.

        Of a pair within t of each other, of which one is within r of the mean, both lengths add up
        to sqrt(t) + 2 r at most, and rounding changes its squared distance by that squared times
        some u sqrt(d).
        """
        positions, squares = np.empty((len(rows), k), dtype=np.int64), np.empty((len(rows), k))
        for part in _pieces(np.arange(len(rows)), 1):
            positions[part], squares[part] = _ordered(rows, part, self.positions[part], k)
        unit = np.finfo(np.float32).eps * (np.sqrt(rows.shape[1]) + 4)
        reach = np.sqrt(squares[:, -1], where=np.isfinite(squares[:, -1]), out=np.zeros(len(rows)))
        rounding = unit * (reach + 2 * np.sqrt(widest)) ** 2
        # Fewer were offered than there is room for, or none can be nearer than k copies.
        is_sure = np.isinf(self.last) | (squares[:, -1] == 0)
        return positions, squares, is_sure | (squares[:, -1] + rounding < self.last)


def _pairs(blocks: list[slice]) -> Iterator[tuple[slice, list[slice]]]:
    """Each with itself, so that all know how far their candidates are, then with those after it."""
    yield from ((one, [one]) for one in blocks)
    yield from ((one, blocks[number:]) for number, one in enumerate(blocks[:-1], start=1))


def _factors(rows: Floats) -> Singles:
    """(n, d + 2) [-2 x, 1, |x|^2], whose products with [x, |x|^2, 1] are squared distances."""
    factors = np.empty((len(rows), rows.shape[1] + 2), dtype=np.float32)
    factors[:, :-2] = rows
    factors[:, -1] = np.einsum("ij,ij->i", factors[:, :-2], factors[:, :-2])
    factors[:, :-2] *= -2
    factors[:, -2] = 1
    return factors


def _swapped(factors: Singles) -> Singles:
    """[x, |x|^2, 1] of the other side."""
    swapped = np.empty_like(factors)
    np.multiply(factors[:, :-2], -0.5, out=swapped[:, :-2])
    swapped[:, -2:] = factors[:, :-3:-1]
    return swapped


def _pieces(asked: Integers, cost: int) -> Iterator[Integers]:
    """Some at a time: `_PROVED`, or fewer where each takes the memory of `cost` numbers."""
    step = max(1, min(_PROVED, (1 << 24) // cost))
    for start in range(0, len(asked), step):
        yield asked[start : start + step]


def _ordered(
    rows: Floats, asked: Integers, candidates: Integers, k: int
) -> tuple[Integers, Floats]:
    """The k nearest of some candidates, by differences."""
    apart = rows[candidates]
    apart -= rows[asked, None]
    squares = np.where(candidates < 0, np.inf, np.einsum("ijk,ijk->ij", apart, apart))
    best = np.argsort(squares, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(candidates, best, 1), np.take_along_axis(squares, best, 1)
