"""How large a pilot is: rows by the interval that is needed, epochs by the budget.

A part of the data is trained for as many optimiser steps as the whole, where the budget allows:
fewer steps would leave every setting far from its optimum, and the settings alike.
The plan is made once and kept in the pilot's folder; going on with a pilot never changes it. The
number of workers enters it through the budget alone: what does not fit with one may fit with two.
"""

from __future__ import annotations

import copy
import math
import re
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from statistics import median_high

import torch

from uncollapse.errors import InputError
from uncollapse.pilot._halving import survivors
from uncollapse.pilot.design import augmentation_changes
from uncollapse.pilot.dials import KEEPS, Space
from uncollapse.pilot.free import FreeCandidate
from uncollapse.pilot.goal import expected_half_width
from uncollapse.pilot.keeping import keep_changes
from uncollapse.progress import Step
from uncollapse.records import (
    DIALS,
    Objective,
    PilotOptions,
    PilotPlan,
    PilotRows,
    SettingChange,
    Trial,
    changed_config,
)
from uncollapse.training import Problem, TrainConfig, build_problem, parse_config, train

_UNITS = {"s": 1, "m": 60, "h": 3600}
# Batches that the training rows fill at least, where there are so many.
_LEAST_BATCHES = 8
_LEAST_EPOCHS = 2
# How many of the best settings of a search may be run again with twice the epochs.
_LONGER = 2
_TIMED_STEPS = 6
# Share of the budget that a plan may take: a short timing knows little of a busy machine.
_USABLE = 0.75
# Seconds of measuring a run beside its training, as a share of an epoch and a constant.
_MEASURE_EPOCHS, _MEASURE_SECONDS = 1.0, 3.0


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


def runs_of(candidates: int, options: PilotOptions) -> tuple[int, int]:
    """Runs to the end and short ones of a pilot with so many candidates, or runs that search.

    Start and confirmation of one and the start, whole runs, further seeds; short runs of the rest.
    """
    tried = candidates if options.goal == "best" else survivors(candidates)
    whole = 3 * options.seeds + tried + survivors(tried) * (options.seeds - 1)
    return whole, 0 if options.goal == "best" else candidates


def plan_epochs(
    problem: Problem, share: float, candidates: int, options: PilotOptions
) -> PilotPlan:
    """Epochs that fit into the budget: as many steps as the full run has, or a half, ... an eighth.

    The problem is that of the pilot's rows, a `share` of the training rows. Where the goal is the
    best setting, all runs but the start's may be as dear as `dearest` (`seconds` counts them so),
    half the epochs are tried too, and twice as many where that fits if all had them. What is left
    goes to the best settings that were found, once more with twice the epochs.
    """
    search = options.goal == "best"
    whole = math.ceil(problem.config.epochs / share)
    per_epoch = dear = seconds_per_epoch(problem)
    if search and (costly := dearest(problem, options.dials)) is not None:
        dear = max(per_epoch, seconds_per_epoch(costly))
    price = Price(per_epoch, dear, candidates, options)
    ladder = dict.fromkeys(
        max(min(whole, _LEAST_EPOCHS), math.ceil(whole / part)) for part in (1, 2, 4, 8)
    )
    for epochs in ladder:
        for twice, longer in product((True, False), range(_LONGER, -1, -1)):
            if (twice or longer) and not (search and "epochs" in (options.dials or DIALS)):
                continue
            seconds = price.seconds(epochs, twice=twice, longer=longer)
            if seconds <= _USABLE * options.budget:
                return price.plan(epochs, twice=twice, longer=longer)
    raise InputError(
        f"a budget of {math.ceil(seconds / _USABLE / 60)}m or more for {price.runs(epochs):g} "
        f"runs of {epochs} epochs with {options.workers} worker(s)",
        f"{options.budget / 60:g}m",
        "raise --budget or --workers, lower --seeds, or limit the data by data.limit",
    )


@dataclass(frozen=True)
class Price:
    """What a pilot costs by the seconds of an epoch, of the start and of its dearest change."""

    per_epoch: float
    dear: float
    candidates: int  # or runs that search
    options: PilotOptions

    @property
    def search(self) -> bool:
        """Whether the best setting is looked for."""
        return self.options.goal == "best"

    def short(self, epochs: int) -> int:
        """Epochs of the first rung."""
        return epochs if self.search else max(1, epochs // 3)

    def runs(self, epochs: int, longer: int = 0) -> float:
        """In units of a whole run of the dearest change."""
        whole, short = runs_of(self.candidates + longer, self.options)
        part = _seconds_of_run(self.short(epochs), self.dear) / _seconds_of_run(epochs, self.dear)
        return round(whole + short * part, 1)

    def seconds(self, epochs: int, *, twice: bool, longer: int) -> float:
        """Wall-clock time at most; twice: all but the start's runs may have twice the epochs.

        Longer: that many of the best have them, those of all seeds and what is confirmed included.
        """
        options, dear = self.options, self.dear
        whole, short = runs_of(self.candidates + longer, options)
        others = whole - 2 * options.seeds
        doubled = others if twice else longer * options.seeds + (options.seeds if longer else 0)
        work = 2 * options.seeds * _seconds_of_run(epochs, self.per_epoch)
        work += others * _seconds_of_run(epochs, dear) + doubled * epochs * dear
        return (work + short * _seconds_of_run(self.short(epochs), dear)) / options.workers

    def plan(self, epochs: int, *, twice: bool, longer: int) -> PilotPlan:
        """The plan of this size."""
        return PilotPlan(
            epochs=epochs,
            short=self.short(epochs),
            seconds_per_epoch=round(self.per_epoch, 3),
            runs=self.runs(epochs, longer),
            seconds=round(self.seconds(epochs, twice=twice, longer=longer), 1),
            searched=self.candidates if self.search else 0,
            lengths=_lengths(epochs, longer=twice) if self.search else (),
            longer=longer,
        )


def dearest(problem: Problem, dials: Sequence[str]) -> Problem | None:
    """A problem of what a search may take that lasts longest; None where nothing is longer.

    The strongest augmentation and a kept reference: an epoch of either can take twice as long.
    """
    changes = list[SettingChange]()
    if not dials or "augmentation" in dials:
        changes += [change for change, _ in augmentation_changes(problem)][-1:]
    if not dials or "keep" in dials:
        kept = [c for c, _ in keep_changes(problem) if c[0].after == max(KEEPS)]
        changes += [one for change in kept[:1] for one in change]
    if not changes or any(one.after == "self-supervised" for one in changes):
        return None
    config = parse_config(changed_config(problem.config.plain(), tuple(changes)))
    return build_problem(config, base=problem.base, data=problem.data)


def _seconds_of_run(epochs: int, per_epoch: float) -> float:
    return (epochs + _MEASURE_EPOCHS) * per_epoch + _MEASURE_SECONDS


def _lengths(epochs: int, *, longer: bool) -> tuple[int, ...]:
    """Epochs that a search may take: half of them, all, and twice as many."""
    half = (epochs // 2,) if epochs >= 2 * _LEAST_EPOCHS else ()
    return (*half, epochs, *((2 * epochs,) if longer else ()))


def plan_text(
    goal: Objective,
    rows: PilotRows,
    plan: PilotPlan,
    trials: Sequence[Trial],
    free: Sequence[FreeCandidate],
    choices: Space | None = None,
) -> str:
    """What is going to be tried, in lines."""
    epochs = (
        f"{plan.short} epochs, then {plan.epochs}" if choices is None else f"{plan.epochs} epochs"
    )
    lines = [
        f"objective    {goal.text}",
        f"data         {rows.train_rows} training and {rows.validation_rows} validation rows "
        f"({100 * rows.share:.3g} %): one seed's objective to "
        f"+-{100 * rows.expected_half_width:.2g} points",
        f"plan         {epochs}; {plan.runs:g} runs at most, about {plan.seconds / 60:.1f} min",
    ]
    if choices is not None:
        settings = len(choices.trials) - 1
        lines.append(f"search       {plan.searched} runs among {settings} settings:")
        for key, after in choices.dials.items():
            lines.append(f"  {key:24s} {', '.join(map(str, after))}")
        if plan.longer:
            best = "the best" if plan.longer == 1 else f"the best {plan.longer}"
            lines.append(f"then         {best} once more with {2 * plan.epochs} epochs")
    else:
        known = any(trial.prediction and trial.prediction.network for trial in trials)
        yours = ", and within classes of a network like yours" if known else ""
        lines.append(f"candidates   predicted variance between instances{yours}")
    for trial in trials if choices is None else ():
        predicted, prediction = "not predicted", trial.prediction
        if prediction is not None:
            predicted = f"{prediction.instance_variance:.4f} {prediction.phase}"
            predicted += f"   {prediction.network}" if prediction.network else ""
        dropped = "   not trained" if trial.status == "predicted-collapse" else ""
        if any(one.key == "loss.reference" for one in trial.change):
            dropped = f"   without what is kept: {trial.change[-1].after}"
        lines.append(f"  {trial.name:24s} {predicted}{dropped}")
    lines.append(f"free         {', '.join(candidate.name for candidate in free)}")
    return "\n".join(lines)


class _EnoughError(Exception):
    """The timed steps are done."""


def seconds_per_epoch(problem: Problem) -> float:
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
