"""Intervals of differences between settings that were trained with the same seeds.

Y_cs is the objective of setting c with seed s: a randomised block design with seeds as blocks,

    Y_cs = mu_c + b_s + e_cs,     e_cs independent, of one variance

With k candidates beside the start (c = 0), difference D_c = mean_s(Y_cs - Y_0s), residual variance
v on f = k (S - 1) degrees of freedom, and Dunnett's two-sided critical value q,

    D_c -+ q sqrt(2 v / S)     holds for all candidates at once with the stated confidence

q solves P(max_c |T_c| < q) = confidence for the multivariate t with correlations 1/2 (Dunnett 1955,
"A multiple comparison procedure for comparing several treatments with a control", JASA 50, 1096).
The chosen one is compared once more with fresh seeds (`paired`), where no correction is needed.
"""

from __future__ import annotations

from functools import lru_cache
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import chi

from uncollapse.records import Interval
from uncollapse.statistics import t_quantile

METHOD = (
    "Dunnett's many-to-one intervals, seeds as blocks, one residual variance for all settings; the "
    "recommended one is confirmed by a paired t interval with fresh seeds on the test split"
)


@lru_cache(maxsize=64)
def dunnett_quantile(candidates: int, freedom: int, confidence: float = 0.95) -> float:
    """Two-sided critical value of Dunnett's test of k candidates with groups of equal size."""
    if candidates == 1:
        return t_quantile(freedom, confidence)
    z, weights = np.polynomial.hermite_e.hermegauss(81)
    weights = weights / weights.sum()
    share = (np.arange(400) + 0.5) / 400
    scale = chi.ppf(share, freedom) / sqrt(freedom)

    def probability(q: float) -> float:
        half = sqrt(2) * q * scale[:, None]
        inside = ndtr(z + half) - ndtr(z - half)
        return float(np.mean(inside**candidates @ weights))

    return float(brentq(lambda q: probability(q) - confidence, 0.01, 1000.0, xtol=1e-6))


def against_start(
    start: ArrayLike, candidates: ArrayLike, confidence: float = 0.95
) -> list[Interval]:
    """Simultaneous intervals of k candidates, (k, S) values by seed, minus start, (S,).

    Without residual variance (all differences equal) they have no width.
    """
    first = np.asarray(start, dtype=np.float64)
    others = np.asarray(candidates, dtype=np.float64)
    k, seeds = others.shape
    table = np.vstack([first, others])
    residual = (
        table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    )
    freedom = k * (seeds - 1)
    variance = float(np.sum(residual**2)) / freedom
    half = dunnett_quantile(k, freedom, confidence) * sqrt(2 * variance / seeds)
    return [_around(float(d), half) for d in others.mean(axis=1) - first.mean()]


def paired(before: ArrayLike, after: ArrayLike, confidence: float = 0.95) -> Interval:
    """Student's interval of the mean difference over seeds, (S,) each, S at least 2."""
    differences = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    seeds = len(differences)
    half = t_quantile(seeds - 1, confidence) * float(differences.std(ddof=1)) / sqrt(seeds)
    return _around(float(differences.mean()), half)


def seeds_needed(before: ArrayLike, after: ArrayLike, confidence: float = 0.95) -> int | None:
    """Seeds at which a paired interval of this estimate and spread would leave zero out.

    None where the estimate is zero or more than 1000 would be needed.
    """
    differences = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    estimate, spread = abs(float(differences.mean())), float(differences.std(ddof=1))
    for seeds in range(2, 1001):
        if t_quantile(seeds - 1, confidence) * spread / sqrt(seeds) < estimate:
            return seeds
    return None


def _around(centre: float, half: float) -> Interval:
    return Interval(centre, centre - half, centre + half)
