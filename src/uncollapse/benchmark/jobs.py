"""One run of the benchmark: damage the data, train the method, score its embeddings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from uncollapse.benchmark.objectives import BASE, objective_of
from uncollapse.benchmark.scores import scored
from uncollapse.benchmark.specs import (
    Argument,
    DataSetSpec,
    DoubtSpec,
    MethodSpec,
    configuration,
    known_to_theory,
)
from uncollapse.data import LabelledData
from uncollapse.errors import InputError
from uncollapse.pilot import Free, Work, read_once
from uncollapse.records import (
    BenchmarkRun,
    Damage,
    Objective,
    PredictedVariance,
    SettingChange,
    StressOptions,
    changed_config,
)
from uncollapse.stress import (
    Damaged,
    Examined,
    Reader,
    changes_of,
    damaged,
    fitting,
    folder_of,
    foretell,
    scale_weights,
    subset,
    test_part,
)
from uncollapse.training import Problem, build_problem, fit, parse_config

CLEAN = Damage()
DOUBT = Damage("label-noise", "annotators", "doubt")


@dataclass(frozen=True)
class BenchmarkJob(Work[BenchmarkRun]):
    """A method on a data set under a damage, with a seed.

    Attributes:
        part: Split that is scored: "test", or "validation", which arguments are chosen by.
        base: Folder that the data's paths refer to.
        losses: Of one's own, by name: MODULE:FUNCTION.
    """

    data_set: str
    method: str
    spec: DataSetSpec
    of: MethodSpec
    arguments: tuple[tuple[str, Argument], ...]
    damage: Damage
    seed: int
    part: str
    base: Path
    folder: Path
    losses: tuple[tuple[str, str], ...] = ()

    @property
    def result(self) -> Path:
        """Where the result is written."""
        return self.folder / "measured.json"

    def read(self) -> BenchmarkRun | None:
        """The result, if it is there and of this very job."""
        if not self.result.exists():
            return None
        found = BenchmarkRun.read(self.result, "take it out, and its run is done again")
        return found if found.of == self._of() else None

    def _of(self) -> str:
        """What the result depends on, in short: another file of the same name is another run."""
        data: list[Any] = [self.spec.training]
        if self.damage == DOUBT and self.spec.doubt is not None:
            data.append(self.spec.doubt.model_dump(mode="json"))
        if self.damage == CLEAN:
            data.append([one.damage().name for one in self.spec.damages if one.kind == "corrupt"])
        method = self.of.model_dump(mode="json", include={"loss", "theory", "changes"})
        text = json.dumps([data, method, self.arguments], sort_keys=True)
        return sha256(text.encode()).hexdigest()[:16]

    def attempt(self) -> BenchmarkRun:
        """Train under the damage, and score."""
        arguments = dict(self.arguments)
        config = configuration(self.spec, self.of, arguments, self.seed)
        clean = read_once(config.data.model_dump_json(), self.base)
        problem = build_problem(config, base=self.base, data=clean)
        found = damaged_data(clean, self.damage, self.spec, self.seed)
        problem = under_damage(problem, found, self.damage)
        if self.damage.kind == "initialisation":
            scale_weights(problem, float(self.damage.dose))
        predicted = self._predicted(problem, found)
        if self.of.loss != BASE:
            fit(problem, objective_of(self.of, arguments, problem, dict(self.losses)))
        reader = Reader(problem, Free.of(problem), Objective("", ()), found, clean)
        rows = clean.rows(self.part) if self.part == "validation" else found.test
        base = self.of.loss == BASE
        measured = {"clean": scored(reader, Examined(rows), base=base)}
        if self.damage == CLEAN and self.part != "validation":
            for one in self.spec.damages:
                if one.kind == "corrupt":
                    examined = Examined(rows, one.form, int(one.dose))
                    measured[one.damage().name] = scored(reader, examined, base=base)
        return BenchmarkRun(
            data_set=self.data_set,
            method=self.method,
            damage=self.damage,
            seed=self.seed,
            measured=measured,
            predicted=predicted,
            arguments=arguments,
            of=self._of(),
            wrong_labels=found.wrong,
            steps=problem.sampler.steps * problem.config.epochs,
        )

    def _predicted(self, problem: Problem, found: Damaged) -> PredictedVariance | None:
        if not known_to_theory(self.spec, self.of):
            return None
        return foretell(problem, found, self.damage, None).record


def damaged_data(clean: LabelledData, damage: Damage, spec: DataSetSpec, seed: int) -> Damaged:
    """The data of a run under a damage, as `uncollapse stress` damages them."""
    if damage == DOUBT:
        assert spec.doubt is not None
        return doubted(clean, spec.doubt, seed)
    form = damage.form if damage.kind == "label-noise" and damage.form else "symmetric"
    column = damage.form if damage.kind == "shift" else None
    options = StressOptions(noise_form=form, shift=column)  # type: ignore[arg-type]  # checked by the options
    return damaged(clean, damage, options, seed)


def doubted(clean: LabelledData, doubt: DoubtSpec, seed: int) -> Damaged:
    """Labels of the doubted training rows, drawn by the share of annotators that gives them.

    Raises:
        InputError: A column or a class that the data do not have, or another number than a share.
    """
    names = clean.label_names
    for name in (doubt.label, doubt.otherwise):
        if name not in names:
            raise InputError(
                f"one of the classes {', '.join(names)} in doubt", repr(name), "name it"
            )
    if doubt.column not in clean.columns or not all(0 <= p <= 1 for p in doubt.chance.values()):
        raise InputError(
            "in doubt a column of finer labels or slices, and chances from 0 to 1",
            f"{doubt.column!r}, {doubt.chance}",
            "correct the data set's file",
        )
    train = clean.rows("train")
    drawn = np.random.default_rng((seed, 2)).random(len(train))
    values, labels = clean.columns[doubt.column][train], clean.labels.copy()
    for value, chance in doubt.chance.items():
        own = values == value
        given = np.where(
            drawn[own] < chance, names.index(doubt.label), names.index(doubt.otherwise)
        )
        labels[train[own]] = given
    rows = np.arange(len(labels))
    return Damaged(subset(clean, rows, labels, DOUBT), rows, clean.labels, _tested(clean))


def _tested(clean: LabelledData) -> np.ndarray:
    return clean.rows(test_part(clean))


def under_damage(problem: Problem, found: Damaged, damage: Damage) -> Problem:
    """The problem on damaged data, with as many steps in all as on clean ones."""
    if damage == CLEAN:
        return problem
    config, data = problem.config, found.data
    changes = [*changes_of(problem, damage), *fitting(config, data.labels[data.rows("train")])]
    block = changed_config(config.plain(), changes)
    under = build_problem(parse_config(block), base=problem.base, data=data)
    epochs = max(1, round(config.epochs * problem.sampler.steps / under.sampler.steps))
    if epochs == config.epochs:
        return under
    changes.append(SettingChange("epochs", config.epochs, epochs))
    block = changed_config(config.plain(), changes)
    return build_problem(parse_config(block), base=problem.base, data=data)


def place_of(output: Path, data_set: str, method: str, damage: Damage, seed: int) -> Path:
    """The folder of a run."""
    return folder_of(output / data_set, method, damage, seed)
