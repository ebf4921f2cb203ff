"""What a pilot maximises.

"within-class": inside each class of the training label, the finer label by the nearest mean of ten
    (five, one where there are fewer) training rows of it, on the embedding as it is deployed;
    balanced accuracy, mean over draws, classes and finer labels. Slices stand in where there are
    no finer labels.
"downstream": balanced accuracy of a linear probe on other data sets, mean over them.
"retention": without any finer label. How much of the structure inside the classes that a reference
    has is still there (`uncollapse.retention`), against the base: the pretrained or frozen encoder
    where there is one, else the inputs. At the projector the run's own backbone is a second
    reference; where the two disagree the pilot cannot tell. What is the base itself, alone or
    beside the embedding, has no such number. It says what was kept, not what is useful: training
    can pass its reference.
"other-view": without any finer label. One view of an instance looks for the other view of it among
    the instances of its class; fraction found first, above chance, mean over classes. The views
    are those of the present setting for every candidate. It says that instances can be told
    apart, not that what tells them apart is useful: augmentation-invariant detail and noise count
    alike. A setting that is measured as collapsed is never recommended by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from uncollapse.data import LabelledData
from uncollapse.errors import InputError
from uncollapse.pilot.free import references
from uncollapse.records import Objective, PilotOptions
from uncollapse.training import Problem

# Rows of a finer label in a class that the probe needs to train on, and to be tested on.
LEAST_ROWS = (10, 2)
_TEXT = {
    "within-class": "balanced accuracy of {0} inside the classes, nearest mean of ten rows of each",
    "downstream": "balanced accuracy of a linear probe on {0}",
    "retention": "what is kept of the structure inside the classes, against {0} (retention)",
    "other-view": "an instance's other view found first within its class, above chance",
}


def objective(name: str, columns: tuple[str, ...] = ()) -> Objective:
    """An objective: a mean over some finer labels or data sets, or against the first reference."""
    said = columns[:1] if name == "retention" else columns
    return Objective(name, columns, _TEXT[name].format(", ".join(said)))


def choose_goal(problem: Problem, options: PilotOptions, downstream: Sequence[str]) -> Objective:
    """The objective that was asked for, or the first that the data allow."""
    data = problem.data
    for name in data.fine:
        _not_the_label(data, name)
    columns = [c for c in (data.fine or data.slices) if _cells(data, c)]
    wanted = options.objective
    if wanted in ("auto", "within-class") and columns:
        kinds = sum(map(len, _cells(data, columns[0]))) if len(columns) == 1 else None
        return replace(objective("within-class", tuple(columns)), kinds=kinds)
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
    if wanted == "other-view":
        return objective("other-view")
    against = references(problem, options)
    if set(options.judged) <= set(against):
        raise InputError(
            "a layer that training changes",
            f"{against[0]}, which is frozen",
            "choose --layer projector, or another --objective",
        )
    return objective("retention", against)


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
