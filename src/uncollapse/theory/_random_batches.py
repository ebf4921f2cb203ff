"""Random batches of balanced classes: exact expected weights of an anchor by its class's count.

B of m n instances are drawn without replacement. The loss of a batch divides by a number Y that
depends on the whole composition b_1..b_m: Y = sum of b_c over b_c >= 2 ("anchors", lone anchors
dropped) or of b_c (b_c - 1) ("pairs"). What an anchor with b instances of its class contributes is

    E[1{b_c = b} / Y] = integral over t > 0 of E[1{b_c = b} e^(-t Y)] dt,

and e^(-t Y) factorises over the classes: the expectation is a coefficient of a power of a
polynomial, taken by FFT. The integral is a trapezoidal sum in log t, which converges
exponentially.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.optimize import brentq
from scipy.special import logsumexp

from uncollapse.theory._program import Array, log

# Trapezoidal step in log t; the error is about exp(-pi^2 / step) = 2e-16.
STEP = 0.27
# Counts less likely than this are left out: they contribute at most that much.
NEGLIGIBLE = 1e-22


def class_count_distribution(classes: int, per_class: int, size: int) -> tuple[Array, Array]:
    """Counts b of a class in a random batch that are not negligibly rare, and their probability.

    Hypergeometric, by the recursion of neighbouring probabilities, which stays exact for large
    populations where differences of log-factorials do not.
    """
    rest = (classes - 1) * per_class
    mean = size / classes
    width = 12 * np.sqrt(mean) + 60
    low = max(0, size - rest, int(mean - width))
    counts = np.arange(low, min(per_class, size, int(mean + width)) + 1, dtype=float)
    before = counts[:-1]
    ratio = (per_class - before) * (size - before) / ((before + 1) * (rest - size + before + 1))
    log_p = np.concatenate([[0.0], np.cumsum(np.log(ratio))])
    log_p -= logsumexp(log_p)
    keep = log_p > np.log(NEGLIGIBLE)
    return counts[keep], np.exp(log_p[keep])


def inverse_normaliser(
    classes: int, per_class: int, size: int, counts: Array, part: Array
) -> Array:
    """E[1{b_c = b} / Y] for every count b of the distribution.

    Y is the sum over classes of their parts, given at each count; where the part is zero the
    expectation means nothing.
    """
    step = np.log((per_class - counts[:-1]) / (counts[:-1] + 1))
    log_ways = np.concatenate([[0.0], np.cumsum(step)])
    total = np.zeros(len(counts))
    if not part.any():
        return total
    scale = logsumexp(_log_joint(classes, size, counts, log_ways))
    largest = min(part.max() * classes, float(size) * float(size))
    nodes = np.arange(-np.log(largest) - 36.0, np.log(42.0 / part[part > 0].min()), STEP)
    for log_t in nodes:
        log_joint = _log_joint(classes, size, counts, log_ways - np.exp(log_t) * part)
        total += np.exp(log_joint - scale + log_t)
    return STEP * total


def _log_joint(classes: int, size: int, counts: Array, log_weight: Array) -> Array:
    """log of w(b) times the coefficient of z^(size - b) in (sum_j w(j) z^j)^(classes - 1).

    The weights are tilted to the mean size/classes, so that the coefficients wanted lie in the
    middle of the distribution of the sum, where the FFT is accurate relatively.
    """
    mean = size / classes

    def excess(tilt: float) -> float:
        weight = log_weight + tilt * (counts - mean)
        weight = np.exp(weight - weight.max())
        return float(weight @ (counts - mean) / weight.sum())

    reach = 1.0
    while reach <= 1e9 and (excess(-reach) > 0 or excess(reach) < 0):
        reach *= 2
    tilt = float(brentq(excess, -reach, reach, xtol=1e-12)) if reach <= 1e9 else 0.0
    tilted = log_weight + tilt * (counts - mean)
    normaliser = logsumexp(tilted)
    mass = np.exp(tilted - normaliser)
    spread = float(np.sqrt(mass @ (counts - mean) ** 2 * (classes - 1)))
    span = len(counts) - 1
    length = next_fast_len(int(min((classes - 1) * span + 1, 40 * spread + 4 * span + 16)), True)
    power = irfft(rfft(mass, length) ** (classes - 1), length)
    index = (size - counts - (classes - 1) * counts[0]).astype(np.int64)
    reachable = (index >= 0) & (index <= (classes - 1) * span)
    log_rest = np.where(reachable, log(np.maximum(power[index % length], 0.0)), -np.inf)
    # Undo the tilt: both factors carry exp(tilt (count - mean)), whose exponents sum to zero.
    return tilted + log_rest + (classes - 1) * normaliser
