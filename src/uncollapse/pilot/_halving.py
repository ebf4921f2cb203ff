"""Which candidates go on after a short run, and after a whole one: Optuna's study, our pruner.

Rungs are synchronous: every candidate of a rung has reported before any is pruned, so that the
order in which processes end changes nothing (Optuna's own halving is asynchronous).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import optuna
from optuna.trial import TrialState as Ended

from uncollapse.records import LayerScores

optuna.logging.set_verbosity(optuna.logging.WARNING)

_FACTOR, _LEAST = 3, 2


def survivors(count: int) -> int:
    """How many of so many candidates a rung lets go on: a third of them, two at least.

    Examples:
        >>> [survivors(k) for k in (1, 2, 6, 7)]
        [1, 2, 2, 3]
    """
    return min(count, max(_LEAST, math.ceil(count / _FACTOR)))


class CollapseHalving(optuna.pruners.BasePruner):
    """Prune what is measured as collapsed, and all but the best `survivors` of the rest."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        """Whether the trial ends at its last reported step."""
        step = trial.last_step
        if step is None:
            return False
        if trial.user_attrs.get("collapsed"):
            return True
        rivals = [
            (-other.intermediate_values[step], other.number)
            for other in study.get_trials(deepcopy=False)
            if step in other.intermediate_values and not other.user_attrs.get("collapsed")
        ]
        mine = (-trial.intermediate_values[step], trial.number)
        return sorted(rivals).index(mine) >= survivors(len(rivals))


class Rungs:
    """The study: one trial per candidate, in their order."""

    def __init__(self, names: Sequence[str]) -> None:
        self.study = optuna.create_study(direction="maximize", pruner=CollapseHalving())
        self.trials = {name: self.study.ask() for name in names}
        self.running = list(names)

    def after(self, epoch: int, measured: Mapping[str, LayerScores]) -> list[str]:
        """Report a rung and say which candidates go on, in their order.

        `measured` has the layer whose objective counts, of those that still run and did not fail.
        """
        for name, scores in measured.items():
            trial = self.trials[name]
            trial.set_user_attr("collapsed", scores.verdict == "collapsed")
            trial.report(scores.value("objective"), epoch)
        kept = []
        for name in self.running:
            if name not in measured:
                self.study.tell(self.trials[name], state=Ended.FAIL)
            elif self.trials[name].should_prune():
                self.study.tell(self.trials[name], state=Ended.PRUNED)
            else:
                kept.append(name)
        self.running = kept
        return kept

    def finish(self, name: str, objective: float | None) -> None:
        """Tell the study how a candidate that went on ended; None where it failed."""
        if objective is None:
            self.study.tell(self.trials[name], state=Ended.FAIL)
        else:
            self.study.tell(self.trials[name], objective)
