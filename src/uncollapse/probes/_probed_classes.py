"""Classes to look into: which of their rows take part, their folds, and who reads them.

Both classifiers see a class's own scale: residuals from the training mean, divided by their root
mean square. So what they find does not depend on the size of the spread, only on its structure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.probes._accuracy import chance_corrected
from uncollapse.probes._sklearn import need_sklearn
from uncollapse.probes.knn import exact_neighbours, knn_votes
from uncollapse.probes.linear import fit_logistic
from uncollapse.records import ChosenValues, WithinClassOptions
from uncollapse.samples import Codes, Sample, unit_rows

__all__ = [
    "CLASSIFIERS",
    "MOST_ROWS",
    "ProbedClass",
    "choices_of",
    "choose",
    "labels_of_enough_units",
    "probed_classes",
]

Integers = NDArray[np.int64]
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
        folds: (n,) fold of each row; empty where the rows have splits of their own.
    """

    label: Any
    rows: Integers
    vectors: NDArray[np.float64]
    fine: Integers
    units: Integers
    folds: Integers

    @property
    def fine_count(self) -> int:
        """K, the number of finer labels."""
        return int(self.fine.max()) + 1


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
        if len(rows) > most:
            rows = _some_units(rows, units, most, rng)
        enough = labels_of_enough_units(fine.codes[rows], units[rows], options.least_units)
        rows = rows[np.isin(fine.codes[rows], enough)]
        names, codes = np.unique(fine.codes[rows], return_inverse=True)
        if len(names) < 2:
            continue
        _, unit_codes = np.unique(units[rows], return_inverse=True)
        label = sample.labels.names[sample.labels.codes[rows[0]]]
        folds = _folds(codes, unit_codes, options.folds, rng)
        vectors = unit_rows(sample.matrix[rows])
        classes.append(ProbedClass(label, rows, vectors, codes, unit_codes, folds))
    return classes


def _some_units(rows: Integers, units: Integers, most: int, rng: np.random.Generator) -> Integers:
    """Rows of units drawn at random until `most` rows are reached."""
    names, codes, counts = np.unique(units[rows], return_inverse=True, return_counts=True)
    drawn = rng.permutation(len(names))
    kept = np.zeros(len(names), dtype=bool)
    kept[drawn[np.cumsum(counts[drawn]) <= most]] = True
    return np.asarray(rows[kept[codes]])


def labels_of_enough_units(fine: Integers, units: Integers, least: int) -> Integers:
    """The finer labels that have so many independent units or more."""
    pairs = np.unique(np.stack([fine, units]), axis=1)
    names, counts = np.unique(pairs[0], return_counts=True)
    return np.asarray(names[counts >= least])


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


def _predict_knn(
    probed: ProbedClass,
    train: Integers,
    test: Integers,
    choices: Sequence[ChosenValues],
    options: WithinClassOptions,
) -> list[Integers]:
    """By weighted cosine neighbours, which are searched once."""
    most = min(max(choice.neighbours or 1 for choice in choices), len(train))
    vectors = probed.vectors[train]
    search = options.index or exact_neighbours
    cosines, nearest = search(vectors, probed.vectors[test], most)
    spread = float(np.mean(np.var(vectors, axis=0)) * vectors.shape[1])
    return [
        knn_votes(
            cosines[:, : choice.neighbours],
            nearest[:, : choice.neighbours],
            probed.fine[train],
            spread,
            choice.temperature or 1.0,
        )
        for choice in choices
    ]


def _predict_logistic(
    probed: ProbedClass,
    train: Integers,
    test: Integers,
    choices: Sequence[ChosenValues],
    options: WithinClassOptions,
) -> list[Integers]:
    """By logistic regression with labels weighing equally, each penalty from scratch."""
    from sklearn.linear_model import LogisticRegression

    fine = probed.fine[train]
    if len(np.unique(fine)) < 2:
        return [np.full(len(test), fine[0]) for _ in choices]
    regression = LogisticRegression(class_weight="balanced", max_iter=200, tol=1e-3)
    strengths = [choice.strength or 1.0 for choice in choices]
    models = fit_logistic(regression, probed.vectors[train], fine, strengths)
    return [model.predict(probed.vectors[test]) for model in models]


# (class, training rows, test rows, choices of hyperparameters) -> predictions for each choice.
Predictor = Callable[
    [ProbedClass, Integers, Integers, Sequence[ChosenValues], WithinClassOptions], list[Integers]
]
CLASSIFIERS: dict[str, Predictor] = {"knn": _predict_knn, "logistic": _predict_logistic}


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
    probed: ProbedClass,
    train: Integers,
    validation: Integers,
    options: WithinClassOptions,
) -> tuple[ChosenValues, float]:
    """The best on the validation rows, and its chance-corrected accuracy there."""
    choices, truth = choices_of(classifier, options), probed.fine[validation]
    values = [
        chance_corrected(guess == truth, truth, probed.fine_count)
        for guess in CLASSIFIERS[classifier](probed, train, validation, choices, options)
    ]
    best = int(np.argmax(values))
    return choices[best], values[best]
