"""The smallest single changes after which a network like those of a calibration is spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log2

import numpy as np
from scipy.special import expit, logit

from uncollapse.records import BalancedBatch, Calibration, RandomBatch, Setting
from uncollapse.theory._flow import Array
from uncollapse.theory._levers import (
    MOST_VIEWS,
    Advice,
    Lever,
    fewer_classes,
    size_of,
    value_of,
)
from uncollapse.theory.calibration import expected_variances, forecast
from uncollapse.theory.prediction import predict

# A moderate spread: this part of the way that W goes from alpha 0 to alpha 1, all else the same.
MODERATE = 0.2
# Alphas that stand for 0 and 1, and how many are looked at in each of two rounds between them.
ENDS, ROUND = (0.003, 0.99), 16
# Temperatures up to so many doublings away, in quarters; sizes of batches that are looked at.
OCTAVES, SIZES = 3, 10
FINEST = 1e-3  # of a temperature

Short = Callable[[Sequence[Setting]], Array]  # how far W lies above the goal, (S,)


def advise_network(
    setting: Setting,
    calibration: Calibration,
    target: float | None,
    levers: Sequence[Lever],
    seed: int,
) -> list[Advice]:
    """As `uncollapse.theory.advise`; without a target, up to a moderate spread."""

    def above(settings: Sequence[Setting]) -> Array:
        return _above(calibration, settings, target)

    if above([setting])[0] >= 0:
        return []
    advice = []
    for lever in levers:
        changed = _CHANGED[lever](setting, above)
        if changed is None:
            continue
        network = forecast(calibration, changed, seed=seed, thresholds=False)
        prediction = replace(predict(changed, seed=seed, thresholds=False), network=network)
        value, before = value_of(lever, changed), value_of(lever, setting)
        size = size_of(lever, setting, changed)
        advice.append(Advice(lever, value, before, size, changed, prediction))
    return sorted(advice, key=lambda change: change.size)


def _above(calibration: Calibration, settings: Sequence[Setting], target: float | None) -> Array:
    if target is not None:
        return expected_variances(calibration, settings) - target
    ends = [at.with_(alpha=alpha) for alpha in ENDS for at in settings]
    now, floor, top = expected_variances(calibration, [*settings, *ends]).reshape(3, -1)
    return now - floor - MODERATE * (top - floor)


def _two_digits(values: Array) -> list[float]:
    """Each once, in their order: an interval is wider than a third digit."""
    return list(dict.fromkeys(float(f"{value:.2g}") for value in values))


def _first(settings: Sequence[Setting], above: Short) -> Setting | None:
    """The first that is enough; from the smallest change on."""
    if not settings:
        return None
    enough = above(settings) >= 0
    return settings[int(np.argmax(enough))] if enough.any() else None


def _by_alpha(setting: Setting, above: Short) -> Setting | None:
    """The smallest alpha of two digits that is enough: a round between the ends, one in its gap."""
    if setting.views == 1 and setting.self_pairs == "exclude":
        return None
    low, high, found = max(setting.alpha, ENDS[0]), ENDS[1], None
    for _ in range(2):
        line = expit(np.linspace(logit(low), logit(high), ROUND))
        alphas = [alpha for alpha in _two_digits(line) if alpha > setting.alpha]
        found = _first([setting.with_(alpha=alpha) for alpha in alphas], above) or found
        if found is None:
            return None
        high = found.alpha
        low = max((alpha for alpha in alphas if alpha < high), default=low)
        if low >= high:
            break
    return found


def _by_temperature(setting: Setting, above: Short) -> Setting | None:
    """The nearest temperature, up or down."""
    steps = np.arange(0.25, OCTAVES + 0.25, 0.25)
    factors = 2.0 ** np.stack([-steps, steps], axis=1).ravel()
    near = [tau for tau in _two_digits(setting.temperature * factors) if FINEST <= tau <= 1000]
    return _first([setting.with_(temperature=tau) for tau in near], above)


def _by_batch_per_class(setting: Setting, above: Short) -> Setting | None:
    batch = setting.batch
    if isinstance(batch, BalancedBatch):
        sizes = _sizes(batch.per_class, int(setting.counts.min()))
        larger = [setting.with_(batch=replace(batch, per_class=size)) for size in sizes]
    elif isinstance(batch, RandomBatch):
        sizes = _sizes(batch.size, setting.instances)
        larger = [setting.with_(batch=RandomBatch(size)) for size in sizes]
    else:
        return None
    return _first(larger, above)


def _sizes(now: int, most: int) -> list[int]:
    if most <= now:
        return []
    return [n for n in dict.fromkeys(np.geomspace(now, most, SIZES).round().astype(int)) if n > now]


def _by_batch_classes(setting: Setting, above: Short) -> Setting | None:
    """Fewer classes at the same size of the batch."""
    fewer = fewer_classes(setting)
    return _first(fewer[:: len(fewer) // SIZES + 1], above)


def _by_views(setting: Setting, above: Short) -> Setting | None:
    if setting.self_pairs == "include":
        return None
    nearest = sorted(range(2, MOST_VIEWS + 1), key=lambda p: abs(log2(p / setting.views)))
    return _first([setting.with_(views=p) for p in nearest if p != setting.views], above)


_CHANGED: dict[Lever, Callable[[Setting, Short], Setting | None]] = {
    "alpha": _by_alpha,
    "temperature": _by_temperature,
    "batch_per_class": _by_batch_per_class,
    "batch_classes": _by_batch_classes,
    "views": _by_views,
}
