"""Coarse-to-fine: inside each training class, read the finer label.

Linear and neighbours are those of `uncollapse measure` (residuals from the class's training mean at
their own scale), here fitted on the training rows of the class, chosen on its validation rows, and
tested once on its test rows: what the residuals hold, however small they are. Few-shot takes the
embedding as it is deployed, at its own scale, and a few training rows of each finer label: what is
left for a kind that is new.
"""

from __future__ import annotations

import numpy as np

from uncollapse.probes._dataset import Dataset
from uncollapse.probes._residuals import CLASSIFIERS, choose
from uncollapse.probes._task import (
    Integers,
    SplitRows,
    Task,
    balanced_accuracy,
    chance_corrected,
    labels_of_enough_units,
    score_within,
    whole_units,
)
from uncollapse.probes.few_shot import SHOTS, over_draws, shot_values
from uncollapse.records import ClassReading, ProbeOptions, ProbeReading, ReadingDetails
from uncollapse.samples import unit_rows

# What the record calls the classifiers.
_NAMES = {"logistic": "within-class linear", "knn": "within-class knn"}
_FEW_SHOT = "within-class few-shot"
# A finer label of a class is tested where its test rows are of this many units.
_LEAST_TEST = 2
MOST_ROWS = 2000


def inside_classes(
    data: Dataset, layer: str, target: str, options: ProbeOptions, seed: list[int]
) -> tuple[list[ProbeReading], list[str]]:
    """Readings inside the classes of the training label, and notes.

    There are none where no class has two finer labels of enough units.
    """
    label, rng = data.targets[data.given.label or ""], np.random.default_rng(seed)
    every = [_task(data, layer, target, c, options, rng) for c in range(len(label.names))]
    tasks = [task for task in every if task is not None]
    skipped = len(np.unique(label.codes[label.codes >= 0])) - len(tasks)
    if not tasks:
        least = options.within.least_units
        return [], [f"within classes: no class has two finer labels with {least} training units"]
    readings = [
        _read(classifier, tasks, options, skipped)
        for classifier, name in _NAMES.items()
        if name in options.probes
    ]
    if _FEW_SHOT in options.probes:
        readings += _few_shot(tasks, options, seed)
    return readings, []


def _task(
    data: Dataset,
    layer: str,
    target: str,
    c: int,
    options: ProbeOptions,
    rng: np.random.Generator,
) -> Task | None:
    """The rows of class c whose finer labels have enough units, or None."""
    label, fine = data.targets[data.given.label or ""], data.targets[target]
    parts, enough = [], []

    def drawn(count: int) -> Integers:
        return np.argsort(rng.permutation(count))

    for split, least in (
        ("train", options.within.least_units),
        ("validation", 0),
        ("test", _LEAST_TEST),
    ):
        rows = data.rows[split]
        own = rows[(label.codes[rows] == c) & (fine.codes[rows] >= 0)]
        own = whole_units(own, data.units, options.within.most_rows or MOST_ROWS, drawn)
        parts.append(own)
        enough.append(labels_of_enough_units(fine.codes[own], data.units[own], least))
    names = np.intersect1d(enough[0], enough[2])
    parts = [rows[np.isin(fine.codes[rows], names)] for rows in parts]
    if len(names) < 2 or not len(parts[1]):
        return None
    train, validation, test = (
        SplitRows(
            unit_rows(data.layers[layer][rows]),
            np.searchsorted(names, fine.codes[rows]),
            data.units[rows],
        )
        for rows in parts
    )
    return Task(label.names[c], tuple(fine.names[k] for k in names), train, validation, test)


def _read(classifier: str, tasks: list[Task], options: ProbeOptions, skipped: int) -> ProbeReading:
    """The reading of one classifier, each class weighing the same."""
    predict, index = CLASSIFIERS[classifier], options.within.index
    hits, table = [], []
    for task in tasks:
        chosen, validation = choose(
            classifier, task.train, task.validation, task.classes, options.within
        )
        train = task.refit if options.refit else task.train
        labels = task.test.labels
        right = predict(train, task.test.features, [chosen], index)[0] == labels
        hits.append(right)
        table.append(
            ClassReading(
                task.name,
                task.classes,
                len(right),
                balanced_accuracy(right, labels),
                chance_corrected(right, labels, task.classes),
                chosen=chosen,
                validation=validation,
            )
        )
    score = score_within(
        np.concatenate(hits),
        np.repeat(np.arange(len(tasks)), [len(right) for right in hits]),
        np.concatenate([task.test.labels for task in tasks]),
        np.array([task.classes for task in tasks]),
        np.concatenate([task.test.units for task in tasks]),
        options.confidence,
    )
    return ProbeReading(
        _NAMES[classifier],
        score,
        validation=float(np.mean([entry.validation for entry in table])),
        details=ReadingDetails(classes=tuple(table), skipped_classes=skipped),
    )


def _few_shot(tasks: list[Task], options: ProbeOptions, seed: list[int]) -> list[ProbeReading]:
    """Nearest mean of a few rows per finer label, each class weighing the same in every draw."""
    shots = tuple(s for s in options.shots or SHOTS if s <= options.within.least_units)
    values = [
        shot_values(task, shots, options.draws, [*seed, 3, number])
        for number, task in enumerate(tasks)
    ]
    tested = [len(task.test.labels) for task in tasks]
    readings = []
    for s in shots:
        each = np.stack([by_shots[s] for by_shots in values])
        forms = each.mean(axis=0)
        forms[:, 0] = np.average(each[:, :, 0], axis=0, weights=np.array(tested, dtype=np.float64))
        table = []
        for task, rows, own in zip(tasks, tested, each, strict=True):
            accuracy, balanced, corrected = own.mean(axis=0).tolist()
            table.append(ClassReading(task.name, task.classes, rows, balanced, corrected, accuracy))
        readings.append(over_draws(_FEW_SHOT, s, forms, options.confidence, tuple(table)))
    return readings
