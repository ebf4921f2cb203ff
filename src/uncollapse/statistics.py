"""Intervals that several rooms need: Student's, and of a difference of two estimates."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, sqrt
from statistics import fmean, stdev
from typing import NamedTuple

from scipy.special import stdtrit

__all__ = ["Bounds", "difference", "mean_interval", "t_quantile"]


class Bounds(NamedTuple):
    """A number with the ends of its interval; None where there is none."""

    estimate: float
    low: float | None
    high: float | None


def t_quantile(freedom: float, confidence: float = 0.95) -> float:
    """Two-sided critical value of Student's t: P(|T| < q) = confidence.

    Example:
        >>> round(t_quantile(10), 3)
        2.228
    """
    return float(stdtrit(freedom, 1 - (1 - confidence) / 2))


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Bounds:
    """Mean m -+ t s / sqrt(n) of n values with standard deviation s; no interval for one value.

    Example:
        >>> [round(end, 3) for end in mean_interval([0.1, 0.2, 0.3])]
        [0.2, -0.048, 0.448]
    """
    mean, count = fmean(values), len(values)
    if count < 2:
        return Bounds(mean, None, None)
    half = t_quantile(count - 1, confidence) * stdev(values) / sqrt(count)
    return Bounds(mean, mean - half, mean + half)


def difference(first: Bounds, second: Bounds) -> Bounds:
    """Second minus first of two independent estimates, from their own intervals.

    With d = b - a:

        [d - sqrt((b - b_low)^2 + (a_high - a)^2), d + sqrt((b_high - b)^2 + (a - a_low)^2)]

    Zou & Donner 2008, "Construction of confidence limits about effect measures", Statistics in
    Medicine 27, 1693.

    Example:
        >>> [round(end, 3) for end in difference(Bounds(0.2, 0.1, 0.3), Bounds(0.5, 0.4, 0.6))]
        [0.3, 0.159, 0.441]
    """
    a, b = first, second
    d = b.estimate - a.estimate
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return Bounds(d, None, None)
    down = hypot(b.estimate - b.low, a.high - a.estimate)
    up = hypot(b.high - b.estimate, a.estimate - a.low)
    return Bounds(d, d - down, d + up)
