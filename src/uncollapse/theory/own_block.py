"""The part of the optimality conditions that concerns one class alone.

Given the price v > 0 of a class's norm (the multiplier of nu + iota + mu + H_gg = 1) and the
pressures k_s = sum W (p-1)/D and k_a = sum W p (own-1)/D, minimise over nu, iota >= 0

    k_s tau e^(s/tau) + k_a tau e^(a/tau) - (S a + T' s) + tau v (nu + iota),   all over tau,

where s = 1 - nu p/(p-1), a = 1 - nu - kappa iota, and T' is T, or T (p-1)/p with self pairs.

At the optimum of a block with one term nu and iota are not both positive: their two conditions
together would make the shares of one softmax sum to more than one. So either nu = 0 and iota has a
closed form, or iota = 0 and nu solves one scalar equation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["ClassPull", "OwnBlock", "own_block"]

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class ClassPull:
    """What a block's own terms pull with: S, T' and kappa, each (G,), and whether n > 1."""

    supervised: Array
    self_supervised: Array
    kappa: Array
    several: np.ndarray[Any, np.dtype[np.bool_]]
    views: int
    temperature: float


@dataclass(frozen=True)
class OwnBlock:
    """The minimiser, and derivatives by (log v, lambda) where lambda = -log of both pressures."""

    view: Array
    instance: Array
    s: Array
    a: Array
    ds: tuple[Array, Array]
    da: tuple[Array, Array]

    @property
    def rest(self) -> Array:
        """1 - nu - iota: the norm left for the class mean."""
        return 1 - self.view - self.instance

    def drest(self, pull: ClassPull) -> tuple[Array, Array]:
        """Derivatives of `rest`, from those of s and a."""
        shrink = (pull.views - 1) / pull.views
        out = []
        for ds, da in zip(self.ds, self.da, strict=True):
            dview = -ds * shrink
            dinstance = np.where(self.instance > 0, (-dview - da) / pull.kappa, 0.0)
            out.append(-dview - dinstance)
        return out[0], out[1]


def own_block(pull: ClassPull, log_price: Array, log_ks: Array, log_ka: Array) -> OwnBlock:
    """The minimising fractions of every block, all arrays (G,)."""
    p, tau, kappa = pull.views, pull.temperature, pull.kappa
    with np.errstate(divide="ignore"):
        log_instance = np.log(tau / kappa) + log_price
        log_right = np.logaddexp(np.log(pull.supervised), log_instance)
    a = tau * (log_right - log_ka)
    da = (tau * np.exp(log_instance - log_right), np.full_like(a, tau))
    none = np.zeros_like(a)
    view, dview = none, (none, none)
    spread = pull.several & (a < 1)
    if p > 1:
        alone, dalone = _views_alone(pull, log_price, log_ks, log_ka)
        spread = pull.several & (1 - alone - a > 0)
        view = np.where(spread, 0.0, alone)
        dview = _pick(spread, (none, none), dalone)
    da = _pick(spread, da, (-dview[0], -dview[1]))
    ratio = p / max(p - 1, 1)
    return OwnBlock(
        view=view,
        instance=np.where(spread, (1 - np.where(spread, a, 1.0)) / kappa, 0.0),
        s=1 - view * ratio,
        a=np.where(spread, a, 1 - view),
        ds=(-dview[0] * ratio, -dview[1] * ratio),
        da=da,
    )


def _pick(
    where: np.ndarray[Any, np.dtype[np.bool_]],
    yes: tuple[Array, Array],
    no: tuple[Array, Array],
) -> tuple[Array, Array]:
    return np.where(where, yes[0], no[0]), np.where(where, yes[1], no[1])


def _views_alone(
    pull: ClassPull, log_price: Array, log_ks: Array, log_ka: Array
) -> tuple[Array, tuple[Array, Array]]:
    """nu where iota = 0: p/(p-1) k_s e^(s/tau) + k_a e^(a/tau) = tau v + S + T' p/(p-1), or 0.

    The logarithm of the left side is convex and decreasing in nu: Newton from nu = 0 is monotone.
    """
    p, tau = pull.views, pull.temperature
    ratio = p / (p - 1)
    log_v = np.log(tau) + log_price
    with np.errstate(divide="ignore"):
        log_right = np.logaddexp(log_v, np.log(pull.supervised + ratio * pull.self_supervised))
    top = np.log(ratio) + log_ks + 1 / tau
    low = log_ka + 1 / tau
    nu = np.zeros_like(log_price)
    for _ in range(100):
        views, mates = top - nu * ratio / tau, low - nu / tau
        total = np.logaddexp(views, mates)
        lean = (ratio * np.exp(views - total) + np.exp(mates - total)) / tau
        step = np.maximum((total - log_right) / lean, -nu)
        nu = nu + step
        if np.max(np.abs(step)) <= 1e-16 + 1e-15 * np.max(nu):
            break
    fall = np.where(nu > 0, 1 / lean, 0.0)
    return nu, (-fall * np.exp(log_v - log_right), -fall)
