"""The stages of a pilot: check, short and whole runs, all seeds, decision, confirmation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any

from uncollapse.errors import InputError
from uncollapse.pilot._decide import METHOD, compare_with_start, confirm, decide, next_to
from uncollapse.pilot._halving import better, pruned, spare
from uncollapse.pilot._searching import search_best
from uncollapse.pilot.dials import Space
from uncollapse.pilot.doubt import doubted
from uncollapse.pilot.free import FreeCandidate
from uncollapse.pilot.jobs import Common, Job
from uncollapse.pilot.pool import Ended, Outcome
from uncollapse.pilot.trade import (
    against_free,
    base_is_best,
    best_free,
    free_reason,
    trade,
)
from uncollapse.progress import OnStep, Step
from uncollapse.records import (
    IntervalMethod,
    LayerScores,
    PilotOptions,
    PilotPlan,
    PilotReason,
    PilotResult,
    PilotVerdict,
    Recommendation,
    SearchStep,
    SettingChange,
    Trial,
    TrialFile,
)

Runner = Callable[[Sequence[Any], int, Ended], list[Outcome[Any]]]
_SCORES = ("objective", "task", "instance_variance", "share", "other_view")


@dataclass
class Stages:
    """What the stages share."""

    common: Common
    options: PilotOptions
    plan: PilotPlan
    output: Path
    runner: Runner
    progress: OnStep
    total: int  # Runs at most.
    seeds: tuple[int, ...]
    fresh: tuple[int, ...]
    free: tuple[FreeCandidate, ...] = ()
    choices: Space | None = None  # among which the best is looked for
    done: int = 0
    _found: dict[str, dict[int, TrialFile]] = field(default_factory=dict)  # last, by trial and seed

    def run(self, start: Trial, *candidates: Trial) -> PilotResult:
        """All stages."""
        options = self.options
        (start,) = self._train("check", [start], self.seeds, self.plan.epochs)
        if start.status == "failed":
            raise InputError("a present setting that can be trained", str(start.reason), "fix it")
        start, free = replace(start, status="complete"), self._free(start)
        judged = [t for t in free if t.deployable and "objective" in t.scores(options.layer)]
        had = compare_with_start(start, judged, options)
        steps: tuple[SearchStep, ...] = ()
        if self.choices is None:
            trials = self._rungs(start, candidates)
        else:
            found = search_best(self._once, self.choices, start, self.plan, options)
            trials, steps = self._further(found.trials, found.running), found.steps
        trained = self._finalists(start, trials)
        known = {trial.name: trial for trial in (*free, *had, *trials, *trained)}
        verdict, reasons, chosen = decide([*had, *trained], options)
        if verdict == "keep" and not trained:
            verdict, reasons = "cannot-tell", [PilotReason.from_key("UC803", "pilot.untrained")]
        recommendation = None
        goal = self.common.goal
        if goal.by_retention:
            doubts = (start, [*had, *trained], goal, self.common.config, options)
            verdict, reasons, chosen = doubted((verdict, reasons, chosen), *doubts)
        if chosen is not None:
            verdict, recommendation, more = self._confirm(start, chosen, [*had, *trained], free)
            reasons += more
        bases = [trial for trial, what in zip(free, self.free, strict=True) if what.base]
        reasons += filter(None, [base_is_best(bases, [start, *trained], options)])
        return PilotResult(
            verdict=verdict,
            reasons=tuple(reasons),
            layer=options.layer,
            deploy=options.deployed,
            objective=goal,
            start=start,
            candidates=tuple(known.values()),
            recommendation=recommendation,
            trade=trade(start, tuple(known.values()), options),
            search=steps,
            statistics=IntervalMethod(METHOD, len(trained), options.confidence),
        )

    def _free(self, start: Trial) -> list[Trial]:
        """The free alternatives to the start, by what its last runs measured."""
        found = []
        for candidate in self.free:
            runs = {
                seed: Outcome(replace(result, measured=_entry(result, candidate.name), seconds=0))
                for seed, result in self._found[start.name].items()
            }
            trial = replace(candidate.trial(self.options), status="complete")
            found.append(with_runs(trial, runs))
        return found

    def _finalists(self, start: Trial, trials: Sequence[Trial]) -> list[Trial]:
        """Those that were trained with every seed, each at the better of the layers it may be at.

        Where that is a choice, intervals hold for all layers of all of them at once.
        """
        complete = [trial for trial in trials if trial.status == "complete"]
        at = self.options.judged
        sides = [replace(trial, layer=layer) for trial in complete for layer in at]
        best: dict[str, Trial] = {}
        for trial in compare_with_start(start, sides, self.options):
            rival = best.setdefault(trial.name, trial)
            if _objective(trial) > _objective(rival):
                best[trial.name] = trial
        return list(best.values())

    def _rungs(self, start: Trial, trials: Sequence[Trial]) -> list[Trial]:
        """Short runs, whole ones of the best, all seeds of the best.

        Of whole runs those that lose no more than the margin of the training label come first.
        """
        floor = start.scores(self.options.layer)["task"] - self.options.margin
        known = {trial.name: trial for trial in trials}
        running = [trial for trial in trials if trial.status == "waiting"]
        rungs = {self.plan.short: ("short runs", -inf), self.plan.epochs: ("whole runs", floor)}
        for until, (stage, least) in rungs.items():
            trained = self._train(stage, running, self.seeds[:1], until)
            measured = {t.name: better(t.runs[0], self.options) for t in trained if t.runs}
            why = pruned(measured, until, least)
            running = [trial for trial in trained if trial.name in measured.keys() - why.keys()]
            known |= {trial.name: trial for trial in trained}
            for name, reason in why.items():
                known[name] = replace(known[name], status="pruned", reason=reason)
        trials = self._further(list(known.values()), running)
        left = spare(trials, self.plan.epochs, floor, self.options)
        return trials if left is None else self._further(trials, [left])

    def _further(self, trials: Sequence[Trial], running: Sequence[Trial]) -> list[Trial]:
        """All of them, those that are running with every seed."""
        known = {trial.name: trial for trial in trials}
        for trial in self._train("further seeds", running, self.seeds, self.plan.epochs):
            status = "complete" if trial.status == "waiting" else trial.status
            known[trial.name] = replace(trial, status=status)
        return list(known.values())

    def _once(self, trials: Sequence[Trial]) -> list[Trial]:
        return self._train("search", trials, self.seeds[:1], self.plan.epochs)

    def _confirm(
        self, start: Trial, chosen: Trial, finished: Sequence[Trial], free: Sequence[Trial]
    ) -> tuple[PilotVerdict, Recommendation | None, list[PilotReason]]:
        """The chosen setting and the start once on the test split, with fresh seeds.

        What is free is measured on the start's runs; beside it the trained setting that gains most
        is run, to say what it adds.
        """
        options = self.options
        after = next_to(chosen, [trial for trial in finished if trial.kind != "free"], options)
        trained = after if chosen.kind == "free" else chosen
        settings = [start] if trained is None else [start, trained]
        again = self._train("confirmation", settings, self.fresh, self.plan.epochs, "test")
        had = {trial.name: trial for trial in self._free(again[0])}
        fresh = had | {trial.name: trial for trial in again}
        rounds = [(start, chosen), (again[0], fresh[chosen.name])]
        verdict, confirmation, reasons = confirm(rounds, finished, options)
        if confirmation is None:
            return verdict, None, reasons
        recommendation = Recommendation(
            trial=chosen.name,
            layer=chosen.layer or options.layer,
            change=chosen.change,
            gain=chosen.gain,
            task_change=chosen.task_change,
            margin=options.margin,
            margin_shown=all(reason.code != "UC805" for reason in reasons),
            confirmed=replace(confirmation, runs={t.name: t.runs for t in fresh.values()}),
            seconds_per_run={t.name: fmean(run.seconds for run in t.runs) for t in again if t.runs},
            config=str(self.output / "recommended.yaml"),
            map=str(self.output / "map.safetensors") if self._has_map(chosen) else "",
        )
        rival = chosen if chosen.kind == "free" else best_free(free, options)
        if trained is None or rival is None or fresh[trained.name].status == "failed":
            return verdict, recommendation, reasons
        both = [(rival, trained), (had[rival.name], fresh[trained.name])]
        recommendation = against_free(recommendation, both, options)
        return verdict, recommendation, [*reasons, free_reason(recommendation)]

    def _has_map(self, chosen: Trial) -> bool:
        return any(what.linear for what in self.free if what.name == chosen.name)

    def _train(
        self,
        stage: str,
        trials: Sequence[Trial],
        seeds: Sequence[int],
        until: int,
        part: str = "validation",
    ) -> list[Trial]:
        """The trials with their runs up to this epoch, of which those that are missing are run."""
        jobs = [
            Job(
                trial.name,
                changes,
                seed,
                self.output / "trials" / trial.name / f"seed-{seed}",
                epochs,
                part,
                self.common,
                keep=seed == seeds[0] and until == self.plan.epochs,
                free=() if trial.change else self.free,
            )
            for trial in trials
            for changes, epochs in [_scaled(trial, until)]
            for seed in seeds
        ]

        def ended(job: Job) -> None:
            self.done += 1
            self.progress(Step(self.done, self.total, stage, name=f"{job.trial}, seed {job.seed}"))

        outcomes = list(self.runner(jobs, self.options.workers, ended)) if jobs else []
        finished = []
        for number, trial in enumerate(trials):
            own = outcomes[number * len(seeds) : (number + 1) * len(seeds)]
            by_seed = dict(zip(seeds, own, strict=True))
            results = {seed: one.result for seed, one in by_seed.items()}
            self._found[trial.name] = {s: r for s, r in results.items() if r is not None}
            finished.append(with_runs(trial, by_seed))
        return finished


def _scaled(trial: Trial, until: int) -> tuple[tuple[SettingChange, ...], int]:
    """Its changes and epochs, where the pilot's runs have so many and the present setting others.

    Epochs change by the same factor.
    """
    for change in trial.change:
        if change.key == "epochs":
            scaled = max(1, round(until * change.after / change.before))
            other = SettingChange("epochs", until, scaled)
            return tuple(other if c is change else c for c in trial.change), scaled
    return trial.change, until


def with_runs(trial: Trial, outcomes: Mapping[int, Outcome[TrialFile]]) -> Trial:
    """The trial after a run per seed; failed where one has no result."""
    results = [outcome.result for outcome in outcomes.values() if outcome.result is not None]
    runs = tuple(result.run for result in results)
    if len({frozenset(run.measured) for run in runs}) > 1:
        found = "; ".join(", ".join(run.measured) for run in runs)
        remedy = "take the file of the odd one out, and its run is measured again"
        raise InputError(f"the same layers in all runs of {trial.name}", found, remedy)
    means: dict[str, dict[str, float]] = {}
    for layer in runs[0].measured if runs else ():
        scores = {name: [run.measured[layer][name] for run in runs] for name in _SCORES}
        known = {name: numbers for name, numbers in scores.items() if None not in numbers}
        means[layer] = {name: fmean(numbers) for name, numbers in known.items()}
    seconds = round(sum(run.seconds for run in runs), 2)
    trial = replace(trial, runs=runs, mean=means or None, seconds=seconds)
    for seed, outcome in outcomes.items():
        if outcome.result is None:
            reason = f"seed {seed}: {outcome.reason}"
            trial = replace(trial, status="failed", reason=reason)
    return trial


def _entry(result: TrialFile, name: str) -> dict[str, LayerScores]:
    """The scores of a free alternative by its name."""
    known = result.free | result.measured
    if name not in known:
        remedy = "take its file out, and the run is measured again"
        what = f"scores of {name} in the trial of the start with seed {result.seed}"
        raise InputError(what, ", ".join(known) or "none", remedy)
    return {name: known[name]}


def _objective(trial: Trial) -> float:
    return trial.scores(trial.layer)["objective"]
