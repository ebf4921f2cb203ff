"""How large a pilot is: rows by the interval that is needed, epochs by the budget; and its folder.

A part of the data is trained for as many optimiser steps as the whole, where the budget allows:
fewer steps would leave every setting far from its optimum, and the settings alike.
The plan is made once and kept in the pilot's folder; going on with a pilot never changes it, and
neither does the number of workers unless the budget forces fewer epochs.
"""

from __future__ import annotations

import copy
import math
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median_high
from typing import Any, ClassVar

import torch
import yaml
from filelock import FileLock, Timeout

from uncollapse.errors import InputError
from uncollapse.pilot._halving import survivors
from uncollapse.pilot.free import FreeCandidate, copy_map
from uncollapse.pilot.goal import expected_half_width
from uncollapse.progress import Step
from uncollapse.records import (
    Document,
    Message,
    Objective,
    PilotOptions,
    PilotPlan,
    PilotResult,
    PilotRows,
    Recommendation,
    Trial,
    TrialFile,
    changed_config,
    to_json_types,
)
from uncollapse.storage import write_json, write_text
from uncollapse.training import Problem, TrainConfig, parse_config, train

_UNITS = {"s": 1, "m": 60, "h": 3600}
# What may differ when a pilot is resumed, and what earlier versions did not ask for, by default.
_FREE = ("workers", "budget")
_NEW: dict[str, Any] = {"deploy": None}
# Where a configuration names files.
_PATHS = [*(("data", key) for key in ("path", "table", "root", "folder")), ("encoder", "weights")]
# Batches that the training rows fill at least, where there are so many.
_LEAST_BATCHES = 8
_LEAST_EPOCHS = 2
_TIMED_STEPS = 6
# Share of the budget that a plan may take: a short timing knows little of a busy machine.
_USABLE = 0.75
# Seconds of measuring a run beside its training, as a share of an epoch and a constant.
_MEASURE_EPOCHS, _MEASURE_SECONDS = 1.0, 3.0


@dataclass(frozen=True)
class PlanFile(Document):
    """A pilot's plan.json: what was asked for, which stays, and the plan made of it."""

    kind: ClassVar[str] = "plan"
    asked: dict[str, Any]
    plan: PilotPlan | None  # None until it is made.
    objective: str = ""  # "" in files of earlier versions, and until the plan is made


@contextmanager
def opened(path: Path, config: TrainConfig, options: PilotOptions) -> Iterator[PlanFile]:
    """Lock a pilot's folder; its plan.

    Refused where it holds something else or another pilot, one at work, or a damaged trial.
    """
    there = {file.name for file in path.iterdir()} if path.is_dir() else set()
    if "plan.json" not in there and not there <= {"lock"}:
        raise InputError(
            f"a new folder or one with a pilot, not {path}",
            "one that holds other files",
            "choose another folder with -o",
        )
    lock = FileLock(path / "lock", timeout=0)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise InputError(
            f"no other pilot at work in {path}", "one", "wait for it or stop it"
        ) from error
    except OSError as error:
        remedy = "choose another"
        raise InputError(f"a folder {path} to write to", str(error), remedy) from error
    try:
        yield _plan(path, config, options)
    finally:
        lock.release()


def _plan(path: Path, config: TrainConfig, options: PilotOptions) -> PlanFile:
    asked = {key: value for key, value in asdict(options).items() if key not in _FREE}
    new = PlanFile(to_json_types({"config": config.plain(), "options": asked}), None)
    file = path / "plan.json"
    if not file.exists():
        return new
    former = PlanFile.read(file, "restore the file, or choose another folder with -o")
    # What an earlier version did not ask was as it is by default.
    options_then = _NEW | former.asked.get("options", {})
    former = replace(former, asked=former.asked | {"options": options_then})
    if former.asked != new.asked:
        raise InputError(
            f"the configuration and options of the pilot in {path}",
            "others",
            "go on with the same ones, or choose another folder with -o",
        )
    TrialFile.read_all(path)
    return former


def same_objective(former: PlanFile, goal: Objective, path: Path) -> None:
    """Refuse to go on with another objective than the runs of a folder were measured by."""
    if former.plan is None or former.objective == goal.name:
        return
    if former.objective or goal.by_retention:
        raise InputError(
            f"a pilot that was begun with the objective {goal.name}, in {path}",
            former.objective or "one of an earlier version, by other-view",
            "choose another folder with -o",
        )


def finish(path: Path, result: PilotResult, config: TrainConfig, base: Path) -> None:
    """Write pilot.json and recommended.yaml; the latter of an earlier try does not stay."""
    file, chosen = path / "recommended.yaml", result.recommendation
    linear = path / "map.safetensors"
    for former in (file, linear):
        former.unlink(missing_ok=True)
    if chosen is not None:
        if chosen.map:
            first = result.start.runs[0].seed
            copy_map(path / "trials" / "start" / f"seed-{first}", chosen.trial, linear)
        block = changed_config(config.plain(), chosen.change)
        for part, key in _PATHS:
            # Relative paths are not to depend on where the file lies.
            value = block[part].get(key)
            if isinstance(value, str) and not value.startswith("package:"):
                block[part][key] = str((base / value).resolve())
        write_text(
            file,
            _comment(file, result, chosen)
            + yaml.safe_dump(block, sort_keys=False, allow_unicode=True),
        )
    write_json(path / "pilot.json", result.to_dict())


def _comment(file: Path, result: PilotResult, chosen: Recommendation) -> str:
    """What `recommended.yaml` says at its head."""
    gain = next(reason.text for reason in reversed(result.reasons) if reason.code == "UC801")
    lines = [f"# What `uncollapse pilot` recommends: {gain}."]
    if chosen.change:
        lines.append(f"#   uncollapse train {file}")
        if chosen.layer != result.layer:
            lines.append(f"# Take the embedding from the layer {chosen.layer}.")
    else:
        apply = Message(f"free.{chosen.trial}", {})
        lines += [f"# No training: {apply}.", "# The setting below is the present one, as it was."]
    return "\n".join(lines) + "\n"


def pilot_config(
    problem: Problem, goal: Objective, options: PilotOptions
) -> tuple[TrainConfig, PilotRows]:
    """The start's configuration on the part of the data that the pilot uses, and that part.

    The part's validation rows give one seed's objective the asked half-width; the training rows are
    cut in the same proportion, but fill some batches. Test rows are used once, and all of them.
    """
    config, data = problem.config, problem.data
    train_rows, validation = len(problem.rows), len(data.rows("validation"))
    if not validation:
        raise InputError(
            "validation rows, by which a pilot chooses", "none", "set data.split.validation"
        )
    whole = expected_half_width(data, goal, 1.0)
    share = min(1.0, (whole / options.half_width) ** 2)
    least = min(train_rows, _LEAST_BATCHES * problem.sampler.size)
    share = max(share, least / train_rows)
    part = PilotRows(
        share=round(share, 4),
        train_rows=math.ceil(share * train_rows),
        validation_rows=math.ceil(share * validation),
        test_rows=len(data.rows("test")),
        expected_half_width=round(expected_half_width(data, goal, share), 4),
        wanted_half_width=options.half_width,
    )
    block = config.plain() | {"workers": 0}
    if share < 1:
        limit = {
            "train": part.train_rows,
            "validation": part.validation_rows,
            "test": part.test_rows or None,
        }
        block["data"] = block["data"] | {"limit": limit}
    return parse_config(block, source="the pilot's configuration"), part


def plan_epochs(
    problem: Problem, share: float, candidates: int, options: PilotOptions
) -> PilotPlan:
    """Epochs that fit into the budget: as many steps as the full run has, or a half, ... an eighth.

    The problem is that of the pilot's rows, a `share` of the training rows.
    """
    whole = math.ceil(problem.config.epochs / share)
    per_epoch = _seconds_per_epoch(problem)
    ladder = dict.fromkeys(
        max(min(whole, _LEAST_EPOCHS), math.ceil(whole / part)) for part in (1, 2, 4, 8)
    )
    for epochs in ladder:
        short = max(1, epochs // 3)
        run = (epochs + _MEASURE_EPOCHS) * per_epoch + _MEASURE_SECONDS
        first = (short + _MEASURE_EPOCHS) * per_epoch + _MEASURE_SECONDS
        kept = survivors(candidates)
        # Start and confirmation of one and the start, short runs, whole ones, further seeds.
        whole_runs = 3 * options.seeds + kept + survivors(kept) * (options.seeds - 1)
        work = whole_runs * run + candidates * first
        seconds = work / options.workers
        plan = PilotPlan(
            epochs=epochs,
            short=short,
            seconds_per_epoch=round(per_epoch, 3),
            runs=round(work / run, 1),
            seconds=round(seconds, 1),
        )
        if seconds <= _USABLE * options.budget:
            return plan
    raise InputError(
        f"a budget of {math.ceil(seconds / _USABLE / 60)}m or more for {plan.runs:g} runs of "
        f"{plan.epochs} epochs with {options.workers} worker(s)",
        f"{options.budget / 60:g}m",
        "raise --budget or --workers, lower --seeds, or limit the data by data.limit",
    )


def plan_text(
    goal: Objective,
    rows: PilotRows,
    plan: PilotPlan,
    trials: Sequence[Trial],
    free: Sequence[FreeCandidate],
) -> str:
    """What is going to be tried, in lines."""
    lines = [
        f"objective    {goal.text}",
        f"data         {rows.train_rows} training and {rows.validation_rows} validation rows "
        f"({100 * rows.share:.3g} %): one seed's objective to "
        f"+-{100 * rows.expected_half_width:.2g} points",
        f"plan         {plan.short} epochs, then {plan.epochs}; {plan.runs:g} runs at most, about "
        f"{plan.seconds / 60:.1f} min",
        "candidates   predicted variance between instances",
    ]
    for trial in trials:
        predicted, prediction = "not predicted", trial.prediction
        if prediction is not None:
            predicted = f"{prediction.instance_variance:.4f} {prediction.phase}"
        dropped = "   not trained" if trial.status == "predicted-collapse" else ""
        lines.append(f"  {trial.name:24s} {predicted}{dropped}")
    lines.append(f"free         {', '.join(candidate.name for candidate in free)}")
    return "\n".join(lines)


class _EnoughError(Exception):
    """The timed steps are done."""


def _seconds_per_epoch(problem: Problem) -> float:
    """Of training, by a few steps of a copy of the model on one thread."""
    times: list[float] = []

    def note(step: Step) -> None:
        times.append(time.perf_counter())
        if step.done >= _TIMED_STEPS:
            raise _EnoughError

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with suppress(_EnoughError), tempfile.TemporaryDirectory() as folder:
            train(copy.deepcopy(problem), Path(folder) / "timed", progress=note)
    finally:
        torch.set_num_threads(threads)
    steps = [b - a for a, b in pairwise(times)]
    return (median_high(steps) if steps else 0.1) * problem.sampler.steps


def seconds_of(text: str) -> float:
    """Seconds from text such as "90s", "20m" or "1.5h".

    Examples:
        >>> seconds_of("20m")
        1200.0
    """
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if parts is None or float(parts[1]) == 0:
        raise InputError("a budget such as 90s, 20m or 2h", repr(text), "give number and unit")
    return float(parts[1]) * _UNITS[parts[2]]
