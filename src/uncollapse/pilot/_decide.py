"""From runs to a verdict: what candidates gain, which is recommended, and what is not shown.

**First round.** Candidates that were trained with every seed (finalists) are compared with the
start by intervals that hold for all of them at once (`_gains`). A finalist is *out* if its gain is
seen to be less than is worth a change (upper end below `least_gain`), if it is seen to cost more of
the training label than `margin` (upper end below it), or if it is measured as collapsed. "keep" is
said only where all are out. A finalist that gains `least_gain` by its estimate and costs no more
than `margin` by it is *ready*. Of those that are seen to gain (lower end above zero) the smallest
change is taken whose gain is within one half-width of the largest: a larger change has to be seen
to be better. Where none is seen to, or where the goal is the best setting, the one that gains most
goes on.

**Second round.** It and the start are trained with fresh seeds, and judged on the test split by
Welch's interval: means of the fresh seeds, which chose nothing, with the spread of both rounds
(`uncollapse.statistics.mean_difference`). "change" is said where it lies above zero. What else is
in question stays so: "cannot-tell", with the seeds that would decide.

**The training label** is not lost where its interval lies above -`margin`; where only the estimate
does, the recommendation says which loss is not ruled out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from uncollapse.pilot._gains import MOST_SEEDS, against_start, seeds_needed
from uncollapse.records import (
    Confirmation,
    Estimate,
    Interval,
    PilotOptions,
    PilotReason,
    PilotVerdict,
    Trial,
    Value,
)
from uncollapse.statistics import mean_difference

METHOD = (
    "Dunnett's many-to-one intervals, one variance for all settings; the recommended one is "
    "confirmed by Welch's interval on the test split: means of fresh seeds, spread of both rounds"
)
_NO_GAIN = Interval(0.0, 0.0, 0.0)


def values(trial: Trial, layer: str, score: str) -> list[float]:
    """One number per seed, in their order, at `layer` or the one where the trial is judged."""
    return [float(scores[score]) for scores in trial.scores_by_seed(layer)]


def gain_over(
    others: Sequence[Trial],
    trials: Sequence[Trial],
    options: PilotOptions,
    score: str = "objective",
    *,
    same_runs: bool = False,
) -> Interval:
    """What a trial gains over another in the last round, each given by its trials round by round.

    `same_runs`: seed by seed both are of one run (say, before and after whitening).
    """
    first, second = ([values(t, options.layer, score) for t in side] for side in (others, trials))
    return mean_difference(first, second, options.confidence, same_runs=same_runs)


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
    finished: Sequence[Trial], options: PilotOptions
) -> tuple[PilotVerdict, list[PilotReason], Trial | None]:
    """The verdict, its reasons, and the trial to recommend (to be confirmed) if it is "change"."""
    ready = [t for t in finished if not _out(t, options) and _ready(t, options)]
    if not ready:
        verdict, reason = undecided(finished, options)
        return verdict, [reason], None
    chosen = _best(ready)
    if options.goal == "least-change" and (near := _low(chosen)) > 0:
        enough = [t for t in ready if _low(t) > 0 and _gain(t).estimate >= near]
        chosen = min(enough, key=lambda t: (t.size or 0.0, -_gain(t).estimate))
    return "change", [_recommended(chosen)], chosen


def next_to(chosen: Trial, trained: Sequence[Trial], options: PilotOptions) -> Trial | None:
    """The trained setting that gains most, and more than what is free and chosen; None if none."""
    better = [
        trial
        for trial in trained
        if not _out(trial, options)
        and _ready(trial, options)
        and _gain(trial).estimate > _gain(chosen).estimate
    ]
    return _best(better) if chosen.kind == "free" and better else None


def _recommended(chosen: Trial) -> PilotReason:
    gain = points(_gain(chosen))
    if chosen.kind == "free":
        return PilotReason.from_key("UC801", "pilot.recommended-free", name=chosen.name, gain=gain)
    changes = tuple(map(str, chosen.change))
    return PilotReason.from_key("UC801", "pilot.recommended", changes=changes, gain=gain)


def undecided(
    finished: Sequence[Trial], options: PilotOptions, tried: str = ""
) -> tuple[PilotVerdict, PilotReason]:
    """What is said where no change is shown: "keep" if all are out, else the seeds to decide.

    It is said of the one that was `tried` again, if it is not out, else of what gains most: whether
    it helps, or, where that is shown, whether it costs too much of the training label.
    """
    open_ = [trial for trial in finished if not _out(trial, options)]
    if not open_:
        return "keep", _why_keep(finished, options)
    best = next((trial for trial in open_ if trial.name == tried), _best(open_))
    said: dict[str, Value] = {"name": best.name, "gain": points(_gain(best))}
    if _low(best) > 0 and not _ready(best, options) and _worth(best, options):
        key = "pilot.undecided-cost"
        said |= {"task": points(_cost(best)), "margin": 100 * options.margin}
    else:
        key = "pilot.undecided"
        said["least"] = 100 * options.least_gain
    seeds = max(_seeds(trial, options) for trial in open_)
    if seeds > MOST_SEEDS:
        return "cannot-tell", PilotReason.from_key("UC803", f"{key}-many", **said)
    return "cannot-tell", PilotReason.from_key("UC803", key, **said, seeds=seeds)


def _gain(trial: Trial) -> Interval:
    return trial.gain or _NO_GAIN


def _cost(trial: Trial) -> Interval:
    return trial.task_change or _NO_GAIN


def _low(trial: Trial) -> float:
    return _gain(trial).low or 0.0


def _best(trials: Sequence[Trial]) -> Trial:
    return max(trials, key=lambda trial: _gain(trial).estimate)


def _below(change: Interval, value: float) -> bool:
    return change.high is not None and change.high < value


def _out(trial: Trial, options: PilotOptions) -> bool:
    verdicts = [scores.verdict for scores in trial.scores_by_seed(options.layer)]
    collapsed = bool(verdicts) and verdicts.count("collapsed") * 2 >= len(verdicts)
    useless = _below(_gain(trial), options.least_gain)
    return collapsed or useless or _below(_cost(trial), -options.margin)


def _worth(trial: Trial, options: PilotOptions) -> bool:
    return _gain(trial).estimate >= options.least_gain


def _ready(trial: Trial, options: PilotOptions) -> bool:
    return _worth(trial, options) and _cost(trial).estimate >= -options.margin


def points(change: Interval) -> Estimate:
    """A change of a share in percentage points."""
    low, high = change.low or 0, change.high or 0
    return Estimate(100 * change.estimate, 100 * low, 100 * high)


def _seeds(trial: Trial, options: PilotOptions) -> int:
    """Seeds that would decide about an open trial, by its estimates and spread.

    Its gain is decided where the interval leaves out zero or what is worth a change, whichever is
    further; its cost, where the estimate is above the margin, where the interval leaves that out.
    """
    gain, cost = _gain(trial), _cost(trial)
    rooms = [(gain, max(gain.estimate, options.least_gain - gain.estimate))]
    if cost.estimate < -options.margin:
        rooms.append((cost, -options.margin - cost.estimate))
    number, level = len(trial.runs), options.confidence
    return max(seeds_needed(i.half_width or 0.0, number, room, level) for i, room in rooms)


def _why_keep(finished: Sequence[Trial], options: PilotOptions) -> PilotReason:
    if not finished:
        return PilotReason.from_key("UC802", "pilot.untrained")
    worth = [t for t in finished if not _below(_gain(t), options.least_gain)]
    best = _best(worth or finished)
    said: dict[str, Value] = {"name": best.name, "gain": points(_gain(best))}
    if not worth:
        least = 100 * options.least_gain
        return PilotReason.from_key("UC802", "pilot.small", **said, least=least)
    task, margin = 100 * _cost(best).estimate, 100 * options.margin
    return PilotReason.from_key("UC802", "pilot.costly", **said, task=task, margin=margin)


def confirm(
    rounds: Sequence[tuple[Trial, Trial]], finished: Sequence[Trial], options: PilotOptions
) -> tuple[PilotVerdict, Confirmation | None, list[PilotReason]]:
    """What fresh seeds on the test split say of the start and the setting to recommend.

    Both in each round, the fresh one last; finalists with their intervals of the first.
    """
    (start, chosen), margin = rounds[-1], options.margin
    failed = [str(trial.reason) for trial in (start, chosen) if trial.status == "failed"]
    if failed:
        return (
            "cannot-tell",
            None,
            [PilotReason.from_key("UC804", "pilot.failed", reason=failed[0])],
        )
    before, after = zip(*rounds, strict=True)
    same = chosen.kind == "free"
    gain = gain_over(before, after, options, same_runs=same)
    task = gain_over(before, after, options, "task", same_runs=same)
    shown = gain.low is not None and gain.low > 0 and not _below(gain, options.least_gain)
    holds = shown and task.estimate >= -margin
    said = {"gain": points(gain), "task": points(task)}
    reasons = [PilotReason.from_key("UC801" if holds else "UC804", "pilot.confirmed", **said)]
    if not holds:
        known = [
            replace(chosen, gain=gain, task_change=task) if trial.name == chosen.name else trial
            for trial in finished
        ]
        verdict, reason = undecided(known, options, chosen.name)
        return verdict, None, [*reasons, reason]
    if task.low is None or task.low < -margin:
        reasons.append(_not_ruled_out(task, margin))
    confirmation = Confirmation(
        gain=gain,
        task_change=task,
        seeds=tuple(run.seed for run in start.runs),
        start=start.mean,
        recommended=chosen.mean,
        runs={trial.name: trial.runs for trial in (start, chosen)},
    )
    return "change", confirmation, reasons


def _not_ruled_out(task: Interval, margin: float) -> PilotReason:
    """Which loss on the training label fresh seeds do not rule out."""
    loss = -100 * (task.low or 0.0)
    return PilotReason.from_key("UC805", "pilot.not-ruled-out", loss=loss, margin=100 * margin)
