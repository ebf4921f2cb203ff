"""One target of one layer, in its three splits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.probes.dataset import Dataset
from uncollapse.samples import unit_rows

__all__ = ["Part", "Task", "task_of"]

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Rows of one split that have the target.

    Attributes:
        rows: (n,) positions in the data set.
        features: (n, d) as they came.
        labels: (n,) 0..classes-1, or above where training rows have no such label.
        units: (n,) independent unit of each.
    """

    rows: Integers
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

    train: Part
    validation: Part
    test: Part
    classes: int
    names: tuple[Any, ...]
    missing: int

    @property
    def both(self) -> Part:
        """Training and validation rows together."""
        a, b = self.train, self.validation
        return Part(
            np.concatenate([a.rows, b.rows]),
            np.concatenate([a.features, b.features]),
            np.concatenate([a.labels, b.labels]),
            np.concatenate([a.units, b.units]),
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

    def part(name: str) -> Part:
        rows = getattr(data.split, name)
        rows = rows[labels[rows] >= 0]
        if not len(rows):
            raise InputError(
                f"{name} rows with a value of target {target!r}",
                "none",
                "name another target, or give that split labels",
            )
        return Part(rows, data.layers[layer][rows], labels[rows], data.units[rows])

    names = tuple(data.targets[target].names[k] for k in known)
    missing = int(np.count_nonzero(labels < 0))
    return Task(part("train"), part("validation"), part("test"), len(known), names, missing)
