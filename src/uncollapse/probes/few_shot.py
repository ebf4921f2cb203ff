"""Nearest class mean of a few training rows per class, over draws of these.

It has no hyperparameter to choose. The interval is that of the mean over draws; the test rows are
the same in all of them. Shots of one class are of different units.
"""

from __future__ import annotations

import numpy as np

from uncollapse.errors import InputError
from uncollapse.probes._task import (
    Floats,
    Integers,
    Task,
    balanced_accuracy,
    chance_corrected,
)
from uncollapse.records import (
    ClassReading,
    Interval,
    ProbeOptions,
    ProbeReading,
    ReadingDetails,
    Score,
)
from uncollapse.samples import unit_rows
from uncollapse.statistics import t_quantile

SHOTS = (1, 5, 10)


def few_shot(
    task: Task, options: ProbeOptions, seed: list[int]
) -> tuple[list[ProbeReading], list[str]]:
    """A reading per number of shots, and what the reader must know.

    Raises:
        InputError: More shots were asked for than a class has units in the training split.
    """
    pairs = np.unique(np.stack([task.train.labels, task.train.units]), axis=1)
    units = np.bincount(pairs[0])
    most, smallest = int(units.min()), task.label_names[int(units.argmin())]
    if options.shots is not None and max(options.shots) > most:
        raise InputError(
            f"{max(options.shots)} shots or more in every class",
            f"{most} independent training units of {smallest!r}",
            "ask for fewer --shots",
        )
    shots = options.shots or tuple(s for s in SHOTS if s <= most)
    notes = []
    if options.shots is None and len(shots) < len(SHOTS):
        notes.append(f"few-shot: the smallest class has {most} independent training units")
    values = shot_values(task, shots, options.draws, seed)
    return [over_draws("few-shot", s, values[s], options.confidence) for s in shots], notes


def shot_values(
    task: Task, shots: tuple[int, ...], draws: int, seed: list[int]
) -> dict[int, Floats]:
    """For each number of shots (draws, 3): accuracy, balanced accuracy, chance-corrected.

    The mean of the shots keeps its length: the nearest by distance on the embedding as it is.
    """
    vectors, tested = unit_rows(task.train.features), unit_rows(task.test.features)
    labels, truth = task.train.labels, task.test.labels
    values: dict[int, list[list[float]]] = {s: [] for s in shots}
    for draw in range(draws):
        ranks = unit_ranks(labels, task.train.units, np.random.default_rng([*seed, draw]))
        for s in shots:
            drawn = (ranks >= 0) & (ranks < s)
            right = nearest_mean(vectors[drawn], labels[drawn], tested) == truth
            corrected = chance_corrected(right, truth, task.classes)
            values[s].append([float(right.mean()), balanced_accuracy(right, truth), corrected])
    return {s: np.array(rows) for s, rows in values.items()}


def over_draws(
    probe: str,
    shots: int,
    values: Floats,
    confidence: float,
    classes: tuple[ClassReading, ...] | None = None,
) -> ProbeReading:
    """The reading of a few-shot probe from its (draws, 3) values."""
    draws = len(values)
    means, spread = values.mean(axis=0), values.std(axis=0, ddof=1)
    half = t_quantile(draws - 1, confidence) * spread / np.sqrt(draws)
    forms = [
        Interval(float(m), float(m - h), float(m + h)) for m, h in zip(means, half, strict=True)
    ]
    details = ReadingDetails(
        shots=shots,
        draws=draws,
        deviation=float(spread[1]),
        interval="of the mean over draws of the shots; the test rows are fixed",
        classes=classes,
    )
    return ProbeReading(probe, Score(*forms), details=details)


def nearest_mean(vectors: Floats, labels: Integers, tested: Floats) -> Integers:
    """The label, of as many rows each as any other, whose mean is nearest to each tested row."""
    means = np.zeros((int(labels.max()) + 1, vectors.shape[1]))
    np.add.at(means, labels, vectors)
    means /= np.bincount(labels)[:, None]
    return np.asarray(np.argmax(tested @ means.T - np.sum(means**2, axis=1) / 2, axis=1))


def unit_ranks(labels: Integers, units: Integers, rng: np.random.Generator) -> Integers:
    """Place of each row's unit in a random order of its class's units; -1 for its other rows."""
    order = rng.permutation(len(labels))
    pairs = np.stack([labels[order], units[order]])
    _, first = np.unique(pairs, axis=1, return_index=True)
    kept = order[np.sort(first)]
    by_class = kept[np.argsort(labels[kept], kind="stable")]
    starts = np.searchsorted(labels[by_class], labels[by_class])
    ranks = np.full(len(labels), -1, dtype=np.int64)
    ranks[by_class] = np.arange(len(by_class)) - starts
    return ranks
