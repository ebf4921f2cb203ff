"""The two classifiers that read finer labels inside a class: neighbours and logistic.

Both see a class's own scale: residuals from the training mean, divided by their root mean square.
So what they find does not depend on the size of the spread, only on its structure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from uncollapse.probes._accuracy import Floats, Integers, chance_corrected
from uncollapse.probes._task import SplitRows
from uncollapse.probes.knn import votes_at
from uncollapse.probes.linear import fit_logistic
from uncollapse.records import ChosenValues, NeighbourIndex, WithinClassOptions

Choices = Sequence[ChosenValues]
# (training rows, test rows, choices of hyperparameters, index) -> predictions for each choice.
Predictor = Callable[[SplitRows, Floats, Choices, NeighbourIndex | None], list[Integers]]


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
