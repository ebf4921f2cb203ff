"""Coarse-to-fine: inside each training class, read the finer label.

Linear and neighbours are those of `uncollapse measure` (residuals from the class's training mean at
their own scale), here fitted on the training rows of the class, chosen on its validation rows, and
tested once on its test rows: what the residuals hold, however small they are. Few-shot takes the
embedding as it is deployed, at its own scale, and a few training rows of each finer label: what is
left for a kind that is new.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uncollapse.probes._accuracy import balanced_accuracy, chance_corrected, score_within
from uncollapse.probes._dataset import Dataset
from uncollapse.probes._probed_classes import (
    CLASSIFIERS,
    ProbedClass,
    choose,
    labels_of_enough_units,
)
from uncollapse.probes._task import SplitRows
from uncollapse.probes.few_shot import SHOTS, over_draws, shot_values
from uncollapse.records import ClassReading, ProbeOptions, Reading, ReadingDetails
from uncollapse.samples import Codes, unit_rows

__all__ = ["MOST_ROWS", "inside_classes"]

Integers = NDArray[np.int64]
# What the record calls the classifiers.
_NAMES = {"logistic": "within-class linear", "knn": "within-class knn"}
_FEW_SHOT = "within-class few-shot"
# A finer label of a class is tested where its test rows are of this many units.
_LEAST_TEST = 2
MOST_ROWS = 2000


@dataclass(frozen=True)
class _SplitClass:
    """A class to probe, with the positions of its splits in it."""

    probed: ProbedClass
    train: Integers
    validation: Integers
    test: Integers

    def part(self, positions: Integers) -> SplitRows:
        """Those of its rows."""
        probed = self.probed
        return SplitRows(probed.vectors[positions], probed.fine[positions], probed.units[positions])


def inside_classes(
    data: Dataset, layer: str, target: str, options: ProbeOptions, seed: list[int]
) -> tuple[list[Reading], list[str]]:
    """Readings inside the classes of the training label, and notes.

    There are none where no class has two finer labels of enough units.
    """
    label, fine = data.targets[data.given.label or ""], data.targets[target]
    rng = np.random.default_rng(seed)
    split_classes = (
        _split_class(data, layer, label, fine, c, options, rng) for c in range(len(label.names))
    )
    classes = [split_class for split_class in split_classes if split_class is not None]
    skipped = len(np.unique(label.codes[label.codes >= 0])) - len(classes)
    if not classes:
        least = options.within.least_units
        return [], [f"within classes: no class has two finer labels with {least} training units"]
    readings = [
        _read(classifier, classes, options, skipped)
        for classifier in _NAMES
        if _NAMES[classifier] in options.probes
    ]
    if _FEW_SHOT in options.probes:
        readings += _few_shot(classes, options, seed)
    return readings, []


def _split_class(
    data: Dataset,
    layer: str,
    label: Codes,
    fine: Codes,
    c: int,
    options: ProbeOptions,
    rng: np.random.Generator,
) -> _SplitClass | None:
    """The rows of a class whose finer labels have enough units, or None."""
    parts = []
    for rows in (data.split.train, data.split.validation, data.split.test):
        rows = rows[(label.codes[rows] == c) & (fine.codes[rows] >= 0)]
        parts.append(_whole_units(rows, data.units, options.within.most_rows or MOST_ROWS, rng))
    train, test = (
        labels_of_enough_units(fine.codes[rows], data.units[rows], least)
        for rows, least in ((parts[0], options.within.least_units), (parts[2], _LEAST_TEST))
    )
    names = np.intersect1d(train, test)
    parts = [rows[np.isin(fine.codes[rows], names)] for rows in parts]
    if len(names) < 2 or not len(parts[1]):
        return None
    rows = np.concatenate(parts)
    ends = np.cumsum([len(part) for part in parts[:2]])
    probed = ProbedClass(
        label.names[c],
        rows,
        unit_rows(data.layers[layer][rows]),
        np.searchsorted(names, fine.codes[rows]),
        data.units[rows],
        np.zeros(0, dtype=np.int64),
    )
    return _SplitClass(probed, *np.split(np.arange(len(rows)), ends))


def _whole_units(rows: Integers, units: Integers, most: int, rng: np.random.Generator) -> Integers:
    """At most that many rows, in whole units drawn at random."""
    if len(rows) <= most:
        return rows
    names, unit = np.unique(units[rows], return_inverse=True)
    place = rng.permutation(len(names))[unit]
    last = np.sort(place)[most - 1]
    fits = np.count_nonzero(place <= last) <= most
    return np.asarray(rows[place <= last if fits else place < last])


def _read(
    classifier: str, classes: list[_SplitClass], options: ProbeOptions, skipped: int
) -> Reading:
    """The reading of one classifier, each class weighing the same."""
    hits, tested, table = [], [], []
    for split_class in classes:
        probed, test = split_class.probed, split_class.part(split_class.test)
        chosen, validation = choose(
            classifier, probed, split_class.train, split_class.validation, options.within
        )
        train = split_class.train
        if options.refit:
            train = np.concatenate([train, split_class.validation])
        predict, count = CLASSIFIERS[classifier], probed.fine_count
        guess = predict(probed, train, split_class.test, [chosen], options.within)[0]
        right = guess == test.labels
        hits.append(right)
        tested.append(test)
        table.append(
            ClassReading(
                probed.label,
                count,
                len(right),
                balanced_accuracy(right, test.labels),
                chance_corrected(right, test.labels, count),
                chosen=chosen,
                validation=validation,
            )
        )
    whole = score_within(
        np.concatenate(hits),
        np.repeat(np.arange(len(classes)), [len(test.labels) for test in tested]),
        np.concatenate([test.labels for test in tested]),
        np.array([entry.fine_labels for entry in table]),
        np.concatenate([test.units for test in tested]),
        options.confidence,
    )
    return Reading(
        _NAMES[classifier],
        whole,
        validation=float(np.mean([entry.validation for entry in table])),
        details=ReadingDetails(classes=tuple(table), skipped_classes=skipped),
    )


def _few_shot(classes: list[_SplitClass], options: ProbeOptions, seed: list[int]) -> list[Reading]:
    """Nearest mean of a few rows per finer label, each class weighing the same in every draw."""
    shots = tuple(s for s in options.shots or SHOTS if s <= options.within.least_units)
    values = [
        shot_values(
            split_class.part(split_class.train),
            split_class.part(split_class.test),
            split_class.probed.fine_count,
            shots,
            options.draws,
            [*seed, 3, number],
        )
        for number, split_class in enumerate(classes)
    ]
    weights = np.array([len(split_class.test) for split_class in classes], dtype=np.float64)
    readings = []
    for s in shots:
        each = np.stack([of_class[s] for of_class in values])
        forms = each.mean(axis=0)
        forms[:, 0] = np.average(each[:, :, 0], axis=0, weights=weights)
        table = []
        for split_class, own in zip(classes, each, strict=True):
            accuracy, balanced, corrected = own.mean(axis=0).tolist()
            probed, tested = split_class.probed, len(split_class.test)
            table.append(
                ClassReading(
                    probed.label, probed.fine_count, tested, balanced, corrected, accuracy=accuracy
                )
            )
        readings.append(over_draws(_FEW_SHOT, s, forms, options.confidence, tuple(table)))
    return readings
