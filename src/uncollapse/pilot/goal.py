"""What a pilot maximises, and how a trained run is measured on rows it was not trained on.

"within-class": inside each class of the training label, the finer label by the nearest mean of ten
    (five, one where there are fewer) training rows of it, on the embedding as it is deployed;
    balanced accuracy, mean over draws, classes and finer labels. Slices stand in where there are
    no finer labels.
"downstream": balanced accuracy of a linear probe on other data sets, mean over them.
"other-view": without any finer label. One view of an instance looks for the other view of it among
    the instances of its class; fraction found first, above chance, mean over classes. The views
    are those of the present setting for every candidate. It says that instances can be told
    apart, not that what tells them apart is useful: augmentation-invariant detail and noise count
    alike. A setting that is measured as collapsed is never recommended by it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from uncollapse.data import Augmenter, LabelledData
from uncollapse.errors import InputError
from uncollapse.metrics import measure
from uncollapse.probes import Embedded, ProbeOptions, probe
from uncollapse.records import LayerScores, Objective, PilotOptions, Score
from uncollapse.training import Problem, embed_rows, joined

LAYERS = ("projector", "backbone")
_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
# Instances of a class that look for their other view among each other.
_MOST_INSTANCES = 200
# Rows of a finer label in a class that the probe needs to train on, and to be tested on.
LEAST_ROWS = (10, 2)
_TEXT = {
    "within-class": "balanced accuracy of {0} inside the classes, nearest mean of ten rows of each",
    "downstream": "balanced accuracy of a linear probe on {0}",
    "other-view": "an instance's other view found first within its class, above chance",
}


def objective(name: str, columns: tuple[str, ...] = ()) -> Objective:
    """An objective that is a mean over some finer labels or data sets."""
    return Objective(name, columns, _TEXT[name].format(", ".join(columns)))


def choose_goal(data: LabelledData, options: PilotOptions, downstream: Sequence[str]) -> Objective:
    """The objective that was asked for, or the first that the data allow."""
    for name in data.fine:
        _not_the_label(data, name)
    columns = [c for c in (data.fine or data.slices) if _cells(data, c)]
    wanted = options.objective
    if wanted in ("auto", "within-class") and columns:
        return objective("within-class", tuple(columns))
    if wanted == "within-class":
        raise InputError(
            f"a class with two finer labels of {LEAST_ROWS[0]} training rows and "
            f"{LEAST_ROWS[1]} validation rows",
            f"none among {', '.join([*data.fine, *data.slices]) or 'no finer labels or slices'}",
            "name a column in data.fine, or choose another --objective",
        )
    if wanted in ("auto", "downstream") and downstream:
        return objective("downstream", tuple(downstream))
    if wanted == "downstream":
        raise InputError("--downstream data", "none", "give a YAML file with a `data:` block")
    return objective("other-view")


def _not_the_label(data: LabelledData, name: str) -> None:
    known = (data.labels >= 0) & (data.columns[name] != "")
    pairs = set(zip(data.labels[known].tolist(), data.columns[name][known].tolist(), strict=True))
    if len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}):
        raise InputError(
            "a finer label that divides the classes of the training label",
            f"{name!r}, which is the same up to names",
            "name a finer column in data.fine, or leave it out",
        )


def _cells(data: LabelledData, column: str) -> list[NDArray[np.int64]]:
    """Validation rows by finer label, for each class where two finer labels or more have enough."""
    train, validation = data.rows("train"), data.rows("validation")
    cells = []
    for c in range(len(data.label_names)):
        known = data.columns[column][train[data.labels[train] == c]]
        tested = data.columns[column][validation[data.labels[validation] == c]]
        names, counts = np.unique(tested[tested != ""], return_counts=True)
        trained = np.array([np.sum(known == name) for name in names], dtype=np.int64)
        enough = (trained >= LEAST_ROWS[0]) & (counts >= LEAST_ROWS[1])
        if enough.sum() > 1:
            cells.append(counts[enough])
    return cells


def expected_half_width(data: LabelledData, goal: Objective, share: float) -> float:
    """Half-width of the 95 % interval of one seed's objective if `share` of the rows is tested.

    1.96 sqrt(sum_k w_k^2 / (4 n_k)) with a finer label's weight w_k in the mean and its n_k
    validation rows: the worst case, accuracy 1/2.
    """
    variance = 0.0
    if goal.name == "within-class":
        for column in goal.columns:
            cells = _cells(data, column)
            for counts in cells:
                weight = 1 / (len(goal.columns) * len(cells) * len(counts))
                variance += float(np.sum(weight**2 / (4 * counts * share)))
    else:
        labels = data.labels[data.rows("validation")]
        counts = np.bincount(labels[labels >= 0])
        counts = counts[counts > 0]
        variance = float(np.sum(1 / (4 * counts * share))) / len(counts) ** 2
    return 1.96 * math.sqrt(variance)


def evaluate(
    problem: Problem,
    part: str,
    goal: Objective,
    *,
    viewer: Augmenter,
    downstream: Mapping[str, LabelledData],
) -> dict[str, LayerScores]:
    """Scores by layer on the rows of `part` (to choose by, or to confirm).

    Probes are fitted on training rows; `viewer` makes two views by the start's augmentation.
    """
    data = problem.data
    columns = goal.columns if goal.name == "within-class" else ()
    embedded, rows = _embedded(problem, data, part, columns)
    tested = embedded.split == "test"
    task = _linear(embedded)
    others = {name: _linear(_embedded(problem, o, part)[0]) for name, o in downstream.items()}
    balanced = {
        layer: {name: score[layer].balanced_accuracy.estimate for name, score in others.items()}
        for layer in LAYERS
    }
    if goal.name == "downstream":
        reached = {k: [scores[name] for name in goal.columns] for k, scores in balanced.items()}
    elif goal.name == "within-class":
        reached = _within_classes(embedded, columns)
    else:
        reached = _other_view(problem, part, viewer)
    return {
        layer: replace(
            _geometry(embedded.layers[layer][tested], data.labels[rows[tested]]),
            task=task[layer].accuracy.estimate,
            downstream=balanced[layer],
            objective=float(np.mean(reached[layer])),
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
    batches = embed_rows(problem.model, data, rows, problem.augmenter, precision=precision)
    layers = {name: values[:, 0] for name, values in joined(batches).items()}
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


def _within_classes(embedded: Embedded, columns: Sequence[str]) -> dict[str, list[float]]:
    """By layer, how well few examples tell each column's labels apart inside the classes."""
    options = ProbeOptions(probes=("within-class few-shot",))
    result = probe(embedded, targets=list(columns), settings=options)

    def most_shots(layer: str, column: str) -> float:
        readings = result.target(layer, column).readings
        last = max(readings, key=lambda reading: reading.details.shots or 0)
        return float(last.score.balanced_accuracy.estimate)

    return {layer: [most_shots(layer, column) for column in columns] for layer in LAYERS}


def _other_view(problem: Problem, part: str, viewer: Augmenter) -> dict[str, list[float]]:
    """By layer and class, how often the other view is the nearest instance, above chance."""
    data, rng = problem.data, np.random.default_rng(0)
    scores: dict[str, list[float]] = {name: [] for name in LAYERS}
    for c in range(len(data.label_names)):
        rows = data.rows(part)
        rows = rng.permutation(rows[data.labels[rows] == c])[:_MOST_INSTANCES]
        if len(rows) < 2:
            continue
        arrays = joined(embed_rows(problem.model, data, np.sort(rows), viewer, key=(0, c)))
        for name in LAYERS:
            views = arrays[name].astype(np.float64)
            views /= np.linalg.norm(views, axis=2, keepdims=True)
            cosines = views[:, 0] @ views[:, 1].T
            first = float(np.mean(np.argmax(cosines, axis=1) == np.arange(len(rows))))
            scores[name].append((first - 1 / len(rows)) / (1 - 1 / len(rows)))
    return scores
