"""The within-class probe: what the spread inside a class still knows.

Inside each class two classifiers read a finer label from the embedding. Accuracy is balanced over
the finer labels and corrected for chance, (accuracy - 1/K)/(1 - 1/K): 0 is chance, 1 is perfect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.probes.classify import NeighbourIndex, fit_logistic, knn_votes, one_thread
from uncollapse.probes.probed_classes import ProbedClass, ProbeOptions, probed_classes
from uncollapse.records import (
    Estimate,
    Interval,
    PermutationNull,
    ProbedClassScore,
    ProbeVerdict,
    Value,
    WithinClassProbe,
    sentence,
)
from uncollapse.samples import Codes, Sample
from uncollapse.statistics import t_quantile

__all__ = ["PROBES", "probe_within_classes"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
PROBES = ("knn", "logistic")

# (class, training rows, test rows, choices of hyperparameters) -> predictions for each choice.
Predictor = Callable[[ProbedClass, Integers, Integers, Sequence[dict[str, Any]]], list[Integers]]


def predict_knn(
    of: ProbedClass, train: Integers, test: Integers, choices: Sequence[dict[str, Any]]
) -> list[Integers]:
    """Finer labels of the test rows by weighted cosine neighbours, which are searched once."""
    index: NeighbourIndex = choices[0]["index"]
    most = min(max(int(choice["neighbours"]) for choice in choices), len(train))
    cosines, found = index(of.vectors[train], of.vectors[test], most)
    spread = float(np.mean(np.var(of.vectors[train], axis=0)) * of.vectors.shape[1])
    return [
        knn_votes(
            cosines[:, : choice["neighbours"]],
            found[:, : choice["neighbours"]],
            of.fine[train],
            spread,
            choice["temperature"],
        )
        for choice in choices
    ]


def predict_logistic(
    of: ProbedClass, train: Integers, test: Integers, choices: Sequence[dict[str, Any]]
) -> list[Integers]:
    """Finer labels of the test rows by logistic regression."""
    if len(np.unique(of.fine[train])) < 2:
        return [np.full(len(test), of.fine[train[0]]) for _ in choices]
    return [
        fit_logistic(of.vectors[train], of.fine[train], choice["strength"])(of.vectors[test])
        for choice in choices
    ]


def _choices(name: str, options: ProbeOptions) -> list[dict[str, Any]]:
    if name == "logistic":
        return [{"strength": strength} for strength in options.strengths]
    return [
        {"neighbours": k, "temperature": temperature, "index": options.index}
        for k in options.neighbours
        for temperature in options.temperatures
    ]


PREDICT: dict[str, Predictor] = {"knn": predict_knn, "logistic": predict_logistic}


def corrected(right: Floats, fine: Integers, count: int) -> float:
    """Balanced accuracy corrected for chance: (mean over labels of recall - 1/K)/(1 - 1/K)."""
    labels = np.unique(fine)
    recall = np.mean([right[fine == label].mean() for label in labels])
    return float((recall - 1 / count) / (1 - 1 / count))


def cross_predict(of: ProbedClass, name: str, options: ProbeOptions) -> Integers:
    """Out-of-fold predictions; hyperparameters by the fold after the test fold."""
    predicted = np.full(len(of.fine), -1, dtype=np.int64)
    choices = _choices(name, options)
    for fold in range(options.folds):
        test = np.flatnonzero(of.folds == fold)
        validation = np.flatnonzero(of.folds == (fold + 1) % options.folds)
        train = np.flatnonzero((of.folds != fold) & (of.folds != (fold + 1) % options.folds))
        if not len(test) or not len(validation) or not len(train):
            continue
        scores = []
        for guess in PREDICT[name](of, train, validation, choices):
            right = (guess == of.fine[validation]).astype(np.float64)
            scores.append(corrected(right, of.fine[validation], of.fine_count))
        best = choices[int(np.argmax(scores))]
        both = np.flatnonzero(of.folds != fold)
        predicted[test] = PREDICT[name](of, both, test, [best])[0]
    return predicted


def probe_within_classes(
    sample: Sample,
    fine: Codes,
    options: ProbeOptions,
    rng: np.random.Generator,
    right: dict[str, Floats] | None = None,
) -> WithinClassProbe:
    """Read the finer labels inside every class, and say what chance would give.

    Args:
        sample: Checked rows.
        fine: Their finer labels, -1 where missing.
        options: Of the probe.
        rng: Draws folds, subsamples and permutations.
        right: Filled, when given, with whether each row was read right out of fold (NaN where it
            took no part), by probe.

    Returns:
        The record. Its intervals are over folds, with the variance of overlapping training sets
        (Nadeau & Bengio 2003, equation 9): (1/folds + 1/(folds - 1)) times the variance between
        folds.
    """
    classes = probed_classes(sample, fine, options, rng)
    skipped = len(np.unique(sample.labels.codes)) - len(classes)
    shown = {k: v for k, v in vars(options).items() if k != "index"}
    if not classes:
        summary = sentence("probe.none", {"units": options.least_units})
        return WithinClassProbe("cannot-tell", summary, None, None, None, (), skipped, shown)
    with one_thread():
        found, table = _read(classes, options, len(sample.matrix), right)
        null = _null(classes, options, rng) if options.permutations else None
    read: dict[str, Value] = {
        name: Estimate(probe.estimate, probe.low, probe.high) for name, probe in found.items()
    }
    read["p_value"] = None if null is None else null.p_value
    return WithinClassProbe(
        _verdict(found, null, options),
        sentence("probe.read" if null is None else "probe.read-null", read),
        found["knn"],
        found["logistic"],
        null,
        table,
        skipped,
        shown,
    )


def _read(
    classes: list[ProbedClass],
    options: ProbeOptions,
    count: int,
    right: dict[str, Floats] | None,
) -> tuple[dict[str, Interval], tuple[ProbedClassScore, ...]]:
    """Each probe's score with its interval, and each class's scores."""
    found: dict[str, Interval] = {}
    scores: dict[str, list[float]] = {}
    for name in PROBES:
        folds, scores[name] = [], []
        for of in classes:
            hits = (cross_predict(of, name, options) == of.fine).astype(np.float64)
            scores[name].append(corrected(hits, of.fine, of.fine_count))
            folds.append(_by_fold(hits, of, options.folds))
            if right is not None:
                right.setdefault(name, np.full(count, np.nan))[of.rows] = hits
        found[name] = _interval(np.nanmean(folds, axis=0), scores[name])
    table = tuple(
        ProbedClassScore(of.label, of.fine_count, len(of.rows), knn, logistic)
        for of, knn, logistic in zip(classes, scores["knn"], scores["logistic"], strict=True)
    )
    return found, table


def _by_fold(hits: Floats, of: ProbedClass, folds: int) -> list[float]:
    return [
        corrected(hits[of.folds == fold], of.fine[of.folds == fold], of.fine_count)
        if np.any(of.folds == fold)
        else float("nan")
        for fold in range(folds)
    ]


def _interval(folds: Floats, classes: list[float]) -> Interval:
    count = len(folds)
    variance = float(np.var(folds, ddof=1)) * (1 / count + 1 / (count - 1))
    half = t_quantile(count - 1) * float(np.sqrt(variance))
    estimate = float(np.mean(classes))
    return Interval(estimate, estimate - half, estimate + half)


def _null(
    classes: list[ProbedClass], options: ProbeOptions, rng: np.random.Generator
) -> PermutationNull:
    """Permute the finer labels within each class, units whole, and compare like with like.

    Fitting everything 20 times more would cost too much, so the statistic that is compared, for the
    true labels as for the permuted, is a smaller one: the better of both probes on one fold, with
    the middle hyperparameters.
    """
    choice = {name: _choices(name, options) for name in PROBES}
    middle = {name: found[len(found) // 2] for name, found in choice.items()}

    def statistic(probed: list[ProbedClass]) -> float:
        scores = []
        for name in PROBES:
            values = []
            for of in probed:
                test, train = np.flatnonzero(of.folds == 0), np.flatnonzero(of.folds != 0)
                guess = PREDICT[name](of, train, test, [middle[name]])[0]
                right = (guess == of.fine[test]) * 1.0
                values.append(corrected(right, of.fine[test], of.fine_count))
            scores.append(float(np.mean(values)))
        return max(scores)

    observed = statistic(classes)
    values = np.array(
        [statistic([_permuted(of, rng) for of in classes]) for _ in range(options.permutations)]
    )
    return PermutationNull(
        observed,
        mean=float(values.mean()),
        high=float(values.max()),
        permutations=options.permutations,
        p_value=float((1 + np.count_nonzero(values >= observed)) / (1 + len(values))),
    )


def _permuted(of: ProbedClass, rng: np.random.Generator) -> ProbedClass:
    """Finer labels permuted against embeddings, rows of a unit that share one label together."""
    if len(np.unique(of.units)) == len(of.units):
        # Embeddings move and labels stay in their folds, so the folds remain stratified.
        return replace(of, vectors=of.vectors[rng.permutation(len(of.vectors))])
    first = np.zeros(int(of.units.max()) + 1, dtype=np.int64)
    first[of.units] = of.fine
    if np.array_equal(first[of.units], of.fine):
        return replace(of, fine=rng.permutation(first)[of.units])
    # Units of several labels: their labels move as blocks. Row by row, the null would be narrower
    # than chance is for units whose rows are alike, and too much would look like information.
    order = np.argsort(of.units, kind="stable")
    blocks = np.split(order, np.flatnonzero(np.diff(of.units[order])) + 1)
    fine = np.empty_like(of.fine)
    fine[order] = of.fine[np.concatenate([blocks[k] for k in rng.permutation(len(blocks))])]
    return replace(of, fine=fine)


def _verdict(
    found: dict[str, Interval], null: PermutationNull | None, options: ProbeOptions
) -> ProbeVerdict:
    if null is None:
        return "cannot-tell"
    if null.p_value <= 0.05 and any((probe.low or 0) > 0 for probe in found.values()):
        return "information"
    if null.p_value > 0.05 and all(
        probe.high is not None and probe.high < options.margin for probe in found.values()
    ):
        return "no-information"
    return "cannot-tell"
