"""What training for a finite time reaches: gradient flow of three parts of the norm.

An embedding's unit norm is shared by three parts that add up to 1: w between instances of a class,
b between classes, c common to all. With x = (w, b, c), a = b + c and o = c - b / (m - 1), pairs of
one class have cosine a + w u and pairs of two classes o + w u, where u is the cosine of two
residuals, uniform on a sphere of r dimensions. So, for an anchor with M views of others of its
class and O of other classes in the batch, and `own` views of itself,

    tau L = tau log( own e^{1/tau} + M e^{a/tau} g(w) + O e^{o/tau} g(w) )
            - alpha - (1 - alpha) (q a + (1 - q) o),    log g(w) = log E exp(w u / tau),

where a supervised positive is of the anchor's class, as the network sees it, with probability q.
Squared amplitudes of directions under gradient descent on the sphere follow

    d log x_k / dt = -4 dL/dx_k + (what keeps their sum at 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ive

from uncollapse.records import BalancedBatch, RandomBatch, Setting

Array = NDArray[np.float64]
# Steps of the integrator, and the first one as a part of the whole time. Its error in w and b is
# below .003 where the model was tested, a tenth of what the model itself is off by.
STEPS, FIRST = 40, 1e-3
GAMMA = 1 - np.sqrt(0.5)  # of the two-stage Rosenbrock method that is L-stable


@dataclass(frozen=True)
class Batches:
    """The batches of S settings in numbers, (S,) or, over at most K sizes of classes, (S, K)."""

    temperature: Array
    alpha: Array
    own: Array
    mates: Array
    others: Array
    weight: Array  # of the anchors of classes of a size; sums to 1
    classes: Array


def batches_of(settings: Sequence[Setting]) -> Batches:
    """The mean composition of the batches of each setting."""
    rows = [_composition(setting) for setting in settings]
    most = max(len(weight) for *_, weight in rows)

    def padded(which: int, fill: float) -> Array:
        return np.array([np.pad(r[which], (0, most - len(r[which])), constant_values=fill)
                         for r in rows])  # fmt: skip

    return Batches(
        temperature=np.array([setting.temperature for setting in settings]),
        alpha=np.array([setting.alpha for setting in settings]),
        own=np.array([s.views - (s.self_pairs == "exclude") for s in settings], float),
        mates=padded(0, 1.0),
        others=padded(1, 1.0),
        weight=padded(2, 0.0),
        classes=np.array([len(setting.counts) for setting in settings], float),
    )


def _composition(setting: Setting) -> tuple[Array, Array, Array]:
    """By size of a class: other instances of the class, of other classes (views), and weight."""
    size, many = np.unique(setting.counts, return_counts=True)
    m, batch, p = len(setting.counts), setting.batch, setting.views
    if isinstance(batch, BalancedBatch):
        classes = batch.classes or m
        mates = np.full(len(size), batch.per_class - 1.0)
        others = np.full(len(size), batch.per_class * (classes - 1.0))
        return p * mates, p * others, many / m
    total = setting.instances
    drawn = batch.size if isinstance(batch, RandomBatch) else total
    mates = (drawn - 1) * (size - 1) / (total - 1)
    return p * mates, p * (drawn - 1 - mates), size * many / total


def flow(
    start: Array, time: Array, batches: Batches, q: Array, dimension: Array
) -> tuple[Array, Array]:
    """w and b after a time, all arrays broadcast against (S,); `start` is (S, 2), w and b before.

    A linearly implicit method of second order on log x, in steps that grow with time: near the end
    the flow is stiff, because it settles fast in steep directions and never in flat ones.
    """
    shape = np.broadcast_shapes(time.shape, q.shape, dimension.shape, batches.alpha.shape)
    rest = 1 - start.sum(-1, keepdims=True)
    y = np.log(np.broadcast_to(np.concatenate([start, rest], -1), (*shape, 3)))
    marks = np.concatenate([[0], np.geomspace(FIRST, 1, STEPS)])
    speed = -4 / batches.temperature
    for part in np.diff(marks):
        h = np.broadcast_to(time * part, shape)[..., None]
        x = _normed(y)
        slope, curve = _derivatives(x, batches, q, dimension)
        solve = _implicit(x, curve, GAMMA * h[..., 0] * speed)
        first = solve(speed[..., None] * slope)
        slope, _ = _derivatives(_normed(y + h * first), batches, q, dimension)
        second = solve(speed[..., None] * slope - 2 * first)
        y = y + 1.5 * h * first + 0.5 * h * second
        y -= y.max(-1, keepdims=True)
    x = _normed(y)
    return x[..., 0], x[..., 1]


def _implicit(x: Array, curve: Array, step: Array) -> Callable[[Array], Array]:
    """How (I - step J) v = f is solved for v, where J_kl = (H - (H x) 1^T)_kl x_l.

    The Hessian H has three entries, as c shifts all cosines alike: J has no third row.
    """
    (w, b, c), (ww, wb, bb) = np.moveaxis(x, -1, 0), np.moveaxis(curve, -1, 0)
    on_w, on_b = ww * w + wb * b, wb * w + bb * b  # H x
    m_ww, m_wb = 1 - step * (ww - on_w) * w, -step * (wb - on_w) * b
    m_bw, m_bb = -step * (wb - on_b) * w, 1 - step * (bb - on_b) * b
    determinant = m_ww * m_bb - m_wb * m_bw

    def solve(f: Array) -> Array:
        f_w, f_b = (f[..., k] - step * on * c * f[..., 2] for k, on in enumerate((on_w, on_b)))
        v = ((m_bb * f_w - m_wb * f_b) / determinant, (m_ww * f_b - m_bw * f_w) / determinant)
        return np.stack([*v, f[..., 2]], -1)

    return solve


def _normed(y: Array) -> Array:
    x = np.exp(y - y.max(-1, keepdims=True))
    normed: Array = x / x.sum(-1, keepdims=True)
    return normed


def _derivatives(x: Array, batches: Batches, q: Array, dimension: Array) -> tuple[Array, Array]:
    """Of tau L the gradient in (w, b, c), (..., 3), and its Hessian's entries ww, wb and bb.

    Of an anchor's denominator the part p_0 is of itself, p_1 of its class and p_2 of others, whose
    cosines rise with w by 1, s and s (s the slope of tau log g), with b by 1, 1 and `far`, and with
    c by 1. The Hessian is the covariance of these rates under p, over tau, and what g bends.
    """
    w, b, c = x[..., 0], x[..., 1], x[..., 2]
    tau, alpha, far = batches.temperature, batches.alpha, -1 / (batches.classes - 1)
    log_g, slope, bend = log_mean_exponential(w / tau, dimension)
    cosines = (np.ones_like(log_g), b + c + tau * log_g, c + far * b + tau * log_g)
    # What positives gain is alpha + (1 - alpha) (q a + (1 - q) o).
    by_w, by_b = -alpha, -(alpha + (1 - alpha) * (q + (1 - q) * far))
    ww = wb = bb = np.zeros_like(log_g)
    for k in range(batches.weight.shape[-1]):
        weight, counts = batches.weight[..., k], (batches.own, batches.mates[..., k],
                                                  batches.others[..., k])  # fmt: skip
        with np.errstate(divide="ignore"):
            logs = [np.log(n) + v / tau for n, v in zip(counts, cosines, strict=True)]
        most = np.maximum(np.maximum(logs[0], logs[1]), logs[2])
        itself, mates, others = (np.exp(each - most) for each in logs)
        total = itself + mates + others
        itself, others = itself / total, others / total
        by_w = by_w + weight * (itself + (1 - itself) * slope)
        by_b = by_b + weight * (1 - others * (1 - far))
        ww = ww + weight * (1 - itself) * (itself * (1 - slope) ** 2 + bend) / tau
        wb = wb + weight * itself * others * (1 - slope) * (1 - far) / tau
        bb = bb + weight * others * (1 - others) * (1 - far) ** 2 / tau
    gradient = np.stack([by_w, by_b, np.zeros_like(log_g)], -1)
    return gradient, np.stack([ww, wb, bb], -1)


def log_mean_exponential(x: Array, dimension: Array) -> tuple[Array, Array, Array]:
    """log E exp(x u) and two derivatives; u is a coordinate of a uniform unit vector.

    Gamma(r/2) (2/x)^(r/2-1) I_(r/2-1)(x) in r dimensions; its second order where that underflows.
    """
    x, r = np.broadcast_arrays(np.maximum(x, 1e-12), dimension)
    order = np.minimum(r, 1e4) / 2 - 1
    bessel: Any = ive(order, x)
    near = (bessel < 1e-250) | (x < 1e-2)
    with np.errstate(all="ignore"):
        value = gammaln(order + 1) + order * np.log(2 / x) + np.log(bessel) + x
        slope = ive(order + 1, x) / bessel
        bend = 1 - slope**2 - (r - 1) / x * slope
    return (
        np.where(near, x**2 / (2 * r), value),
        np.where(near, x / r, slope),
        np.where(near, 1 / r, bend),
    )
