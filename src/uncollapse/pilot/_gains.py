"""What settings gain: intervals that hold for several candidates, and how many seeds would decide.

Y_cs is the objective of setting c with seed s: Y_cs = mu_c + e_cs, e_cs independent, of one
variance. Seeds that several settings share are no blocks: in docs/study, 30 settings each, they
make up 2 to 10 % of the variance at the projector, and a block each would cost more than that.

With k candidates beside the start (c = 0), difference D_c = mean_s(Y_cs) - mean_s(Y_0s), pooled
variance v on f = (k + 1)(S - 1) degrees of freedom, and Dunnett's two-sided critical value q,

    D_c -+ q sqrt(2 v / S)     holds for all candidates at once with the stated confidence

q solves P(max_c |T_c| < q) = confidence for the multivariate t with correlations 1/2 (Dunnett 1955,
"A multiple comparison procedure for comparing several treatments with a control", JASA 50, 1096).
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

MOST_SEEDS = 1000


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

    Without variance (all values of a setting equal) they have no width.
    """
    first = np.asarray(start, dtype=np.float64)
    others = np.asarray(candidates, dtype=np.float64)
    k, seeds = others.shape
    variance = float(np.vstack([first, others]).var(axis=1, ddof=1).mean())
    half = dunnett_quantile(k, (k + 1) * (seeds - 1), confidence) * sqrt(2 * variance / seeds)
    gains = (others.mean(axis=1) - first.mean()).tolist()
    return [Interval(gain, gain - half, gain + half) for gain in gains]


def seeds_needed(half_width: float, seeds: int, room: float, confidence: float = 0.95) -> int:
    """More seeds than these at which an interval of this half-width is shorter than `room`.

    A half-width goes as t / sqrt(S), t with the 2 (S - 1) degrees of freedom of two settings.
    `MOST_SEEDS` + 1 where so many are not enough.
    """

    def shrunk(number: int) -> float:
        return t_quantile(2 * (number - 1), confidence) / sqrt(number)

    scale = half_width / shrunk(seeds)
    enough = (n for n in range(seeds + 1, MOST_SEEDS + 1) if scale * shrunk(n) < room)
    return next(enough, MOST_SEEDS + 1)
