"""What a squared mean varies by where its mean is near zero, which a jackknife does not see.

The total variance is 1 - ||M||^2, M the mean of the class means, estimated over pairs of different
units. By first order it varies as 2 M . dM, which vanishes where embeddings are centred; what is
left is of second order, and with few dimensions far from normal. With the covariance of M,

    Gamma = sum_c w_c^2 Sigma_c / n_c,      Var ||M||^2 = 4 M' Gamma M + 2 tr Gamma^2

and the first-order estimate holds M' Gamma M + tr Gamma^2 in place of M' Gamma M.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uncollapse.metrics.features import COUNT, Floats
from uncollapse.metrics.moments import ClassMoments

# Multiplications that the matrix of second moments may cost; beyond, some classes stand for all.
_MOST_MULTIPLICATIONS = 2e9
# Directions that are too few for a sum of squares to look normal.
_FEW = 6
# So few units, and so small a part of all, that carry the variance.
_CARRYING, _PART = 20, 0.35
# Of unit vectors, a squared length that is rounding.
_ROUNDING = 1e-15


def second_order(classes: Sequence[ClassMoments], w: Floats) -> float:
    """What to add to the first-order variance of ||M||^2: 2 tr Gamma^2 where it has few directions.

    tr Gamma^2 is unbiased where the classes are alike. With many directions nothing is missing: the
    first order then holds it twice. NaN where a few units carry the variance, of which no sample
    says how many there are; 0 where only totals were kept.
    """
    known = [(m, float(share)) for m, share in zip(classes, w, strict=True) if m.replicates > 1]
    if not known or not all(m.has_spread for m, _ in known):
        return 0.0
    scales = np.array([_weight(m, share) for m, share in known])
    lengths, squares = np.array([m.residual_lengths() for m, _ in known]).T
    lengths = scales * lengths
    trace, freedom = float(lengths.sum()), sum(m.replicates - 1 for m, _ in known)
    if not trace > _ROUNDING or freedom < 2:
        return 0.0
    # Whether a few units carry the variance: (sum r)^2 / sum r^2 of their parts r of it. Few
    # against what it would be if all units of a class carried the same.
    fourth = float(scales**2 @ squares)
    alike = float(np.sum(lengths**2 / np.array([m.replicates for m, _ in known])))
    if trace**2 < _CARRYING * fourth and alike < _PART * fourth:
        return float("nan")
    step = max(1, round(_cost(known) / _MOST_MULTIPLICATIONS))
    plug_in = _squares(known[::step]) * (trace / float(lengths[::step].sum())) ** 2
    unbiased = (plug_in - trace**2 / freedom) * freedom**2 / ((freedom + 2) * (freedom - 1))
    squared = max(float(unbiased), trace**2 / classes[0].dimension)
    rank = trace**2 / squared
    return 2 * squared * min(1.0, (_FEW / rank) ** 2)


def _cost(known: Sequence[tuple[ClassMoments, float]]) -> float:
    rows = sum(len(m.rows) for m, _ in known if m.rows is not None)
    d = known[0][0].dimension
    return float(rows * d * min(rows, d))


def _weight(moments: ClassMoments, share: float) -> float:
    """What a class's scatter enters Gamma by: w^2 G/(G - 1) / n^2."""
    G, n = moments.replicates, float(moments.totals[COUNT])
    return share**2 * G / ((G - 1) * n**2)


def _squares(known: Sequence[tuple[ClassMoments, float]]) -> float:
    """tr Gamma^2 of the sample."""
    d = known[0][0].dimension
    gamma, rows = np.zeros((d, d)), []
    for moments, share in known:
        if moments.rows is not None:
            y = moments.rows[:, :d] - moments.rows[:, COUNT, None] * moments.mean
            rows.append(y * np.sqrt(_weight(moments, share)))
        elif moments.scatter is not None:
            gamma += _weight(moments, share) * moments.scatter[:d, :d]
    together = np.concatenate(rows) if rows else np.zeros((0, d))
    if len(rows) == len(known) and len(together) < d:
        return float(np.sum((together @ together.T) ** 2))
    return float(np.sum((gamma + together.T @ together) ** 2))
