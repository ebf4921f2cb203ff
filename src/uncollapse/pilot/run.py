"""`pilot`: check, design, run, recommend, confirm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

from uncollapse.data import DataConfig
from uncollapse.errors import InputError
from uncollapse.pilot._decide import (
    compare_with_start,
    confirmed,
    decide,
    more_runs,
    not_confirmed,
    why_pruned,
)
from uncollapse.pilot._folder import Folder, opened, with_absolute_paths
from uncollapse.pilot._halving import Rungs, survivors
from uncollapse.pilot._intervals import METHOD, paired
from uncollapse.pilot._plan import pilot_config, plan_epochs, plan_text
from uncollapse.pilot.design import design
from uncollapse.pilot.goal import choose_goal
from uncollapse.pilot.jobs import Common, Job
from uncollapse.pilot.options import PilotOptions
from uncollapse.pilot.pool import Ended, Outcome, on_processes
from uncollapse.pilot.trial import Candidate, TrialState, means
from uncollapse.progress import OnStep, Step, no_steps
from uncollapse.records import (
    Confirmation,
    IntervalMethod,
    PilotConditions,
    PilotPlan,
    PilotReason,
    PilotResult,
    Recommendation,
    TrialRun,
    changed_config,
)
from uncollapse.training import TrainConfig, build_problem

Runner = Callable[[Sequence[Job], int, Ended], list[Outcome]]
# Seeds of the confirmation are those of the trials plus this.
FRESH = 1000


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
        >>> [trial.name for trial in others if not trial.collapsed]  # what is going to be trained
        ['alpha-0.011', 'alpha-0.028', 'alpha-0.12', 'alpha-0.37']
        >>> result = pilot(parse_config(block), Path("runs/pilot"))  # minutes # doctest: +SKIP
    """
    options = options or PilotOptions()
    base = (base or Path()).resolve()
    others = dict(downstream or {})
    with opened(output, config, options) as folder:
        problem = build_problem(config, base=base)
        goal = choose_goal(problem.data, options, list(others))
        part_config, rows = pilot_config(problem, goal, options)
        problem = build_problem(part_config, base=base)
        if not len(problem.data.rows("test")):
            raise InputError("test rows, to confirm by", "none", "set data.split.test")
        candidates = design(problem)
        tried = [c for c in candidates[1:] if not c.collapsed]
        plan = folder.plan(lambda: plan_epochs(problem, rows.share, len(tried), options))
        whole = part_config.model_copy(update={"epochs": plan.epochs})
        total = _runs(len(tried), options.seeds)
        progress(Step(0, total, "plan", plan_text(goal, rows, plan, candidates)))
        common = Common(whole, base, goal, others)
        seeds = [config.seed + number for number in range(options.seeds)]
        fresh = [seed + FRESH for seed in seeds]
        stages = _Stages(common, options, plan, folder, runner, progress, total, seeds, fresh)
        conditions = PilotConditions(
            setting=problem.setting(),
            rows=rows,
            plan=plan,
            seeds=tuple(seeds),
            fresh_seeds=tuple(fresh),
            options={k: v for k, v in asdict(options).items() if k != "workers"},
            config=part_config.plain(),
        )
        result = replace(stages.run(candidates), conditions=conditions)
        folder.finish(result)
        return result


def _runs(tried: int, seeds: int) -> int:
    """How many runs there are at most."""
    kept = survivors(tried)
    return seeds * (3 + survivors(kept)) + tried + kept


@dataclass
class _Stages:
    """What the stages share."""

    common: Common
    options: PilotOptions
    plan: PilotPlan
    folder: Folder
    runner: Runner
    progress: OnStep
    total: int
    seeds: list[int]
    fresh: list[int]
    done: int = 0

    def run(self, candidates: list[Candidate]) -> PilotResult:
        """All stages."""
        options = self.options
        start, *trials = [TrialState(candidate) for candidate in candidates]
        self._train("check", [start], self.seeds, self.plan.epochs)
        if start.status == "failed":
            raise InputError("a present setting that can be trained", str(start.reason), "mend it")
        start.status = "complete"
        finished = self._rungs(trials)
        compare_with_start(start, finished, options)
        verdict, reasons, chosen = decide(start, finished, options)
        recommendation = None
        if chosen is not None:
            recommendation, more = self._confirm(start, chosen)
            verdict, reasons = "change" if recommendation else "cannot-tell", [*reasons, *more]
        return PilotResult(
            verdict=verdict,
            reasons=tuple(reasons),
            layer=options.layer,
            objective=self.common.goal.objective,
            start=start.record(),
            candidates=tuple(trial.record() for trial in trials),
            recommendation=recommendation,
            statistics=IntervalMethod(METHOD, len(finished), options.confidence),
        )

    def _rungs(self, trials: list[TrialState]) -> list[TrialState]:
        """Short runs, whole ones of the best, all seeds of the best: those that ended well."""
        for trial in trials:
            if trial.candidate.collapsed:
                trial.status, trial.reason = "predicted-collapse", "predicted to collapse"
        tried = [trial for trial in trials if trial.status == "waiting"]
        rungs = Rungs([trial.name for trial in tried])
        kept = self._rung("short runs", tried, self.plan.short, rungs)
        kept = self._rung("whole runs", kept, self.plan.epochs, rungs)
        self._train("further seeds", kept, self.seeds, self.plan.epochs)
        for trial in kept:
            if trial.status == "failed":
                rungs.finish(trial.name, None)
            else:
                rungs.finish(trial.name, fmean(trial.values(self.options.layer, "objective")))
                trial.status = "complete"
        return [trial for trial in kept if trial.status == "complete"]

    def _rung(
        self, stage: str, trials: list[TrialState], until: int, rungs: Rungs
    ) -> list[TrialState]:
        """Train up to an epoch; the trials that go on, the others with the reason why not."""
        self._train(stage, trials, self.seeds[:1], until)
        measured = {t.name: t.runs[0].measured[self.options.layer] for t in trials if t.runs}
        names = rungs.after(until, measured)
        for trial in trials:
            if trial.name not in names and trial.status == "waiting":
                verdict = measured[trial.name].verdict
                trial.status, trial.reason = "pruned", why_pruned(until, verdict)
        return [trial for trial in trials if trial.name in names]

    def _confirm(
        self, start: TrialState, chosen: TrialState
    ) -> tuple[Recommendation | None, list[PilotReason]]:
        """The chosen setting and the start once on the test split, with fresh seeds."""
        again = [TrialState(start.candidate), TrialState(chosen.candidate)]
        self._train("confirmation", again, self.fresh, self.plan.epochs, "test")
        if failed := next((t for t in again if t.status == "failed"), None):
            return None, [not_confirmed(str(failed.reason))]
        layer, confidence = self.options.layer, self.options.confidence
        first, second = again
        before, after = (trial.values(layer, "objective") for trial in again)
        gain = paired(before, after, confidence)
        task = paired(first.values(layer, "task"), second.values(layer, "task"), confidence)
        reason = confirmed(gain, task, self.options.margin)
        if gain.low is None or gain.low <= 0:
            return None, [reason, more_runs(chosen.name, gain, before, after, confidence)]
        if reason.code != "UC801":
            return None, [reason]
        block = changed_config(self.folder.block, chosen.candidate.changes)
        block = with_absolute_paths(block, self.common.base)
        confirmation = Confirmation(
            gain=gain,
            task_change=task,
            seeds=tuple(self.fresh),
            start=means(first.runs),
            recommended=means(second.runs),
            runs={trial.name: tuple(trial.runs) for trial in again},
        )
        return Recommendation(
            trial=chosen.name,
            change=chosen.candidate.changes,
            gain=chosen.gain,
            task_change=chosen.task_change,
            margin=self.options.margin,
            confirmed=confirmation,
            seconds_per_run={t.name: fmean(run.seconds for run in t.runs) for t in again},
            config=self.folder.recommend(block, reason.text),
        ), [reason]

    def _train(
        self,
        stage: str,
        trials: Sequence[TrialState],
        seeds: list[int],
        until: int,
        part: str = "validation",
    ) -> None:
        """Run what is missing of the trials; their runs are then those up to this epoch."""
        jobs = [
            Job(
                trial.name,
                trial.candidate.changes,
                seed,
                self.folder.path / "trials" / trial.name / f"seed-{seed}",
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

        outcomes = iter(self.runner(jobs, self.options.workers, ended)) if jobs else iter(())
        for trial in trials:
            runs = []
            for seed in seeds:
                outcome = next(outcomes)
                if outcome.result is None:
                    trial.status, trial.reason = "failed", f"seed {seed}: {outcome.reason}"
                else:
                    runs.append(TrialRun(**vars(outcome.result)))
            trial.runs = runs
