"""The within-class probe: what the spread inside a class still knows.

Inside each class two classifiers read a finer label from the embedding, out of fold. Accuracy is
balanced over the finer labels and corrected for chance, (accuracy - 1/K)/(1 - 1/K): 0 is chance, 1
is perfect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from uncollapse.probes._residuals import (
    CLASSIFIERS,
    MOST_ROWS,
    ProbedClass,
    choices_of,
    choose,
    probed_classes,
)
from uncollapse.probes._task import Floats, Integers, chance_corrected
from uncollapse.records import (
    Estimate,
    Interval,
    PermutationNull,
    ProbedClassScore,
    ProbeVerdict,
    Value,
    WithinClassOptions,
    WithinClassProbe,
    sentence,
)
from uncollapse.samples import Codes, Sample
from uncollapse.statistics import t_quantile


def cross_predict(probed: ProbedClass, classifier: str, options: WithinClassOptions) -> Integers:
    """Out-of-fold predictions, -1 where there are none; chosen on the fold after the test fold."""
    predicted = np.full(len(probed.fine), -1, dtype=np.int64)
    for fold in range(options.folds):
        test, validation = probed.folds == fold, probed.folds == (fold + 1) % options.folds
        train = ~(test | validation)
        if not test.any() or not validation.any() or not train.any():
            continue
        parts = probed.part(train), probed.part(validation)
        best, _ = choose(classifier, *parts, probed.fine_count, options)
        predict, others = CLASSIFIERS[classifier], probed.part(~test)
        predicted[test] = predict(others, probed.vectors[test], [best], options.index)[0]
    return predicted


def probe_within_classes(
    sample: Sample,
    fine: Codes,
    options: WithinClassOptions,
    rng: np.random.Generator,
    right: dict[str, Floats] | None = None,
) -> WithinClassProbe:
    """Read the finer labels inside every class, and say what chance would give.

    Intervals are over folds, with the variance of overlapping training sets (Nadeau & Bengio 2003,
    equation 9): (1/folds + 1/(folds - 1)) times the variance between folds. `right` is filled, when
    given, with whether each row was read right out of fold (NaN where it took no part).
    """
    options = replace(options, most_rows=options.most_rows or MOST_ROWS)
    classes = probed_classes(sample, fine, options, rng)
    skipped = len(np.unique(sample.labels.codes)) - len(classes)
    shown = replace(options, index=None)
    if not classes:
        summary = sentence("probe.none", {"units": options.least_units})
        return WithinClassProbe("cannot-tell", summary, None, None, None, (), skipped, shown)
    import sklearn.linear_model
    import sklearn.neighbors  # noqa: F401  (what is to be limited must be there)
    from threadpoolctl import threadpool_limits

    # Hundreds of small fits: on a busy machine threads wait for each other.
    with threadpool_limits(limits=1):
        scores, table = _read(classes, options, len(sample.matrix), right)
        null = _null(classes, options, rng) if options.permutations else None
    read: dict[str, Value] = {
        name: Estimate(probe.estimate, probe.low, probe.high) for name, probe in scores.items()
    }
    read["p_value"] = None if null is None else null.p_value
    return WithinClassProbe(
        _verdict(scores, null, options),
        sentence("probe.read" if null is None else "probe.read-null", read),
        scores["knn"],
        scores["logistic"],
        null,
        table,
        skipped,
        shown,
    )


def _read(
    classes: list[ProbedClass],
    options: WithinClassOptions,
    count: int,
    right: dict[str, Floats] | None,
) -> tuple[dict[str, Interval], tuple[ProbedClassScore, ...]]:
    """Each classifier's score with its interval, and each class's scores."""
    intervals: dict[str, Interval] = {}
    scores: dict[str, list[float]] = {}
    for name in CLASSIFIERS:
        folds, scores[name] = np.full((len(classes), options.folds), np.nan), []
        for c, probed in enumerate(classes):
            hits = cross_predict(probed, name, options) == probed.fine
            scores[name].append(chance_corrected(hits, probed.fine, probed.fine_count))
            for fold in np.unique(probed.folds):
                rows = probed.folds == fold
                own = chance_corrected(hits[rows], probed.fine[rows], probed.fine_count)
                folds[c, fold] = own
            if right is not None:
                right.setdefault(name, np.full(count, np.nan))[probed.rows] = hits
        intervals[name] = _interval(np.nanmean(folds, axis=0), scores[name])
    table = tuple(
        ProbedClassScore(probed.label, probed.fine_count, len(probed.rows), knn, logistic)
        for probed, knn, logistic in zip(classes, scores["knn"], scores["logistic"], strict=True)
    )
    return intervals, table


def _interval(folds: Floats, classes: list[float]) -> Interval:
    count = len(folds)
    variance = float(np.var(folds, ddof=1)) * (1 / count + 1 / (count - 1))
    half = t_quantile(count - 1) * float(np.sqrt(variance))
    estimate = float(np.mean(classes))
    return Interval(estimate, estimate - half, estimate + half)


def _null(
    classes: list[ProbedClass], options: WithinClassOptions, rng: np.random.Generator
) -> PermutationNull:
    """Permute the finer labels within each class, units whole, and compare like with like."""

    # A smaller statistic than the whole probe, which would cost too much: the better of both
    # classifiers on one fold, with the middle hyperparameters.
    def statistic(probed_ones: list[ProbedClass]) -> float:
        scores = []
        for name, predict in CLASSIFIERS.items():
            choices = choices_of(name, options)
            middle, values = choices[len(choices) // 2], []
            for probed in probed_ones:
                test, train = probed.part(probed.folds == 0), probed.part(probed.folds != 0)
                guess = predict(train, test.features, [middle], options.index)[0]
                right = guess == test.labels
                values.append(chance_corrected(right, test.labels, probed.fine_count))
            scores.append(float(np.mean(values)))
        return max(scores)

    observed = statistic(classes)
    values = np.array(
        [
            statistic([permuted(probed, rng) for probed in classes])
            for _ in range(options.permutations)
        ]
    )
    return PermutationNull(
        observed,
        mean=float(values.mean()),
        high=float(values.max()),
        permutations=options.permutations,
        p_value=float((1 + np.count_nonzero(values >= observed)) / (1 + len(values))),
    )


def permuted(probed: ProbedClass, rng: np.random.Generator) -> ProbedClass:
    """Finer labels permuted against embeddings, rows of a unit that share one label together."""
    units = probed.units
    if len(np.unique(units)) == len(units):
        # Embeddings move and labels stay in their folds, so the folds remain stratified.
        return replace(probed, vectors=probed.vectors[rng.permutation(len(units))])
    first = np.zeros(int(units.max()) + 1, dtype=np.int64)
    first[units] = probed.fine
    if np.array_equal(first[units], probed.fine):
        return replace(probed, fine=rng.permutation(first)[units])
    # Units of several labels: their labels move as blocks. Row by row, the null would be narrower
    # than chance is for units whose rows are alike, and too much would look like information.
    order = np.argsort(units, kind="stable")
    blocks = np.split(order, np.flatnonzero(np.diff(units[order])) + 1)
    fine = np.empty_like(probed.fine)
    fine[order] = probed.fine[np.concatenate([blocks[k] for k in rng.permutation(len(blocks))])]
    return replace(probed, fine=fine)


def _verdict(
    scores: Mapping[str, Interval], null: PermutationNull | None, options: WithinClassOptions
) -> ProbeVerdict:
    if null is None:
        return "cannot-tell"
    if null.p_value <= 0.05 and any((score.low or 0) > 0 for score in scores.values()):
        return "information"
    if null.p_value > 0.05 and all(
        score.high is not None and score.high < options.margin for score in scores.values()
    ):
        return "no-information"
    return "cannot-tell"
