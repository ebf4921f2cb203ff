"""Nearest neighbours by cosine, and their weighted votes."""

from __future__ import annotations

import numpy as np

from uncollapse.probes._accuracy import Floats, Integers, balanced_accuracy
from uncollapse.probes._task import Task, reading
from uncollapse.records import ChosenValues, ProbeOptions, Reading
from uncollapse.samples import unit_rows


def exact_neighbours(train: Floats, queries: Floats, k: int) -> tuple[Floats, Integers]:
    """The k nearest by cosine, by comparing with all.

    Distances are taken after subtracting the mean, which changes none of them, and not as
    1 - cosine: at a variance of 1e-12 that difference has no digits left.

    Args:
        train: (n, d) unit vectors.
        queries: (m, d) unit vectors.
        k: At most n.

    Returns:
        Cosines (m, k) and positions in train (m, k), best first.

    Examples:
        >>> cosines, positions = exact_neighbours(np.eye(3), np.eye(3)[:1], 2)
        >>> int(positions[0, 0]), abs(cosines[0]).round(6).tolist()
        (0, [1.0, 0.0])
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

    Args:
        cosines: (m, k) cosines of the nearest, best first.
        neighbours: (m, k) their positions in the training set.
        labels: (n,) labels of the training set, 0..K-1.
        spread: Variance of the training set, which makes the temperature free of scale.
        temperature: Of the weights.

    Examples:
        >>> cosines, positions = np.array([[0.9, 0.8, 0.1]]), np.array([[0, 1, 2]])
        >>> knn_votes(cosines, positions, np.array([1, 1, 0]), 1.0, 0.1).tolist()
        [1]
    """
    weights = np.exp((cosines - cosines[:, :1]) / (temperature * max(spread, 1e-300)))
    counts = np.bincount(labels)
    votes = np.zeros((len(cosines), len(counts)))
    np.add.at(votes, (np.arange(len(cosines))[:, None], labels[neighbours]), weights)
    return np.asarray(np.argmax(votes / np.maximum(counts, 1), axis=1))


def neighbours(task: Task, options: ProbeOptions) -> Reading:
    """Votes of the nearest by cosine, weighing exp(cosine/temperature) over the class's frequency.

    Number and temperature are chosen on the validation rows, the fewer neighbours of equals.
    """
    train, labels = unit_rows(task.train.features), task.train.labels
    truth = task.validation.labels
    counts = sorted({min(k, len(train)) for k in options.neighbours})
    cosines, nearest = exact_neighbours(train, unit_rows(task.validation.features), counts[-1])
    best, best_value = (counts[0], options.temperatures[0]), -1.0
    for k in counts:
        for temperature in options.temperatures if k > 1 else options.temperatures[:1]:
            guess = knn_votes(cosines[:, :k], nearest[:, :k], labels, 1.0, temperature)
            value = balanced_accuracy(guess == truth, truth)
            if value > best_value:
                best, best_value = (k, temperature), value
    k, temperature = best
    if options.refit:
        train, labels = unit_rows(task.refit.features), task.refit.labels
    cosines, nearest = exact_neighbours(train, unit_rows(task.test.features), k)
    guess = knn_votes(cosines, nearest, labels, 1.0, temperature)
    chosen = ChosenValues(neighbours=k, temperature=temperature)
    return reading("knn", task, guess, chosen, best_value, options.confidence)
