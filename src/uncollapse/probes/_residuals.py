"""Rows inside a class, and the two classifiers that read its finer labels: neighbours and logistic.

Both see a class's own scale: residuals from the training mean, divided by their root mean square.
So what they find does not depend on the size of the spread, only on its structure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from uncollapse.probes._task import (
    Bools,
    Floats,
    Integers,
    SplitRows,
    chance_corrected,
    labels_of_enough_units,
    whole_units,
)
from uncollapse.probes.knn import votes_at
from uncollapse.probes.linear import fit_logistic, need_sklearn
from uncollapse.records import ChosenValues, NeighbourIndex, WithinClassOptions
from uncollapse.samples import Codes, Sample, unit_rows

MOST_ROWS = 1000

Choices = Sequence[ChosenValues]
# (training rows, test rows, choices of hyperparameters, index) -> predictions for each choice.
Predictor = Callable[[SplitRows, Floats, Choices, NeighbourIndex | None], list[Integers]]


@dataclass(frozen=True)
class ProbedClass:
    """One class ready to be probed."""

    label: Any
    rows: Integers  # their positions in the sample
    vectors: Floats  # (n, d) unit vectors
    fine: Integers  # (n,) finer labels 0..K-1
    units: Integers  # (n,) what must not be split between training and test
    folds: Integers  # (n,) fold of each row

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
    units = np.arange(len(sample.matrix)) if sample.units is None else sample.units
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


def _neighbours(
    train: SplitRows, tested: Floats, choices: Choices, index: NeighbourIndex | None
) -> list[Integers]:
    """By weighted cosine neighbours."""
    vectors = train.features
    spread = float(np.mean(np.var(vectors, axis=0)) * vectors.shape[1])
    return votes_at(train, tested, choices, spread, index)


def _logistic(
    train: SplitRows, tested: Floats, choices: Choices, _: NeighbourIndex | None
) -> list[Integers]:
    """By logistic regression with labels weighing equally, each penalty from scratch."""
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(train.labels)) < 2:
        return [np.full(len(tested), train.labels[0]) for _ in choices]
    regression = LogisticRegression(class_weight="balanced", max_iter=200, tol=1e-3)
    strengths = [choice.strength or 1.0 for choice in choices]
    models = fit_logistic(regression, train.features, train.labels, strengths)
    return [model.predict(tested) for model in models]


CLASSIFIERS: dict[str, Predictor] = {"knn": _neighbours, "logistic": _logistic}


def choices_of(classifier: str, options: WithinClassOptions) -> list[ChosenValues]:
    """Hyperparameters to choose from."""
    if classifier == "logistic":
        return [ChosenValues(strength=strength) for strength in options.strengths]
    return [
        ChosenValues(neighbours=k, temperature=temperature)
        for k in options.neighbours
        for temperature in options.temperatures
    ]


def choose(
    classifier: str,
    train: SplitRows,
    validation: SplitRows,
    classes: int,
    options: WithinClassOptions,
) -> tuple[ChosenValues, float]:
    """The best on the validation rows, and its chance-corrected accuracy there."""
    choices, truth = choices_of(classifier, options), validation.labels
    guesses = CLASSIFIERS[classifier](train, validation.features, choices, options.index)
    values = [chance_corrected(guess == truth, truth, classes) for guess in guesses]
    best = int(np.argmax(values))
    return choices[best], values[best]
