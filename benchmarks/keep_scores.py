"""What benchmarks/keep_study.py asks of an embedding of all rows of a data set."""

from __future__ import annotations

import numpy as np
from case_scores import Array, Rows, few_shots, unit
from keep_data import Case

from uncollapse.probes import Embedded, ProbeOptions, probe
from uncollapse.stress import labels_read

PENALTIES = (1e-3, 1e-2)
FEWEST = 8  # Test rows of a slice whose recall counts.


def scores(case: Case, embedding: Array) -> dict[str, dict[str, float]]:
    """What an embedding of all rows keeps, on test rows and on validation rows."""
    found = {}
    for part in ("test", "validation"):
        chosen = np.isin(case.split, ("train", part))
        tested = case.split[chosen] == part
        rows = Rows(tested, case.label[chosen], case.fine[chosen], case.reference[chosen])
        read = rows.scores(embedding[chosen])
        if part == "test":
            read["label_linear"] = linear(rows, embedding[chosen])
            read["worst_class"] = worst_class(rows, embedding[chosen])
            read["linear"] = linear_inside(rows, embedding[chosen])
            read["precision"] = average_precision(rows, embedding[chosen])
            read["worst_slice"] = worst_slice(case, embedding)
        found[part] = {k: round(v, 4) for k, v in read.items()}
    return found


def worst_class(rows: Rows, embedding: Array) -> float:
    """The finer label from ten examples in the class where it is read worst."""
    read = []
    for c in np.unique(rows.label):
        fine = np.where(rows.label == c, rows.fine, f"of {c}")  # One of each other class: no task.
        split = np.where(rows.test, "test", "train")
        data = Embedded({"z": embedding}, {"label": rows.label, "fine": fine}, split, "label")
        if len(np.unique(rows.fine[rows.label == c])) > 1:
            read += few_shots(data, (10,)).values()
    return min(read)


def linear(rows: Rows, embedding: Array) -> float:
    """Balanced accuracy of the training label by logistic regression."""
    split = np.where(rows.test, "test", "train")
    data = Embedded({"z": embedding}, {"label": rows.label}, split, "label")
    options = ProbeOptions(l2=PENALTIES, balanced=True, probes=("linear",))
    found = probe(data, settings=options).target("z", "label").reading("linear")
    return float(found.score.balanced_accuracy.estimate)


def linear_inside(rows: Rows, embedding: Array) -> float:
    """Balanced accuracy of the finer label by logistic regression inside each class."""
    split = np.where(rows.test, "test", "train")
    data = Embedded({"z": embedding}, {"label": rows.label, "fine": rows.fine}, split, "label")
    options = ProbeOptions(l2=PENALTIES, probes=("within-class linear",))
    found = probe(data, targets=["fine"], settings=options).target("z", "fine")
    return float(found.reading("within-class linear").score.balanced_accuracy.estimate)


def average_precision(rows: Rows, embedding: Array) -> float:
    """Of test rows of the same class by cosine, those of the same finer label first.

    The mean over the rows of a finer label, over finer labels, over classes that have two.
    """
    classes = []
    for c in np.unique(rows.label):
        own = rows.test & (rows.label == c)
        kinds, cosines = rows.fine[own], unit(embedding[own]) @ unit(embedding[own]).T
        np.fill_diagonal(cosines, -2)
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :-1]
        alike = kinds[order] == kinds[:, None]
        precision = np.cumsum(alike, axis=1) / np.arange(1, len(kinds))
        found = (precision * alike).sum(axis=1) / np.maximum(alike.sum(axis=1), 1)
        names, counts = np.unique(kinds, return_counts=True)
        if len(names) > 1:
            classes.append(np.mean([found[kinds == k].mean() for k in names[counts > 1]]))
    return float(np.mean(classes))


def worst_slice(case: Case, embedding: Array) -> float:
    """Recall of the training label, by neighbours, in its worst finer label or slice of a class."""
    test, train = case.split == "test", case.split == "train"
    label = case.label.astype(np.int64)
    right = labels_read(embedding[train], label[train], embedding[test]) == label[test]
    found = []
    for column in (case.fine, *case.slices):
        for c in np.unique(label):
            for value in np.unique(column[test]):
                own = (label[test] == c) & (column[test] == value)
                if own.sum() >= FEWEST:
                    found.append(right[own].mean())
    return float(min(found))
