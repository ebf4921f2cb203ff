"""Which settings to run next: a Gaussian process over a list of settings, expected improvement.

With the objectives y of the runs so far, the process (a constant mean, their average; a squared
exponential kernel k(a, b) = s^2 exp(-|a - b|^2 / 2 l^2) of the settings' features; noise of a run)
gives each setting a mean m and a deviation d. Where b is the best objective of what is admissible,

    EI = (m - b) Phi(z) + d phi(z),   z = (m - b) / d      (Jones, Schonlau and Welch 1998)

is multiplied by the probability, by a second process, that the accuracy of the training label is
not below its floor. Length and scale are few values, each weighed by its marginal likelihood:
fitting them to three or four runs would be certain too soon. The second of a batch is chosen as if
the first had come out as expected.

The processes are scikit-learn's. What is proposed depends on the runs alone, and not on a seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from scipy.stats import norm
from sklearn import config_context
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

Numbers = NDArray[np.float64]

_LENGTHS = (0.5, 1.0, 2.0)
# Deviations of settings, and that of a run's seed: of the objective, and of the training label's
# accuracy (docs/study: .01 to .03 and .002 to .02 by seed).
_OBJECTIVE = ((0.07, 0.14), 0.03)
_TASK = ((0.03, 0.1), 0.015)
# Chances that differ by less than this share of the largest are equal: the first in the list wins.
_SAME = 1e-6
_LEAST = 1e-9


@dataclass(frozen=True)
class Seen:
    """What runs of a setting reached: its place in the list, means over its runs, their number."""

    place: int
    objective: float
    task: float = 1.0
    runs: int = 1


def expected_improvement(mean: Numbers, deviation: Numbers, best: float) -> Numbers:
    """E max(0, Y - best) of Y normal with these means and deviations (above 0).

    Examples:
        >>> expected_improvement(np.array([0.0]), np.array([1.0]), 0.0).round(4).tolist()
        [0.3989]
    """
    z = (mean - best) / deviation
    return np.asarray((mean - best) * norm.cdf(z) + deviation * norm.pdf(z))


def propose(
    features: ArrayLike,
    seen: Sequence[Seen],
    count: int = 1,
    *,
    taken: Sequence[int] = (),
    floor: float = -np.inf,
) -> list[int]:
    """The settings to run next, as places in the list, the most promising first.

    Args:
        features: (N, F) of the N settings, each of a range of about -1 to 1.
        seen: What has been run, at least one.
        count: How many to propose; fewer where fewer are left.
        taken: Places that are not to be proposed beside those seen, such as failed ones.
        floor: Least accuracy of the training label, 0 to 1; by default any.

    Examples:
        >>> line = np.linspace(-1, 1, 9)[:, None]
        >>> propose(line, [Seen(0, 0.5), Seen(4, 0.7), Seen(8, 0.6)], 2)
        [5, 3]
    """
    rows, known = np.asarray(features, dtype=np.float64), list(seen)
    left = np.ones(len(rows), dtype=bool)
    left[[*taken, *(one.place for one in known)]] = False
    proposed: list[int] = []
    while left.any() and len(proposed) < count:
        chance, reached, kept = _promise(rows, known, floor)
        chance = np.where(left, chance, -1.0)
        place = int(np.argmax(chance >= chance.max() * (1 - _SAME)))
        proposed.append(place)
        left[place] = False
        known.append(Seen(place, float(reached[place]), float(kept[place])))
    return proposed


def _promise(
    rows: Numbers, known: Sequence[Seen], floor: float
) -> tuple[Numbers, Numbers, Numbers]:
    """Of every setting what it promises, and the objective and accuracy expected of it, (N,)."""
    objective = _expected(rows, known, [one.objective for one in known], *_OBJECTIVE)
    good = [one.objective for one in known if one.task >= floor]
    best = max(good, default=min(one.objective for one in known))
    gain = expected_improvement(objective.means, objective.deviations, best)
    promise, reached = objective.over(gain), objective.over(objective.means)
    if np.isneginf(floor):
        return promise, reached, np.ones(len(rows))
    task = _expected(rows, known, [one.task for one in known], *_TASK)
    allowed = np.asarray(norm.sf(floor, task.means, task.deviations))
    return promise * task.over(allowed), reached, task.over(task.means)


@dataclass(frozen=True)
class _Expected:
    """What K processes expect of N settings: their weights (K,), means and deviations (K, N)."""

    weights: Numbers
    means: Numbers
    deviations: Numbers

    def over(self, numbers: Numbers) -> Numbers:
        """(N,) means of (K, N) numbers over the processes."""
        return np.asarray(self.weights @ numbers)


def _expected(
    rows: Numbers,
    seen: Sequence[Seen],
    values: Sequence[float],
    scales: Sequence[float],
    noise: float,
) -> _Expected:
    """A process for each length and scale, weighed by its marginal likelihood."""
    tried = rows[[one.place for one in seen]]
    variance = noise**2 / np.array([one.runs for one in seen])
    average = float(np.mean(values))
    centred = np.asarray(values) - average
    likelihoods, means, deviations = [], [], []
    with config_context(assume_finite=True, skip_parameter_validation=True):
        for length, scale in product(_LENGTHS, scales):
            kernel = ConstantKernel(scale**2) * RBF(length)
            process = GaussianProcessRegressor(kernel, alpha=variance, optimizer=None)
            mean, deviation = process.fit(tried, centred).predict(rows, return_std=True)
            likelihoods.append(process.log_marginal_likelihood_value_)
            means.append(average + mean)
            deviations.append(np.maximum(deviation, _LEAST))
    return _Expected(softmax(likelihoods), np.array(means), np.array(deviations))


def dial_features(
    alpha: ArrayLike,
    temperature: ArrayLike,
    count: ArrayLike,
    *,
    variance: ArrayLike | None = None,
) -> Numbers:
    """(N, 3) features of settings: predicted spread, temperature, instances of a class in a batch.

    Args:
        alpha: (N,) weights of the self-supervised term, 0 to 1.
        temperature: (N,) temperatures, above 0.
        count: (N,) instances of a class in a batch, above 0.
        variance: (N,) predicted variance between instances, 0 to 1; None for alpha in its place.

    Examples:
        >>> dial_features([0.5], [0.1], [32]).round(9).tolist()
        [[0.0, 0.0, 0.0]]
    """
    spread, scale = (alpha, 3.0) if variance is None else (variance, 2.0)
    part = np.asarray(spread, dtype=np.float64)
    margin = 1e-3 if variance is None else 0.02
    columns = (
        np.log((part + margin) / (1 + margin - part)) / scale,
        np.log(np.asarray(temperature) / 0.1),
        np.log(np.asarray(count) / 32) / 1.4,
    )
    return np.stack(columns, axis=1)
