"""`train`: the loop, which can be killed at any moment and goes on where it was."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.data import Loader
from uncollapse.errors import InputError
from uncollapse.losses import SupCLLoss
from uncollapse.records import RunStatus
from uncollapse.training.checkpoint import all_finite, read_checkpoint, write_checkpoint
from uncollapse.training.embedding import embed_rows
from uncollapse.training.folder import begin_run, finish_run
from uncollapse.training.journal import Journal
from uncollapse.training.launch import make_fabric, set_up
from uncollapse.training.optimisation import make_optimiser, rate_setter
from uncollapse.training.problem import Problem
from uncollapse.training.steps import Means, Stepper

__all__ = ["Scores", "TrainResult", "train"]

# (layers, labels, finer labels by name) -> named measures, larger is better where one selects.
Scores = Callable[
    [Mapping[str, NDArray[Any]], NDArray[np.int64], Mapping[str, NDArray[Any]]], dict[str, float]
]
# (steps done, steps in all, the latest means)
Progress = Callable[[int, int, Mapping[str, float]], None]
# What marks the best epoch unless the configuration names a measure: the first that is there.
SELECTED_BY = ("projector/within_class", "projector/accuracy")


@dataclass(frozen=True)
class TrainResult:
    """What a run came to.

    Attributes:
        folder: Where its files are.
        step: Steps taken in all.
        history: A dictionary per epoch: step, epoch, loss, supervised, self_supervised,
            learning_rate, seconds, and every validation measure.
        best: The line of the best epoch by the named validation measure; None without one.
        best_by: The name of that measure.
        interrupted: Whether it was asked to stop before its end.
    """

    folder: Path
    step: int
    history: list[dict[str, Any]]
    best: dict[str, Any] | None
    best_by: str | None
    interrupted: bool


def train(
    problem: Problem,
    output: Path,
    *,
    resume: bool = False,
    scores: Scores | None = None,
    record: Mapping[str, Any] | None = None,
    until: int | None = None,
    progress: Progress | None = None,
) -> TrainResult:
    """Train an encoder with the SupCL loss.

    Batches, views, dropout and learning rate are pure functions of the seed and the step, and a
    checkpoint holds the rest; so a run that was killed and resumed ends with the same weights, bit
    for bit on one CPU process, as one that was not.

    Args:
        problem: Data, batches and model (`build_problem`).
        output: The run's folder: config.yaml, run.json, splits.parquet, metrics.jsonl,
            tensorboard/, checkpoints/.
        resume: Go on with the run that is in `output`.
        scores: Measures of validation embeddings, such as `uncollapse.probes.scores`.
        record: What else run.json is to hold, such as theory's prediction.
        until: Stop after this epoch of the configured ones; `resume` goes on from there.
        progress: Called after every step.

    Returns:
        The result; it is also in the folder.

    Raises:
        InputError: `output` holds a run (without `resume`) or another run (with it), the loss is no
            longer finite (the last good checkpoint stays), or a file cannot be written.
    """
    fabric = make_fabric(problem.config)
    first = fabric.global_rank == 0
    saved = None
    if first:
        begin_run(output, problem, resume=resume, record=record or {})
    fabric.barrier()
    if resume:
        saved = read_checkpoint(output / "checkpoints")
    loop = _Loop(problem, output, fabric, saved, scores if first else None, progress)
    try:
        with _stop_requests() as requested:
            result = loop.run(requested, until)
    except InputError as error:
        if first:
            finish_run(output, "failed", str(error))
        raise
    if first:
        ended = until is None or until >= problem.config.epochs
        status: RunStatus = "finished" if ended else "paused"
        finish_run(output, "interrupted" if result.interrupted else status, None)
    return result


@contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Whether SIGINT or SIGTERM came; the step under way ends first, a second SIGINT breaks it."""
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield came.is_set
        return
    before = {which: signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: Any) -> None:
        came.set()
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    for which in before:
        signal.signal(which, note)
    try:
        yield came.is_set
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


class _Loop:
    """The state of a run while it runs."""

    def __init__(
        self,
        problem: Problem,
        output: Path,
        fabric: Any,
        saved: Any,
        scores: Scores | None,
        progress: Progress | None,
    ) -> None:
        config = problem.config
        self.problem, self.fabric, self.scores, self.progress = problem, fabric, scores, progress
        self.checkpoints = output / "checkpoints"
        self.output = output
        self.means, self.epoch, self.offset, self.step = Means(), 0, 0, 0
        self.seconds = 0.0
        self.best: dict[str, Any] | None = None
        optimiser = make_optimiser(config.optimiser, problem.model)
        if saved is not None:
            self._restore(saved, optimiser)
        model, wrapped = set_up(fabric, config, problem.model, optimiser)
        self.loader = Loader(
            problem.data,
            problem.rows,
            problem.sampler,
            problem.augmenter,
            seed=config.seed,
            rank=fabric.global_rank,
            world=fabric.world_size,
            workers=config.workers,
        )
        self.steps = problem.sampler.steps
        self.set_rate = rate_setter(config.optimiser, optimiser, self.steps, config.epochs)
        loss = SupCLLoss(**config.loss.model_dump(), gather=fabric.world_size > 1)
        self.optimiser = optimiser
        self.stepper = Stepper(fabric, model, wrapped, loss, config.seed, config.optimiser.clip)
        self.model = model.module if not hasattr(model.module, "module") else model.module.module
        self.journal = Journal(output, after_step=self.step) if self._first else None

    @property
    def _first(self) -> bool:
        return bool(self.fabric.global_rank == 0)

    def _restore(self, saved: Any, optimiser: Any) -> None:
        model, optimised, state = saved
        self.problem.model.load_state_dict(model)
        optimiser.load_state_dict(optimised)
        self.epoch, self.offset, self.step = state["epoch"], state["offset"], state["step"]
        self.means = Means(state["means"]["steps"], dict(state["means"]["sums"]))
        self.seconds, self.best = state["seconds"], state["best"]

    def run(self, requested: Callable[[], bool], until: int | None) -> TrainResult:
        epochs = self.problem.config.epochs
        last = epochs if until is None else min(until, epochs)
        interrupted = False
        self.stepper.model.train()
        while self.epoch < last and not interrupted:
            interrupted = self._epoch(requested)
        if self.journal is not None:
            self.journal.close()
        history = self.journal.lines if self.journal is not None else []
        best_by = self.best["by"] if self.best else None
        line = None
        if self.best:
            line = next((one for one in history if one["step"] == self.best["step"]), None)
        return TrainResult(self.output, self.step, history, line, best_by, interrupted)

    def _epoch(self, requested: Callable[[], bool]) -> bool:
        """One epoch or what is left of it; True if it was interrupted."""
        config, began = self.problem.config, time.monotonic()
        every = config.checkpoint.every_steps
        for batch in self.loader.epoch(self.epoch, self.offset):
            rate = self.set_rate(self.step)
            self.means.add(self.stepper.step(batch, self.step) | {"learning_rate": rate})
            self.step, self.offset = self.step + 1, self.offset + 1
            if self.progress is not None and self._first:
                self.progress(
                    self.step, self.steps * self.problem.config.epochs, self.means.means()
                )
            ends = self.offset == self.steps
            stop = self._anyone(requested())
            if not ends and (stop or (every and self.offset % every == 0)):
                self.seconds, began = self.seconds + time.monotonic() - began, time.monotonic()
                self._save(best=False)
            if stop and not ends:
                return True
        self.seconds += time.monotonic() - began
        self._finish_epoch()
        return self._anyone(requested()) and self.epoch < config.epochs

    def _anyone(self, here: bool) -> bool:
        """Whether any process was asked to stop, so that all stop at the same step."""
        if self.fabric.world_size == 1:
            return here
        import torch

        return bool(self.fabric.all_reduce(torch.tensor(float(here)), reduce_op="sum") > 0)

    def _finish_epoch(self) -> None:
        config = self.problem.config
        line: dict[str, Any] = {"step": self.step, "epoch": self.epoch + 1, **self.means.means()}
        last = self.epoch + 1 == config.epochs
        if self.scores is not None and (last or (self.epoch + 1) % config.validation.every == 0):
            line |= self._measured()
        line["seconds"] = round(self.seconds, 3)
        self.epoch, self.offset, self.means = self.epoch + 1, 0, Means()
        improved = self._is_best(line)
        if self.journal is not None:
            self.journal.add(line)
        self._save(best=improved)
        self.fabric.barrier()

    def _measured(self) -> dict[str, float]:
        """Validation measures, of the model as it is at this step."""
        problem = self.problem
        rows, data = problem.validation, problem.data
        if not len(rows) or self.scores is None:
            return {}
        parts = list(embed_rows(self.model, data, rows, problem.augmenter))
        layers = {name: np.concatenate([part[name][:, 0] for part in parts]) for name in parts[0]}
        bad = [name for name, values in layers.items() if not np.isfinite(values).all()]
        if bad:
            raise InputError(
                "finite embeddings of the validation rows",
                f"NaN or infinity in the {bad[0]} at step {self.step}",
                "lower optimiser.learning_rate; the last good checkpoint is kept",
            )
        fine = {name: data.columns[name][rows] for name in data.fine}
        return self.scores(layers, data.labels[rows], fine)

    def _is_best(self, line: dict[str, Any]) -> bool:
        """Whether this epoch's value of the named measure is the largest; note it if so."""
        wanted = self.problem.config.validation.best
        measured = [name for name in line if "/" in name]
        by = next((name for name in (wanted, *SELECTED_BY) if name in line), None)
        if wanted is not None and measured and by != wanted:
            raise InputError(
                "validation.best as one of the measures",
                wanted,
                f"take one of {', '.join(measured)}",
            )
        if by is None or (self.best is not None and line[by] <= self.best["value"]):
            return False
        self.best = {"by": by, "value": line[by], "step": line["step"], "epoch": line["epoch"]}
        return True

    def _save(self, *, best: bool) -> None:
        if not self._first:
            return
        weights = self.model.state_dict()
        if not all_finite(weights):
            raise InputError(
                "finite weights",
                f"NaN or infinity after step {self.step}",
                "lower optimiser.learning_rate; the last good checkpoint is kept",
            )
        state = {
            "schema_version": 1,
            "epoch": self.epoch,
            "offset": self.offset,
            "step": self.step,
            "means": {"steps": self.means.steps, "sums": self.means.sums},
            "seconds": self.seconds,
            "best": self.best,
        }
        write_checkpoint(self.checkpoints, weights, self.optimiser.state_dict(), state, best=best)
