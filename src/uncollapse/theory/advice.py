"""`advise`: the smallest single changes that leave collapse or reach a wanted variance."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from math import log2

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from uncollapse.errors import InputError
from uncollapse.records import BalancedBatch, Calibration, RandomBatch, Setting
from uncollapse.theory._levers import (
    LEVERS,
    MOST_VIEWS,
    Advice,
    Lever,
    fewer_classes,
    size_of,
    value_of,
)
from uncollapse.theory._network_advice import advise_network
from uncollapse.theory._program import Array, Program
from uncollapse.theory._solve import Solution, optimum
from uncollapse.theory._terms import program_of, rough_program
from uncollapse.theory._thresholds import alpha_guess, bracketed
from uncollapse.theory._tidy import most_instance
from uncollapse.theory.prediction import predict

# Without a target: the instance variance that every class must reach. Far enough from the edge
# that a real run, which only approaches the optimum, can be told from collapse.
CLEAR_OF_COLLAPSE = 0.01
# A variance this much beyond the goal is at it; solutions begun at different places may differ by
# more, and what misses the goal by the second number is no advice.
SETTLED, ROUNDING = 3e-7, 1e-6
# The search by alpha: no goal is reached below the one, and the other is all weight but 1e-9.
LOWEST_ALPHA, HIGHEST_ODDS = 1e-12, float(logit(1 - 1e-9))
# Where a rough search is made exact: a step for its slope, how many steps at most, and the factor
# within which the slope between two of them is taken instead.
SLOPE_STEP, SETTLING_STEPS, LIKE = 1e-3, 8, 3.0
TEMPERATURE_STEPS = 2.0 ** np.arange(0.125, 7.0, 0.125)


def advise(
    setting: Setting,
    *,
    target_variance: float | None = None,
    levers: tuple[Lever, ...] = LEVERS,
    seed: int = 0,
    calibration: Calibration | None = None,
) -> list[Advice]:
    """The smallest single change by each lever, smallest first.

    Args:
        setting: The present setting.
        target_variance: Wanted instance variance (mean over classes), in (0, 1). Where left out:
            every class clear of collapse, with an instance variance of 0.01 or more; with a
            calibration, a fifth of the way that the network's variance goes from alpha 0 to 1.
        levers: What may be changed.
        seed: Seed of sampled batches, see `predict`.
        calibration: Of networks (`calibrate`): changes after which one like those is expected to
            have the wanted variance, instead of the optimum, near whose thresholds networks hardly
            move.

    Returns:
        A list, empty if the setting is already there or no single change gets there.

    Raises:
        InputError: If the target is not between 0 and 1.

    Examples:
        >>> setting = Setting(classes=10, per_class=50, alpha=0, temperature=0.1)
        >>> [(a.lever, round(a.value, 3)) for a in advise(setting)]
        [('alpha', 0.011)]
        >>> from uncollapse import NetworkRun, calibrate
        >>> run = NetworkRun(
        ...     setting=setting, steps=300, within_class_variance=0.03, between_class_variance=0.6
        ... )
        >>> found = advise(setting, calibration=calibrate([run]), levers=("alpha",))
        >>> found[0].value > 0.1  # for a network like that one
        True
    """
    if target_variance is not None and not 0 < target_variance < 1:
        raise InputError(
            "a target variance between 0 and 1",
            f"{target_variance!r}",
            "give the wanted instance variance; 0.1 to 0.4 is a moderate spread",
        )
    if calibration is not None:
        return advise_network(setting, calibration, target_variance, levers, seed)

    excess, rough = (_excess(target_variance, seed, rough) for rough in (False, True))
    many = _many(setting)
    if excess(setting) >= 0:
        return []
    advice = []
    for lever in levers:
        changed = _SEARCH[lever](setting, rough if many else excess)
        if many and changed is not None:
            changed = _settled(lever, setting, changed, excess, rough)
        # A searched change that misses its goal by more than rounding is no advice.
        if changed is not None and excess(changed) >= -ROUNDING:
            value, before = value_of(lever, changed), value_of(lever, setting)
            size = size_of(lever, setting, changed)
            prediction = predict(changed, seed=seed, thresholds=False)
            advice.append(Advice(lever, value, before, size, changed, prediction))
    return sorted(advice, key=lambda change: change.size)


Excess = Callable[[Setting], float]


def _many(setting: Setting) -> bool:
    """Whether its batches are so many that it is searched roughly first."""
    return isinstance(setting.batch, RandomBatch) and not setting.balanced


def _accuracy(setting: Setting) -> float:
    """Of a search, in log odds or logarithms: what is rough is moved until it is exact."""
    return SLOPE_STEP if _many(setting) else 1e-7


def _excess(target: float | None, seed: int, rough: bool) -> Excess:
    """Above 0 where the goal is reached; each setting is solved from the one before."""
    last: Solution | None = None

    def over(program: Program, instance: Array) -> float:
        if target is None:
            return float(instance[program.size > 1].min()) - CLEAR_OF_COLLAPSE
        multiplicity = program.multiplicity
        return float(multiplicity @ instance) / float(multiplicity.sum()) - target

    @cache
    def excess(changed: Setting) -> float:
        nonlocal last
        if rough:
            program = rough_program(changed, seed)
            most = over(program, most_instance(program))
            if most < 0:  # There is nothing to solve.
                return most
        last = optimum(changed, seed=seed, near=last, rough=rough)
        return over(last.program, last.point.fractions[1])

    return excess


def _settled(
    lever: Lever, setting: Setting, found: Setting, excess: Excess, rough: Excess
) -> Setting | None:
    """The change that a rough search found, moved until it is exact."""
    if lever == "batch_per_class" and isinstance(found.batch, RandomBatch):
        return _settled_batch(setting, found.batch.size, excess)
    if lever not in ("alpha", "temperature"):
        return found
    to_line, back = (logit, expit) if lever == "alpha" else (np.log, np.exp)
    x = float(to_line(getattr(found, lever)))
    way = float(np.sign(x - to_line(np.maximum(getattr(setting, lever), LOWEST_ALPHA))))

    def at(x: float) -> Setting:
        return setting.with_(**{lever: float(back(x))})

    # The first slope is that of the rough goal, so that each step costs one exact solution.
    slope = (rough(at(x + way * SLOPE_STEP)) - rough(at(x))) / (way * SLOPE_STEP)
    over = excess(at(x))
    for _ in range(SETTLING_STEPS):
        if 0 <= over < SETTLED or slope * way <= 0:
            break
        step = (SETTLED / 3 - over) / slope
        x, before = x + step, over
        over = excess(at(x))
        secant = (over - before) / step
        # Of short steps it is rounding; where nothing spreads it is flat.
        if abs(step) > SLOPE_STEP and 1 / LIKE < secant / slope < LIKE:
            slope = secant
    return at(x)


def _settled_batch(setting: Setting, size: int, excess: Excess) -> Setting | None:
    """The smallest batch that is enough, by single steps from a size nearby."""

    def enough(size: int) -> bool:
        return excess(setting.with_(batch=RandomBatch(size))) >= 0

    if enough(size):
        while size - 1 > setting.batch.size and enough(size - 1):  # type: ignore[union-attr]
            size -= 1
    else:
        size = next((more for more in range(size + 1, size + 9) if enough(more)), 0)
    return setting.with_(batch=RandomBatch(size)) if size else None


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
        alpha_guess(setting, program_of(setting.with_(alpha=0.5))),
        rising=True,
        ends=(low, max(low, HIGHEST_ODDS)),
        accuracy=_accuracy(setting),
    )
    # The root may lie a rounding below the goal.
    return None if root is None else setting.with_(alpha=min(1.0, float(expit(root)) + 1e-7))


def _by_temperature(setting: Setting, excess: Excess) -> Setting | None:
    """The variance is not monotone in tau: step outwards both ways, then refine the crossing."""
    tau = setting.temperature

    def at(log_temperature: float) -> float:
        return excess(setting.with_(temperature=float(np.exp(log_temperature))))

    near = {1: tau, -1: tau}
    for ratio in TEMPERATURE_STEPS[1::2] if _many(setting) else TEMPERATURE_STEPS:
        for way in (-1, 1):
            far = float(tau * ratio**way)
            if not 1e-3 <= far <= 1e3:
                continue
            if excess(setting.with_(temperature=far)) >= 0:
                root = brentq(at, np.log(near[way]), np.log(far), xtol=_accuracy(setting))
                return setting.with_(temperature=float(np.exp(root + way * 1e-7)))
            near[way] = far
    return None


def _by_batch_per_class(setting: Setting, excess: Excess) -> Setting | None:
    """A larger batch of the same kind: the first that is enough, by doubling and halving back."""
    batch = setting.batch
    if isinstance(batch, BalancedBatch):
        low, most = batch.per_class, int(setting.counts.min())
    elif isinstance(batch, RandomBatch):
        low, most = batch.size, setting.instances
    else:
        return None

    def enlarged(count: int) -> Setting:
        if isinstance(batch, BalancedBatch):
            return setting.with_(batch=replace(batch, per_class=count))
        return setting.with_(batch=RandomBatch(count))

    high = low
    while high < most:
        high = min(2 * high, most)
        if excess(enlarged(high)) >= 0:
            break
        low = high
    else:
        return None
    between = range(low + 1, high)
    enough = bisect_left(between, True, key=lambda count: excess(enlarged(count)) >= 0)
    return enlarged(low + 1 + enough)


def _by_batch_classes(setting: Setting, excess: Excess) -> Setting | None:
    """Fewer classes at the same batch size: the most classes that are few enough."""
    return _first(fewer_classes(setting), excess)


def _by_views(setting: Setting, excess: Excess) -> Setting | None:
    """The number of views nearest to the present one (with self pairs included p has no effect)."""
    if setting.self_pairs == "include":
        return None
    nearest = sorted(range(2, MOST_VIEWS + 1), key=lambda p: abs(log2(p / setting.views)))
    return _first((setting.with_(views=p) for p in nearest if p != setting.views), excess)


def _first(candidates: Iterable[Setting], excess: Excess) -> Setting | None:
    return next((changed for changed in candidates if excess(changed) >= 0), None)


_SEARCH: dict[Lever, Callable[[Setting, Excess], Setting | None]] = {
    "alpha": _by_alpha,
    "temperature": _by_temperature,
    "batch_per_class": _by_batch_per_class,
    "batch_classes": _by_batch_classes,
    "views": _by_views,
}
