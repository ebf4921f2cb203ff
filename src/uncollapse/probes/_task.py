"""One target of one layer in its three splits, and the accuracy with which it is read.

With q_k the fraction read right in cell k (a class; or a finer label inside a class) and weights
v_k that sum to 1,

    accuracy            v_k = n_k / n
    balanced accuracy   v_k = 1 / K
    chance-corrected    (balanced accuracy - 1/K) / (1 - 1/K): 0 is chance, 1 is perfect

The interval is Wilson's at the effective number of rows p (1 - p)/variance, where the variance sums
over independent units (groups, instances or rows): what else the model does on these test rows,
and other seeds, are not in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.records import ChosenValues, Interval, ProbeReading, Score
from uncollapse.statistics import wilson_interval

Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

INTERVAL = "Wilson, effective number of independent test units; spread of seeds is not in it"


@dataclass(frozen=True)
class SplitRows:
    """Rows of one split that have the target."""

    features: NDArray[Any]  # (n, d)
    labels: Integers  # 0..classes-1, or above where training rows have no such label
    units: Integers  # the independent unit of each


@dataclass(frozen=True)
class Task:
    """What is read (a target, or finer labels inside a class) and the training rows' labels."""

    name: Any
    label_names: tuple[Any, ...]
    train: SplitRows
    validation: SplitRows
    test: SplitRows

    @property
    def classes(self) -> int:
        """K, the number of labels that a prediction can take."""
        return len(self.label_names)

    @property
    def refit(self) -> SplitRows:
        """Training and validation rows together, but for labels that no training row has."""
        a, b = self.train, self.validation
        known = b.labels < self.classes
        return SplitRows(
            np.concatenate([a.features, b.features[known]]),
            np.concatenate([a.labels, b.labels[known]]),
            np.concatenate([a.units, b.units[known]]),
        )


def labels_of_enough_units(labels: Integers, units: Integers, least: int) -> Integers:
    """The labels that have so many independent units or more."""
    pairs = np.unique(np.stack([labels, units]), axis=1)
    names, counts = np.unique(pairs[0], return_counts=True)
    return np.asarray(names[counts >= least])


def whole_units(
    rows: Integers, units: Integers, most: int, draw: Callable[[int], Integers]
) -> Integers:
    """At most that many rows, in whole units by the order that `draw` gives so many of these."""
    if len(rows) <= most:
        return rows
    names, codes, counts = np.unique(units[rows], return_inverse=True, return_counts=True)
    order = draw(len(names))
    kept = np.zeros(len(names), dtype=bool)
    kept[order[np.cumsum(counts[order]) <= most]] = True
    return np.asarray(rows[kept[codes]])


def balanced_accuracy(right: Bools, labels: Integers) -> float:
    """Mean over the labels that occur of the fraction read right."""
    counts = np.bincount(labels)
    hits = np.bincount(labels, weights=right)
    return float(np.mean(hits[counts > 0] / counts[counts > 0]))


def chance_corrected(right: Bools, labels: Integers, count: int) -> float:
    """Balanced accuracy above that of guessing among `count` labels, (b - 1/K)/(1 - 1/K).

    Examples:
        >>> chance_corrected(np.array([True, True, True, False]), np.array([0, 0, 1, 1]), 2)
        0.5
    """
    return (balanced_accuracy(right, labels) - 1 / count) / (1 - 1 / count)


def _proportion(
    right: Bools, cells: Integers, weights: Floats, units: Integers, confidence: float
) -> Interval:
    """p = sum_k v_k q_k with its interval; every cell of `weights`, which sum to 1, occurs.

    Wilson's, for as many independent rows n = p (1 - p)/V as have its variance V. A cell of m
    independent units has the variance of its units' deviations from q_k, times m/(m - 1). Of few
    units a cell that is next to nothing: a cell of one unit has none at all. So with u units a
    cell, a part 5/u of V (all of it under five) is that of rows which are right with probability p,
    whatever their cell, p (1 - p) sum_i w_i^2 times the part by which units deviate more than rows:
    too large rather than too small, as p (1 - p) is concave.
    """
    counts = np.bincount(cells, minlength=len(weights)).astype(np.float64)
    fractions = np.bincount(cells, weights=right, minlength=len(weights)) / counts
    p = float(weights @ fractions)
    _, unit = np.unique(units, return_inverse=True)
    if unit.max() < 1:
        return Interval(p)
    pairs = np.unique(np.stack([cells, unit]), axis=1)
    in_cells = np.bincount(pairs[0], minlength=len(weights)).astype(np.float64)
    w = (weights / counts)[cells]

    def by_units(deviations: NDArray[Any]) -> float:
        summed = np.bincount(unit, weights=deviations * w)
        return float(summed @ summed)

    m = np.maximum(in_cells, 2)
    own = by_units((right - fractions[cells]) * np.sqrt(m / (m - 1))[cells])
    few = min(1.0, 5 * len(weights) / len(pairs[0]))
    variance = (1 - few) * own + few * _pooled(right, w, p, by_units(right - p))
    # Where nothing varies, as many rows as have the variance of independent units.
    n = float(1 / np.sum(weights**2 / in_cells))
    if variance > 0 and right.any() and not right.all():
        n = max(1.0, p * (1 - p) / variance)
    return wilson_interval(p, n, confidence)


def _pooled(right: Bools, w: Floats, p: float, by_units: float) -> float:
    """Variance of sum_i w_i r_i where rows are right with one probability; p, or that of w^2."""
    squares = w**2
    q = float(squares @ right / squares.sum())
    alone = float(squares @ (right - p) ** 2)
    more = by_units / alone if alone > 0 else 1.0
    return max(p * (1 - p), q * (1 - q)) * float(squares.sum()) * more


def score_within(
    right: Bools,
    owners: Integers,
    labels: Integers,
    counts: Integers,
    units: Integers,
    confidence: float = 0.95,
) -> Score:
    """The three forms for labels inside classes (one class: the whole), each weighing the same.

    For each test row (n,) whether it was read right, its class (`owners`), its label in it and its
    independent unit; for each class (C,) how many labels a prediction can take (`counts`).
    """
    pairs, cells = np.unique(np.stack([owners, labels]), axis=1, return_inverse=True)
    cells = cells.reshape(-1)
    occurring = np.bincount(pairs[0])
    plain = 1 / (len(counts) * occurring[pairs[0]])
    # (b - 1/K)/(1 - 1/K) = b f - (f - 1) with f = 1/(1 - 1/K): a proportion again, scaled.
    f = 1 / (1 - 1 / counts)
    whole = _proportion(right, owners, np.bincount(owners) / len(owners), units, confidence)
    balanced = corrected = _proportion(right, cells, plain, units, confidence)
    if len(counts) > 1:
        corrected = _proportion(right, cells, plain * f[pairs[0]] / f.mean(), units, confidence)
    return Score(whole, balanced, corrected.scaled(float(f.mean()), 1 - float(f.mean())))


def reading(
    probe: str,
    task: Task,
    guess: Integers,
    chosen: ChosenValues,
    validation: float,
    confidence: float,
) -> ProbeReading:
    """The reading of a probe from its predictions for the test rows."""
    labels, owners = task.test.labels, np.zeros(len(guess), dtype=np.int64)
    counts = np.array([task.classes])
    score = score_within(guess == labels, owners, labels, counts, task.test.units, confidence)
    return ProbeReading(probe, score, chosen, validation)
