"""One run of a pilot: train a setting with a seed up to an epoch, measure, write the result.

A job is plain data, so that it goes to another process or machine; its result is a file in its
folder, so that whoever finds the file there need not run it again.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from uncollapse.data import Augmenter, LabelledData, data_config, load_data, training_scales
from uncollapse.errors import InputError
from uncollapse.pilot.evaluate import evaluate
from uncollapse.pilot.goal import Goal
from uncollapse.storage import write_json
from uncollapse.training import build_problem, embed, parse_config, train

__all__ = ["Job", "StoppedError", "read_result", "run_job"]

# Rows of embeddings that are kept: a few MB of a wide backbone.
KEPT_ROWS = 1500


class StoppedError(RuntimeError):
    """The run was asked to stop; it goes on when the job is run again."""


@dataclass(frozen=True)
class Job:
    """A run and how far it goes.

    Attributes:
        trial: Name of the setting.
        seed: Of weights, batches and views.
        folder: Of the run.
        config: The configuration as plain types, with its seed.
        base: Folder that relative paths in it refer to.
        until: Epoch to train to.
        part: Split to measure on.
        goal: Kind and columns of the objective.
        views: The start's `views:` block.
        downstream: `data:` block and base folder by name.
        keep: Whether embeddings of the split are kept in the folder, for a picture.
    """

    trial: str
    seed: int
    folder: str
    config: dict[str, Any]
    base: str
    until: int
    part: str
    goal: tuple[str, tuple[str, ...]]
    views: dict[str, Any]
    downstream: dict[str, tuple[dict[str, Any], str]]
    keep: bool = False

    @property
    def result(self) -> Path:
        """Where the result is written."""
        return Path(self.folder) / f"measured-{self.part}-{self.until}.json"

    @property
    def mark(self) -> Path:
        """A file that holds the process number while the job runs."""
        return Path(self.folder) / "running"


def read_result(job: Job) -> dict[str, Any] | None:
    """The result, or None if there is none yet."""
    try:
        return dict(json.loads(job.result.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def run_job(job: Job) -> dict[str, Any]:
    """Do what is left of a job.

    Returns:
        "measured" by layer, "epochs", "seconds" of training and measuring (of this and earlier
        attempts as far as they were written).

    Raises:
        InputError: The setting cannot be trained (a loss that is not finite, a batch too large).
        StoppedError: It was asked to stop.
    """
    done = read_result(job)
    if done is not None:
        return done
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    job.mark.write_text(str(os.getpid()), encoding="utf-8")
    started = time.monotonic()
    try:
        result = _train_and_measure(job, folder)
    finally:
        job.mark.unlink(missing_ok=True)
    result |= {"epochs": job.until, "seconds": round(time.monotonic() - started, 2)}
    write_json(job.result, result)
    return result


def _train_and_measure(job: Job, folder: Path) -> dict[str, Any]:
    config = parse_config(job.config)
    base = Path(job.base)
    data = _data(json.dumps(config.plain()["data"], sort_keys=True), job.base)
    problem = build_problem(config, base=base, data=data)
    resume = (folder / "run.json").exists()
    trained = train(problem, folder, resume=resume, until=job.until)
    if trained.interrupted:
        raise StoppedError(job.trial)
    kind, shape = data.inputs.kind, data.inputs.shape
    start = parse_config(job.config | {"views": job.views}).views.model_copy(update={"count": 2})
    viewer = Augmenter(start, kind, shape, training_scales(data.inputs, problem.rows))
    others = {
        name: _data(json.dumps(block, sort_keys=True), where)
        for name, (block, where) in job.downstream.items()
    }
    goal = Goal(job.goal[0], tuple(job.goal[1]))
    measured = evaluate(problem, job.part, goal, viewer=viewer, downstream=others)
    if job.keep:
        embed(
            problem.model,
            data,
            problem.augmenter,
            folder / "embeddings.parquet",
            splits=[job.part],
            most=KEPT_ROWS,
            precision=config.precision,
        )
    losses = [line["loss"] for line in trained.history]
    return {"measured": measured, "loss": losses[-1] if losses else None}


@lru_cache(maxsize=4)
def _data(block: str, base: str) -> LabelledData:
    """Data of a process, read once."""
    try:
        return load_data(data_config(json.loads(block)), base=Path(base))
    except OSError as error:
        raise InputError("data that can be read", str(error), "check data.path") from error
