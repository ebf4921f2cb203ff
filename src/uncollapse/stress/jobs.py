"""One run of a stress test: damage the data, train, measure on clean and corrupted test rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from uncollapse.pilot import Free, StoppedError, Work, read_once
from uncollapse.records import (
    Damage,
    Objective,
    SettingChange,
    StressFile,
    StressOptions,
    changed_config,
)
from uncollapse.stress.corruptions import STRENGTHS
from uncollapse.stress.data import damaged
from uncollapse.stress.scores import Examined, Reader
from uncollapse.training import Problem, TrainConfig, build_problem, parse_config, train


@dataclass(frozen=True)
class Shared:
    """What all runs of a setting share."""

    config: TrainConfig  # for its number of epochs
    base: Path  # Folder that relative paths in it refer to.
    goal: Objective
    options: StressOptions
    beside: tuple[Damage, ...] = ()  # Shifts and fewer classes: tests of the clean run beside them.


@dataclass(frozen=True)
class StressJob(Work[StressFile]):
    """A run of a setting under a damage."""

    setting: str  # "start" or "against"
    damage: Damage
    changes: tuple[SettingChange, ...]
    seed: int  # of weights, batches, views and of the damage
    folder: Path
    shared: Shared

    @property
    def result(self) -> Path:
        """Where the result is written."""
        return self.folder / "measured.json"

    def read(self) -> StressFile | None:
        """The result; None too for one that lacks a test that is now asked for."""
        if not self.result.exists():
            return None
        result = StressFile.read(self.result, "take it out, and its run is done again")
        return result if {*self._tests()} <= result.measured.keys() else None

    def _tests(self) -> list[str]:
        """Names of what it is tested on."""
        tests = ["clean" if self.damage.kind not in ("shift", "classes") else self.damage.name]
        if self.damage.kind == "none":
            corrupted = self.shared.options.corrupt
            tests += [Damage("corrupt", str(s), name).name for name in corrupted for s in STRENGTHS]
            tests += [damage.name for damage in self.shared.beside]
        return tests

    def attempt(self) -> StressFile:
        """Train under the damage, and measure."""
        shared, options = self.shared, self.shared.options
        block = changed_config(shared.config.plain(), self.changes) | {"seed": self.seed}
        config = parse_config(block)
        clean = read_once(config.data.model_dump_json(), shared.base)
        found = damaged(clean, self.damage, options, self.seed)
        problem = build_problem(config, base=shared.base, data=found.data)
        if self.damage.kind == "initialisation":
            scale_weights(problem, float(self.damage.dose))
        free = Free.of(problem, (), shared.goal.columns)
        resume = (self.folder / "run.json").exists()
        trained = train(problem, self.folder, resume=resume)
        if trained.interrupted:
            raise StoppedError(self.damage.name)
        read = Reader(problem, free, shared.goal, found, clean)
        tests = self._tests()
        measured = {tests[0]: read.scores(Examined(found.test))}
        if self.damage.kind == "none":
            for name in options.corrupt:
                for s in STRENGTHS:
                    test = Examined(found.test, name, s)
                    measured[Damage("corrupt", str(s), name).name] = read.scores(test)
            for other in shared.beside:
                # The clean run on the same test rows, with the same examples.
                beside = damaged(clean, other, options, self.seed)
                measured[other.name] = Reader(problem, free, shared.goal, beside, clean).scores(
                    Examined(beside.test)
                )
        labels = found.data.labels[found.data.rows("train")]
        return StressFile(
            seed=self.seed,
            measured=measured,
            class_counts=tuple(np.bincount(labels[labels >= 0]).tolist()),
            wrong_labels=found.wrong,
            epochs=config.epochs,
            loss=trained.history[-1]["loss"] if trained.history else None,
        )


def scale_weights(problem: Problem, factor: float) -> None:
    """Multiply the initial weights of what is trained, biases and norms left out."""
    with torch.no_grad():
        for parameter in problem.model.parameters():
            if parameter.requires_grad and parameter.ndim > 1:
                parameter.mul_(factor)


def folder_of(output: Path, setting: str, damage: Damage, seed: int) -> Path:
    """Of a run; what no folder can be called is replaced, and told from others by a hash."""
    name = re.sub(r"[^\w.-]+", "_", damage.name)[:80]
    if name != damage.name:
        name += "-" + sha256(damage.name.encode()).hexdigest()[:8]
    return output / "trials" / setting / name / f"seed-{seed}"
