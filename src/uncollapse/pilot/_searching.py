"""The search for the best setting: whole runs with one seed, each chosen by those before it.

Runs are whole ones, as the process compares what they reached: a setting that needs longer would be
seen lower by a short run than it is, and by how much depends on the dials that are searched. What
is proposed depends on the results in the order of the proposals. The first is proposed alone, as of
one setting alone no direction is known, and then two at a time whatever the workers: these, kills
and clusters change nothing. Where the plan has time left, the best are then run once more with
twice the epochs: what only longer runs show is tried even where not every run may be long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from uncollapse.pilot._halving import better, pruned
from uncollapse.pilot.dials import Space
from uncollapse.pilot.search import Seen, propose
from uncollapse.records import PilotOptions, PilotPlan, SearchStep, Trial

# Runs that search, where there are so many settings, and how many at a time.
SEARCHED, BATCH = 7, 2


@dataclass(frozen=True)
class Searched:
    """Every setting that was run, those that go on, and the path."""

    trials: tuple[Trial, ...]
    running: tuple[Trial, ...]
    steps: tuple[SearchStep, ...]


def search_best(
    run: Callable[[Sequence[Trial]], list[Trial]],
    choices: Space,
    start: Trial,
    plan: PilotPlan,
    options: PilotOptions,
) -> Searched:
    """Look for the best setting; `run` trains settings to the end with the first seed."""
    floor = start.scores(options.layer)["task"] - options.margin
    known, taken = [_seen(0, start, options)], list[int]()
    steps = [SearchStep(trial=start.name, objective=known[0].objective, task=known[0].task)]
    trials: list[Trial] = []

    def try_out(places: Sequence[int], waiting: Sequence[Trial]) -> None:
        for place, trial in zip(places, run(waiting), strict=True):
            trials.append(trial)
            if trial.status == "failed":
                taken.append(place)
                steps.append(_failed(trial, steps[-1]))
                continue
            known.append(_seen(place, trial, options))
            steps.append(_step(trial, known[-1], steps, floor))

    while len(trials) < plan.searched:
        count = min(BATCH if trials else 1, plan.searched - len(trials))
        proposed = propose(choices.features, known, count, taken=taken, floor=floor)
        if not proposed:
            break
        try_out(proposed, [choices.trials[place] for place in proposed])
    tried, longer = {trial.name for trial in trials}, dict[str, tuple[int, Trial]]()
    for place in _leaders(known, floor)[: plan.longer]:
        trial = choices.longer(place)
        if trial.name not in tried:
            longer.setdefault(trial.name, (place, trial))
    if longer:
        try_out(*zip(*longer.values(), strict=True))
    return _chosen(trials, steps, floor, plan, options)


def _leaders(known: Sequence[Seen], floor: float) -> list[int]:
    """Places of what loses no more than the margin, the start among them, the best first."""
    good = [one for one in known if one.task >= floor]
    return [one.place for one in sorted(good, key=lambda one: -one.objective)]


def _seen(place: int, trial: Trial, options: PilotOptions) -> Seen:
    """What runs of a setting reached, each at the better layer."""
    scores = [better(run, options) for run in trial.runs]
    objective = fmean(each.objective or 0.0 for each in scores)
    return Seen(place, objective, fmean(each.task or 0.0 for each in scores), len(scores))


def _failed(trial: Trial, before: SearchStep) -> SearchStep:
    return replace(before, trial=trial.name, change=trial.change, objective=None, task=None)


def _step(trial: Trial, seen: Seen, steps: Sequence[SearchStep], floor: float) -> SearchStep:
    """Where the search stands after a run."""
    first, before = steps[0].objective or 0.0, steps[-1]
    gain = seen.objective - first
    leads = seen.task >= floor and gain > before.gain
    return SearchStep(
        trial=trial.name,
        change=trial.change,
        objective=seen.objective,
        task=seen.task,
        best=trial.name if leads else before.best,
        gain=gain if leads else before.gain,
    )


def _chosen(
    trials: Sequence[Trial],
    steps: Sequence[SearchStep],
    floor: float,
    plan: PilotPlan,
    options: PilotOptions,
) -> Searched:
    """The best third of those that lose no more than the margin goes on; of all, where all do."""
    task = {step.trial: step.task for step in steps if step.task is not None}
    ended = [trial for trial in trials if trial.name in task]
    good = [trial for trial in ended if task[trial.name] >= floor] or ended
    why = {
        trial.name: f"loses more than the margin after {trial.runs[0].epochs} epochs"
        for trial in ended
        if trial not in good
    }
    why |= pruned({trial.name: better(trial.runs[0], options) for trial in good}, plan.epochs)
    marked = tuple(
        replace(trial, status="pruned", reason=why[trial.name]) if trial.name in why else trial
        for trial in trials
    )
    running = tuple(trial for trial in marked if trial.status == "waiting")
    return Searched(marked, running, tuple(steps))
