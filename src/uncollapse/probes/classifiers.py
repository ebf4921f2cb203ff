"""The probes over all classes: linear, neighbours and few shots. Each is tested once.

Hyperparameters are chosen by balanced accuracy on the validation rows, the simpler of equals (the
stronger penalty, the fewer neighbours). Nothing here looks at the test rows' labels before that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.probes.accuracy import balanced_accuracy, score
from uncollapse.probes.classify import exact_neighbours, knn_votes
from uncollapse.probes.logistic import fit_linear, linear_path
from uncollapse.probes.settings import ProbeSettings
from uncollapse.probes.task import Part, Task
from uncollapse.records import Interval, Reading, Score
from uncollapse.statistics import t_quantile

__all__ = ["few_shot", "linear", "neighbours", "over_draws", "shot_values"]

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


def linear(task: Task, settings: ProbeSettings) -> tuple[Reading, list[str]]:
    """Logistic regression on the features, the penalty chosen on the validation rows."""
    best, best_value = None, -1.0
    models = linear_path(
        task.train.features,
        task.train.labels,
        task.classes,
        settings.l2,
        weights=_weights(task.train, settings),
        tolerance=settings.tolerance,
    )
    for model in models:
        right = model.predict(task.validation.features) == task.validation.labels
        value = balanced_accuracy(right, task.validation.labels)
        if value > best_value:
            best, best_value = model, value
    assert best is not None  # the settings hold a penalty or more
    l2, notes = best.l2, []
    if len(settings.l2) > 1 and l2 in (min(settings.l2), max(settings.l2)):
        notes.append(f"linear: the chosen penalty {l2:.3g} is at the end of the path")
    if settings.refit:
        both = task.both
        best = fit_linear(
            both.features,
            both.labels.clip(max=task.classes - 1),
            task.classes,
            best,
            # A label that only validation rows have cannot be learnt: its rows weigh nothing.
            weights=_weights(both, settings) * (both.labels < task.classes),
            tolerance=settings.tolerance,
        )
    right = best.predict(task.test.features) == task.test.labels
    return _reading("linear", task, right, {"l2": l2}, best_value, settings), notes


def _weights(part: Part, settings: ProbeSettings) -> Floats:
    if not settings.balanced:
        return np.ones(len(part.labels))
    return np.asarray(1 / np.bincount(part.labels)[part.labels])


def _reading(
    probe: str,
    task: Task,
    right: NDArray[np.bool_],
    chosen: dict[str, Any],
    validation: float,
    settings: ProbeSettings,
) -> Reading:
    test = task.test
    found = score(right, test.labels, task.classes, test.units, settings.confidence)
    return Reading(probe, found, chosen, validation)


def neighbours(task: Task, settings: ProbeSettings) -> Reading:
    """Votes of the nearest by cosine, weighing exp(cosine/temperature) over the class's frequency.

    Number and temperature are chosen on the validation rows.
    """
    train, labels = task.train.vectors, task.train.labels
    counts = sorted({min(k, len(train)) for k in settings.neighbours})
    cosines, found = exact_neighbours(train, task.validation.vectors, counts[-1])
    best, best_value = (counts[0], settings.temperatures[0]), -1.0
    for k in counts:
        for temperature in settings.temperatures if k > 1 else settings.temperatures[:1]:
            guess = knn_votes(cosines[:, :k], found[:, :k], labels, 1.0, temperature)
            value = balanced_accuracy(guess == task.validation.labels, task.validation.labels)
            if value > best_value:
                best, best_value = (k, temperature), value
    k, temperature = best
    if settings.refit:
        both = task.both
        seen = both.labels < task.classes
        train, labels = both.vectors[seen], both.labels[seen]
    cosines, found = exact_neighbours(train, task.test.vectors, k)
    right = knn_votes(cosines, found, labels, 1.0, temperature) == task.test.labels
    chosen = {"neighbours": k, "temperature": temperature}
    return _reading("knn", task, right, chosen, best_value, settings)


def few_shot(
    task: Task, settings: ProbeSettings, seed: list[int]
) -> tuple[list[Reading], list[str]]:
    """Nearest class mean of a few training rows per class, over draws of these.

    It has no hyperparameter to choose. The interval is that of the mean over draws; the test rows
    are the same in all of them. Shots of one class are of different units.

    Raises:
        InputError: More shots were asked for than a class has units in the training split.
    """
    most, smallest = _units_of_smallest(task)
    shots = settings.shots
    if shots is not None and max(shots) > most:
        raise InputError(
            f"{max(shots)} shots or more in every class",
            f"{most} independent training units of {smallest!r}",
            "ask for fewer --shots",
        )
    taken = shots or tuple(s for s in (1, 5, 10) if s <= most)
    notes = []
    if shots is None and len(taken) < 3:
        notes.append(f"few-shot: the smallest class has {most} independent training units")
    values = shot_values(task.train, task.test, task.classes, taken, settings.draws, seed)
    return [over_draws("few-shot", s, values[s], settings) for s in taken], notes


def shot_values(
    train: Part, test: Part, classes: int, shots: tuple[int, ...], draws: int, seed: list[int]
) -> dict[int, Floats]:
    """Nearest class mean of unit vectors from a few training rows per class.

    The mean of the shots keeps its length: the nearest by distance on the embedding as it is.

    Returns:
        For each number of shots (draws, 3): accuracy, balanced accuracy, chance-corrected.
    """
    vectors, tested = train.vectors, test.vectors
    values: dict[int, list[list[float]]] = {s: [] for s in shots}
    for draw in range(draws):
        ranks = _ranks(train, np.random.default_rng([*seed, draw]))
        for s in shots:
            chosen = (ranks >= 0) & (ranks < s)
            means = np.zeros((classes, vectors.shape[1]))
            np.add.at(means, train.labels[chosen], vectors[chosen] / s)
            guess = np.argmax(tested @ means.T - np.sum(means**2, axis=1) / 2, axis=1)
            right = guess == test.labels
            balanced = balanced_accuracy(right, test.labels)
            above = (balanced - 1 / classes) / (1 - 1 / classes)
            values[s].append([float(right.mean()), balanced, above])
    return {s: np.array(rows) for s, rows in values.items()}


def _units_of_smallest(task: Task) -> tuple[int, Any]:
    pairs = np.unique(np.stack([task.train.labels, task.train.units]), axis=1)
    counts = np.bincount(pairs[0])
    return int(counts.min()), task.names[int(counts.argmin())]


def _ranks(part: Part, rng: np.random.Generator) -> Integers:
    """Place of each row's unit in a random order of its class's units; -1 for its other rows."""
    order = rng.permutation(len(part.labels))
    pairs = np.stack([part.labels[order], part.units[order]])
    _, first = np.unique(pairs, axis=1, return_index=True)
    kept = order[np.sort(first)]
    by_class = kept[np.argsort(part.labels[kept], kind="stable")]
    starts = np.searchsorted(part.labels[by_class], part.labels[by_class])
    ranks = np.full(len(part.labels), -1, dtype=np.int64)
    ranks[by_class] = np.arange(len(by_class)) - starts
    return ranks


def over_draws(probe: str, shots: int, values: Floats, settings: ProbeSettings) -> Reading:
    """The reading of a few-shot probe from its (draws, 3) values."""
    draws = len(values)
    means, spread = values.mean(axis=0), values.std(axis=0, ddof=1)
    half = t_quantile(draws - 1, settings.confidence) * spread / np.sqrt(draws)
    forms = [
        Interval(float(m), float(m - h), float(m + h)) for m, h in zip(means, half, strict=True)
    ]
    details = {
        "shots": shots,
        "draws": draws,
        "deviation": float(spread[1]),
        "interval": "of the mean over draws of the shots; the test rows are fixed",
    }
    return Reading(probe, Score(*forms), {}, None, details)
