"""Nearest neighbours by cosine, and their weighted votes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from uncollapse.probes._task import Floats, Integers, SplitRows, Task, balanced_accuracy, reading
from uncollapse.records import ChosenValues, NeighbourIndex, ProbeOptions, ProbeReading
from uncollapse.samples import unit_rows


def exact_neighbours(train: Floats, queries: Floats, k: int) -> tuple[Floats, Integers]:
    """The k nearest unit vectors of each query by cosine: cosines and positions (m, k), best first.

    By comparing with all. Distances are taken after subtracting the mean, which changes none of
    them, and not as 1 - cosine: at a variance of 1e-12 that difference has no digits left.
    """
    from sklearn.neighbors import NearestNeighbors

    mean = train.mean(axis=0)
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(train - mean)
    distances, positions = search.kneighbors(queries - mean)
    return 1 - distances**2 / 2, np.asarray(positions, dtype=np.int64)


def knn_votes(
    cosines: Floats, neighbours: Integers, labels: Integers, spread: float, temperature: float
) -> Integers:
    """Label with the largest sum of weights exp(cosine/(temperature * spread)), over its frequency.

    Of the nearest: `cosines` and positions, (m, k), best first, and the labels of all. `spread` is
    the variance of the training set, which makes the temperature free of scale.
    """
    weights = np.exp((cosines - cosines[:, :1]) / (temperature * max(spread, 1e-300)))
    counts = np.bincount(labels)
    votes = np.zeros((len(cosines), len(counts)))
    np.add.at(votes, (np.arange(len(cosines))[:, None], labels[neighbours]), weights)
    return np.asarray(np.argmax(votes / np.maximum(counts, 1), axis=1))


def votes_at(
    train: SplitRows,
    tested: Floats,
    choices: Sequence[ChosenValues],
    spread: float,
    index: NeighbourIndex | None = None,
) -> list[Integers]:
    """Labels by votes of neighbours, searched once, at each number of these and temperature."""
    most = min(max(choice.neighbours or 1 for choice in choices), len(train.features))
    cosines, nearest = (index or exact_neighbours)(train.features, tested, most)
    return [
        knn_votes(cosines[:, :k], nearest[:, :k], train.labels, spread, temperature or 1.0)
        for k, temperature in ((choice.neighbours, choice.temperature) for choice in choices)
    ]


def neighbours(task: Task, options: ProbeOptions) -> ProbeReading:
    """Votes of the nearest by cosine, weighing exp(cosine/temperature) over the class's frequency.

    Number and temperature are chosen on the validation rows, the fewer neighbours of equals.
    """
    train, validation, refit, test = (
        replace(part, features=unit_rows(part.features))
        for part in (task.train, task.validation, task.refit, task.test)
    )
    choices = [
        ChosenValues(neighbours=k, temperature=temperature)
        for k in sorted({min(k, len(train.labels)) for k in options.neighbours})
        for temperature in (options.temperatures if k > 1 else options.temperatures[:1])
    ]
    truth, guesses = validation.labels, votes_at(train, validation.features, choices, 1.0)
    values = [balanced_accuracy(guess == truth, truth) for guess in guesses]
    best = int(np.argmax(values))
    fitted = refit if options.refit else train
    guess = votes_at(fitted, test.features, [choices[best]], 1.0)[0]
    return reading("knn", task, guess, choices[best], values[best], options.confidence)
