"""Which rows the within-class probe reads, and their folds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from uncollapse.probes._accuracy import Bools, Floats, Integers
from uncollapse.probes._task import SplitRows, labels_of_enough_units, whole_units
from uncollapse.probes.linear import need_sklearn
from uncollapse.records import WithinClassOptions
from uncollapse.samples import Codes, Sample, unit_rows

MOST_ROWS = 1000


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

    def part(self, rows: Bools) -> SplitRows:
        """Some of its rows."""
        return SplitRows(self.vectors[rows], self.fine[rows], self.units[rows])


def probed_classes(
    sample: Sample, fine: Codes, options: WithinClassOptions, rng: np.random.Generator
) -> list[ProbedClass]:
    """The classes in which at least two finer labels have enough independent units."""
    need_sklearn()
    clusters = sample.groups or sample.instances
    units = np.arange(len(sample.matrix)) if clusters is None else clusters.codes
    most = options.most_rows or MOST_ROWS
    order = np.argsort(sample.labels.codes, kind="stable")
    starts = np.flatnonzero(np.diff(sample.labels.codes[order])) + 1
    classes = []
    for rows in np.split(order, starts):
        rows = rows[fine.codes[rows] >= 0]
        rows = whole_units(rows, units, most, rng.permutation)
        kept = labels_of_enough_units(fine.codes[rows], units[rows], options.least_units)
        rows = rows[np.isin(fine.codes[rows], kept)]
        names, codes = np.unique(fine.codes[rows], return_inverse=True)
        if len(names) < 2:
            continue
        _, unit_codes = np.unique(units[rows], return_inverse=True)
        label = sample.labels.names[sample.labels.codes[rows[0]]]
        folds = _folds(codes, unit_codes, options.folds, rng)
        vectors = unit_rows(sample.matrix[rows])
        classes.append(ProbedClass(label, rows, vectors, codes, unit_codes, folds))
    return classes


def _folds(fine: Integers, units: Integers, folds: int, rng: np.random.Generator) -> Integers:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    seed = int(rng.integers(2**31))
    together = len(np.unique(units)) < len(units)
    splitter = StratifiedGroupKFold if together else StratifiedKFold
    splits = splitter(folds, shuffle=True, random_state=seed).split(
        np.zeros((len(fine), 1)), fine, units if together else None
    )
    fold_of_row = np.zeros(len(fine), dtype=np.int64)
    for fold, (_, test) in enumerate(splits):
        fold_of_row[test] = fold
    return fold_of_row
