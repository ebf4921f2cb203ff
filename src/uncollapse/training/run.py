"""`train`: the loop, which can be killed at any moment and goes on where it was."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from uncollapse.data import Loader
from uncollapse.errors import InputError
from uncollapse.losses import SupCLLoss
from uncollapse.progress import OnStep, Step, no_steps
from uncollapse.records import EpochLine, RunStatus
from uncollapse.training._run.checkpoint import (
    BestEpoch,
    Checkpoint,
    Means,
    RunState,
    read_checkpoint,
    write_checkpoint,
)
from uncollapse.training._run.folder import Journal, begin_run, finish_run
from uncollapse.training._run.steps import Stepper, make_fabric, make_optimiser, rate_setter, set_up
from uncollapse.training.embedding import embed_rows
from uncollapse.training.encoders import Encoder
from uncollapse.training.problem import Problem

# (layers, labels, finer labels by name) -> named measures, larger is better where one selects.
Scores = Callable[
    [Mapping[str, NDArray[Any]], NDArray[np.int64], Mapping[str, NDArray[Any]]], dict[str, float]
]
# What marks the best epoch unless the configuration names a measure: the first that is there.
SELECTED_BY = ("projector/within_class", "projector/accuracy")


@dataclass(frozen=True)
class TrainResult:
    """What a run came to.

    Attributes:
        folder: Where its files are.
        step: Steps taken in all.
        history: A line per epoch, as metrics.jsonl has it; ``line["loss"]`` reads a number.
        best: The line of the best epoch by the named validation measure; None without one.
        best_by: The name of that measure.
        interrupted: Whether it was asked to stop before its end.
    """

    folder: Path
    step: int
    history: list[EpochLine]
    best: EpochLine | None
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
    progress: OnStep = no_steps,
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
        progress: Called after every step, with the means of the epoch so far.

    Returns:
        The result; it is also in the folder.

    Raises:
        InputError: `output` holds a run (without `resume`) or another run (with it), the loss is no
            longer finite (the last good checkpoint stays), or a file cannot be written.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> from uncollapse.training import build_problem, parse_config
        >>> block = {"data": {"source": "digits", "map": "parity"}, "encoder": {"kind": "convnet"}}
        >>> block |= {"loss": {"alpha": 0.2, "temperature": 0.1}, "epochs": 2}
        >>> with TemporaryDirectory() as folder:
        ...     result = train(build_problem(parse_config(block)), Path(folder, "run"))
        >>> result.step, len(result.history), result.interrupted
        (8, 2, False)
    """
    fabric, epochs = make_fabric(problem.config), problem.config.epochs
    first = fabric.global_rank == 0
    if first:
        begin_run(output, problem, resume=resume, record=record or {})
    fabric.barrier()
    saved = read_checkpoint(output / "checkpoints") if resume else None
    loop = _Loop(problem, output, fabric, saved)
    last = epochs if until is None else min(until, epochs)
    try:
        with _stop_requests() as requested:
            result = loop.run(requested, last, scores if first else None, progress)
    except InputError as error:
        if first:
            finish_run(output, "failed", str(error))
        raise
    if first:
        status: RunStatus = "finished" if last == epochs else "paused"
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
    """A run while it runs."""

    def __init__(
        self, problem: Problem, output: Path, fabric: Any, saved: Checkpoint | None
    ) -> None:
        config = problem.config
        self.problem, self.fabric, self.output = problem, fabric, output
        self.state = RunState(epoch=0, offset=0, step=0, means=Means(), seconds=0.0)
        self.optimiser = make_optimiser(config.optimiser, problem.model)
        if saved is not None:
            self.state = saved.state
            problem.model.load_state_dict(saved.model)
            self.optimiser.load_state_dict(dict(saved.optimiser))
        model, wrapped = set_up(fabric, config, problem.model, self.optimiser)
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
        self.set_rate = rate_setter(config.optimiser, self.optimiser, self.steps, config.epochs)
        loss = SupCLLoss(**dict(config.loss), gather=fabric.world_size > 1)
        self.stepper = Stepper(fabric, model, wrapped, loss, config.seed, config.optimiser.clip)
        self.model = model.module if not hasattr(model.module, "module") else model.module.module
        self.first = fabric.global_rank == 0
        self.journal = Journal(output, after_step=self.state.step) if self.first else None

    def run(
        self, requested: Callable[[], bool], until: int, scores: Scores | None, progress: OnStep
    ) -> TrainResult:
        """Train up to an epoch."""
        interrupted = False
        self.stepper.model.train()
        while self.state.epoch < until and not interrupted:
            interrupted = self._steps(requested, progress)
            if self.state.offset == self.steps:
                self._finish_epoch(scores)
                left = self.state.epoch < self.problem.config.epochs
                interrupted = self._anyone(requested()) and left
        if self.journal is not None:
            self.journal.close()
        history = self.journal.lines if self.journal is not None else []
        best = self.state.best
        by, at = (None, None) if best is None else (best.by, best.step)
        line = next((line for line in history if line.step == at), None)
        return TrainResult(self.output, self.state.step, history, line, by, interrupted)

    def _steps(self, requested: Callable[[], bool], progress: OnStep) -> bool:
        """The steps that are left of an epoch; True if it was asked to stop."""
        config, began, stop = self.problem.config, time.monotonic(), False
        total, every = self.steps * config.epochs, config.checkpoint.every_steps
        for batch in self.loader.epoch(self.state.epoch, self.state.offset):
            state, rate = self.state, self.set_rate(self.state.step)
            means = state.means.plus(self.stepper.step(batch, state.step) | {"learning_rate": rate})
            now = time.monotonic()
            self.state = replace(
                state,
                step=state.step + 1,
                offset=state.offset + 1,
                means=means,
                seconds=state.seconds + now - began,
            )
            began = now
            if self.first:
                progress(Step(self.state.step, total, "training", numbers=means.means()))
            stop = self._anyone(requested())
            ends = self.state.offset == self.steps
            if not ends and (stop or (every and self.state.offset % every == 0)):
                self._save()
            if stop:
                break
        return stop

    def _anyone(self, here: bool) -> bool:
        """Whether any process was asked to stop, so that all stop at the same step."""
        if self.fabric.world_size == 1:
            return here
        return bool(self.fabric.all_reduce(torch.tensor(float(here)), reduce_op="sum") > 0)

    def _finish_epoch(self, scores: Scores | None) -> None:
        config, state = self.problem.config, self.state
        epoch, numbers = state.epoch + 1, state.means.means()
        due = epoch == config.epochs or epoch % config.validation.every == 0
        if scores is not None and due and len(self.problem.validation):
            numbers |= _measured(self.model, self.problem, scores, state.step)
        line = EpochLine(
            step=state.step, epoch=epoch, seconds=round(state.seconds, 3), numbers=numbers
        )
        best = _best(state.best, line, config.validation.best)
        improved = best is not state.best
        self.state = replace(state, epoch=epoch, offset=0, means=Means(), best=best)
        if self.journal is not None:
            self.journal.add(line)
        self._save(best=improved)
        self.fabric.barrier()

    def _save(self, *, best: bool = False) -> None:
        if not self.first:
            return
        weights = self.model.state_dict()
        if not all(bool(t.isfinite().all()) for t in weights.values() if t.is_floating_point()):
            raise InputError(
                "finite weights",
                f"NaN or infinity after step {self.state.step}",
                "lower optimiser.learning_rate; the last good checkpoint is kept",
            )
        content = Checkpoint(weights, self.optimiser.state_dict(), self.state)
        write_checkpoint(self.output / "checkpoints", content, best=best)


def _measured(model: Encoder, problem: Problem, scores: Scores, step: int) -> dict[str, float]:
    """Validation measures, of the model as it is at this step."""
    rows, data = problem.validation, problem.data
    parts = list(embed_rows(model, data, rows, problem.augmenter))
    layers = {name: np.concatenate([part[name][:, 0] for part in parts]) for name in parts[0]}
    bad = [name for name, values in layers.items() if not np.isfinite(values).all()]
    if bad:
        raise InputError(
            "finite embeddings of the validation rows",
            f"NaN or infinity in the {bad[0]} at step {step}",
            "lower optimiser.learning_rate; the last good checkpoint is kept",
        )
    fine = {name: data.columns[name][rows] for name in data.fine}
    return scores(layers, data.labels[rows], fine)


def _best(former: BestEpoch | None, line: EpochLine, wanted: str | None) -> BestEpoch | None:
    """This epoch where its value of the named measure is the largest so far, else the former."""
    by = next((name for name in (wanted, *SELECTED_BY) if name in line.numbers), None)
    if wanted is not None and line.measures and by != wanted:
        raise InputError(
            "validation.best as one of the measures",
            wanted,
            f"take one of {', '.join(line.measures)}",
        )
    if by is None or (former is not None and line.numbers[by] <= former.value):
        return former
    return BestEpoch(by, line.numbers[by], line.step, line.epoch)
