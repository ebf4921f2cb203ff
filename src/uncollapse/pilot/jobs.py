"""One run of a pilot: train a setting with a seed up to an epoch, measure, write the result.

A job is plain data, so that it goes to another process or machine; its result is a file in its
folder, so that whoever finds the file there need not run it again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from uncollapse.data import (
    Augmenter,
    DataConfig,
    LabelledData,
    data_config,
    load_data,
    training_scales,
)
from uncollapse.errors import InputError
from uncollapse.pilot.free import LAYERS, Free, FreeCandidate
from uncollapse.pilot.scores import evaluate
from uncollapse.pilot.work import StoppedError, Work
from uncollapse.records import Objective, SettingChange, TrialFile, changed_config
from uncollapse.training import TrainConfig, build_problem, embed, parse_config, train

# Rows of embeddings that are kept: a few MB of a wide backbone.
KEPT_ROWS = 1500


@dataclass(frozen=True)
class Common:
    """What all runs of a pilot share."""

    config: TrainConfig  # The start's, on the pilot's rows and for its number of epochs.
    base: Path  # Folder that relative paths in it refer to.
    goal: Objective
    downstream: Mapping[str, tuple[DataConfig, Path]]  # With the folders of their paths.


@dataclass(frozen=True)
class Job(Work[TrialFile]):
    """A run and how far it goes."""

    trial: str  # Name of the setting.
    changes: tuple[SettingChange, ...]
    seed: int  # Of weights, batches and views.
    folder: Path
    until: int  # Epoch to train to.
    part: str  # Split to measure on.
    common: Common
    keep: bool = False  # Whether embeddings of the split are kept in the folder, for a picture.
    free: tuple[FreeCandidate, ...] = ()  # Measured beside the run's own layers.

    @property
    def result(self) -> Path:
        """Where the result is written."""
        return self.folder / f"measured-{self.part}-{self.until}.json"

    def read(self) -> TrialFile | None:
        """The result; None too for one of before that knows no free candidates."""
        if not self.result.exists():
            return None
        result = TrialFile.read(self.result)
        return result if {c.name for c in self.free} - set(LAYERS) <= result.free.keys() else None

    def attempt(self) -> TrialFile:
        """Train and measure."""
        return _train_and_measure(self)


def _train_and_measure(job: Job) -> TrialFile:
    common = job.common
    block = changed_config(common.config.plain(), job.changes) | {"seed": job.seed}
    config = parse_config(block)
    data = read_once(config.data.model_dump_json(), common.base)
    problem = build_problem(config, base=common.base, data=data)
    free = Free.of(problem, job.free, common.goal.columns)
    resume = (job.folder / "run.json").exists()
    trained = train(problem, job.folder, resume=resume, until=job.until)
    if trained.interrupted:
        raise StoppedError(job.trial)
    kind, shape = data.inputs.kind, data.inputs.shape
    two = common.config.views.model_copy(update={"count": 2})
    viewer = Augmenter(two, kind, shape, training_scales(data.inputs, problem.rows))
    others = {
        name: read_once(other.model_dump_json(), base)
        for name, (other, base) in common.downstream.items()
    }
    scores = evaluate(problem, job.part, common.goal, viewer=viewer, downstream=others, free=free)
    if free.candidates and job.keep:
        free.write_maps(problem, job.folder)
    if job.keep:
        embed(
            problem.model,
            data,
            problem.augmenter,
            job.folder / "embeddings.parquet",
            splits=[job.part],
            most=KEPT_ROWS,
            precision=config.precision,
        )
    loss = trained.history[-1]["loss"] if trained.history else None
    measured = {layer: scores.pop(layer) for layer in LAYERS}
    return TrialFile(seed=job.seed, measured=measured, loss=loss, epochs=job.until, free=scores)


@lru_cache(maxsize=4)
def read_once(block: str, base: Path) -> LabelledData:
    """Data of a process, by a `data:` block in JSON, read once."""
    try:
        return load_data(data_config(json.loads(block)), base=base)
    except OSError as error:
        raise InputError("data that can be read", str(error), "check data.path") from error
