"""`pilot`: check, design, run, recommend, confirm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from uncollapse.data import DataConfig
from uncollapse.errors import InputError
from uncollapse.pilot._folder import finish, opened, same_objective
from uncollapse.pilot._plan import pilot_config, plan_epochs, plan_text, runs_of
from uncollapse.pilot._searching import SEARCHED
from uncollapse.pilot._stages import Runner, Stages
from uncollapse.pilot.design import design
from uncollapse.pilot.dials import space
from uncollapse.pilot.free import free_candidates
from uncollapse.pilot.goal import choose_goal
from uncollapse.pilot.jobs import Common
from uncollapse.pilot.keeping import unfit_reference
from uncollapse.pilot.pool import on_processes
from uncollapse.progress import OnStep, Step, no_steps
from uncollapse.records import (
    DIALS,
    Calibration,
    Message,
    PilotConditions,
    PilotOptions,
    PilotResult,
    circumstances_of,
)
from uncollapse.storage import write_json
from uncollapse.theory import forecast
from uncollapse.training import Problem, TrainConfig, build_problem

# Seeds of the confirmation are those of the trials plus this.
FRESH = 1000


def pilot(
    config: TrainConfig,
    output: Path,
    *,
    base: Path | None = None,
    options: PilotOptions | None = None,
    downstream: Mapping[str, tuple[DataConfig, Path]] | None = None,
    calibration: Calibration | None = None,
    runner: Runner = on_processes,
    progress: OnStep = no_steps,
) -> PilotResult:
    """Find the smallest change of a training setting that prevents collapse, or the best setting.

    Args:
        config: The present setting.
        output: Folder of the pilot; one that holds an unfinished pilot of the same configuration
            and options is gone on with.
        base: Folder that relative paths in the configuration refer to; None for the current one.
        options: Budget, seeds, objective, margins.
        downstream: `data:` blocks by name, with the folders that their paths refer to.
        calibration: Of networks like the present one (`uncollapse.calibrate`): candidates are then
            chosen by the variance that a network will have, and not the optimum of the loss.
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
        ['alpha-0.011', 'alpha-0.028', 'alpha-0.12', 'alpha-0.37', 'keep-0.3', 'keep-1', 'keep-3']
        >>> result = pilot(parse_config(block), Path("runs/pilot"))  # minutes # doctest: +SKIP
    """
    options = options or PilotOptions()
    base = (base or Path()).resolve()
    others = dict(downstream or {})
    if config.loss.learn_temperature is not None:
        raise InputError(
            "a temperature that a pilot may change and hold",
            f"loss.learn_temperature: {list(config.loss.learn_temperature)}",
            "leave it out here, and learn from what is recommended",
        )
    with opened(output, config, options, calibration) as file:
        problem = build_problem(config, base=base)
        goal = choose_goal(problem, options, list(others))
        same_objective(file, goal, output)
        part_config, rows = pilot_config(problem, goal, options)
        problem = build_problem(part_config, base=base)
        if not len(problem.data.rows("test")):
            raise InputError("test rows, to confirm by", "none", "set data.split.test")
        unfit = unfit_reference(problem)
        dials = options.dials or DIALS
        dials = tuple(dial for dial in dials if dial != "keep" or unfit is None)
        trials = design(problem, calibration, dials)
        tried = sum(trial.status == "waiting" for trial in trials[1:])
        best = options.goal == "best"
        plan = file.plan or plan_epochs(problem, rows.share, SEARCHED if best else tried, options)
        if file.plan is None:
            write_json(
                output / "plan.json", replace(file, plan=plan, objective=goal.name).to_dict()
            )
        choices = space(problem, plan, calibration, dials) if best else None
        total = sum(runs_of(plan.searched + plan.longer if best else tried, options))
        free = free_candidates(problem, options)
        text = plan_text(goal, rows, plan, trials, free, choices)
        progress(Step(0, total, "plan", text))
        whole = part_config.model_copy(update={"epochs": plan.epochs})
        common = Common(whole, base, goal, others)
        seeds = tuple(config.seed + number for number in range(options.seeds))
        fresh = tuple(seed + FRESH for seed in seeds)
        stages = Stages(
            common, options, plan, output, runner, progress, total, seeds, fresh, free, choices
        )
        conditions = PilotConditions(
            setting=problem.setting(),
            rows=rows,
            plan=plan,
            seeds=seeds,
            fresh_seeds=fresh,
            options=_said(options),
            config=part_config.plain(),
            calibration=None if calibration is None else _conditions(problem, calibration),
        )
        candidates = () if best else trials[1:]
        result = replace(stages.run(trials[0], *candidates), conditions=conditions)
        if unfit is not None:
            result = replace(result, reasons=(*result.reasons, unfit))
        finish(output, result, config, base)
        return result


def _conditions(problem: Problem, calibration: Calibration) -> tuple[Message, ...]:
    """In what the calibration's runs differ from the start; its data are a part of theirs."""
    own = circumstances_of(problem.config.plain(), "")
    del own["data"]
    setting = problem.setting()
    return forecast(calibration, setting, thresholds=False, circumstances=own).differs


def _said(options: PilotOptions) -> dict[str, str | int | float]:
    """The options in a record; processes change no result."""
    said = asdict(options) | {"deploy": options.deployed}
    said["dials"] = ", ".join(options.dials) or "all"
    del said["workers"]
    return said
