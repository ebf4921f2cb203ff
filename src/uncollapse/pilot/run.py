"""`pilot`: check, design, run, recommend, confirm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

from uncollapse.data import DataConfig
from uncollapse.errors import InputError
from uncollapse.pilot._decide import METHOD, compare_with_start, confirm, decide
from uncollapse.pilot._halving import pruned, survivors
from uncollapse.pilot._plan import finish, opened, pilot_config, plan_epochs, plan_text
from uncollapse.pilot.design import design
from uncollapse.pilot.goal import choose_goal
from uncollapse.pilot.jobs import Common, Job
from uncollapse.pilot.pool import Ended, Outcome, on_processes
from uncollapse.progress import OnStep, Step, no_steps
from uncollapse.records import (
    IntervalMethod,
    PilotConditions,
    PilotOptions,
    PilotPlan,
    PilotReason,
    PilotResult,
    PilotVerdict,
    Recommendation,
    Trial,
    TrialRun,
)
from uncollapse.storage import write_json
from uncollapse.training import TrainConfig, build_problem

Runner = Callable[[Sequence[Job], int, Ended], list[Outcome]]
# Seeds of the confirmation are those of the trials plus this.
FRESH = 1000
_SCORES = ("objective", "task", "instance_variance", "share")


def pilot(
    config: TrainConfig,
    output: Path,
    *,
    base: Path | None = None,
    options: PilotOptions | None = None,
    downstream: Mapping[str, tuple[DataConfig, Path]] | None = None,
    runner: Runner = on_processes,
    progress: OnStep = no_steps,
) -> PilotResult:
    """Find the smallest change of a training setting that prevents collapse, by short runs.

    Args:
        config: The present setting.
        output: Folder of the pilot; one that holds an unfinished pilot of the same configuration
            and options is gone on with.
        base: Folder that relative paths in the configuration refer to; None for the current one.
        options: Budget, seeds, objective, margins.
        downstream: `data:` blocks by name, with the folders that their paths refer to.
        runner: What runs jobs: `on_processes`, or `uncollapse.pilot.on_ray`.
        progress: Called with the plan, in words, and whenever a run ends.

    Returns:
        The result; pilot.json, recommended.yaml and the trials are in `output`.

    Raises:
        InputError: Before anything runs: a configuration, data or budget that cannot do; later: the
            present setting itself cannot be trained.

    Examples:
        >>> from uncollapse.pilot import design
        >>> from uncollapse.training import parse_config
        >>> block = {"data": {"source": "digits", "map": "parity"}, "encoder": {"kind": "convnet"}}
        >>> block |= {"loss": {"alpha": 0, "temperature": 0.1}, "epochs": 20}
        >>> start, *others = design(build_problem(parse_config(block)))
        >>> [trial.name for trial in others if trial.status == "waiting"]  # to be trained
        ['alpha-0.011', 'alpha-0.028', 'alpha-0.12', 'alpha-0.37']
        >>> result = pilot(parse_config(block), Path("runs/pilot"))  # minutes # doctest: +SKIP
    """
    options = options or PilotOptions()
    base = (base or Path()).resolve()
    others = dict(downstream or {})
    with opened(output, config, options) as file:
        problem = build_problem(config, base=base)
        goal = choose_goal(problem.data, options, list(others))
        part_config, rows = pilot_config(problem, goal, options)
        problem = build_problem(part_config, base=base)
        if not len(problem.data.rows("test")):
            raise InputError("test rows, to confirm by", "none", "set data.split.test")
        trials = design(problem)
        tried = sum(trial.status == "waiting" for trial in trials[1:])
        plan = file.plan or plan_epochs(problem, rows.share, tried, options)
        if file.plan is None:
            write_json(output / "plan.json", replace(file, plan=plan).to_dict())
        kept = survivors(tried)
        total = options.seeds * (3 + survivors(kept)) + tried + kept
        progress(Step(0, total, "plan", plan_text(goal, rows, plan, trials)))
        whole = part_config.model_copy(update={"epochs": plan.epochs})
        common = Common(whole, base, goal, others)
        seeds = tuple(config.seed + number for number in range(options.seeds))
        fresh = tuple(seed + FRESH for seed in seeds)
        stages = _Stages(common, options, plan, output, runner, progress, total, seeds, fresh)
        conditions = PilotConditions(
            setting=problem.setting(),
            rows=rows,
            plan=plan,
            seeds=seeds,
            fresh_seeds=fresh,
            options={k: v for k, v in asdict(options).items() if k != "workers"},
            config=part_config.plain(),
        )
        result = replace(stages.run(*trials), conditions=conditions)
        finish(output, result, config, base)
        return result


@dataclass
class _Stages:
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
    done: int = 0

    def run(self, start: Trial, *candidates: Trial) -> PilotResult:
        """All stages."""
        options = self.options
        (start,) = self._train("check", [start], self.seeds, self.plan.epochs)
        if start.status == "failed":
            raise InputError("a present setting that can be trained", str(start.reason), "mend it")
        start = replace(start, status="complete")
        trials = self._rungs(candidates)
        complete = [trial for trial in trials if trial.status == "complete"]
        finished = compare_with_start(start, complete, options)
        known = {trial.name: trial for trial in (*trials, *finished)}
        verdict, reasons, chosen = decide(finished, options)
        recommendation = None
        if chosen is not None:
            verdict, recommendation, more = self._confirm(start, chosen, finished)
            reasons += more
        return PilotResult(
            verdict=verdict,
            reasons=tuple(reasons),
            layer=options.layer,
            objective=self.common.goal,
            start=start,
            candidates=tuple(known.values()),
            recommendation=recommendation,
            statistics=IntervalMethod(METHOD, len(finished), options.confidence),
        )

    def _rungs(self, trials: Sequence[Trial]) -> list[Trial]:
        """Short runs, whole ones of the best, all seeds of the best."""
        known = {trial.name: trial for trial in trials}
        running = [trial for trial in trials if trial.status == "waiting"]
        rungs = {self.plan.short: "short runs", self.plan.epochs: "whole runs"}
        for until, stage in rungs.items():
            trained = self._train(stage, running, self.seeds[:1], until)
            measured = {t.name: t.runs[0].measured[self.options.layer] for t in trained if t.runs}
            why = pruned(measured, until)
            running = [trial for trial in trained if trial.name in measured.keys() - why.keys()]
            known |= {trial.name: trial for trial in trained}
            for name, reason in why.items():
                known[name] = replace(known[name], status="pruned", reason=reason)
        for trial in self._train("further seeds", running, self.seeds, self.plan.epochs):
            status = "complete" if trial.status == "waiting" else trial.status
            known[trial.name] = replace(trial, status=status)
        return list(known.values())

    def _confirm(
        self, start: Trial, chosen: Trial, finished: Sequence[Trial]
    ) -> tuple[PilotVerdict, Recommendation | None, list[PilotReason]]:
        """The chosen setting and the start once on the test split, with fresh seeds."""
        epochs = self.plan.epochs
        again = self._train("confirmation", [start, chosen], self.fresh, epochs, "test")
        rounds = [(start, chosen), (again[0], again[1])]
        verdict, confirmation, reasons = confirm(rounds, finished, self.options)
        if confirmation is None:
            return verdict, None, reasons
        recommendation = Recommendation(
            trial=chosen.name,
            change=chosen.change,
            gain=chosen.gain,
            task_change=chosen.task_change,
            margin=self.options.margin,
            margin_shown=all(reason.code != "UC805" for reason in reasons),
            confirmed=confirmation,
            seconds_per_run={t.name: fmean(run.seconds for run in t.runs) for t in again},
            config=str(self.output / "recommended.yaml"),
        )
        return verdict, recommendation, reasons

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
                trial.change,
                seed,
                self.output / "trials" / trial.name / f"seed-{seed}",
                until,
                part,
                self.common,
                keep=seed == seeds[0] and until == self.plan.epochs,
            )
            for trial in trials
            for seed in seeds
        ]

        def ended(job: Job) -> None:
            self.done += 1
            self.progress(Step(self.done, self.total, stage))

        outcomes = list(self.runner(jobs, self.options.workers, ended)) if jobs else []
        finished = []
        for number, trial in enumerate(trials):
            own = outcomes[number * len(seeds) : (number + 1) * len(seeds)]
            finished.append(_with_runs(trial, dict(zip(seeds, own, strict=True))))
        return finished


def _with_runs(trial: Trial, outcomes: Mapping[int, Outcome]) -> Trial:
    """The trial after a run per seed; failed where one has no result."""
    results = [outcome.result for outcome in outcomes.values() if outcome.result is not None]
    runs = tuple(TrialRun(**vars(result)) for result in results)
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
