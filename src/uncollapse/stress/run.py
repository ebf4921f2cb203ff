"""`stress`: check, predict, train under every damage, and say what breaks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from uncollapse.errors import InputError
from uncollapse.pilot import Outcome, choose_goal, on_processes, seconds_per_epoch
from uncollapse.progress import OnStep, Step, no_steps
from uncollapse.records import (
    Calibration,
    Damage,
    Objective,
    PilotOptions,
    SettingChange,
    StressOptions,
    StressResult,
)
from uncollapse.storage import write_json
from uncollapse.stress import doses as asked_doses
from uncollapse.stress._folder import StressPlan, keep, opened
from uncollapse.stress.gathered import doses_of
from uncollapse.stress.jobs import Shared, StressJob, folder_of
from uncollapse.stress.planned import CLEAN, Entry, Planned, plans_of
from uncollapse.stress.said import said_of
from uncollapse.training import Problem, TrainConfig, build_problem

Runner = Callable[[Sequence[Any], int, Callable[[Any], None]], list[Outcome[Any]]]
# Share of a budget that a plan may take, and seconds and epochs of a run beside its training.
_USABLE, _SECONDS, _EPOCHS = 0.75, 4.0, 1.0
_LEAST_EPOCHS = 2


def stress(
    config: TrainConfig,
    output: Path,
    *,
    base: Path | None = None,
    options: StressOptions,
    against: tuple[TrainConfig, Path] | None = None,
    calibration: Calibration | None = None,
    runner: Runner = on_processes,
    progress: OnStep = no_steps,
) -> StressResult:
    """Train a setting as it is and under every damage, and say what breaks first, at which dose.

    Damages are done to training rows alone, by the run's seed; test rows stay as they are unless
    the damage is a shift or a corruption. Runs have as many optimiser steps under every damage.

    Args:
        config: The setting.
        output: Folder of the test; one that holds an unfinished one of the same setting is gone on
            with, and runs that are there already are not done again.
        base: Folder that relative paths in the configuration refer to; None for the current one.
        options: Damages, seeds, margin.
        against: Another setting on the same data, with the folder of its paths.
        calibration: Of networks like the present one (`uncollapse.calibrate`), to predict by where
            labels are right.
        runner: What runs jobs: `on_processes`, or `uncollapse.pilot.on_ray`.
        progress: Called with the plan, in words, and whenever a run ends.

    Returns:
        The result; stress.json and the runs are in `output`.

    Raises:
        InputError: Before anything runs: a configuration, data, dose or budget that cannot do;
            later: the setting cannot be trained on clean data.

    Examples:
        >>> from uncollapse import StressOptions
        >>> from uncollapse.training import parse_config
        >>> block = {"data": {"source": "digits", "map": "parity"}, "encoder": {"kind": "convnet"}}
        >>> block |= {"loss": {"alpha": 0.2, "temperature": 0.1}, "epochs": 2}
        >>> config, noise = parse_config(block), StressOptions(label_noise=(0.2,))
        >>> stress(config, Path("runs/stress"), options=noise).verdict  # minutes # doctest: +SKIP
        'holds'
    """
    base = (base or Path()).resolve()
    places = {"start": (config, base)}
    if against is not None:
        places["against"] = against[0], against[1].resolve()
    entries = [
        Entry(name, build_problem(one.model_copy(update={"workers": 0}), base=place))
        for name, (one, place) in places.items()
    ]
    first = entries[0].problem
    _same_data(entries)
    goal = choose_goal(first, PilotOptions(objective=options.objective, layer=options.layer), [])
    damages = asked_doses.asked(options, first.data)
    planned = [
        plan
        for entry in entries
        for damage in (CLEAN, *damages)
        for plan in plans_of(entry, damage, options, calibration)
    ]
    with opened(output, {name: one for name, (one, _) in places.items()}, options) as plan:
        if not plan.epochs:
            plan = replace(plan, epochs=_epochs(first, planned, options))
            keep(output, plan)
        jobs = list(_jobs(entries, planned, plan, goal, options, output, damages))
        progress(Step(0, len(jobs), "plan", _text(goal, jobs, plan, options)))
        done = 0

        def ended(job: StressJob) -> None:
            nonlocal done
            done += 1
            name = f"{job.damage.name}, seed {job.seed}"
            progress(Step(done, len(jobs), "runs", name=name))

        outcomes = list(runner(jobs, options.workers, ended))
        found = doses_of(planned, damages, jobs, outcomes, options)
        result = said_of(found, planned, first, goal, options, plan.epochs)
        write_json(output / "stress.json", result.to_dict())
    return result


def _same_data(entries: Sequence[Entry]) -> None:
    prints = {entry.problem.data.description.fingerprint for entry in entries}
    if len(prints) > 1:
        raise InputError(
            "both settings on the same rows, labels and split",
            "others in --against",
            "give it the same data block",
        )


def _epochs(problem: Problem, planned: Sequence[Planned], options: StressOptions) -> int:
    """Epochs of a run: the setting's, or a half, a quarter, an eighth where a budget needs it."""
    whole = problem.config.epochs
    if options.budget is None:
        return whole
    per_epoch = seconds_per_epoch(problem)
    for part in (1, 2, 4, 8):
        epochs = max(min(whole, _LEAST_EPOCHS), math.ceil(whole / part))
        run = (epochs + _EPOCHS) * per_epoch + _SECONDS
        seconds = len(planned) * options.seeds * run / options.workers
        if seconds <= _USABLE * options.budget:
            return epochs
    raise InputError(
        f"a budget of {math.ceil(seconds / _USABLE / 60)}m or more for "
        f"{len(planned) * options.seeds} runs of {epochs} epochs with {options.workers} worker(s)",
        f"{options.budget / 60:g}m",
        "raise --budget or --workers, or ask for fewer doses or --seeds",
    )


def _jobs(
    entries: Sequence[Entry],
    planned: Sequence[Planned],
    plan: StressPlan,
    goal: Objective,
    options: StressOptions,
    output: Path,
    damages: Sequence[Damage],
) -> Iterator[StressJob]:
    """A job for each seed of each dose, with as many steps as the undamaged setting has."""
    beside = tuple(one for one in damages if one.kind in ("shift", "classes"))
    shared = {
        entry.name: Shared(
            entry.problem.config.model_copy(update={"epochs": plan.epochs}),
            entry.problem.base,
            goal,
            options,
            beside,
        )
        for entry in entries
    }
    clean = {one.setting: one.steps for one in planned if one.damage == CLEAN}
    for one in planned:
        config = shared[one.setting].config
        epochs = max(1, round(plan.epochs * clean[one.setting] / one.steps))
        longer = (SettingChange("epochs", plan.epochs, epochs),) if epochs != plan.epochs else ()
        for number in range(options.seeds):
            seed = config.seed + number
            folder = folder_of(output, one.setting, one.damage, seed)
            changes = (*one.changes, *longer)
            yield StressJob(one.setting, one.damage, changes, seed, folder, shared[one.setting])


def _text(
    goal: Objective, jobs: Sequence[StressJob], plan: StressPlan, options: StressOptions
) -> str:
    names = dict.fromkeys(job.damage.name for job in jobs)
    corrupted = f"; test rows with {', '.join(options.corrupt)}" if options.corrupt else ""
    return (
        f"finer        {goal.text}\n"
        f"plan         {len(jobs)} runs of {plan.epochs} epochs: {', '.join(names)}{corrupted}"
    )
