"""What one embedding keeps, for the tables of the worked cases; whitening; tables from JSON.

Every number is of test rows, which chose nothing; probes draw and fit on training rows.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.metrics import measure, retention
from uncollapse.probes import Embedded, ProbeOptions, probe

Array = NDArray[Any]
SEEDS = (0, 1, 2)
SHOTS = (1, 5, 10, 50)
# Of its largest eigenvalue, added to the covariance before it is inverted.
RIDGE = 0.01
TITLES = {
    "dimension": "numbers",
    "share": "share",
    "retention": "retention",
    **{f"shots_{count}": f"{count} shot{'s' * (count > 1)}" for count in SHOTS},
    "retrieval": "retrieval",
    "label_knn": "label, kNN",
    "label_shots_10": "label, 10 shots",
}


@dataclass(frozen=True)
class Rows:
    """Training and test rows of a case: which are which, their labels, and the reference."""

    test: Array  # (N,) bool
    label: Array  # (N,)
    fine: Array  # (N,)
    base: Array  # (N, d) what retention is measured against

    def scores(self, embedding: Array) -> dict[str, float]:
        """What (N, d) embeddings of these rows keep; accuracies are balanced, 0 to 1."""
        split = np.where(self.test, "test", "train")
        data = Embedded({"z": embedding}, {"label": self.label, "fine": self.fine}, split, "label")
        options = ProbeOptions(shots=(10,), probes=("knn", "few-shot"))
        label_read = probe(data, targets=["label"], settings=options).target("z", "label")
        tested, label = embedding[self.test], self.label[self.test]
        compared = retention(tested, self.base[self.test], label, permutations=0)
        retained = float(compared.retention.estimate or 0)
        held = measure(tested, label, permutations=0, probe=None)
        within, total = held.within_class_variance.estimate, held.total_variance.estimate
        return {
            "dimension": float(embedding.shape[1]),
            "within_class_variance": float(within or 0),
            "share": float((within or 0) / (total or 1)),
            "retention": retained,
            **few_shots(data, (1, 5, 10)),
            **few_shots(data, (50,)),
            "retrieval": nearest_is_alike(tested, label, self.fine[self.test]),
            "label_knn": _balanced(label_read, "knn"),
            "label_shots_10": _balanced(label_read, "few-shot", 10),
        }


def few_shots(data: Embedded, counts: tuple[int, ...]) -> dict[str, float]:
    """Nearest mean inside the classes, of the finer labels that have so many training rows."""
    options = ProbeOptions(shots=counts, least_units=max(counts), probes=("within-class few-shot",))
    read = probe(data, targets=["fine"], settings=options).target("z", "fine")
    return {f"shots_{n}": _balanced(read, "within-class few-shot", n) for n in counts}


def _balanced(target: Any, name: str, *count: int) -> float:
    return float(target.reading(name, *count).score.balanced_accuracy.estimate)


def unit(rows: Array) -> Array:
    """Rows of length 1."""
    rows = rows.astype(np.float64)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def nearest_is_alike(embedding: Array, label: Array, fine: Array) -> float:
    """How often the nearest other row of the same class has the same finer label.

    By cosine; the mean over finer labels, then over the classes that have two or more of them.
    """
    classes = []
    for name in np.unique(label):
        own, kinds = unit(embedding[label == name]), fine[label == name]
        if len(np.unique(kinds)) < 2:
            continue
        cosines = own @ own.T
        np.fill_diagonal(cosines, -2)
        alike = kinds[np.argmax(cosines, axis=1)] == kinds
        classes.append(mean(float(alike[kinds == kind].mean()) for kind in np.unique(kinds)))
    return mean(classes)


def scored(row: str, seed: int, rows: Rows, embedding: Array) -> dict[str, Any]:
    """A row of a table: the scores of one embedding, with its name and seed."""
    began = time.perf_counter()
    scores = rows.scores(embedding)
    print(f"{row:45s} seed {seed}  {scores['shots_10']:.3f}  {time.perf_counter() - began:.0f} s")
    return {"row": row, "seed": seed, "scores": scores}


def words(texts: Array, train: Array, numbers: int = 384) -> Array:
    """Weighted counts of words (tf-idf), their first components, of the training rows."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    weights = TfidfVectorizer(sublinear_tf=True).fit(texts[train])
    parts = TruncatedSVD(numbers, random_state=0).fit(weights.transform(texts[train]))
    # A text of unknown words alone is a direction too.
    return np.asarray(parts.transform(weights.transform(texts)) + 1e-9)


def side_by_side(*embeddings: Array) -> Array:
    """Unit rows, one after the other."""
    return np.concatenate([unit(embedding) for embedding in embeddings], axis=1)


def centred(embedding: Array, train: Array) -> Array:
    """Unit rows minus the mean of the training rows."""
    rows = unit(embedding)
    return np.asarray(rows - rows[train].mean(axis=0))


def whitened(embedding: Array, train: Array) -> Array:
    """Centred rows times (C + r I)^(-1/2), C the covariance of the training rows, r its ridge."""
    rows = centred(embedding, train)
    values, vectors = np.linalg.eigh(np.cov(rows[train].T))
    scale = 1 / np.sqrt(np.maximum(values, 0) + RIDGE * values.max())
    return np.asarray((rows @ vectors) * scale)


def shortened(embedding: Array, train: Array, numbers: int) -> Array:
    """Unit rows on the directions that keep most of the training rows' cosines (uncentred)."""
    rows = unit(embedding)
    _, vectors = np.linalg.eigh(rows[train].T @ rows[train])
    return np.asarray(rows @ vectors[:, -numbers:])


def free_changes(
    name: str, output: Array, rows: Rows, base: str, seed: int, *, start: bool
) -> Iterator[dict[str, Any]]:
    """What can be had from an output without training it anew; the base beside it everywhere."""
    train, size = ~rows.test, output.shape[1]
    if start:
        yield scored(f"{name}, centred", seed, rows, centred(output, train))
        yield scored(f"{name}, whitened", seed, rows, whitened(output, train))
    beside = shortened(side_by_side(output, rows.base), train, size)
    yield scored(f"{name}, beside {base}, in {size} numbers", seed, rows, beside)


def summary(runs: Sequence[Mapping[str, Any]], name: str, scale: float = 1.0) -> str:
    """Mean over seeds, and their standard deviation where it is not 0 by construction."""
    values = [scale * run["scores"][name] for run in runs]
    if name == "dimension":
        return f"{values[0]:.0f}"
    digits = 1 if scale > 1 else 2
    text = f"{mean(values):.{digits}f}"
    spread = stdev(values) if len(values) > 1 else 0.0
    return text if spread < 1e-12 else f"{text} ± {spread:.{digits}f}"


def alpha_of(row: str) -> float:
    """The alpha in a row's name; rows without one come first."""
    found = re.match(r"alpha ([\d.]+\d)", row)
    return float(found[1]) if found else 0.0


def table(runs: Sequence[Mapping[str, Any]]) -> str:
    """The table of a case in markdown: a line per embedding, accuracies in per cent."""
    lines = [f"| embedding | {' | '.join(TITLES.values())} |", "|---" * (1 + len(TITLES)) + "|"]
    names = dict.fromkeys(run["row"] for run in runs)
    for name in sorted(names, key=alpha_of):
        if "beside" in name and any(other.startswith(f"{name}, in ") for other in names):
            continue  # The shortened one stands for both.
        own = [run for run in runs if run["row"] == name]
        plain = ("dimension", "share", "retention")
        cells = [summary(own, column, 1 if column in plain else 100) for column in TITLES]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


# What is set against what, by the last words of a row's name; {} is the setting.
CHANGES = {
    "SupCon": "{start}",
    "whitened": "{start}, whitened",
    "layer before the head": "SupCon, backbone",
    "base alone": "{base}",
    "base beside it, same size": "{start}, beside {beside}, in {size} numbers",
    "alpha raised": "{raised}",
    "alpha raised, layer before the head": "{alpha}, backbone",
}


def by_row(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The runs of a case by the row of its table that they belong to."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        rows.setdefault(run["row"], []).append(run)
    return rows


def row_names(rows: Iterable[str]) -> dict[str, str]:
    """Names of the rows of `CHANGES` in a case, those that it has."""
    names = list(rows)
    pair = next(name for name in names if "beside" in name and "numbers" in name)
    start, _, rest = pair.partition(", beside ")
    base, _, size = rest.rpartition(", in ")
    raised = next(
        name.partition(", beside")[0] for name in names if re.match("alpha.*beside", name)
    )
    words = {
        "start": start,
        "base": base if base in names else f"raw inputs ({base})",
        "beside": base,
        "size": size.split()[0],
        "raised": raised,
        "alpha": raised.partition(",")[0],
    }
    named = {change: pattern.format(**words) for change, pattern in CHANGES.items()}
    return {change: name for change, name in named.items() if name in names}


def headline(cases: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Finer label / training label, both from ten examples, of the changes in every case."""
    lines = [f"| data | {' | '.join(CHANGES)} |", "|---" * (1 + len(CHANGES)) + "|"]
    for case, runs in cases.items():
        rows = by_row(runs)
        names = row_names(rows)
        cells = []
        for change in CHANGES:
            own = rows.get(names.get(change, ""))
            pair = ("shots_10", "label_shots_10")
            cells.append(" / ".join(summary(own, key, 100) for key in pair) if own else "")
        alpha = names["alpha raised"].partition(",")[0]
        lines.append(f"| {case} ({alpha}) | {' | '.join(cells)} |")
    return "\n".join(lines)
