"""How a run is measured: what examples of its own training rows read on test rows.

Finer labels are read by ten examples of each inside the classes, clean ones: what the embedding
kept, not what the examples lack. The training label is read by a linear probe on the rows and the
labels that the run had, wrong ones included: what its user would get.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.data import LabelledData, training_scales
from uncollapse.metrics import measure, retention
from uncollapse.pilot import Free
from uncollapse.probes import Embedded, ProbeOptions, fit_logistic, probe
from uncollapse.records import Objective, StressScores
from uncollapse.stress.corruptions import corrupted
from uncollapse.stress.data import Damaged
from uncollapse.training import Problem, embed_rows, joined

LAYERS = ("backbone", "projector")
PENALTY = 1e-3  # of the linear probe, on features of mean square 1
Layers = dict[str, NDArray[np.float32]]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Examined:
    """Test rows of the clean data, as they are or corrupted."""

    rows: Integers
    corruption: str = ""
    strength: int = 0


@dataclass
class Reader:
    """A trained run that is read on test rows by examples of `found`, the data that it had."""

    problem: Problem
    free: Free
    goal: Objective
    found: Damaged
    clean: LabelledData

    @cached_property
    def examples(self) -> Layers:
        """Embeddings of training rows."""
        data = self.found.data
        return self.embedded(data, data.rows("train"))

    @cached_property
    def clean_examples(self) -> tuple[Layers, Integers]:
        """Embeddings and numbers (of the clean data) of the rows that finer labels are read by."""
        if self.found.apart:
            return self.examples, self.found.rows[self.found.data.rows("train")]
        rows = self.clean.rows("train")
        return self.embedded(self.clean, rows), rows

    def embedded(self, data: LabelledData, rows: Integers, test: Examined | None = None) -> Layers:
        """Embeddings of rows by layer, and the references of the objective."""
        model, precision = self.free.model(self.problem.model), self.problem.config.precision
        if test is not None and test.corruption:
            data, rows = _corrupted(data, rows, test), np.arange(len(rows))
        batches = embed_rows(model, data, rows, self.problem.augmenter, precision=precision)
        return {name: values[:, 0] for name, values in joined(batches).items()}

    def scores(self, test: Examined) -> dict[str, StressScores]:
        """By layer, on these test rows."""
        labels = self.labels_of(test.rows)
        known = labels >= 0
        rows, labels = test.rows[known], labels[known]
        layers = self.embedded(self.clean, rows, test)
        finer = dict(self._finer(layers, rows, labels, test))
        return {
            name: replace(self._of_layer(name, layers[name], labels), finer=finer.get(name))
            for name in LAYERS
        }

    def labels_of(self, rows: Integers) -> Integers:
        """Labels of rows of the clean data by the numbers that the run's classes have; else -1."""
        names = self.found.data.label_names
        code = {name: number for number, name in enumerate(names)}
        number = np.array([*(code.get(name, -1) for name in self.clean.label_names), -1])
        return np.asarray(number[self.clean.labels[rows]])

    def _of_layer(self, name: str, values: NDArray[np.float32], labels: Integers) -> StressScores:
        data = self.found.data
        train = data.labels[data.rows("train")]
        known = train >= 0
        # Of classes of one size the first.
        smallest = int(np.argmin(np.bincount(train[known], minlength=len(data.label_names))))
        recalls = _recalls(self.examples[name][known], train[known], values, labels)
        record = measure(values, labels, permutations=0, probe=None)
        within, total = record.within_class_variance.estimate, record.total_variance.estimate
        variances = {c.label: c.within_class_variance.estimate for c in record.classes}
        return StressScores(
            training_label=float(np.mean(list(recalls.values()))),
            smallest_class=recalls.get(smallest),
            worst_class=min(recalls.values()),
            instance_variance=within,
            smallest_variance=variances.get(smallest),
            share=within / total if within is not None and total else None,
            verdict=record.verdict,
        )

    def _finer(
        self, layers: Layers, rows: Integers, labels: Integers, test: Examined
    ) -> Iterator[tuple[str, float]]:
        """By layer, the objective."""
        if self.goal.by_retention:
            against = self.goal.columns[0]
            whole = layers
            if test.corruption:  # What should be kept is the structure of the clean rows.
                whole = self.embedded(self.clean, rows)
            reference = whole[against]
            groups = None if self.clean.groups is None else self.clean.groups[rows]
            for name in LAYERS:
                if name != against:
                    kept = retention(layers[name], reference, labels, groups=groups, permutations=0)
                    yield name, float(kept.retention.estimate or 0.0)
            return
        examples, places = self.clean_examples
        both = np.concatenate([places, rows])
        embedded = {name: np.concatenate([examples[name], layers[name]]) for name in LAYERS}
        numbers = self.labels_of(both)
        names = np.array([*self.found.data.label_names, None], dtype=object)
        columns = self.goal.columns
        targets = {"label": names[numbers]}
        targets |= {column: self.clean.columns[column][both] for column in columns}
        split = np.where(np.arange(len(both)) < len(places), "train", "test")
        options = ProbeOptions(probes=("within-class few-shot",))
        result = probe(
            Embedded(embedded, targets, split, label="label"), targets=[*columns], settings=options
        )
        for name in LAYERS:
            found = [_most_shots(result.target(name, column).readings) for column in columns]
            if found and None not in found:
                yield name, float(np.mean(np.array(found, dtype=float)))


def _corrupted(data: LabelledData, rows: Integers, test: Examined) -> LabelledData:
    """Those rows, corrupted, as all that the data hold."""
    inputs, scales = data.inputs, None
    if inputs.kind != "image":  # of which strengths are shares
        scales = training_scales(inputs, data.rows("train"))
    raw = inputs.read(rows)
    changed = corrupted(raw, test.corruption, test.strength, kind=inputs.kind, scales=scales)
    return replace(data, inputs=replace(inputs, array=changed.numpy(), rows=None))


def _most_shots(readings: Any) -> float | None:
    if not readings:
        return None
    last = max(readings, key=lambda reading: reading.details.shots or 0)
    return float(last.score.balanced_accuracy.estimate)


def _recalls(
    examples: NDArray[np.float32], train: Integers, values: NDArray[np.float32], labels: Integers
) -> dict[int, float]:
    """By class, the share of test rows that a linear probe on the examples reads right."""
    right = labels_read(examples, train, values) == labels
    return {int(c): float(np.mean(right[labels == c])) for c in np.unique(labels)}


def labels_read(
    examples: NDArray[np.float32], train: Integers, values: NDArray[np.float32]
) -> Integers:
    """What a linear probe on examples (n, d) with labels `train` (n,) reads in values (N, d)."""
    from sklearn.linear_model import LogisticRegression

    strength = (2 if len(np.unique(train)) == 2 else 1) / (PENALTY * len(train))
    regression = LogisticRegression(max_iter=1000, tol=1e-4)
    model = next(fit_logistic(regression, examples.astype(np.float64), train, [strength]))
    return np.asarray(model.predict(values.astype(np.float64)))
