"""From runs to a verdict: which candidates go on, what they gain, and which is recommended.

**Rungs** are synchronous: every candidate of a rung has reported before any is pruned, so that the
order in which processes end changes nothing (Optuna's own halving is asynchronous).

**Intervals.** Y_cs is the objective of setting c with seed s: a randomised block design with seeds
as blocks,

    Y_cs = mu_c + b_s + e_cs,     e_cs independent, of one variance

With k candidates beside the start (c = 0), difference D_c = mean_s(Y_cs - Y_0s), residual variance
v on f = k (S - 1) degrees of freedom, and Dunnett's two-sided critical value q,

    D_c -+ q sqrt(2 v / S)     holds for all candidates at once with the stated confidence

q solves P(max_c |T_c| < q) = confidence for the multivariate t with correlations 1/2 (Dunnett 1955,
"A multiple comparison procedure for comparing several treatments with a control", JASA 50, 1096).
The chosen one is compared once more with fresh seeds (`paired`), where no correction is needed.

**Verdict.** A candidate is admissible if the simultaneous interval of its gain lies above zero, the
gain is worth a change (`least_gain`), it loses no more than `margin` of the training task, and it
is not measured as collapsed. Recommended is the smallest change among the admissible ones whose
gain is within one half-width of the largest: a larger change has to be seen to be better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import sqrt

import numpy as np
import optuna
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import chi

from uncollapse.records import (
    Confirmation,
    Estimate,
    Interval,
    LayerScores,
    PilotOptions,
    PilotReason,
    PilotVerdict,
    Trial,
    Value,
)
from uncollapse.statistics import t_quantile

METHOD = (
    "Dunnett's many-to-one intervals, seeds as blocks, one residual variance for all settings; the "
    "recommended one is confirmed by a paired t interval with fresh seeds on the test split"
)
_FACTOR, _LEAST = 3, 2
_NO_GAIN = Interval(0.0, 0.0, 0.0)

optuna.logging.set_verbosity(optuna.logging.WARNING)


def survivors(count: int) -> int:
    """How many of so many candidates a rung lets go on: a third of them, two at least.

    Examples:
        >>> [survivors(k) for k in (1, 2, 6, 7)]
        [1, 2, 2, 3]
    """
    return min(count, max(_LEAST, math.ceil(count / _FACTOR)))


class _CollapseHalving(optuna.pruners.BasePruner):
    """Prune what is measured as collapsed, and all but the best `survivors` of the rest."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        """Whether the trial ends here."""
        rivals = [
            (-other.intermediate_values[0], other.number)
            for other in study.get_trials(deepcopy=False)
            if not other.user_attrs["collapsed"]
        ]
        best = sorted(rivals)[: survivors(len(rivals))]
        return trial.number not in [number for _, number in best]


def pruned(measured: Mapping[str, LayerScores], epochs: int) -> dict[str, str]:
    """Which candidates of a rung do not go on, by the objective that each reached, and why."""
    study = optuna.create_study(direction="maximize", pruner=_CollapseHalving())
    trials = {name: study.ask() for name in measured}
    for name, trial in trials.items():
        trial.set_user_attr("collapsed", measured[name].verdict == "collapsed")
        trial.report(float(measured[name]["objective"]), step=0)
    words = {"collapsed": "measured as collapsed"}
    return {
        name: f"{words.get(measured[name].verdict, 'behind')} after {epochs} epochs"
        for name, trial in trials.items()
        if trial.should_prune()
    }


@lru_cache(maxsize=64)
def dunnett_quantile(candidates: int, freedom: int, confidence: float = 0.95) -> float:
    """Two-sided critical value of Dunnett's test of k candidates with groups of equal size."""
    if candidates == 1:
        return t_quantile(freedom, confidence)
    z, weights = np.polynomial.hermite_e.hermegauss(81)
    weights = weights / weights.sum()
    share = (np.arange(400) + 0.5) / 400
    scale = chi.ppf(share, freedom) / sqrt(freedom)

    def probability(q: float) -> float:
        half = sqrt(2) * q * scale[:, None]
        inside = ndtr(z + half) - ndtr(z - half)
        return float(np.mean(inside**candidates @ weights))

    return float(brentq(lambda q: probability(q) - confidence, 0.01, 1000.0, xtol=1e-6))


def against_start(
    start: ArrayLike, candidates: ArrayLike, confidence: float = 0.95
) -> list[Interval]:
    """Simultaneous intervals of k candidates, (k, S) values by seed, minus start, (S,).

    Without residual variance (all differences equal) they have no width.
    """
    first = np.asarray(start, dtype=np.float64)
    others = np.asarray(candidates, dtype=np.float64)
    k, seeds = others.shape
    table = np.vstack([first, others])
    residual = (
        table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    )
    freedom = k * (seeds - 1)
    variance = float(np.sum(residual**2)) / freedom
    half = dunnett_quantile(k, freedom, confidence) * sqrt(2 * variance / seeds)
    gains = (others.mean(axis=1) - first.mean()).tolist()
    return [Interval(gain, gain - half, gain + half) for gain in gains]


def paired(before: Sequence[float], after: Sequence[float], confidence: float = 0.95) -> Interval:
    """Student's interval of the mean difference over seeds, (S,) each, S at least 2."""
    gain, spread = _differences(before, after)
    half = t_quantile(len(after) - 1, confidence) * spread / sqrt(len(after))
    return Interval(gain, gain - half, gain + half)


def seeds_needed(
    before: Sequence[float], after: Sequence[float], confidence: float = 0.95
) -> int | None:
    """Seeds at which a paired interval of this estimate and spread would leave zero out.

    None where the estimate is zero or more than 1000 would be needed.
    """
    gain, spread = _differences(before, after)
    enough = (
        seeds
        for seeds in range(2, 1001)
        if t_quantile(seeds - 1, confidence) * spread / sqrt(seeds) < abs(gain)
    )
    return next(enough, None)


def _differences(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of the differences of two settings over seeds."""
    differences = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    return float(differences.mean()), float(differences.std(ddof=1))


def values(trial: Trial, layer: str, score: str) -> list[float]:
    """One number per seed, in the order of seeds."""
    return [float(run.measured[layer][score]) for run in trial.runs]


def compare_with_start(
    start: Trial, finished: Sequence[Trial], options: PilotOptions
) -> list[Trial]:
    """Finished trials with their intervals, all of them together one family."""
    if not finished:
        return []

    def changes(score: str) -> list[Interval]:
        first, *others = (values(trial, options.layer, score) for trial in (start, *finished))
        return against_start(first, others, options.confidence)

    compared = zip(finished, changes("objective"), changes("task"), strict=True)
    return [replace(trial, gain=gain, task_change=cost) for trial, gain, cost in compared]


def decide(
    start: Trial, finished: Sequence[Trial], options: PilotOptions
) -> tuple[PilotVerdict, list[PilotReason], Trial | None]:
    """The verdict, its reasons, and the trial to recommend (to be confirmed) if it is "change"."""
    worth = [t for t in finished if _gain(t).estimate >= options.least_gain]
    safe = [t for t in worth if _safe(t, options)]
    seen = [t for t in safe if _low(t) > 0]
    if seen:
        near = _low(_best(seen))
        enough = [t for t in seen if _gain(t).estimate >= near]
        chosen = min(enough, key=lambda t: (t.size or 0.0, -_gain(t).estimate))
        changes, gain = tuple(map(str, chosen.change)), _points(_gain(chosen))
        reason = PilotReason.from_key("UC801", "pilot.recommended", changes=changes, gain=gain)
        return "change", [reason], chosen
    if safe:
        best = _best(safe)
        before, after = (values(trial, options.layer, "objective") for trial in (start, best))
        reason = more_runs(best.name, _gain(best), before, after, options.confidence)
        return "cannot-tell", [reason], None
    return "keep", [_why_keep(finished, worth, options)], None


def _gain(trial: Trial) -> Interval:
    return trial.gain or _NO_GAIN


def _low(trial: Trial) -> float:
    return _gain(trial).low or 0.0


def _best(trials: Sequence[Trial]) -> Trial:
    return max(trials, key=lambda trial: _gain(trial).estimate)


def _safe(trial: Trial, options: PilotOptions) -> bool:
    change = (trial.task_change or _NO_GAIN).estimate
    verdicts = [run.measured[options.layer].verdict for run in trial.runs]
    return change >= -options.margin and verdicts.count("collapsed") * 2 < len(verdicts)


def _points(change: Interval) -> Estimate:
    """A change of a share in percentage points."""
    low, high = change.low or 0, change.high or 0
    return Estimate(100 * change.estimate, 100 * low, 100 * high)


def more_runs(
    name: str,
    gain: Interval,
    before: Sequence[float],
    after: Sequence[float],
    confidence: float,
) -> PilotReason:
    """How many seeds would tell whether a change gains, by the objectives that did not."""
    needed, points = seeds_needed(before, after, confidence), _points(gain)
    if needed is None:
        return PilotReason.from_key("UC803", "pilot.unclear-many", name=name, gain=points)
    seeds = max(needed, len(after) + 1)
    return PilotReason.from_key("UC803", "pilot.unclear", name=name, gain=points, seeds=seeds)


def _why_keep(
    finished: Sequence[Trial], worth: Sequence[Trial], options: PilotOptions
) -> PilotReason:
    if not finished:
        return PilotReason.from_key("UC802", "pilot.untrained")
    best = _best(worth or finished)
    said: dict[str, Value] = {"name": best.name, "gain": _points(_gain(best))}
    if not worth:
        least = 100 * options.least_gain
        return PilotReason.from_key("UC802", "pilot.small", **said, least=least)
    task, margin = 100 * (best.task_change or _NO_GAIN).estimate, 100 * options.margin
    return PilotReason.from_key("UC802", "pilot.costly", **said, task=task, margin=margin)


def confirmed(gain: Interval, task: Interval, margin: float) -> PilotReason:
    """What the test split says with fresh seeds: UC801 where the gain holds, else UC804."""
    holds = gain.low is not None and gain.low > 0 and task.estimate >= -margin
    code, points = "UC801" if holds else "UC804", _points(gain)
    return PilotReason.from_key(code, "pilot.confirmed", gain=points, task=_points(task))


def confirm(
    start: Trial, chosen: Trial, options: PilotOptions
) -> tuple[Confirmation | None, list[PilotReason]]:
    """What fresh seeds on the test split say of the start and the setting to recommend."""
    both, layer, confidence = (start, chosen), options.layer, options.confidence
    failed = [str(trial.reason) for trial in both if trial.status == "failed"]
    if failed:
        return None, [PilotReason.from_key("UC804", "pilot.failed", reason=failed[0])]
    before, after = (values(trial, layer, "objective") for trial in both)
    first, second = (values(trial, layer, "task") for trial in both)
    gain, task = paired(before, after, confidence), paired(first, second, confidence)
    reason = confirmed(gain, task, options.margin)
    if gain.low is None or gain.low <= 0:
        return None, [reason, more_runs(chosen.name, gain, before, after, confidence)]
    if reason.code != "UC801":
        return None, [reason]
    confirmation = Confirmation(
        gain=gain,
        task_change=task,
        seeds=tuple(run.seed for run in start.runs),
        start=start.mean,
        recommended=chosen.mean,
        runs={trial.name: trial.runs for trial in both},
    )
    return confirmation, [reason]
