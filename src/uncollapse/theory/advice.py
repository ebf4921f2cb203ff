"""`advise`: the smallest single changes that leave collapse or reach a wanted variance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log2
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from uncollapse.errors import InputError
from uncollapse.records import BalancedBatch, Prediction, RandomBatch, Setting
from uncollapse.theory.prediction import optimum, predict
from uncollapse.theory.solve import Solution
from uncollapse.theory.terms import program_of
from uncollapse.theory.thresholds import alpha_guess, bracketed

__all__ = ["Advice", "Lever", "advise"]

Lever = Literal["alpha", "temperature", "batch_per_class", "batch_classes", "views"]

LEVERS: tuple[Lever, ...] = ("alpha", "temperature", "batch_per_class", "batch_classes", "views")

# Without a target: the instance variance that every class must reach. Far enough from the edge
# that a real run, which only approaches the optimum, can be told from collapse.
CLEAR_OF_COLLAPSE = 0.01
MOST_VIEWS = 16
# The search by alpha: no goal is reached below the one, and the other is all weight but 1e-9.
LOWEST_ALPHA, HIGHEST_ODDS = 1e-12, float(logit(1 - 1e-9))
TEMPERATURE_STEPS = 2.0 ** np.arange(0.125, 7.0, 0.125)


@dataclass(frozen=True)
class Advice:
    """One single change of a setting and what it is predicted to do.

    Attributes:
        lever: What is changed: "alpha", "temperature", "batch_per_class" (more instances of a
            class in a batch, which grows; for random batches on average), "batch_classes" (fewer
            classes in a batch of the same size, so more instances of each) or "views".
        value: The new value (alpha, tau, n_b, k or p).
        before: The old value.
        size: How small the change is: |difference| for alpha, |log2 of the ratio| for the others
            (of the instances per class in a batch for both batch levers), so that doubling or
            halving is 1 and moving all weight between the losses is 1.
        setting: The changed setting.
        prediction: Its prediction, without thresholds.
    """

    lever: Lever
    value: float
    before: float
    size: float
    setting: Setting
    prediction: Prediction


def advise(
    setting: Setting,
    *,
    target_variance: float | None = None,
    levers: tuple[Lever, ...] = (
        "alpha",
        "temperature",
        "batch_per_class",
        "batch_classes",
        "views",
    ),
    seed: int = 0,
) -> list[Advice]:
    """The smallest single change by each lever, smallest first.

    Args:
        setting: The present setting.
        target_variance: Wanted instance variance (mean over classes), in (0, 1). Where left out:
            every class clear of collapse, with an instance variance of 0.01 or more.
        levers: What may be changed.
        seed: Seed of sampled batches, see `predict`.

    Returns:
        A list, empty if the setting is already there or no single change gets there.

    Raises:
        InputError: If the target is not between 0 and 1.

    Example:
        >>> setting = Setting(classes=10, per_class=50, alpha=0, temperature=0.1)
        >>> [(a.lever, round(a.value, 3)) for a in advise(setting)]
        [('alpha', 0.011)]
    """
    if target_variance is not None and not 0 < target_variance < 1:
        raise InputError(
            "a target variance between 0 and 1",
            f"{target_variance!r}",
            "give the wanted instance variance; 0.1 to 0.4 is a moderate spread",
        )

    last: Solution | None = None

    def excess(changed: Setting) -> float:
        """Above 0 where the goal is reached."""
        nonlocal last
        program, solution = optimum(changed, seed=seed, near=last)
        last = solution
        instance = solution.point.instance
        if target_variance is None:
            return float(instance[program.size > 1].min()) - CLEAR_OF_COLLAPSE
        mean = float(program.multiplicity @ instance) / float(program.multiplicity.sum())
        return mean - target_variance

    if excess(setting) >= 0:
        return []
    found = []
    for lever in levers:
        changed = _SEARCH[lever](setting, excess)
        # A searched change that misses its goal by more than rounding is no advice.
        if changed is not None and excess(changed) >= -1e-6:
            prediction = predict(changed, seed=seed, thresholds=False)
            value, before = _value(lever, changed), _value(lever, setting)
            size = _size(lever, setting, changed)
            found.append(Advice(lever, value, before, size, changed, prediction))
    return sorted(found, key=lambda advice: advice.size)


Excess = Callable[[Setting], float]


def _by_alpha(setting: Setting, excess: Excess) -> Setting | None:
    """Instance variance rises with alpha, so there is one crossing.

    It is searched in log odds, as thresholds lie near 1/n as often as near 1/2, and from a guess
    of the threshold: there and above solutions are quick, far below they may not be.
    """
    if setting.alpha == 1 or (setting.views == 1 and setting.self_pairs == "exclude"):
        return None
    low = float(logit(max(setting.alpha, LOWEST_ALPHA)))
    root = bracketed(
        lambda odds: excess(setting.with_(alpha=float(expit(odds)))),
        alpha_guess(setting, program_of(setting.with_(alpha=0.5)), 0.5),
        rising=True,
        ends=(low, max(low, HIGHEST_ODDS)),
        accuracy=1e-7,
    )
    # The root may lie a rounding below the goal.
    return None if root is None else setting.with_(alpha=min(1.0, float(expit(root)) + 1e-7))


def _by_temperature(setting: Setting, excess: Excess) -> Setting | None:
    """The variance is not monotone in tau: step outwards both ways, then refine the crossing."""
    tau = setting.temperature
    near = {1: tau, -1: tau}
    for ratio in TEMPERATURE_STEPS:
        for way in (-1, 1):
            far = float(tau * ratio**way)
            if not 1e-3 <= far <= 1e3:
                continue
            if excess(setting.with_(temperature=far)) >= 0:
                low, high = np.log(near[way]), np.log(far)
                root = brentq(
                    lambda x: excess(setting.with_(temperature=float(np.exp(x)))),
                    low,
                    high,
                    xtol=1e-7,
                )
                return setting.with_(temperature=float(np.exp(root + way * 1e-7)))
            near[way] = far
    return None


def _by_batch_per_class(setting: Setting, excess: Excess) -> Setting | None:
    """A larger batch of the same kind: the first that is enough, by doubling and halving back."""
    batch = setting.batch
    if isinstance(batch, BalancedBatch):
        classes = batch.classes
        return _first(
            batch.per_class,
            int(setting.counts.min()),
            lambda per_class: setting.with_(batch=BalancedBatch(per_class, classes)),
            excess,
        )
    if isinstance(batch, RandomBatch):
        return _first(
            batch.size,
            setting.instances,
            lambda size: setting.with_(batch=RandomBatch(size)),
            excess,
        )
    return None


def _by_batch_classes(setting: Setting, excess: Excess) -> Setting | None:
    """Fewer classes at the same batch size: the most classes that are few enough."""
    batch, m = setting.batch, len(setting.counts)
    if isinstance(batch, BalancedBatch):
        k = batch.classes or m
        size = k * batch.per_class
    elif isinstance(batch, RandomBatch):
        k, size = m + 1, batch.size
    else:
        return None
    most = int(setting.counts.min())
    for classes in range(min(k - 1, m), 1, -1):
        per_class = size // classes
        if per_class > most:
            return None
        if per_class < 2:
            continue
        changed = setting.with_(batch=BalancedBatch(per_class, classes if classes < m else None))
        if excess(changed) >= 0:
            return changed
    return None


def _by_views(setting: Setting, excess: Excess) -> Setting | None:
    """The number of views nearest to the present one (with self pairs included p has no effect)."""
    if setting.self_pairs == "include":
        return None
    candidates = sorted(
        (p for p in range(2, MOST_VIEWS + 1) if p != setting.views),
        key=lambda p: abs(log2(p / setting.views)),
    )
    for views in candidates:
        changed = setting.with_(views=views)
        if excess(changed) >= 0:
            return changed
    return None


def _first(start: int, most: int, at: Callable[[int], Setting], excess: Excess) -> Setting | None:
    """The smallest count above `start` that reaches the goal, which larger counts reach too."""
    low, high = start, start
    while high < most:
        high = min(2 * high, most)
        if excess(at(high)) >= 0:
            break
        low = high
    else:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if excess(at(middle)) >= 0 else (middle, high)
    return at(high)


def _value(lever: Lever, setting: Setting) -> float:
    if lever == "batch_per_class":
        return _per_class(setting)
    if lever == "batch_classes":
        batch = setting.batch
        chosen = batch.classes if isinstance(batch, BalancedBatch) else None
        return float(chosen or len(setting.counts))
    return float(getattr(setting, lever))


def _per_class(setting: Setting) -> float:
    """Instances of a class in a batch, on average over classes."""
    batch = setting.batch
    if isinstance(batch, BalancedBatch):
        return float(batch.per_class)
    if isinstance(batch, RandomBatch):
        return batch.size / len(setting.counts)
    return setting.instances / len(setting.counts)


def _size(lever: Lever, before: Setting, after: Setting) -> float:
    if lever == "alpha":
        return abs(after.alpha - before.alpha)
    if lever in ("batch_per_class", "batch_classes"):
        return abs(log2(_per_class(after) / _per_class(before)))
    return abs(log2(_value(lever, after) / _value(lever, before)))


_SEARCH: dict[Lever, Callable[[Setting, Excess], Setting | None]] = {
    "alpha": _by_alpha,
    "temperature": _by_temperature,
    "batch_per_class": _by_batch_per_class,
    "batch_classes": _by_batch_classes,
    "views": _by_views,
}
