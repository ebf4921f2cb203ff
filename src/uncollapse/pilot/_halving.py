"""Which candidates of a pilot go on: synchronous rungs, each the best third of the one before.

Every candidate of a rung has reported before any is pruned, so that the order in which processes
end changes nothing (Optuna's own halving is asynchronous).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import optuna

from uncollapse.records import LayerScores, PilotOptions, Trial, TrialRun

_FACTOR, _LEAST = 3, 2

optuna.logging.set_verbosity(optuna.logging.WARNING)


def survivors(count: int) -> int:
    """How many of so many candidates a rung lets go on: a third of them, two at least.

    Examples:
        >>> [survivors(k) for k in (1, 2, 6, 7)]
        [1, 2, 2, 3]
    """
    return min(count, max(_LEAST, math.ceil(count / _FACTOR)))


class _CollapseHalving(optuna.pruners.BasePruner):
    """Prune what is measured as collapsed, and all but the best `survivors` of the rest.

    What costs too much of the training label goes behind what does not.
    """

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        """Whether the trial ends here."""
        rivals = [
            (other.user_attrs["costly"], -other.intermediate_values[0], other.number)
            for other in study.get_trials(deepcopy=False)
            if not other.user_attrs["collapsed"]
        ]
        best = sorted(rivals)[: survivors(len(rivals))]
        return trial.number not in [number for *_, number in best]


def pruned(
    measured: Mapping[str, LayerScores], epochs: int, floor: float = -math.inf
) -> dict[str, str]:
    """Which candidates of a rung do not go on, by the objective that each reached, and why.

    Those whose training label has less than the accuracy `floor` go on where others leave room.
    """
    study = optuna.create_study(direction="maximize", pruner=_CollapseHalving())
    trials = {name: study.ask() for name in measured}
    for name, trial in trials.items():
        trial.set_user_attr("collapsed", measured[name].verdict == "collapsed")
        trial.set_user_attr("costly", (measured[name].task or 0.0) < floor)
        trial.report(float(measured[name]["objective"]), step=0)
    return {
        name: f"{_why(trial)} after {epochs} epochs"
        for name, trial in trials.items()
        if trial.should_prune()
    }


def _why(trial: optuna.Trial) -> str:
    if trial.user_attrs["collapsed"]:
        return "measured as collapsed"
    return "loses more than the margin" if trial.user_attrs["costly"] else "behind"


def better(run: TrialRun, options: PilotOptions) -> LayerScores:
    """Its scores at the better of the layers that a trained setting may be deployed at."""
    sides = [run.measured[layer] for layer in options.judged]
    return max(sides, key=lambda scores: scores.objective or 0.0)


def spare(
    trials: Sequence[Trial], epochs: int, floor: float, options: PilotOptions
) -> Trial | None:
    """The best of one whole run that keeps the training label, where none of all seeds does.

    A single run's label is uncertain, and the settings that gain most may cost most.
    """
    whole = [t for t in trials if t.runs and t.runs[-1].epochs == epochs]
    kept = [t for t in whole if fmean(better(run, options).task or 0.0 for run in t.runs) >= floor]
    if any(trial.status == "complete" for trial in kept):
        return None
    sides = {t.name: better(t.runs[0], options) for t in kept}
    left = [t for t in kept if t.status == "pruned" and sides[t.name].verdict != "collapsed"]
    best = max(left, key=lambda trial: sides[trial.name].objective or 0.0, default=None)
    return best and replace(best, status="waiting", reason=None)
