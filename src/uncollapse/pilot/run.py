"""`pilot`: check, design, run, recommend, confirm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from uncollapse.data import DataConfig
from uncollapse.errors import InputError
from uncollapse.pilot.decide import (
    compare_with_start,
    confirmed,
    decide,
    more_runs,
    not_confirmed,
    why_pruned,
)
from uncollapse.pilot.design import design
from uncollapse.pilot.folder import Folder, changed_block
from uncollapse.pilot.goal import Goal, choose_goal
from uncollapse.pilot.halving import Rungs, survivors
from uncollapse.pilot.intervals import METHOD, paired
from uncollapse.pilot.jobs import Job
from uncollapse.pilot.options import PilotOptions
from uncollapse.pilot.plan import Plan, pilot_config, plan_epochs
from uncollapse.pilot.pool import Outcome, on_processes
from uncollapse.records import Candidate, PilotResult, Trial
from uncollapse.training import Problem, TrainConfig, build_problem

__all__ = ["Runner", "Stage", "pilot"]

Runner = Callable[[Sequence[Job], int, Callable[[Job], None]], list[Outcome]]
# Called with the stage's name, the runs that ended, the runs of the plan, and what is known.
Stage = Callable[[str, int, int, Mapping[str, Any]], None]
# Seeds of the confirmation are those of the trials plus this.
FRESH = 1000


def _quiet(stage: str, done: int, total: int, known: Mapping[str, Any]) -> None:
    """No progress."""


def pilot(
    config: TrainConfig,
    output: Path,
    *,
    base: Path | None = None,
    options: PilotOptions | None = None,
    downstream: Mapping[str, tuple[DataConfig, Path]] | None = None,
    runner: Runner = on_processes,
    progress: Stage = _quiet,
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
        progress: Called whenever a run or a stage ends.

    Returns:
        The result; pilot.json, recommended.yaml and the trials are in `output`.

    Raises:
        InputError: Before anything runs: a configuration, data or budget that cannot do; later: the
            present setting itself cannot be trained.

    Example:
        >>> from uncollapse.training import load_config
        >>> config = load_config(Path("configs/digits.yaml"), ["loss.alpha=0"])  # doctest: +SKIP
        >>> pilot(config, Path("runs/pilot")).verdict  # doctest: +SKIP
        'change'
    """
    options = options or PilotOptions()
    base = (base or Path()).resolve()
    others = dict(downstream or {})
    with Folder(output, config, options) as folder:
        problem = build_problem(config, base=base)
        goal = choose_goal(problem.data, options, list(others))
        part_config, part = pilot_config(problem, goal, options)
        problem = build_problem(part_config, base=base)
        if not len(problem.data.rows("test")):
            raise InputError("test rows, to confirm by", "none", "set data.split.test")
        candidates = design(problem)
        tried = [c for c in candidates[1:] if not c.collapsed]
        plan = folder.plan(lambda: plan_epochs(problem, part["share"], len(tried), options))
        part["setting"] = _setting(problem)
        known = {"part": part, "plan": plan, "goal": goal, "candidates": candidates}
        pilot_run = _Pilot(part_config, base, options, goal, plan, others, folder, runner, progress)
        pilot_run.known = known
        return pilot_run.run(candidates, part)


@dataclass
class _Pilot:
    """What the stages share."""

    config: TrainConfig
    base: Path
    options: PilotOptions
    goal: Goal
    plan: Plan
    downstream: Mapping[str, tuple[DataConfig, Path]]
    folder: Folder
    runner: Runner
    progress: Stage
    known: dict[str, Any] = field(default_factory=dict)
    done: int = 0

    def run(self, candidates: list[Candidate], part: dict[str, Any]) -> PilotResult:
        options = self.options
        seeds = [self.config.seed + k for k in range(options.seeds)]
        start, *trials = [Trial(candidate) for candidate in candidates]
        self.progress("plan", 0, self._runs(trials), self.known)
        self._train("check", [start], seeds, self.plan.epochs)
        if start.status == "failed":
            raise InputError("a present setting that can be trained", str(start.reason), "mend it")
        start.status = "complete"
        finished = self._rungs(trials, seeds)
        compare_with_start(start, finished, options)
        verdict, reasons, chosen = decide(start, finished, options)
        recommendation = None
        if chosen is not None:
            verdict, recommendation = self._confirm(start, chosen, seeds, reasons)
        result = PilotResult(
            verdict,
            reasons,
            options.layer,
            self.goal.to_dict(),
            start.to_dict(),
            [trial.to_dict() for trial in trials],
            recommendation,
            {"method": METHOD, "family_size": len(finished), "level": options.confidence},
            self._conditions(part, seeds),
        )
        self.folder.finish(result)
        return result

    def _runs(self, trials: list[Trial]) -> int:
        tried = sum(not trial.candidate.collapsed for trial in trials)
        kept = survivors(tried)
        return self.options.seeds * (3 + survivors(kept)) + tried + kept

    def _rungs(self, trials: list[Trial], seeds: list[int]) -> list[Trial]:
        """Short runs of all, a whole run of the best, all seeds of the best of these.

        Returns:
            Those that ended well, with every seed.
        """
        for trial in trials:
            if trial.candidate.collapsed:
                trial.status, trial.reason = "predicted-collapse", "predicted to collapse"
        tried = [trial for trial in trials if trial.status == "waiting"]
        rungs = Rungs([trial.candidate.name for trial in tried])
        kept = self._rung("short runs", tried, seeds[:1], self.plan.short, rungs)
        kept = self._rung("whole runs", kept, seeds[:1], self.plan.epochs, rungs)
        self._train("further seeds", kept, seeds, self.plan.epochs)
        for trial in kept:
            failed = trial.status == "failed"
            values = [] if failed else trial.values(self.options.layer, "objective")
            rungs.finish(trial.candidate.name, None if failed else sum(values) / len(values))
            trial.status = trial.status if failed else "complete"
        return [trial for trial in kept if trial.status == "complete"]

    def _rung(
        self, stage: str, trials: list[Trial], seeds: list[int], until: int, rungs: Rungs
    ) -> list[Trial]:
        """Train up to an epoch; the trials that go on, the others with the reason why not."""
        self._train(stage, trials, seeds, until)
        measured = {t.candidate.name: t.runs[0]["measured"] for t in trials if t.runs}
        names = rungs.after(until, measured, self.options.layer)
        kept = [trial for trial in trials if trial.candidate.name in names]
        for trial in trials:
            if trial not in kept and trial.status == "waiting":
                of = measured[trial.candidate.name][self.options.layer]
                trial.status, trial.reason = "pruned", why_pruned(until, of["verdict"])
        return kept

    def _confirm(
        self, start: Trial, chosen: Trial, seeds: list[int], reasons: list[dict[str, str]]
    ) -> tuple[str, dict[str, Any] | None]:
        """The chosen setting and the start once on the test split, with fresh seeds."""
        fresh = [seed + FRESH for seed in seeds]
        again = [Trial(start.candidate), Trial(chosen.candidate)]
        self._train("confirmation", again, fresh, self.plan.epochs, "test")
        if failed := next((t for t in again if t.status == "failed"), None):
            reasons.append(not_confirmed(str(failed.reason)))
            return "cannot-tell", None
        layer, confidence = self.options.layer, self.options.confidence
        before, after = (trial.values(layer, "objective") for trial in again)
        gain = paired(before, after, confidence)
        task = paired(again[0].values(layer, "task"), again[1].values(layer, "task"), confidence)
        reasons.append(confirmed(gain, task, self.options.margin))
        if gain.low <= 0:
            name = chosen.candidate.name
            reasons.append(more_runs(name, gain.to_dict(), before, after, confidence))
        if reasons[-1]["code"] != "UC801":
            return "cannot-tell", None
        block = changed_block(self.folder.block, chosen.candidate.changes, self.base)
        return "change", {
            "trial": chosen.candidate.name,
            "change": [change.to_dict() for change in chosen.candidate.changes],
            "gain": chosen.gain,
            "task_change": chosen.task_change,
            "margin": self.options.margin,
            "confirmed": {
                "gain": gain.to_dict(),
                "task_change": task.to_dict(),
                "split": "test",
                "seeds": fresh,
                "start": again[0].to_dict()["mean"],
                "recommended": again[1].to_dict()["mean"],
                "runs": {trial.candidate.name: trial.runs for trial in again},
            },
            "seconds_per_run": {
                trial.candidate.name: sum(run["seconds"] for run in trial.runs) / len(trial.runs)
                for trial in again
            },
            "config": self.folder.recommend(block, reasons[-1]["text"]),
        }

    def _train(
        self,
        stage: str,
        trials: Sequence[Trial],
        seeds: list[int],
        until: int,
        part: str = "validation",
    ) -> None:
        """Run what is missing of the trials; their runs are then those up to this epoch."""
        whole = until == self.plan.epochs
        jobs = [
            self._job(trial, seed, until, part, keep=whole and seed == seeds[0])
            for trial in trials
            for seed in seeds
        ]

        def ended(job: Job) -> None:
            self.done += 1
            self.progress(stage, self.done, 0, {"job": job})

        outcomes = iter(self.runner(jobs, self.options.workers, ended)) if jobs else iter(())
        for trial in trials:
            trial.runs = []
            for seed in seeds:
                outcome = next(outcomes)
                if outcome.result is None:
                    trial.status, trial.reason = "failed", f"seed {seed}: {outcome.reason}"
                else:
                    trial.runs.append({"seed": seed, **outcome.result})

    def _job(self, trial: Trial, seed: int, until: int, part: str, *, keep: bool) -> Job:
        block = self.config.plain()
        for change in trial.candidate.changes:
            of, key = change.key.split(".")
            block[of] = block[of] | {key: change.after}
        block |= {"seed": seed, "epochs": self.plan.epochs}
        return Job(
            trial.candidate.name,
            seed,
            str(self.folder.path / "trials" / trial.candidate.name / f"seed-{seed}"),
            block,
            str(self.base),
            until,
            part,
            (self.goal.kind, self.goal.columns),
            self.config.plain()["views"],
            {n: (c.model_dump(mode="json"), str(b)) for n, (c, b) in self.downstream.items()},
            keep,
        )

    def _conditions(self, part: dict[str, Any], seeds: list[int]) -> dict[str, Any]:
        return {
            "setting": part.pop("setting"),
            "rows": part,
            "plan": self.plan.to_dict(),
            "seeds": seeds,
            "fresh_seeds": [seed + FRESH for seed in seeds],
            "options": {k: v for k, v in asdict(self.options).items() if k != "workers"},
            "config": self.config.plain(),
            "chosen_on": "validation",
            "confirmed_on": "test, once",
        }


def _setting(problem: Problem) -> dict[str, Any]:
    """The start's setting as run.json writes it."""
    setting = problem.setting()
    batch = setting["batch"]
    return setting | {"batch": {"kind": type(batch).__name__, **vars(batch)}}
