"""Which rows the within-class probe reads, and how they are split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.probes.classify import NeighbourIndex, exact_neighbours, need_sklearn
from uncollapse.samples import Codes, Sample, unit_rows

__all__ = ["ProbeOptions", "ProbedClass", "probed_classes"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class ProbeOptions:
    """How the within-class probe is run.

    Attributes:
        folds: Every unit is tested once; one of the other folds is the validation split on which
            hyperparameters are chosen.
        neighbours: Numbers of neighbours to choose from.
        temperatures: Temperatures of the neighbours' weights to choose from.
        strengths: Inverse L2 penalties to choose from.
        permutations: Permutations of the finer labels within each class.
        most_rows: Rows of a class that are used, drawn at random.
        least_units: Independent units that a finer label needs in a class to take part.
        margin: No information is claimed only when both probes are below this, interval and all.
        index: Finds the nearest neighbours.
    """

    folds: int = 5
    neighbours: tuple[int, ...] = (1, 5, 20)
    temperatures: tuple[float, ...] = (0.1, 1.0)
    strengths: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0)
    permutations: int = 20
    most_rows: int = 1000
    least_units: int = 10
    margin: float = 0.2
    index: NeighbourIndex = exact_neighbours

    def __post_init__(self) -> None:
        if self.folds < 3 or self.least_units < self.folds or self.permutations < 0:
            raise InputError(
                "probe options with folds >= 3, least_units >= folds and permutations >= 0",
                f"folds {self.folds}, least_units {self.least_units}, "
                f"permutations {self.permutations}",
                "leave them at their defaults",
            )


@dataclass(frozen=True)
class ProbedClass:
    """One class ready to be probed.

    Attributes:
        label: Its name.
        rows: Positions of its rows in the sample.
        vectors: (n, d) unit vectors.
        fine: (n,) finer labels 0..K-1.
        units: (n,) what must not be split between training and test.
        folds: (n,) fold of each row.
    """

    label: Any
    rows: Integers
    vectors: Floats
    fine: Integers
    units: Integers
    folds: Integers

    @property
    def fine_count(self) -> int:
        """K, the number of finer labels."""
        return int(self.fine.max()) + 1


def probed_classes(
    sample: Sample, fine: Codes, options: ProbeOptions, rng: np.random.Generator
) -> list[ProbedClass]:
    """The classes in which at least two finer labels have enough independent units."""
    need_sklearn()
    of_units = sample.groups or sample.instances
    units = np.arange(len(sample.matrix)) if of_units is None else of_units.codes
    order = np.argsort(sample.labels.codes, kind="stable")
    starts = np.flatnonzero(np.diff(sample.labels.codes[order])) + 1
    found = []
    for rows in np.split(order, starts):
        rows = rows[fine.codes[rows] >= 0]
        if len(rows) > options.most_rows:
            rows = _some_units(rows, units, options.most_rows, rng)
        rows = rows[_enough(fine.codes[rows], units[rows], options.least_units)]
        names, codes = np.unique(fine.codes[rows], return_inverse=True)
        if len(names) < 2:
            continue
        _, unit_codes = np.unique(units[rows], return_inverse=True)
        found.append(
            ProbedClass(
                sample.labels.names[sample.labels.codes[rows[0]]],
                rows,
                unit_rows(sample.matrix[rows]),
                codes,
                unit_codes,
                _folds(codes, unit_codes, options.folds, rng),
            )
        )
    return found


def _some_units(rows: Integers, units: Integers, most: int, rng: np.random.Generator) -> Integers:
    """Rows of units drawn at random until `most` rows are reached."""
    names, codes, counts = np.unique(units[rows], return_inverse=True, return_counts=True)
    drawn = rng.permutation(len(names))
    kept = np.zeros(len(names), dtype=bool)
    kept[drawn[np.cumsum(counts[drawn]) <= most]] = True
    return np.asarray(rows[kept[codes]])


def _enough(fine: Integers, units: Integers, least: int) -> NDArray[np.bool_]:
    pairs = np.unique(np.stack([fine, units]), axis=1)
    names, counts = np.unique(pairs[0], return_counts=True)
    return np.isin(fine, names[counts >= least])


def _folds(fine: Integers, units: Integers, folds: int, rng: np.random.Generator) -> Integers:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    seed = int(rng.integers(2**31))
    together = len(np.unique(units)) < len(units)
    kind = StratifiedGroupKFold if together else StratifiedKFold
    splits = kind(folds, shuffle=True, random_state=seed).split(
        np.zeros((len(fine), 1)), fine, units if together else None
    )
    found = np.zeros(len(fine), dtype=np.int64)
    for fold, (_, test) in enumerate(splits):
        found[test] = fold
    return found
