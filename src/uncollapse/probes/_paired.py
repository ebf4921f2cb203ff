"""What ten examples of a finer label are worth, in an embedding and in a reference of its rows.

Inside each class the label of a row is that of the nearest mean of a few rows per finer label, at
the embedding's own scale. Both embeddings see the same draws and are tested on the same rows, so
that what is hard about a draw or a row is hard for both and leaves the difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from uncollapse.probes._task import (
    Floats,
    Integers,
    balanced_accuracy,
    labels_of_enough_units,
    whole_units,
)
from uncollapse.probes.few_shot import nearest_mean, unit_ranks
from uncollapse.records import Interval, ReferenceProbe
from uncollapse.samples import Codes, Sample, unit_rows
from uncollapse.statistics import t_quantile

_SHOTS, _DRAWS, _MOST_ROWS = 10, 20, 4000


@dataclass(frozen=True)
class _Task:
    """Rows of one class with finer labels from 0, in both embeddings, and the unit of each."""

    sides: tuple[Floats, Floats]
    labels: Integers
    units: Integers


def paired_few_shot(
    sample: Sample, fine: Codes, *, least_units: int, confidence: float, seed: int
) -> ReferenceProbe | None:
    """Balanced accuracy inside classes of both embeddings; None where no class has finer labels.

    A finer label takes part in a class where it has `least_units` independent units, or, if no
    class has two such labels, two. Shots are ten, or half of the units of the rarest. The interval
    adds the variance over test units, clustered, to that of the mean over draws, whose rows come
    from one sample: of s of n units of a label, (1/draws + s/n) times that of a draw.
    """
    rng = np.random.default_rng([seed, 0])
    tasks = list(_tasks(sample, fine, least_units, rng))
    tasks = tasks or list(_tasks(sample, fine, 2, rng))
    if not tasks:
        return None
    shots = min(_SHOTS, *(int(_units_of_labels(task).min()) // 2 for task in tasks))
    found = [_differences(task, shots, [seed, 1, k]) for k, task in enumerate(tasks)]
    accuracies = np.array([accuracy for accuracy, _, _ in found])  # (classes, draws, 2)
    means = accuracies.mean(axis=(0, 1))
    by_draw = (accuracies[:, :, 0] - accuracies[:, :, 1]).mean(axis=0)
    influences = np.concatenate([each for _, each, _ in found]) / len(tasks)
    units = np.concatenate([task_units for _, _, task_units in found])
    summed = np.bincount(np.unique(units, return_inverse=True)[1], weights=influences)
    count = len(summed)
    # Draws share their rows: to first order the mean over all of them still varies as one draw
    # does, times the part of a label's units that is drawn.
    drawn_part = 1 / _DRAWS + shots / np.mean([_units_of_labels(task).mean() for task in tasks])
    variance = (
        float(summed @ summed) * count / (count - 1) + float(by_draw.var(ddof=1)) * drawn_part
    )
    half = t_quantile(count - 1, confidence) * float(np.sqrt(variance))
    difference = float(means[0] - means[1])
    return ReferenceProbe(
        shots=shots,
        embedding=float(means[0]),
        reference=float(means[1]),
        difference=Interval(difference, max(-1.0, difference - half), min(1.0, difference + half)),
        draws=_DRAWS,
        classes=len(tasks),
        skipped_classes=len(np.unique(sample.labels.codes)) - len(tasks),
    )


def _tasks(sample: Sample, fine: Codes, least: int, rng: np.random.Generator) -> Iterator[_Task]:
    """The classes with two finer labels or more of enough units."""
    assert sample.beside is not None  # the caller has one
    unit_codes = np.arange(len(sample.matrix)) if sample.units is None else sample.units
    known = sample.beside.paired & (fine.codes >= 0)
    for code in np.unique(sample.labels.codes):
        rows = np.flatnonzero(known & (sample.labels.codes == code))
        rows = whole_units(rows, unit_codes, _MOST_ROWS, rng.permutation)
        names = labels_of_enough_units(fine.codes[rows], unit_codes[rows], least)
        if len(names) < 2:
            continue
        rows = rows[np.isin(fine.codes[rows], names)]
        sides = unit_rows(sample.matrix[rows]), unit_rows(sample.beside.matrix[rows])
        yield _Task(sides, np.searchsorted(names, fine.codes[rows]), unit_codes[rows])


def _units_of_labels(task: _Task) -> Integers:
    """Independent units of each finer label."""
    return np.bincount(np.unique(np.stack([task.labels, task.units]), axis=1)[0])


def _differences(task: _Task, shots: int, seed: list[int]) -> tuple[Floats, Floats, Integers]:
    """Balanced accuracies (draws, 2), and each row's influence on their difference, with its unit.

    A row counts by the mean over the draws that test it; those of a drawn unit are not tested.
    """
    accuracies = np.zeros((_DRAWS, 2))
    gains, tests = np.zeros(len(task.labels)), np.zeros(len(task.labels))
    for draw in range(_DRAWS):
        ranks = unit_ranks(task.labels, task.units, np.random.default_rng([*seed, draw]))
        drawn = (ranks >= 0) & (ranks < shots)
        tested = ~np.isin(task.units, task.units[drawn])
        hits = [
            nearest_mean(rows[drawn], task.labels[drawn], rows[tested]) == task.labels[tested]
            for rows in task.sides
        ]
        accuracies[draw] = [balanced_accuracy(right, task.labels[tested]) for right in hits]
        gains[tested] += hits[0].astype(np.float64) - hits[1]
        tests[tested] += 1
    known = tests > 0
    labels, gains = task.labels[known], gains[known] / tests[known]
    counts = np.bincount(labels)
    means = np.bincount(labels, weights=gains) / np.maximum(counts, 1)
    influences = (gains - means[labels]) / (counts[labels] * np.count_nonzero(counts))
    return accuracies, influences, task.units[known]
