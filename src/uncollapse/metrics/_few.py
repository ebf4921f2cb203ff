"""What so few units would miss: a rare kind, far from the rest of its class.

Of N units, none is of a kind that is 1 in k with probability (1 - 1/k)^N, and nothing in the sample
then tells of it. So intervals of few units hold what such a kind would add. With a part q of the
rows anywhere on the sphere, class means shrink by 1 - q, and with r = 1 - (1 - q)^2

    within  -> within + r (1 - within)        between -> (1 - r) between
    total   -> total + r (1 - total)          instance -> instance + r (1 - within)

Where the others lie so close together that the kind would make most of the variance, no interval
says anything, and none is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from uncollapse.metrics.moments import ClassMoments
from uncollapse.metrics.variance import Decomposition, LevelsPerClass
from uncollapse.records import Estimate, Variances

# A kind of 1 in so many: for the verdict of the whole, and for intervals.
KIND, RARE_KIND = 10, 20
# A probability of having missed it that is said.
UNSEEN = 0.05
# For intervals: a kind that is seen once or twice is not measured yet.
_HARDLY_SEEN = 0.01
# A share below which a rare kind would make most of the variance.
_LITTLE = 0.05
# r of the kind.
_PART = 1 - (1 - 1 / RARE_KIND) ** 2


def missed(units: int, kind: int = KIND) -> float:
    """Probability that so many units hold none of a kind that is 1 in `kind`."""
    return float((1 - 1 / kind) ** units)


def are_few(units: int) -> bool:
    """Whether intervals of so many units must hold what a rare kind would add: fewer than 90."""
    return missed(units, RARE_KIND) > _HARDLY_SEEN


def units_of(classes: Sequence[ClassMoments]) -> int:
    """Independent units of all classes."""
    return sum(moments.units for moments in classes)


def for_the_whole(levels: Decomposition, units: int, confidence: float) -> Decomposition:
    """Little variance of the whole counts only where a kind of 1 in 10 would have been seen."""
    seen = missed(units) <= 1 - confidence
    return replace(levels, enough_units=levels.enough_units and seen)


def shown(levels: Decomposition, units: int) -> Decomposition:
    """The same with intervals that hold what a rare kind would add, or none."""
    if not are_few(units):
        return levels
    v = levels.variances
    if _is_little(levels.share):
        kept = {name: _without_interval(value) for name, value in v.items()}
        kept["view_variance"] = v.view_variance
        return replace(levels, variances=Variances(**kept), share=_without_interval(levels.share))
    within, total = v.within_class_variance.estimate, v.total_variance.estimate
    if within is None or total is None:
        return levels
    added = _PART * (1 - within)
    instance, view = v.instance_variance.estimate, v.view_variance.estimate
    between = v.between_class_variance
    ratio = levels.noise_ratio
    return replace(
        levels,
        variances=replace(
            v,
            within_class_variance=_raised(v.within_class_variance, added),
            instance_variance=_raised(v.instance_variance, added),
            between_class_variance=_lowered(between, _PART * max(between.estimate or 0.0, 0.0)),
            total_variance=_raised(v.total_variance, _PART * (1 - total)),
        ),
        share=_raised(levels.share, _added_to_share(levels, added, total)),
        noise_ratio=ratio if not instance or not view else _raised(ratio, added / view),
    )


def shown_class(level: LevelsPerClass, total: Estimate) -> LevelsPerClass:
    """The same of one class, whose share is of this total."""
    if not are_few(level.units) or level.within.estimate is None:
        return level
    if _is_little(level.share):
        return replace(
            level,
            within=_without_interval(level.within),
            instance=_without_interval(level.instance),
            share=_without_interval(level.share),
        )
    added = _PART * (1 - level.within.estimate)
    return replace(
        level,
        within=_raised(level.within, added),
        instance=_raised(level.instance, added),
        share=_raised(level.share, added / total.estimate) if total.estimate else level.share,
    )


def _added_to_share(levels: Decomposition, added: float, total: float) -> float:
    top, bottom = levels.judged.estimate, total + _PART * (1 - total)
    return 0.0 if top is None or not total else (top + added) / bottom - top / total


def _is_little(share: Estimate) -> bool:
    return share.high is not None and share.high < _LITTLE


def _without_interval(estimate: Estimate) -> Estimate:
    return replace(estimate, low=None, high=None)


def _raised(estimate: Estimate, by: float) -> Estimate:
    return estimate if estimate.high is None else replace(estimate, high=estimate.high + by)


def _lowered(estimate: Estimate, by: float) -> Estimate:
    return estimate if estimate.low is None else replace(estimate, low=estimate.low - by)
