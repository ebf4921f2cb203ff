"""Coarse-to-fine: inside each training class, read the finer label.

Linear and neighbours are those of `uncollapse measure` (residuals from the class's training mean at
their own scale), here fitted on the training rows of the class, chosen on its validation rows, and
tested once on its test rows: what the residuals hold, however small they are. Few-shot takes the
embedding as it is deployed, at its own scale, and a few training rows of each finer label: what is
left for a kind that is new.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.probes.accuracy import balanced_accuracy, score_within
from uncollapse.probes.classifiers import over_draws, shot_values
from uncollapse.probes.dataset import Dataset
from uncollapse.probes.probed_classes import ProbedClass, ProbeOptions
from uncollapse.probes.settings import ProbeSettings
from uncollapse.probes.task import Part
from uncollapse.probes.within_class import PREDICT, _choices
from uncollapse.records import Reading
from uncollapse.samples import Codes, unit_rows

__all__ = ["within_classes"]

Integers = NDArray[np.int64]
# What the record calls the classifiers of `uncollapse.probes.within_class`.
_NAMES = {"logistic": "within-class linear", "knn": "within-class knn"}
FEW_SHOT = "within-class few-shot"
_FORMS = ("accuracy", "balanced_accuracy", "chance_corrected")
# A finer label of a class is tested where its test rows are of this many units.
_LEAST_TEST = 2


@dataclass(frozen=True)
class _Inside:
    """A class to probe, with the positions of its splits in it."""

    of: ProbedClass
    train: Integers
    validation: Integers
    test: Integers


def within_classes(
    data: Dataset, layer: str, target: str, settings: ProbeSettings, seed: list[int]
) -> tuple[list[Reading], list[str]]:
    """Readings inside the classes of the training label, by both classifiers.

    Returns:
        The readings (none where no class has two finer labels of enough units), and notes.
    """
    label = data.targets[data.given.label or ""]
    fine, options = data.targets[target], settings.within
    rng = np.random.default_rng(seed)
    classes = []
    for c in range(len(label.names)):
        inside = _inside(data, layer, label, fine, c, options, rng)
        if inside is not None:
            classes.append(inside)
    skipped = len(np.unique(label.codes[label.codes >= 0])) - len(classes)
    if not classes:
        least = options.least_units
        return [], [f"within classes: no class has two finer labels with {least} training units"]
    readings = [
        _read(name, classes, data, settings, skipped)
        for name in _NAMES
        if _NAMES[name] in settings.probes
    ]
    if FEW_SHOT in settings.probes:
        readings += _few_shot(classes, data, settings, seed)
    return readings, []


def _few_shot(
    classes: list[_Inside], data: Dataset, settings: ProbeSettings, seed: list[int]
) -> list[Reading]:
    """Nearest mean of a few rows per finer label, each class weighing the same in every draw."""
    parts = [
        (inside.of, _part(inside.of, data, inside.train), _part(inside.of, data, inside.test))
        for inside in classes
    ]
    least = settings.within.least_units
    shots = tuple(s for s in settings.shots or (1, 5, 10) if s <= least)
    values = [
        shot_values(train, test, of.fine_count, shots, settings.draws, [*seed, 3, number])
        for number, (of, train, test) in enumerate(parts)
    ]
    weights = np.array([len(test.labels) for _, _, test in parts], dtype=np.float64)
    readings = []
    for s in shots:
        each = np.stack([of_class[s] for of_class in values])
        forms = each.mean(axis=0)
        forms[:, 0] = np.average(each[:, :, 0], axis=0, weights=weights)
        reading = over_draws(FEW_SHOT, s, forms, settings)
        table = [
            {"label": of.label, "fine_labels": of.fine_count, "test_rows": len(test.labels)}
            | dict(zip(_FORMS, own[s].mean(axis=0).tolist(), strict=True))
            for (of, _, test), own in zip(parts, values, strict=True)
        ]
        readings.append(replace(reading, details=reading.details | {"classes": table}))
    return readings


def _part(of: ProbedClass, data: Dataset, rows: Integers) -> Part:
    return Part(of.rows[rows], of.vectors[rows], of.fine[rows], data.units[of.rows[rows]])


def _inside(
    data: Dataset,
    layer: str,
    label: Codes,
    fine: Codes,
    c: int,
    options: ProbeOptions,
    rng: np.random.Generator,
) -> _Inside | None:
    """The rows of a class whose finer labels have enough units, or None."""
    parts = []
    for rows in (data.split.train, data.split.validation, data.split.test):
        rows = rows[(label.codes[rows] == c) & (fine.codes[rows] >= 0)]
        parts.append(_some(rows, data.units, options.most_rows, rng))
    train, validation, test = parts
    names = np.intersect1d(
        _enough(train, fine.codes, data.units, options.least_units),
        _enough(test, fine.codes, data.units, _LEAST_TEST),
    )
    train, validation, test = (rows[np.isin(fine.codes[rows], names)] for rows in parts)
    if len(names) < 2 or not len(validation):
        return None
    rows = np.concatenate([train, validation, test])
    ends = np.cumsum([len(train), len(validation)])
    split = np.split(np.arange(len(rows)), ends)
    probed = ProbedClass(
        label.names[c],
        rows,
        unit_rows(data.layers[layer][rows]),
        np.searchsorted(names, fine.codes[rows]),
        data.units[rows],
        np.zeros(len(rows), dtype=np.int64),
    )
    return _Inside(probed, *split)


def _enough(rows: Integers, fine: Integers, units: Integers, least: int) -> Integers:
    pairs = np.unique(np.stack([fine[rows], units[rows]]), axis=1)
    names, counts = np.unique(pairs[0], return_counts=True)
    return np.asarray(names[counts >= least])


def _some(rows: Integers, units: Integers, most: int, rng: np.random.Generator) -> Integers:
    """At most that many rows, in whole units drawn at random."""
    if len(rows) <= most:
        return rows
    names, of = np.unique(units[rows], return_inverse=True)
    place = rng.permutation(len(names))[of]
    kept = np.sort(place)[most - 1]
    return np.asarray(
        rows[place <= kept if np.count_nonzero(place <= kept) <= most else place < kept]
    )


def _read(
    name: str, classes: list[_Inside], data: Dataset, settings: ProbeSettings, skipped: int
) -> Reading:
    right, owners, labels, units, counts, table = [], [], [], [], [], []
    for number, inside in enumerate(classes):
        of, entry = inside.of, dict[str, Any]()
        guess, entry["chosen"], entry["validation"] = _predict(name, inside, settings)
        hits, fine = guess == of.fine[inside.test], of.fine[inside.test]
        entry |= {"label": of.label, "fine_labels": of.fine_count, "test_rows": len(fine)}
        entry["balanced_accuracy"] = balanced_accuracy(hits, fine)
        chance = 1 / of.fine_count
        entry["chance_corrected"] = (entry["balanced_accuracy"] - chance) / (1 - chance)
        right.append(hits)
        labels.append(fine)
        owners.append(np.full(len(fine), number))
        units.append(data.units[of.rows[inside.test]])
        counts.append(of.fine_count)
        table.append(entry)
    found = score_within(
        np.concatenate(right),
        np.concatenate(owners),
        np.concatenate(labels),
        np.array(counts),
        np.concatenate(units),
        settings.confidence,
    )
    validation = float(np.mean([entry["validation"] for entry in table]))
    details = {"classes": table, "skipped_classes": skipped}
    return Reading(_NAMES[name], found, {}, validation, details)


def _predict(
    name: str, inside: _Inside, settings: ProbeSettings
) -> tuple[Integers, dict[str, float], float]:
    """Finer labels of a class's test rows, what was chosen, and its value on validation rows."""
    of = inside.of
    choices = _choices(name, settings.within)
    truth = of.fine[inside.validation]
    values = [
        balanced_accuracy(guess == truth, truth)
        for guess in PREDICT[name](of, inside.train, inside.validation, choices)
    ]
    best = int(np.argmax(values))
    train = inside.train
    if settings.refit:
        train = np.concatenate([inside.train, inside.validation])
    chosen = {key: value for key, value in choices[best].items() if key != "index"}
    chance = 1 / of.fine_count
    guess = PREDICT[name](of, train, inside.test, [choices[best]])[0]
    return guess, chosen, (values[best] - chance) / (1 - chance)
