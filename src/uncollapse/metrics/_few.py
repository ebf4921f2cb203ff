"""What so few units would miss: a rare kind, far from the rest of its class.

Of N units, none is of a kind that is 1 in k with probability (1 - 1/k)^N. Where the others lie
close together, such a kind makes most of the variance, and nothing in the sample tells of it: no
interval then holds what it promises.
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
# A share below which a rare kind would make most of the variance.
_LITTLE = 0.05


def missed(units: int, kind: int = KIND) -> float:
    """Probability that so many units hold none of a kind that is 1 in `kind`."""
    return float((1 - 1 / kind) ** units)


def units_of(classes: Sequence[ClassMoments]) -> int:
    """Independent units of all classes."""
    return sum(moments.units for moments in classes)


def for_the_whole(levels: Decomposition, units: int, confidence: float) -> Decomposition:
    """Little variance of the whole counts only where a kind of 1 in 10 would have been seen."""
    seen = missed(units) <= 1 - confidence
    return replace(levels, enough_units=levels.enough_units and seen)


def hides_rare_kinds(share: Estimate, units: int, confidence: float) -> bool:
    """Whether an interval would leave out what a kind of 1 in 20 adds."""
    little = share.high is not None and share.high < _LITTLE
    return little and missed(units, RARE_KIND) > 1 - confidence


def without_interval(estimate: Estimate) -> Estimate:
    """The estimate alone."""
    return replace(estimate, low=None, high=None)


def shown(levels: Decomposition, units: int, confidence: float) -> Decomposition:
    """The same with intervals only where a rare kind would not have been missed."""
    if not hides_rare_kinds(levels.share, units, confidence):
        return levels
    variances = dict(levels.variances.items())
    view = variances.pop("view_variance")
    withheld = {name: without_interval(value) for name, value in variances.items()}
    return replace(
        levels,
        variances=Variances(view_variance=view, **withheld),
        share=without_interval(levels.share),
    )


def shown_class(level: LevelsPerClass, levels: Decomposition, confidence: float) -> LevelsPerClass:
    """The same of one class, of these over all.

    Where few units carry the variance of all, a class of few units that seems to have less than the
    others may only lack such a unit.
    """
    may_lack = (
        levels.hides_total
        and missed(level.units, RARE_KIND) > 1 - confidence
        and _ends_below(level.within, levels.variances.within_class_variance)
    )
    if not may_lack and not hides_rare_kinds(level.share, level.units, confidence):
        return level
    return replace(
        level,
        within=without_interval(level.within),
        instance=without_interval(level.instance),
        share=without_interval(level.share),
    )


def _ends_below(one: Estimate, all_: Estimate) -> bool:
    return one.high is not None and all_.estimate is not None and one.high < all_.estimate
