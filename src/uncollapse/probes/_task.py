"""One target of one layer, in its three splits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.probes._accuracy import Integers, score_within
from uncollapse.probes._dataset import Dataset
from uncollapse.records import ChosenValues, Reading


@dataclass(frozen=True)
class SplitRows:
    """Rows of one split that have the target.

    Attributes:
        features: (n, d).
        labels: (n,) 0..classes-1, or above where training rows have no such label.
        units: (n,) independent unit of each.
    """

    features: NDArray[Any]
    labels: Integers
    units: Integers


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


def task_of(data: Dataset, layer: str, target: str) -> Task:
    """The rows of a target in the three splits; InputError where there are too few."""
    names, codes = data.targets[target].names, data.targets[target].codes
    known = np.unique(codes[data.rows["train"]])
    known = known[known >= 0]
    if len(known) < 2:
        raise InputError(
            f"two values or more of target {target!r} among the training rows",
            f"{len(known)}",
            "name another target",
        )
    # Labels of the training rows come first, so that codes of the others are never predicted.
    unseen = np.setdiff1d(np.unique(codes[codes >= 0]), known)
    order = np.full(len(names) + 1, -1, dtype=np.int64)
    order[np.concatenate([known, unseen])] = np.arange(len(known) + len(unseen))
    labels = np.where(codes >= 0, order[codes], -1)

    def part(name: str) -> SplitRows:
        rows = data.rows[name][labels[data.rows[name]] >= 0]
        if not len(rows):
            raise InputError(
                f"{name} rows with a value of target {target!r}",
                "none",
                "name another target, or give that split labels",
            )
        return SplitRows(data.layers[layer][rows], labels[rows], data.units[rows])

    label_names = tuple(names[k] for k in known)
    return Task(target, label_names, part("train"), part("validation"), part("test"))


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


def reading(
    probe: str,
    task: Task,
    guess: Integers,
    chosen: ChosenValues,
    validation: float,
    confidence: float,
) -> Reading:
    """The reading of a probe from its predictions for the test rows."""
    labels, owners = task.test.labels, np.zeros(len(guess), dtype=np.int64)
    counts = np.array([task.classes])
    score = score_within(guess == labels, owners, labels, counts, task.test.units, confidence)
    return Reading(probe, score, chosen, validation)
