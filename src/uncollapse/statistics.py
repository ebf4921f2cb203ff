"""Intervals that several rooms need: Student's, Wilson's, and of a difference of two estimates."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev

import numpy as np
from scipy.special import ndtri, stdtrit

from uncollapse.records import Interval


def t_quantile(freedom: float, confidence: float = 0.95) -> float:
    """Two-sided critical value of Student's t: P(|T| < q) = confidence."""
    return float(stdtrit(freedom, 1 - (1 - confidence) / 2))


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean m -+ t s / sqrt(n) of n values with standard deviation s; no interval for one value."""
    mean, count = fmean(values), len(values)
    if count < 2:
        return Interval(mean)
    half = t_quantile(count - 1, confidence) * stdev(values) / sqrt(count)
    return Interval(mean, mean - half, mean + half)


def wilson_interval(proportion: float, count: float, confidence: float = 0.95) -> Interval:
    """Wilson's interval of a proportion p among n independent draws, cut to [0, 1].

    With the normal quantile z:

        (p + z^2/(2n) -+ z sqrt(p (1 - p)/n + z^2/(4 n^2))) / (1 + z^2/n)

    Wilson 1927, "Probable inference, the law of succession, and statistical inference", Journal of
    the American Statistical Association 22, 209.
    """
    p, n, z = proportion, count, float(ndtri(1 - (1 - confidence) / 2))
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Interval(p, max(0.0, centre - half), min(1.0, centre + half))


def difference(first: Interval, second: Interval) -> Interval:
    """Second minus first of two independent estimates, from their own intervals.

    With d = b - a:

        [d - sqrt((b - b_low)^2 + (a_high - a)^2), d + sqrt((b_high - b)^2 + (a - a_low)^2)]

    Zou & Donner 2008, "Construction of confidence limits about effect measures", Statistics in
    Medicine 27, 1693.
    """
    a, b = first, second
    d = b.estimate - a.estimate
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return Interval(d)
    down = float(np.hypot(b.estimate - b.low, a.high - a.estimate))
    up = float(np.hypot(b.high - b.estimate, a.estimate - a.low))
    return Interval(d, d - down, d + up)
