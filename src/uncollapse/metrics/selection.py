"""`scores`: quick measures of validation embeddings, to select a model by while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from uncollapse import probes
from uncollapse.errors import InputError
from uncollapse.metrics.classes import classes_of
from uncollapse.metrics.features import Integers
from uncollapse.metrics.variance import decompose
from uncollapse.metrics.verdict import ONE_POINT
from uncollapse.probes import WithinClassOptions, probed_classes
from uncollapse.samples import ByRole, Sample, checked, sample_of, select, to_numpy, unit_rows

_NEIGHBOURS, _TEMPERATURE = 20, 0.1


def scores(
    layers: Mapping[str, ArrayLike | Any],
    labels: ArrayLike | Any,
    fine: Mapping[str, ArrayLike | Any] | None = None,
    *,
    seed: int = 0,
    most_rows: int = 3000,
) -> dict[str, float]:
    """Quick measures of validation embeddings, by which to select an epoch or a setting.

    They are for rows of the validation split: what is selected by them is biased upwards on these
    rows, so report `probe` and `measure` on the test split.

    Args:
        layers: (N, d) embeddings by the layer's name, one row per instance.
        labels: (N,) training label; rows without one (-1, None, NaN, "") take no part.
        fine: (N,) finer labels by name.
        seed: Of the subsample and the folds.
        most_rows: Rows that neighbours are searched among at most.

    Returns:
        For every layer:

        "LAYER/instance_variance": unbiased variance of unit vectors within classes, mean over them.
        "LAYER/share": its share of total variance (0 where all embeddings are one point).
        "LAYER/accuracy": of the training label, by 20 neighbours, each row left out in turn.
        "LAYER/within_class/FINE": finer label read inside each class, out of fold, by logistic
        regression at one penalty; balanced, chance-corrected, mean over classes.
        "LAYER/within_class": mean over the finer labels.

        A measure that does not apply (no class with two finer labels of ten rows) has no key.

    Raises:
        InputError: Rows that are not finite, lengths that differ, fewer than two classes.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> digit = rng.integers(0, 4, 200)
        >>> rows = np.eye(4, 8)[digit] + 0.3 * rng.standard_normal((200, 8))
        >>> read = scores({"z": rows}, digit % 2, {"digit": digit})
        >>> sorted(read)[:3]
        ['z/accuracy', 'z/instance_variance', 'z/share']
        >>> read["z/within_class"] > 0.8
        True
    """
    # One penalty, three folds: it need rank epochs, not tell the last percent.
    quick = WithinClassOptions(folds=3, strengths=(0.1,), permutations=0, most_rows=600)
    measures: dict[str, float] = {}
    labels = to_numpy(labels)[0]
    if labels.dtype.kind == "i":
        labels = labels.astype(object)
        labels[labels < 0] = None
    for name, rows in layers.items():
        sample = _usable(sample_of(rows, ByRole[Any](labels=labels, slices=fine or {})))
        levels = decompose(classes_of(sample).units)
        within = levels.variances.within_class_variance
        measures[f"{name}/instance_variance"] = within.estimate or 0.0
        varies = (levels.variances.total_variance.estimate or 0.0) > ONE_POINT
        measures[f"{name}/share"] = (levels.share.estimate or 0.0) if varies else 0.0
        measures[f"{name}/accuracy"] = _accuracy(
            sample, np.random.default_rng([seed, 0]), most_rows
        )
        read = {}
        for column, codes in sample.slices.items():
            values = []
            for probed in probed_classes(sample, codes, quick, np.random.default_rng([seed, 1])):
                right = probes.cross_predict(probed, "logistic", quick) == probed.fine
                values.append(probes.chance_corrected(right, probed.fine, probed.fine_count))
            if values:
                read[f"{name}/within_class/{column}"] = float(np.mean(values))
        if read:
            measures |= read | {f"{name}/within_class": float(np.mean(list(read.values())))}
    return measures


def _usable(sample: Sample) -> Sample:
    """Rows with a label, of classes of two rows or more; what is not finite is still an error."""
    codes = sample.labels.codes
    counts = np.bincount(codes[codes >= 0], minlength=len(sample.labels.names) + 1)
    good = (codes >= 0) & (counts[codes] > 1)
    if not good.any():
        raise InputError("rows with labels", "none", "give validation rows of two classes or more")
    return checked(select(sample, good), drop_invalid=False)


def _accuracy(sample: Sample, rng: np.random.Generator, most: int) -> float:
    chosen = np.sort(rng.permutation(len(sample.matrix))[:most])
    vectors, labels = unit_rows(sample.matrix[chosen]), sample.labels.codes[chosen]
    k = min(_NEIGHBOURS, len(chosen) - 1)
    cosines, nearest = probes.exact_neighbours(vectors, vectors, k + 1)
    others = _without_self(nearest)
    guess = probes.knn_votes(
        np.take_along_axis(cosines, others, axis=1),
        np.take_along_axis(nearest, others, axis=1),
        labels,
        1.0,
        _TEMPERATURE,
    )
    return float(np.mean(guess == labels))


def _without_self(nearest: Integers) -> Integers:
    """Columns without the row itself, or without the last where twins have crowded it out."""
    own = nearest == np.arange(len(nearest))[:, None]
    own[~own.any(axis=1), -1] = True
    return np.nonzero(~own)[1].reshape(len(nearest), -1)
