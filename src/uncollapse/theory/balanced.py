"""Balanced classes: thresholds in closed form and the optimum by one scalar equation.

m classes of n instances with p views; every batch holds k of the classes with n_b instances each
(k = m and n_b = n is the full batch). Derivation, in the symbols of docs/notation.md: the optimum
is a mixture of fractions nu (between views), iota (between instances) and 1 - nu - iota (between
classes) of the unit norm, which gives the cosines s and a of `_program`, b = -(1 - nu - iota)/(m-1)
of two classes and, with self pairs or without,

    D = [e^(1/tau)] + (p-1) e^(s/tau) + p (n_b-1) e^(a/tau) + p n_b (k-1) e^(b/tau)
    L = log D - (1 - alpha) a/tau - alpha q/tau,   q = s, or (1 + (p-1) s)/p with self pairs.

L is convex in (nu, iota). Setting its derivatives at nu = iota = 0 to zero gives the thresholds;
nu > 0 and iota > 0 exclude each other, so the optimum lies on one of the two edges.
Reference: Lee et al., arXiv:2503.08203, for the full batch with self pairs; the rest is derived
here and tested against free minimisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from uncollapse.records import BalancedBatch, FullBatch, Setting
from uncollapse.theory._program import Array

# Cells of a grid that are solved together: they stay in the processor's cache, twice as fast.
CACHED = 8192


class Counts(NamedTuple):
    """What the equations need, as floats."""

    m: float
    p: float
    kappa: float
    own: float  # weight of e^(1/tau) at collapse: own views, with or without the anchor itself
    mates: float  # p (n_b - 1): other instances of the class in the batch
    others: float  # p n_b (k - 1): instances of other classes in the batch
    include: bool


def _counts(setting: Setting) -> Counts:
    if not setting.balanced or not isinstance(setting.batch, FullBatch | BalancedBatch):
        raise ValueError("closed forms need equal classes and a full or balanced batch")
    m, n, p = len(setting.counts), int(setting.counts[0]), setting.views
    in_batch, k = n, m
    if isinstance(setting.batch, BalancedBatch):
        in_batch, k = setting.batch.per_class, setting.batch.classes or m
    include = setting.self_pairs == "include"
    own = p if include else p - 1
    return Counts(m, p, n / (n - 1), own, p * (in_batch - 1), p * in_batch * (k - 1), include)


def _collapsed(setting: Setting, temperature: Any) -> tuple[Counts, Array]:
    """Counts, and x = exp(-m/((m-1) tau)), the softmax weight of another class over the own."""
    c = _counts(setting)
    return c, np.exp(-c.m / ((c.m - 1) * _grid(temperature, setting.temperature)))


def alpha_threshold(setting: Setting, temperature: Any = None) -> Array:
    """Smallest alpha above which instances of a class keep apart.

        alpha_c = 1 - (mates - others x / ((m-1) kappa)) / (own + mates + others x)

    with mates = p (n_b-1), others = p n_b (k-1), x = exp(-m/((m-1) tau)), kappa = n/(n-1), and
    own = p with self pairs, p - 1 without: for the full batch with self pairs
    1 - ((n-1)/n) (1-x)/(1 + (m-1) x). At the setting's temperature or an array of any shape, whose
    shape the thresholds have (the other two alike); 1 or more: collapsed at every alpha.
    """
    c, x = _collapsed(setting, temperature)
    denominator = c.own + c.mates + c.others * x
    return 1 - (c.mates - c.others * x / ((c.m - 1) * c.kappa)) / denominator


def temperature_threshold(setting: Setting, alpha: Any = None) -> Array:
    """Temperature below which instances of a class keep apart: alpha_threshold solved for tau.

    0 where every temperature collapses, inf where none.
    """
    c = _counts(setting)
    keep = 1 - _grid(alpha, setting.alpha)
    above = c.mates - keep * (c.own + c.mates)
    below = c.others * (1 / ((c.m - 1) * c.kappa) + keep)
    x = np.clip(above / below, 0, 1)
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(x >= 1, np.inf, -c.m / ((c.m - 1) * np.log(x))))


def view_splitting_threshold(setting: Setting, temperature: Any = None) -> Array:
    """Alpha below which the optimum pushes the views of one instance apart.

        alpha_s = [1 - others x m/(m-1)] / [1 + (mates + others x)/(p-1)]

    with the symbols of `alpha_threshold`. 0 or less: never; and nan with one view, with one
    instance of a class in a batch, or with self pairs, where the anchor's own term e^(1/tau) makes
    the derivative in nu positive everywhere.
    """
    c, x = _collapsed(setting, temperature)
    if c.include or c.p == 1 or c.mates == 0:
        return np.full_like(x, np.nan)
    above = 1 - c.others * x * c.m / (c.m - 1)
    return above / (1 + (c.mates + c.others * x) / (c.p - 1))


@dataclass(frozen=True)
class BalancedOptimum:
    """The optimum over a grid: variances as fractions of the unit norm, arrays of one shape."""

    view_variance: Array
    instance_variance: Array

    @property
    def within_class_variance(self) -> Array:
        """V = view part + instance part."""
        return self.view_variance + self.instance_variance


def balanced_optimum(
    setting: Setting, alpha: Any = None, temperature: Any = None
) -> BalancedOptimum:
    """The optimal variances for every pair of an alpha and a temperature, broadcast.

    On the instance edge (nu = 0) dL/diota = 0 reads, after multiplication by D,

        kappa (1-alpha) own + [kappa (1-alpha) + 1/(m-1)] p n_b (k-1) e^((b-1)/tau)
            = kappa alpha p (n_b-1) e^((a-1)/tau)

    and the view edge alike. The difference of the logarithms of the two sides is convex and
    increasing in the unknown, so Newton's method from the right converges without safeguards.
    """
    alpha, temperature = _grid(alpha, setting.alpha), _grid(temperature, setting.temperature)
    return solve_counts(_counts(setting), alpha, temperature)


def solve_counts(c: Counts, alpha: Array, temperature: Array) -> BalancedOptimum:
    """`balanced_optimum` from its counts, which need not be whole."""
    alpha_, tau = np.broadcast_arrays(alpha, temperature)
    keep = 1 - alpha_
    with np.errstate(divide="ignore"):
        # Logarithms, with b - 1 = -m/(m-1) + iota/(m-1) and a - 1 = -kappa iota.
        log_others = np.log(c.others) - c.m / ((c.m - 1) * tau)
        instance = _increasing_root(
            fixed=np.log(c.kappa * keep * c.own),
            rising=np.log(c.kappa * keep + 1 / (c.m - 1)) + log_others,
            rise=1 / ((c.m - 1) * tau),
            target=np.log(c.kappa * alpha_ * c.mates),
            slope=c.kappa / tau,
        )
        view = np.zeros_like(instance)
        if not c.include and c.p > 1:
            ratio, share = c.p / (c.p - 1), alpha_ / (c.p - 1)
            # mates fall with e^(-nu/tau): divided out of both sides, which keeps the form.
            view = _increasing_root(
                fixed=np.log(share * c.mates),
                rising=np.log(1 + share + 1 / (c.m - 1)) + log_others,
                rise=1 / tau + 1 / ((c.m - 1) * tau),
                target=np.log(keep),
                slope=(ratio - 1) / tau,
            )
    # Where a batch holds few of the classes the class means may meet before the slopes do.
    instance = np.minimum(instance, 1.0)
    return BalancedOptimum(view, np.where(view > 0, 0.0, instance))


def _grid(values: Any, default: float) -> Array:
    return np.asarray(default if values is None else values, dtype=np.float64)


def _increasing_root(fixed: Any, rising: Any, rise: Any, target: Any, slope: Any) -> Array:
    """Root v >= 0 of log(e^fixed + e^(rising + rise v)) + slope v = target; 0 if it is negative.

    Both terms bound the root from above when taken alone; Newton descends from the lower of the
    two bounds. The slope changes by less than the factor 1 + rise/slope, so few steps are enough.
    """
    given = np.broadcast_arrays(fixed, rising, rise, target, slope)
    flat = [np.ravel(values) for values in given]
    root = np.zeros(given[0].size)
    for first in range(0, root.size, CACHED):
        part = slice(first, first + CACHED)
        where = first + np.flatnonzero(np.logaddexp(flat[0][part], flat[1][part]) < flat[3][part])
        f, g, r, t, k = (values[where] for values in flat)
        value = np.minimum((t - f) / k, (t - g) / (k + r))
        for _ in range(60):
            exponent = g + r * value
            total = np.logaddexp(f, exponent)
            step = (total + k * value - t) / (k + r * np.exp(exponent - total))
            value = value - step
            if np.max(np.abs(step) / np.abs(value), initial=0.0) < 1e-14:
                break
        root[where] = np.maximum(value, 0.0)
    return root.reshape(given[0].shape)
