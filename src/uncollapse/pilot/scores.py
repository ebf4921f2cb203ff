"""How a trained run is measured on rows that it was not trained on, and what is free beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from uncollapse.data import Augmenter, LabelledData
from uncollapse.metrics import measure, retention
from uncollapse.pilot.free import Free, Layers
from uncollapse.probes import Embedded, ProbeOptions, probe
from uncollapse.records import LayerScores, Objective, Score
from uncollapse.training import Encoder, Problem, embed_rows, joined

_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
# Instances of a class that look for their other view among each other.
_MOST_INSTANCES = 200


def evaluate(
    problem: Problem,
    part: str,
    goal: Objective,
    *,
    viewer: Augmenter,
    downstream: Mapping[str, LabelledData],
    free: Free,
) -> dict[str, LayerScores]:
    """Scores by layer on the rows of `part` (to choose by, or to confirm), and of what is free.

    Probes and linear maps are fitted on training rows; `viewer` makes two views by the start's
    augmentation.
    """
    data, model = problem.data, free.model(problem.model)
    columns = goal.columns if goal.name == "within-class" else ()
    layers, rows = _layers(problem, model, data, part)
    tested = np.arange(len(rows)) >= len(data.rows("train"))
    complete = free.fitted({name: values[~tested] for name, values in layers.items()})
    references = {name: layers[name][tested] for name in goal.columns if name in layers}
    layers = complete(layers)
    embedded = _embedded(layers, data, rows, tested, columns)
    task = _linear(embedded)
    others = {}
    for name, other in downstream.items():
        found, numbers = _layers(problem, model, other, part)
        apart = np.arange(len(numbers)) >= len(other.rows("train"))
        others[name] = _linear(_embedded(complete(found), other, numbers, apart))
    balanced = {
        layer: {name: score[layer].balanced_accuracy.estimate for name, score in others.items()}
        for layer in layers
    }
    kept: dict[str, dict[str, float]] = {}
    seen: dict[str, list[float]] = {}
    if goal.name == "downstream":
        reached = {k: [scores[name] for name in goal.columns] for k, scores in balanced.items()}
    elif goal.name == "within-class":
        reached = _within_classes(embedded, columns)
    elif goal.by_retention:
        own = {name: values[tested] for name, values in layers.items() if free.judges(name)}
        kept = _retention(own, references, data, rows[tested])
        first = goal.columns[0]
        reached = {name: [by[first]] for name, by in kept.items() if first in by}
        # What a loss that keeps a reference does not maximise.
        seen = _other_view(problem, model, part, viewer, complete)
    else:
        reached = _other_view(problem, model, part, viewer, complete)
    return {
        layer: replace(
            _geometry(values[tested], data.labels[rows[tested]]),
            task=task[layer].accuracy.estimate,
            downstream=balanced[layer],
            objective=float(np.mean(reached[layer])) if layer in reached else None,
            retention=kept.get(layer, {}),
            other_view=float(np.mean(seen[layer])) if layer in seen else None,
        )
        for layer, values in layers.items()
    }


def _retention(
    layers: Layers, references: Layers, data: LabelledData, rows: NDArray[np.int64]
) -> dict[str, dict[str, float]]:
    """By layer and reference, what is kept inside the classes; nothing where all rows are alike."""
    known = data.labels[rows] >= 0
    labels = data.labels[rows][known]
    groups = None if data.groups is None else data.groups[rows][known]

    def kept(layer: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
        found = retention(layer[known], reference[known], labels, groups=groups, permutations=0)
        return found.retention.estimate or 0.0

    return {
        name: {
            other: kept(values, reference)
            for other, reference in references.items()
            if other != name
        }
        for name, values in layers.items()
    }


def _layers(
    problem: Problem, model: Encoder, data: LabelledData, part: str
) -> tuple[Layers, NDArray[np.int64]]:
    """Embeddings of training rows and then those of `part`, and their numbers."""
    rows = np.concatenate([data.rows("train"), data.rows(part)])
    precision = problem.config.precision
    batches = embed_rows(model, data, rows, problem.augmenter, precision=precision)
    return {name: values[:, 0] for name, values in joined(batches).items()}, rows


def _embedded(
    layers: Layers,
    data: LabelledData,
    rows: NDArray[np.int64],
    tested: NDArray[np.bool_],
    columns: Sequence[str] = (),
) -> Embedded:
    """Layers of rows as probes take them."""
    names = np.array([*data.label_names, None], dtype=object)
    targets = {"label": names[data.labels[rows]]}
    targets |= {column: data.columns[column][rows] for column in columns}
    return Embedded(layers, targets, np.where(tested, "test", "train"), label="label")


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
    return {name: result.target(name, "label").reading("linear").score for name in embedded.layers}


def _within_classes(embedded: Embedded, columns: Sequence[str]) -> dict[str, list[float]]:
    """By layer, how well few examples tell each column's labels apart inside the classes."""
    options = ProbeOptions(probes=("within-class few-shot",))
    result = probe(embedded, targets=list(columns), settings=options)

    def most_shots(layer: str, column: str) -> float:
        readings = result.target(layer, column).readings
        last = max(readings, key=lambda reading: reading.details.shots or 0)
        return float(last.score.balanced_accuracy.estimate)

    return {layer: [most_shots(layer, column) for column in columns] for layer in embedded.layers}


def _other_view(
    problem: Problem,
    model: Encoder,
    part: str,
    viewer: Augmenter,
    complete: Callable[[Layers], Layers],
) -> dict[str, list[float]]:
    """By layer and class, how often the other view is the nearest instance, above chance."""
    data, rng = problem.data, np.random.default_rng(0)
    scores: dict[str, list[float]] = {}
    for c in range(len(data.label_names)):
        rows = data.rows(part)
        rows = rng.permutation(rows[data.labels[rows] == c])[:_MOST_INSTANCES]
        if len(rows) < 2:
            continue
        arrays = joined(embed_rows(model, data, np.sort(rows), viewer, key=(0, c)))
        for name, array in complete(arrays).items():
            views = array.astype(np.float64)
            views /= np.linalg.norm(views, axis=2, keepdims=True)
            cosines = views[:, 0] @ views[:, 1].T
            first = float(np.mean(np.argmax(cosines, axis=1) == np.arange(len(rows))))
            scores.setdefault(name, []).append((first - 1 / len(rows)) / (1 - 1 / len(rows)))
    return scores
