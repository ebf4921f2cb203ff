"""Damages of labels and rows, as pure functions of a seed.

Of one seed a smaller dose does less of the same: the rows that a lower imbalance drops, and those
that a lower noise mislabels, are among those of a higher one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncollapse.errors import InputError

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

# First number of each generator's key after the seed.
_ROWS, _NOISE = range(2)
_BLOCK = 512  # rows whose distances are held at once


def imbalanced_counts(
    counts: ArrayLike, ratio: float, form: str = "exponential", rare: Sequence[int] = ()
) -> Integers:
    """Rows of each class after an imbalance of a ratio, (m,), none more than there are.

    With N the largest class and r the ratio, "exponential" leaves the class at place k of m, the
    large ones first, round(N r^(-k/(m - 1))) rows; "step" leaves round(N / r) of half of the
    classes, the smallest. With `rare` those classes are the last in this order, or the half.

    Cao et al. 2019, arXiv:1906.07413; Buda et al. 2018, arXiv:1710.05381.

    Examples:
        >>> imbalanced_counts([100, 100, 100], 25).tolist()
        [100, 20, 4]
        >>> imbalanced_counts([100, 100, 100, 100], 10, "step").tolist()
        [100, 100, 10, 10]
        >>> imbalanced_counts([100, 100, 100], 100, rare=[0]).tolist()
        [1, 100, 10]
    """
    have = np.asarray(counts, dtype=np.int64)
    m, last = len(have), {*rare}
    # By size, the large ones first, and of equal ones as they come; those named come last.
    order = sorted(range(m), key=lambda c: (c in last, -int(have[c]), c))
    largest = int(have[order[0]])
    wanted = np.empty(m)
    if form == "step":
        few = order[-(len(last) or max(1, m // 2)) :]
        wanted[:] = have
        wanted[few] = largest / ratio
    else:
        wanted[order] = largest * ratio ** (-np.arange(m) / (m - 1))
    return np.minimum(have, np.rint(wanted)).astype(np.int64)


def kept_places(labels: Integers, counts: ArrayLike, seed: int) -> Integers:
    """Places of so many rows of each class, ascending; rows without label (-1) all stay."""
    generator = np.random.default_rng((seed, _ROWS))
    kept = [np.flatnonzero(labels < 0)]
    for code, count in enumerate(np.asarray(counts).tolist()):
        kept.append(generator.permutation(np.flatnonzero(labels == code))[:count])
    return np.sort(np.concatenate(kept)).astype(np.int64)


def most_similar(means: Floats) -> Integers:
    """(m,) the class whose mean is nearest to each class's, by means (m, D).

    Examples:
        >>> most_similar(np.array([[0.0], [1.0], [5.0]])).tolist()
        [1, 0, 1]
    """
    distances = np.linalg.norm(means[:, None] - means[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return np.asarray(np.argmin(distances, axis=1), dtype=np.int64)


def transitions(m: int, rate: float, similar: Integers | None = None) -> Floats:
    """(m, m) chances that a row of a true class (row) carries a label, at a rate of wrong ones.

    Wrong labels are even over the other classes, or all of the one in `similar`.

    Examples:
        >>> transitions(3, 0.2).tolist()
        [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]
    """
    chances = np.full((m, m), rate / (m - 1))
    if similar is not None:
        chances[:] = 0.0
        chances[np.arange(m), similar] = rate
    np.fill_diagonal(chances, 1 - rate)
    return chances


def check_rate(rate: float, m: int) -> None:
    """Refuse a rate of even noise at which labels say nothing any more, or the opposite."""
    if rate > 1 - 1 / m:
        raise InputError(
            f"label noise of at most 1 - 1/m = {1 - 1 / m:.3g} with {m} classes",
            f"{rate:g}",
            "give a smaller share: beyond it another class is likelier than the right one",
        )


def mislabelled(labels: Integers, chances: Floats, seed: int) -> Integers:
    """Labels (N,) with wrong ones by a matrix of chances (m, m); -1 stays.

    Of each class exactly round(n (1 - Q_cc)) rows are wrong, divided over the other classes as
    Q_c is, rounded by largest remainders.

    Examples:
        >>> codes = np.repeat([0, 1], 10)
        >>> np.bincount(mislabelled(codes, transitions(2, 0.2), seed=0)[:10]).tolist()
        [8, 2]
    """
    generator = np.random.default_rng((seed, _NOISE))
    given = labels.copy()
    for code, chance in enumerate(chances):
        rows = generator.permutation(np.flatnonzero(labels == code))
        numbers = _apportioned(chance / chance.sum() * len(rows), code)
        given[rows] = np.repeat(_order(code, len(chance)), numbers[_order(code, len(chance))])
    return given


def _order(code: int, m: int) -> Integers:
    """Wrong classes first, so that the first rows of a permutation are wrong."""
    return np.array([*(c for c in range(m) if c != code), code], dtype=np.int64)


def _apportioned(shares: Floats, code: int) -> Integers:
    """Whole numbers of the same sum; the wrong ones are round(sum of their shares)."""
    total = round(float(shares.sum()))
    wrong = shares.copy()
    wrong[code] = 0.0
    count = round(float(wrong.sum()))
    numbers = np.floor(wrong).astype(np.int64)
    rest = np.argsort(-(wrong - numbers), kind="stable")
    numbers[rest[: count - int(numbers.sum())]] += 1
    numbers[code] = total - count
    return numbers


def near_duplicates(inputs: Floats, labels: Integers, rate: float, seed: int) -> Integers:
    """Labels (N,) in which one of each pair of near-duplicates of a class has another class.

    Rows of inputs (N, D) that lie nearest to another of their class come first, until round(N rate)
    are wrong; of two that are each other's nearest one stays right. The wrong class is even over
    the others.

    Examples:
        >>> rows, codes = np.array([[0.0], [0.1], [5.0], [9.0]]), np.array([0, 0, 1, 1])
        >>> near_duplicates(rows, codes, 0.25, seed=0).tolist()
        [1, 0, 1, 1]
    """
    m, given = int(labels.max()) + 1, labels.copy()
    distance = np.full(len(labels), np.inf)
    nearest = np.full(len(labels), -1)
    for code in range(m):
        rows = np.flatnonzero(labels == code)
        if len(rows) > 1:
            distance[rows], nearest[rows] = _nearest(inputs[rows], rows)
    generator = np.random.default_rng((seed, _NOISE))
    known = np.isfinite(distance)
    wanted, partners = round(rate * int((labels >= 0).sum())), set[int]()
    for row in np.argsort(distance, kind="stable")[: known.sum()].tolist():
        if wanted == 0:
            break
        if row in partners:
            continue
        partners.add(int(nearest[row]))
        others = [c for c in range(m) if c != labels[row]]
        given[row] = others[int(generator.integers(len(others)))]
        wanted -= 1
    return given


def _nearest(inputs: Floats, rows: Integers) -> tuple[Floats, Integers]:
    """Distance to the nearest other row, and which it is."""
    from scipy.spatial.distance import cdist

    distances, places = [], []
    for start in range(0, len(rows), _BLOCK):
        block = cdist(inputs[start : start + _BLOCK], inputs)
        block[np.arange(len(block)), start + np.arange(len(block))] = np.inf
        places.append(rows[np.argmin(block, axis=1)])
        distances.append(block.min(axis=1))
    return np.concatenate(distances), np.concatenate(places)


def widths(before: Sequence[int], factor: float) -> tuple[int, ...]:
    """Widths times a factor, at least 1.

    Examples:
        >>> widths((32, 64), 0.5), widths((1,), 0.1)
        ((16, 32), (1,))
    """
    return tuple(max(1, round(width * factor)) for width in before)


def layers(before: Sequence[int], depth: int) -> tuple[int, ...]:
    """The first widths, or with the last one again, so that there are so many.

    Examples:
        >>> layers((32, 64), 1), layers((32, 64), 4)
        ((32,), (32, 64, 64, 64))
    """
    return (*before[:depth], *[before[-1]] * (depth - len(before)))
