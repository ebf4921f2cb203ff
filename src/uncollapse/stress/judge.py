"""From scores of runs to intervals, and from intervals to what breaks.

Y_cs is the score of setting c with seed s: Y_cs = mu_c + e_cs, e_cs independent, of one variance.
With C settings of S seeds each, pooled variance v on f = C (S - 1) degrees of freedom and k
comparisons,

    Ybar_c - Ybar_0  -+  t sqrt(2 v / S),    t the two-sided quantile at 1 - (1 - confidence) / k,

holds for all comparisons at once (Bonferroni), whichever setting each is compared with. Where both
are of the same runs (a corruption), what seeds have in common makes it too long, not too short.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from statistics import fmean, variance
from typing import cast

from uncollapse.records import Interval, StressDose, StressState, Verdict, severity
from uncollapse.statistics import mean_interval, t_quantile

# What is no damage of data.
DIALS = ("optimiser", "initialisation", "width", "depth")
METHOD = "Student's t with one variance for all settings, Bonferroni over all doses"


def changes_from(
    pairs: Sequence[tuple[Sequence[float], Sequence[float]]], confidence: float
) -> list[Interval]:
    """Simultaneous intervals of the second less the first of each pair of groups, by seed.

    Groups that occur twice, by identity, count once in the variance.

    Examples:
        >>> clean = [0.8, 0.9]
        >>> changes_from([(clean, [0.1, 0.2])], 0.95)[0].estimate.__round__(6)
        -0.7
    """
    groups = {id(group): group for pair in pairs for group in pair}
    freedom = sum(len(group) - 1 for group in groups.values())
    if not freedom:
        return [Interval(fmean(b) - fmean(a)) for a, b in pairs]
    pooled = sum((len(g) - 1) * variance(g) for g in groups.values() if len(g) > 1) / freedom
    t = t_quantile(freedom, 1 - (1 - confidence) / len(pairs))
    found = []
    for a, b in pairs:
        change = fmean(b) - fmean(a)
        half = t * sqrt(pooled * (1 / len(a) + 1 / len(b)))
        found.append(Interval(change, change - half, change + half))
    return found


def summed_up(dose: StressDose, confidence: float) -> StressDose:
    """The dose with means over its runs and their verdict."""

    def mean(name: str) -> Interval | None:
        values = [run.scores[name] for run in dose.runs]
        if not values or None in values:
            return None
        return mean_interval(values, confidence)

    verdicts = [run.scores.verdict for run in dose.runs]
    common = max(
        {*verdicts}, key=lambda v: (verdicts.count(v), -severity(v)), default="cannot-tell"
    )
    return replace(
        dose,
        finer=mean("finer"),
        training_label=mean("training_label"),
        smallest_class=mean("smallest_class"),
        instance_variance=mean("instance_variance"),
        smallest_variance=mean("smallest_variance"),
        verdict=cast(Verdict, common),
    )


def compared(doses: Sequence[tuple[StressDose, StressDose]], confidence: float) -> list[StressDose]:
    """Every dose with its changes against the undamaged setting beside it, on the same rows."""

    def family(name: str) -> dict[int, Interval]:
        values: dict[int, list[float]] = {}

        def of(dose: StressDose) -> list[float]:
            found = [run.scores[name] for run in dose.runs]
            return values.setdefault(id(dose), [] if None in found else found)

        known = {
            place: (of(before), of(dose))
            for place, (before, dose) in enumerate(doses)
            if of(before) and of(dose)
        }
        return dict(zip(known, changes_from([*known.values()], confidence), strict=True))

    finer, training = family("finer"), family("training_label")
    return [
        replace(dose, finer_change=finer.get(place), training_change=training.get(place))
        for place, (_, dose) in enumerate(doses)
    ]


def state_of(dose: StressDose, clean: StressDose, margin: float) -> StressState:
    """Whether a dose holds.

    It breaks where the finer label or the training label is seen to fall, by more than the margin
    as estimated, or where it is measured as collapsed and the undamaged setting is not. It holds
    where both are seen to fall by less than the margin.
    """
    changes = [c for c in (dose.finer_change, dose.training_change) if c is not None]
    if not changes or not dose.runs:
        return "cannot-tell"
    if dose.verdict == "collapsed" and clean.verdict != "collapsed":
        return "breaks"
    if any(c.high is not None and c.high < 0 and c.estimate <= -margin for c in changes):
        return "breaks"
    if all(c.low is not None and c.low > -margin for c in changes):
        return "holds"
    return "cannot-tell"


def loss_of(dose: StressDose) -> float:
    """The larger fall of finer and training label."""
    return max((-c.estimate for c in (dose.finer_change, dose.training_change) if c), default=0.0)


def first_of(doses: Sequence[StressDose]) -> StressDose | None:
    """What breaks first: at the lightest place among its doses; of these, where most is lost.

    Dials of the training itself, which are no damage of data, come only where nothing else breaks.
    """
    broken = [dose for dose in doses if dose.state == "breaks"]

    def rank(dose: StressDose) -> tuple[bool, int, float]:
        return dose.damage.kind in DIALS, dose.damage.order, -loss_of(dose)

    return min(broken, key=rank, default=None)


def phase_agrees(dose: StressDose) -> bool | None:
    """Whether spread or collapse is as predicted; None where one of them is not known."""
    if dose.predicted is None or dose.verdict == "cannot-tell":
        return None
    return (dose.predicted.phase == "spread") == (dose.verdict != "collapsed")
