"""What a trained run reaches on rows it was not trained on, at both layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.data import Augmenter, LabelledData
from uncollapse.metrics import measure
from uncollapse.pilot.goal import Goal
from uncollapse.probes import Embedded, ProbeSettings, probe
from uncollapse.training import Problem, embed_rows

__all__ = ["evaluate"]

LAYERS = ("projector", "backbone")
_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
# Instances of a class that look for their other view among each other.
_MOST_INSTANCES = 200
Layers = dict[str, NDArray[np.float32]]


def evaluate(
    problem: Problem,
    part: str,
    goal: Goal,
    *,
    viewer: Augmenter,
    downstream: Mapping[str, LabelledData],
) -> dict[str, dict[str, Any]]:
    """Measures of the trained model on the rows of `part`, probes fitted on training rows.

    Args:
        problem: With the trained model.
        part: "validation" to choose by, "test" to confirm.
        goal: The objective.
        viewer: Two views by the start's augmentation, for "other-view".
        downstream: Other data by name.

    Returns:
        By layer: "objective", "task" (accuracy of the training label, linear probe; both in
        [0, 1]), "instance_variance" (unbiased, unit vectors), "share" of the total variance,
        "verdict" of `measure`, and "downstream" scores by name.
    """
    data = problem.data
    train, tested = data.rows("train"), data.rows(part)
    rows = np.concatenate([train, tested])
    layers = _layers(problem, data, rows)
    split = np.array(["train"] * len(train) + ["test"] * len(tested))
    names = np.array([*data.label_names, None], dtype=object)
    labels = names[data.labels[rows]]
    found = {name: _geometry(layers[name][len(train) :], data, tested) for name in LAYERS}
    targets = {"label": labels} | {
        c: data.columns[c][rows] for c in goal.columns if c in data.columns
    }
    embedded = Embedded(layers, targets, split, label="label")
    for name, value in _linear(embedded, "label").items():
        found[name]["task"] = value
    others = {name: _downstream(problem, other, part) for name, other in downstream.items()}
    for name in LAYERS:
        found[name]["downstream"] = {which: scores[name] for which, scores in others.items()}
    for name, value in _objective(problem, goal, embedded, found, part, viewer).items():
        found[name]["objective"] = value
    return found


def _layers(problem: Problem, data: LabelledData, rows: NDArray[np.int64]) -> Layers:
    precision = problem.config.precision
    parts = list(embed_rows(problem.model, data, rows, problem.augmenter, precision=precision))
    return {name: np.concatenate([one[name][:, 0] for one in parts]) for name in LAYERS}


def _geometry(
    matrix: NDArray[np.float32], data: LabelledData, rows: NDArray[np.int64]
) -> dict[str, Any]:
    known = data.labels[rows] >= 0
    held = measure(matrix[known], data.labels[rows][known], permutations=0, probe=None)
    within, total = held.within_class_variance.estimate, held.total_variance.estimate
    return {
        "instance_variance": within,
        "share": within / total if within is not None and total else None,
        "verdict": held.verdict,
    }


def _linear(embedded: Embedded, target: str) -> dict[str, float]:
    settings = ProbeSettings(l2=_PENALTIES, probes=("linear",))
    found = probe(embedded, targets=[target], settings=settings)
    return {
        name: found.of(name, target).reading("linear").score.accuracy.estimate for name in LAYERS
    }


def _objective(
    problem: Problem,
    goal: Goal,
    embedded: Embedded,
    found: Mapping[str, Mapping[str, Any]],
    part: str,
    viewer: Augmenter,
) -> dict[str, float]:
    if goal.kind == "downstream":
        return {
            name: float(np.mean([found[name]["downstream"][which] for which in goal.columns]))
            for name in LAYERS
        }
    if goal.kind == "other-view":
        return _other_view(problem, part, viewer)
    read = probe(
        embedded,
        targets=list(goal.columns),
        settings=ProbeSettings(probes=("within-class few-shot",)),
    )
    return {
        name: float(
            np.mean([_most_shots(read.of(name, column).readings) for column in goal.columns])
        )
        for name in LAYERS
    }


def _most_shots(readings: Any) -> float:
    """The reading with the most shots."""
    last = max(readings, key=lambda reading: reading.details["shots"])
    return float(last.score.balanced_accuracy.estimate)


def _downstream(problem: Problem, other: LabelledData, part: str) -> dict[str, float]:
    rows = np.concatenate([other.rows("train"), other.rows(part)])
    split = np.array(["train"] * len(other.rows("train")) + ["test"] * len(other.rows(part)))
    names = np.array([*other.label_names, None], dtype=object)
    targets = {"label": names[other.labels[rows]]}
    embedded = Embedded(_layers(problem, other, rows), targets, split)
    settings = ProbeSettings(l2=_PENALTIES, probes=("linear",))
    found = probe(embedded, settings=settings)
    return {
        name: found.of(name, "label").reading("linear").score.balanced_accuracy.estimate
        for name in LAYERS
    }


def _other_view(problem: Problem, part: str, viewer: Augmenter) -> dict[str, float]:
    """Fraction of instances whose other view is the nearest in their class, above chance."""
    data, rng = problem.data, np.random.default_rng(0)
    scores: dict[str, list[float]] = {name: [] for name in LAYERS}
    for c in range(len(data.label_names)):
        rows = data.rows(part)
        rows = rng.permutation(rows[data.labels[rows] == c])[:_MOST_INSTANCES]
        if len(rows) < 2:
            continue
        parts = list(embed_rows(problem.model, data, np.sort(rows), viewer, key=(0, c)))
        for name in LAYERS:
            views = np.concatenate([one[name] for one in parts]).astype(np.float64)
            views /= np.linalg.norm(views, axis=2, keepdims=True)
            cosines = views[:, 0] @ views[:, 1].T
            first = float(np.mean(np.argmax(cosines, axis=1) == np.arange(len(rows))))
            scores[name].append((first - 1 / len(rows)) / (1 - 1 / len(rows)))
    return {name: float(np.mean(values)) for name, values in scores.items()}
