"""From finished trials to a verdict: change, keep, cannot tell.

A candidate is admissible if the simultaneous interval of its gain lies above zero, the gain is
worth a change (`least_gain`), it loses no more than `margin` of the training task, and it is not
measured as collapsed. Recommended is the smallest change among the admissible ones whose gain is
within one half-width of the largest: a larger change has to be seen to be better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from uncollapse.pilot.intervals import Interval, against_start, seeds_needed
from uncollapse.pilot.options import PilotOptions
from uncollapse.records import Trial

__all__ = ["compare_with_start", "confirmed", "decide", "more_runs", "not_confirmed", "why_pruned"]

Reasons = list[dict[str, str]]


def compare_with_start(start: Trial, finished: Sequence[Trial], options: PilotOptions) -> None:
    """Fill in the intervals of finished trials, all of them together one family."""
    for key, name in (("objective", "gain"), ("task", "task_change")):
        if not finished:
            return
        intervals = against_start(
            start.values(options.layer, key),
            [trial.values(options.layer, key) for trial in finished],
            options.confidence,
        )
        for trial, interval in zip(finished, intervals, strict=True):
            setattr(trial, name, interval.to_dict())


def decide(
    start: Trial, finished: Sequence[Trial], options: PilotOptions
) -> tuple[str, Reasons, Trial | None]:
    """The verdict, its reasons, and the trial to recommend (to be confirmed) if it is "change"."""
    worth = [t for t in finished if _gain(t)["estimate"] >= options.least_gain]
    safe = [t for t in worth if _safe(t, options)]
    seen = [t for t in safe if _gain(t)["low"] > 0]
    if seen:
        best = max(seen, key=lambda t: _gain(t)["estimate"])
        near = _gain(best)["low"]
        enough = [t for t in seen if _gain(t)["estimate"] >= near]
        chosen = min(enough, key=lambda t: (t.candidate.size, -_gain(t)["estimate"]))
        return "change", [_said(chosen)], chosen
    if safe:
        best = max(safe, key=lambda t: _gain(t)["estimate"])
        before, after = (trial.values(options.layer, "objective") for trial in (start, best))
        said = more_runs(best.candidate.name, _gain(best), before, after, options.confidence)
        return "cannot-tell", [said], None
    return "keep", _why_keep(finished, worth, options), None


def _gain(trial: Trial) -> dict[str, float]:
    return trial.gain or {"estimate": 0.0, "low": 0.0, "high": 0.0}


def _safe(trial: Trial, options: PilotOptions) -> bool:
    change = (trial.task_change or {"estimate": 0.0})["estimate"]
    verdicts = [run["measured"][options.layer]["verdict"] for run in trial.runs]
    return change >= -options.margin and verdicts.count("collapsed") * 2 < len(verdicts)


def _points(gain: Mapping[str, float]) -> str:
    return f"{100 * gain['estimate']:+.1f} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]"


def _said(trial: Trial) -> dict[str, str]:
    changes = ", ".join(f"{c.key} {c.before} -> {c.after}" for c in trial.candidate.changes)
    text = f"{changes}: the objective changes by {_points(_gain(trial))} points on validation rows"
    return {"code": "UC801", "text": text}


def more_runs(
    name: str,
    gain: Mapping[str, float],
    before: Sequence[float],
    after: Sequence[float],
    confidence: float,
) -> dict[str, str]:
    """How many seeds would tell whether a change gains, by the objectives that did not."""
    needed = seeds_needed(before, after, confidence)
    more = "more than 1000" if needed is None else f"about {max(needed, len(after) + 1)}"
    text = (
        f"{name} changes the objective by {_points(gain)} points: the "
        f"interval does not lie above zero; {more} seeds of each setting would tell"
    )
    return {"code": "UC803", "text": text}


def _why_keep(finished: Sequence[Trial], worth: Sequence[Trial], options: PilotOptions) -> Reasons:
    if not finished:
        return [{"code": "UC802", "text": "no candidate could be trained to the end"}]
    best = max(finished, key=lambda t: _gain(t)["estimate"])
    text = (
        f"no change gains {100 * options.least_gain:g} points or more; the best, "
        f"{best.candidate.name}, changes the objective by {_points(_gain(best))} points"
    )
    if worth:
        costly = max(worth, key=lambda t: _gain(t)["estimate"])
        lost = 100 * (costly.task_change or {"estimate": 0.0})["estimate"]
        text = (
            f"{costly.candidate.name} would gain {_points(_gain(costly))} points, but the training "
            f"label changes by {lost:+.1f} points (margin {100 * options.margin:g}) or the setting "
            "is measured as collapsed"
        )
    return [{"code": "UC802", "text": text}]


def confirmed(gain: Interval, task: Interval, margin: float) -> dict[str, str]:
    """What the test split says with fresh seeds: UC801 where the gain holds, else UC804."""
    holds = gain.low > 0 and task.estimate >= -margin
    text = (
        f"on the test split, with fresh seeds, it changes by {_points(gain.to_dict())} points, "
        f"accuracy of the training label by {_points(task.to_dict())}"
    )
    return {"code": "UC801" if holds else "UC804", "text": text}


def not_confirmed(reason: str) -> dict[str, str]:
    """A confirmation that could not be trained."""
    return {"code": "UC804", "text": f"the confirmation failed: {reason}"}


def why_pruned(epochs: int, verdict: str) -> str:
    """Why a candidate was trained no further, or with no more seeds."""
    if verdict == "collapsed":
        return f"measured as collapsed after {epochs} epochs"
    return f"behind after {epochs} epochs"
