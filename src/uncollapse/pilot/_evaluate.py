"""What a trained run reaches on rows it was not trained on, at both layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from uncollapse.data import Augmenter, LabelledData
from uncollapse.metrics import measure
from uncollapse.pilot.goal import Goal
from uncollapse.probes import Embedded, ProbeOptions, probe
from uncollapse.records import LayerScores, Score
from uncollapse.training import Problem, embed_rows

LAYERS = ("projector", "backbone")
_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
# Instances of a class that look for their other view among each other.
_MOST_INSTANCES = 200


def evaluate(
    problem: Problem,
    part: str,
    goal: Goal,
    *,
    viewer: Augmenter,
    downstream: Mapping[str, LabelledData],
) -> dict[str, LayerScores]:
    """Scores by layer on the rows of `part` (to choose by, or to confirm).

    Probes are fitted on training rows; `viewer` makes two views by the start's augmentation.
    """
    data = problem.data
    columns = [column for column in goal.columns if column in data.columns]
    embedded, rows = _embedded(problem, data, part, columns)
    tested = embedded.split == "test"
    task = _linear(embedded)
    others = {name: _linear(_embedded(problem, o, part)[0]) for name, o in downstream.items()}
    balanced = {
        layer: {name: score[layer].balanced_accuracy.estimate for name, score in others.items()}
        for layer in LAYERS
    }
    objective = _objective(problem, goal, embedded, balanced, part, viewer)
    return {
        layer: replace(
            _geometry(embedded.layers[layer][tested], data.labels[rows[tested]]),
            task=task[layer].accuracy.estimate,
            downstream=balanced[layer],
            objective=objective[layer],
        )
        for layer in LAYERS
    }


def _embedded(
    problem: Problem, data: LabelledData, part: str, columns: Sequence[str] = ()
) -> tuple[Embedded, NDArray[np.int64]]:
    """Training rows and those of `part`, which are to be tested, and their numbers."""
    train, tested = data.rows("train"), data.rows(part)
    rows = np.concatenate([train, tested])
    precision = problem.config.precision
    batches = list(embed_rows(problem.model, data, rows, problem.augmenter, precision=precision))
    layers = {name: np.concatenate([batch[name][:, 0] for batch in batches]) for name in LAYERS}
    names = np.array([*data.label_names, None], dtype=object)
    targets = {"label": names[data.labels[rows]]}
    targets |= {column: data.columns[column][rows] for column in columns}
    split = np.array(["train"] * len(train) + ["test"] * len(tested))
    return Embedded(layers, targets, split, label="label"), rows


def _geometry(matrix: NDArray[np.float32], labels: NDArray[np.int64]) -> LayerScores:
    known = labels >= 0
    record = measure(matrix[known], labels[known], permutations=0, probe=None)
    within, total = record.within_class_variance.estimate, record.total_variance.estimate
    share = within / total if within is not None and total else None
    return LayerScores(within, share, record.verdict)


def _linear(embedded: Embedded) -> dict[str, Score]:
    """By layer, how well a linear probe reads the label."""
    options = ProbeOptions(l2=_PENALTIES, probes=("linear",))
    result = probe(embedded, targets=["label"], settings=options)
    return {name: result.target(name, "label").reading("linear").score for name in LAYERS}


def _objective(
    problem: Problem,
    goal: Goal,
    embedded: Embedded,
    balanced: Mapping[str, Mapping[str, float]],
    part: str,
    viewer: Augmenter,
) -> dict[str, float]:
    if goal.kind == "downstream":
        return {
            layer: float(np.mean([scores[name] for name in goal.columns]))
            for layer, scores in balanced.items()
        }
    if goal.kind == "other-view":
        return _other_view(problem, part, viewer)
    options = ProbeOptions(probes=("within-class few-shot",))
    result = probe(embedded, targets=list(goal.columns), settings=options)

    def most_shots(layer: str, column: str) -> float:
        readings = result.target(layer, column).readings
        last = max(readings, key=lambda reading: reading.details.shots or 0)
        return float(last.score.balanced_accuracy.estimate)

    return {
        layer: float(np.mean([most_shots(layer, column) for column in goal.columns]))
        for layer in LAYERS
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
        batches = list(embed_rows(problem.model, data, np.sort(rows), viewer, key=(0, c)))
        for name in LAYERS:
            views = np.concatenate([batch[name] for batch in batches]).astype(np.float64)
            views /= np.linalg.norm(views, axis=2, keepdims=True)
            cosines = views[:, 0] @ views[:, 1].T
            first = float(np.mean(np.argmax(cosines, axis=1) == np.arange(len(rows))))
            scores[name].append((first - 1 / len(rows)) / (1 - 1 / len(rows)))
    return {name: float(np.mean(values)) for name, values in scores.items()}
