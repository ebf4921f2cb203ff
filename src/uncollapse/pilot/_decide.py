"""From finished trials to a verdict: change, keep, cannot tell.

A candidate is admissible if the simultaneous interval of its gain lies above zero, the gain is
worth a change (`least_gain`), it loses no more than `margin` of the training task, and it is not
measured as collapsed. Recommended is the smallest change among the admissible ones whose gain is
within one half-width of the largest: a larger change has to be seen to be better.
"""

from __future__ import annotations

from collections.abc import Sequence

from uncollapse.pilot._intervals import against_start, seeds_needed
from uncollapse.pilot.options import PilotOptions
from uncollapse.pilot.trial import TrialState
from uncollapse.records import Estimate, Interval, PilotReason, PilotVerdict, Value, Verdict

_NO_GAIN = Interval(0.0, 0.0, 0.0)


def compare_with_start(
    start: TrialState, finished: Sequence[TrialState], options: PilotOptions
) -> None:
    """Fill in the intervals of finished trials, all of them together one family."""
    if not finished:
        return

    def compared(score: str) -> list[Interval]:
        others = [trial.values(options.layer, score) for trial in finished]
        return against_start(start.values(options.layer, score), others, options.confidence)

    gains, costs = compared("objective"), compared("task")
    for trial, gain, cost in zip(finished, gains, costs, strict=True):
        trial.gain, trial.task_change = gain, cost


def decide(
    start: TrialState, finished: Sequence[TrialState], options: PilotOptions
) -> tuple[PilotVerdict, list[PilotReason], TrialState | None]:
    """The verdict, its reasons, and the trial to recommend (to be confirmed) if it is "change"."""
    worth = [t for t in finished if _gain(t).estimate >= options.least_gain]
    safe = [t for t in worth if _safe(t, options)]
    seen = [t for t in safe if _low(t) > 0]
    if seen:
        near = _low(_best(seen))
        enough = [t for t in seen if _gain(t).estimate >= near]
        chosen = min(enough, key=lambda t: (t.candidate.size, -_gain(t).estimate))
        return "change", [_recommended(chosen)], chosen
    if safe:
        best = _best(safe)
        before, after = (trial.values(options.layer, "objective") for trial in (start, best))
        reason = more_runs(best.name, _gain(best), before, after, options.confidence)
        return "cannot-tell", [reason], None
    return "keep", [_why_keep(finished, worth, options)], None


def _gain(trial: TrialState) -> Interval:
    return trial.gain or _NO_GAIN


def _low(trial: TrialState) -> float:
    return _gain(trial).low or 0.0


def _best(trials: Sequence[TrialState]) -> TrialState:
    return max(trials, key=lambda trial: _gain(trial).estimate)


def _safe(trial: TrialState, options: PilotOptions) -> bool:
    change = (trial.task_change or _NO_GAIN).estimate
    verdicts = [run.measured[options.layer].verdict for run in trial.runs]
    return change >= -options.margin and verdicts.count("collapsed") * 2 < len(verdicts)


def _points(change: Interval) -> Estimate:
    """A change of a share in percentage points."""
    low, high = change.low or 0, change.high or 0
    return Estimate(100 * change.estimate, 100 * low, 100 * high)


def _recommended(trial: TrialState) -> PilotReason:
    changes = tuple(f"{c.key} {c.before} -> {c.after}" for c in trial.candidate.changes)
    gain = _points(_gain(trial))
    return PilotReason.from_key("UC801", "pilot.recommended", changes=changes, gain=gain)


def more_runs(
    name: str,
    gain: Interval,
    before: Sequence[float],
    after: Sequence[float],
    confidence: float,
) -> PilotReason:
    """How many seeds would tell whether a change gains, by the objectives that did not."""
    needed = seeds_needed(before, after, confidence)
    points = _points(gain)
    if needed is None:
        return PilotReason.from_key("UC803", "pilot.unclear-many", name=name, gain=points)
    seeds = max(needed, len(after) + 1)
    return PilotReason.from_key("UC803", "pilot.unclear", name=name, gain=points, seeds=seeds)


def _why_keep(
    finished: Sequence[TrialState], worth: Sequence[TrialState], options: PilotOptions
) -> PilotReason:
    if not finished:
        return PilotReason.from_key("UC802", "pilot.untrained")
    best = _best(worth or finished)
    values: dict[str, Value] = {"name": best.name, "gain": _points(_gain(best))}
    if worth:
        values["task"] = 100 * (best.task_change or _NO_GAIN).estimate
        values["margin"] = 100 * options.margin
    else:
        values["least"] = 100 * options.least_gain
    key = "pilot.costly" if worth else "pilot.small"
    return PilotReason.from_key("UC802", key, **values)


def confirmed(gain: Interval, task: Interval, margin: float) -> PilotReason:
    """What the test split says with fresh seeds: UC801 where the gain holds, else UC804."""
    holds = gain.low is not None and gain.low > 0 and task.estimate >= -margin
    code, points = "UC801" if holds else "UC804", _points(gain)
    return PilotReason.from_key(code, "pilot.confirmed", gain=points, task=_points(task))


def not_confirmed(reason: str) -> PilotReason:
    """A confirmation that could not be trained."""
    return PilotReason.from_key("UC804", "pilot.failed", reason=reason)


def why_pruned(epochs: int, verdict: Verdict) -> str:
    """Why a candidate was trained no further, or with no more seeds."""
    if verdict == "collapsed":
        return f"measured as collapsed after {epochs} epochs"
    return f"behind after {epochs} epochs"
