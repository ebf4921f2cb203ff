"""One target of one layer, in its three splits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.probes._accuracy import score
from uncollapse.probes._dataset import Dataset
from uncollapse.records import ChosenValues, Reading
from uncollapse.samples import unit_rows

__all__ = ["SplitRows", "Task", "reading", "task_of"]

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class SplitRows:
    """Rows of one split that have the target.

    Attributes:
        features: (n, d) as they came.
        labels: (n,) 0..classes-1, or above where training rows have no such label.
        units: (n,) independent unit of each.
    """

    features: NDArray[Any]
    labels: Integers
    units: Integers

    @property
    def vectors(self) -> NDArray[np.float64]:
        """(n, d) unit vectors."""
        return unit_rows(self.features)


@dataclass(frozen=True)
class Task:
    """A target to read: parts of it, and how many labels its training rows have."""

    train: SplitRows
    validation: SplitRows
    test: SplitRows
    classes: int
    names: tuple[Any, ...]
    missing: int

    @cached_property
    def refit(self) -> SplitRows:
        """Training and validation rows together, but for labels that no training row has."""
        known = self.validation.labels < self.classes
        return SplitRows(
            np.concatenate([self.train.features, self.validation.features[known]]),
            np.concatenate([self.train.labels, self.validation.labels[known]]),
            np.concatenate([self.train.units, self.validation.units[known]]),
        )


def task_of(data: Dataset, layer: str, target: str) -> Task:
    """The rows of a target in the three splits.

    Raises:
        InputError: The training rows have one value of it; a split has none of it.
    """
    codes = data.targets[target].codes
    known = np.unique(codes[data.split.train])
    known = known[known >= 0]
    if len(known) < 2:
        raise InputError(
            f"two values or more of target {target!r} among the training rows",
            f"{len(known)}",
            "name another target",
        )
    # Labels of the training rows come first, so that codes of the others are never predicted.
    order = np.full(len(data.targets[target].names) + 1, -1, dtype=np.int64)
    order[known] = np.arange(len(known))
    unseen = np.setdiff1d(np.unique(codes[codes >= 0]), known)
    order[unseen] = len(known) + np.arange(len(unseen))
    labels = np.where(codes >= 0, order[codes], -1)

    def part(name: str) -> SplitRows:
        rows = getattr(data.split, name)
        rows = rows[labels[rows] >= 0]
        if not len(rows):
            raise InputError(
                f"{name} rows with a value of target {target!r}",
                "none",
                "name another target, or give that split labels",
            )
        return SplitRows(data.layers[layer][rows], labels[rows], data.units[rows])

    names = tuple(data.targets[target].names[k] for k in known)
    missing = int(np.count_nonzero(labels < 0))
    return Task(part("train"), part("validation"), part("test"), len(known), names, missing)


def reading(
    probe: str,
    task: Task,
    guess: Integers,
    chosen: ChosenValues,
    validation: float,
    confidence: float,
) -> Reading:
    """The reading of a probe from its predictions for the test rows."""
    test = task.test
    right = guess == test.labels
    found = score(right, test.labels, task.classes, test.units, confidence)
    return Reading(probe, found, chosen, validation)
