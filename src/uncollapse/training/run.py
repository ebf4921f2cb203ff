"""`train`, which can be killed at any moment and goes on where it was."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import nn

from uncollapse.errors import InputError
from uncollapse.progress import OnStep, no_steps
from uncollapse.records import (
    EpochLine,
    RunStatus,
)
from uncollapse.storage import locked
from uncollapse.training._beside import beside_of
from uncollapse.training._checkpoint import load_trained, read_checkpoint
from uncollapse.training._loop import Loop, Scores, make_fabric
from uncollapse.training._run_folder import RunFolder, check_folder
from uncollapse.training.encoders import Encoder
from uncollapse.training.problem import Problem, build_problem

# Folder inside a run's, of the run whose encoder is its reference.
SELF_SUPERVISED = "self-supervised"


@dataclass(frozen=True)
class TrainResult:
    """What a run came to."""

    folder: Path  # Where its files are.
    step: int  # Steps taken in all.
    history: list[EpochLine]  # A line per epoch; `line["loss"]` reads a number.
    best: EpochLine | None  # Of the best epoch by the named validation measure, if there is one.
    best_by: str | None  # The name of that measure.
    interrupted: bool  # Whether it was asked to stop before its end.


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
    for bit on one CPU process, as one that was not. Of several
    processes (torchrun), the group that it starts ends with it; one that was there before stays.

    Args:
        problem: Data, batches and model (`build_problem`).
        output: The run's folder: config.yaml, run.json, splits.parquet, metrics.jsonl,
            tensorboard/, checkpoints/.
        resume: Go on with the run that is in `output`.
        scores: Measures of validation embeddings, such as `uncollapse.metrics.scores`.
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
    with _own_group():
        fabric = make_fabric(problem.config)
        if fabric.global_rank:
            return _train(problem, fabric, None, output, resume, None, until, progress)
        check_folder(output, resume=resume)
        with locked(output, "run"):
            folder = RunFolder(output, problem, resume=resume, noted=record or {})
            return _train(problem, fabric, folder, output, resume, scores, until, progress)


def fit(problem: Problem, objective: nn.Module | None = None) -> list[EpochLine]:
    """Train a problem's model in memory: `train` without a folder, and so without resuming.

    Args:
        problem: Data, batches and model (`build_problem`); the model is trained in place.
        objective: What is minimised in place of the configured loss: called with embeddings (n, p,
            d) as the model gives them, labels (n,) and instances (n,), it returns a number. Its own
            parameters, such as those of a classifier, are trained too.

    Returns:
        A line per epoch.

    Raises:
        InputError: The loss is no longer finite, or refuses a batch.

    Examples:
        >>> from uncollapse.training import build_problem, parse_config
        >>> block = {"data": {"source": "digits", "map": "parity"}, "encoder": {"kind": "convnet"}}
        >>> block |= {"loss": {"alpha": 0.2, "temperature": 0.1}, "epochs": 2}
        >>> len(fit(build_problem(parse_config(block))))
        2
    """
    with _own_group():
        fabric = make_fabric(problem.config)
        loop = Loop(problem, fabric, None, None, objective=objective)
        return list(loop.run(problem.config.epochs, lambda: False, None, no_steps))


@contextmanager
def _own_group() -> Iterator[None]:
    """A group of processes that begins inside the block ends with it.

    What is left of it at the end of Python aborts the process now and then, under its threads.
    """
    before = dist.is_available() and dist.is_initialized()
    try:
        yield
    finally:
        if not before and dist.is_available() and dist.is_initialized():
            gc.collect()  # a parallel model refers to its group, and itself is in circles
            dist.destroy_process_group()


def _train(
    problem: Problem,
    fabric: Any,
    folder: RunFolder | None,
    output: Path,
    resume: bool,
    scores: Scores | None,
    until: int | None,
    progress: OnStep,
) -> TrainResult:
    """Train in this process, of which the first alone has the run's folder."""
    epochs = problem.config.epochs

    def self_supervised() -> Encoder:
        return _self_supervised(problem, fabric, folder, output, scores, progress)

    try:
        kept = beside_of(problem, output, fabric.device, self_supervised, writes=folder is not None)
    except _Interrupted:
        return TrainResult(output, 0, [], None, None, True)
    if kept is not None:
        kept.prepare(fabric.broadcast)
    if folder is not None and kept is not None:
        folder.keeping(kept.record)
    saved = read_checkpoint(output / "checkpoints") if resume else None
    loop = Loop(problem, fabric, saved, None if folder is None else output / "checkpoints", kept)
    if folder is not None:
        if scores is not None and not loop.state.step:
            with suppress(InputError):  # What is wrong with these rows is said after training.
                folder.note_before(loop.measured(scores))
        folder.begin(loop.state.step)
    fabric.barrier()
    last = epochs if until is None else min(until, epochs)
    status: RunStatus = "finished" if last == epochs else "paused"
    try:
        with _stop_requests() as requested:
            for line in loop.run(last, requested, scores, progress):
                if folder is not None:
                    folder.add(line)
    except InputError as error:
        if folder is not None:
            folder.end("failed", str(error))
        raise
    history, best = [], loop.state.best
    if folder is not None:
        folder.end("interrupted" if loop.interrupted else status)
        history = folder.lines
    by, at = (None, None) if best is None else (best.by, best.step)
    chosen = next((line for line in history if line.step == at), None)
    return TrainResult(output, loop.state.step, history, chosen, by, loop.interrupted)


class _Interrupted(Exception):  # noqa: N818  (no error)
    """The run that is made first was asked to stop."""


def _self_supervised(
    problem: Problem,
    fabric: Any,
    folder: RunFolder | None,
    output: Path,
    scores: Scores | None,
    progress: OnStep,
) -> Encoder:
    """The same encoder after a run with alpha 1, in a folder of its own, where it is resumed."""
    config, inside = problem.config, output / SELF_SUPERVISED
    alone = {"alpha": 1.0, "keep": 0.0, "reference": None, "base": None}
    first = config.model_copy(update={"loss": config.loss.model_copy(update=alone)})
    own = build_problem(first, base=problem.base, data=problem.data)
    resume = (inside / "run.json").exists()
    if folder is None:
        result = _train(own, fabric, None, inside, resume, None, None, progress)
    else:
        folder.begin(0)
        with locked(inside, "run"):
            noted = {"for": "the reference of the run in the folder above"}
            named = RunFolder(inside, own, resume=resume, noted=noted)
            result = _train(own, fabric, named, inside, resume, scores, None, progress)
        folder.end("interrupted")
    fabric.barrier()
    if result.interrupted:
        raise _Interrupted
    load_trained(inside, own, "last")
    return own.model


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
