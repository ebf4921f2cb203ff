"""Intervals that several rooms need: Student's, Welch's, Wilson's, and of a difference."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev, variance

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


Rounds = Sequence[Sequence[float]]


def mean_difference(
    before: Rounds, after: Rounds, confidence: float = 0.95, *, same_runs: bool = False
) -> Interval:
    """Difference of means (after less before) in the last round; its spread is that of all rounds.

    Earlier rounds may have chosen what is compared: their means, which the choice favours, take no
    part, but their spread says how far a mean errs. With n_r values x_r of one side in round r,

        s^2 = sum_r (n_r - 1) var(x_r) / nu,   nu = sum_r (n_r - 1),   v = s^2 / n_last

    of each side, and d the difference of the last round's means, Welch's interval is

        d -+ t(f) sqrt(v_a + v_b),   f = (v_a + v_b)^2 / (v_a^2 / nu_a + v_b^2 / nu_b)

    With `same_runs`, values at one place of a round are of one run, measured twice: d -+ t(nu)
    sqrt(v) of their differences. Rounds of one value each have no spread, and d has no interval.

    Welch 1947, "The generalization of Student's problem when several different population variances
    are involved", Biometrika 34, 28.
    """
    if same_runs:
        pairs = [np.subtract(b, a).tolist() for a, b in zip(before, after, strict=True)]
        sides: list[Rounds] = [pairs]
        gain = fmean(pairs[-1])
    else:
        sides = [before, after]
        gain = fmean(after[-1]) - fmean(before[-1])
    freedoms = [sum(len(values) - 1 for values in side) for side in sides]
    if 0 in freedoms:
        return Interval(gain)
    variances = [
        sum((len(values) - 1) * variance(values) for values in side if len(values) > 1)
        / (freedom * len(side[-1]))
        for side, freedom in zip(sides, freedoms, strict=True)
    ]
    total = sum(variances)
    if total == 0:
        return Interval(gain, gain, gain)
    parts = (v**2 / freedom for v, freedom in zip(variances, freedoms, strict=True))
    half = t_quantile(total**2 / sum(parts), confidence) * sqrt(total)
    return Interval(gain, gain - half, gain + half)


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
