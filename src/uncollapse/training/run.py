"""`train`: the loop, which can be killed at any moment and goes on where it was."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uncollapse.errors import InputError
from uncollapse.progress import OnStep, no_steps
from uncollapse.records import EpochLine, RunStatus
from uncollapse.training._checkpoint import read_checkpoint
from uncollapse.training._folder import RunFolder
from uncollapse.training._loop import Loop, Scores, make_fabric
from uncollapse.training.problem import Problem


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
    folder = None
    if fabric.global_rank == 0:
        folder = RunFolder(output, problem, resume=resume, noted=record or {})
    saved = read_checkpoint(output / "checkpoints") if resume else None
    loop = Loop(problem, fabric, saved, folder)
    if folder is not None:
        folder.begin(loop.state.step)
    fabric.barrier()
    last = epochs if until is None else min(until, epochs)
    status: RunStatus = "finished" if last == epochs else "paused"
    try:
        with _stop_requests() as requested:
            interrupted = loop.run(last, requested, scores if folder else None, progress)
    except InputError as error:
        if folder is not None:
            folder.end("failed", str(error))
        raise
    history, best = [], loop.state.best
    if folder is not None:
        folder.end("interrupted" if interrupted else status)
        history = folder.lines
    by, at = (None, None) if best is None else (best.by, best.step)
    line = next((line for line in history if line.step == at), None)
    return TrainResult(output, loop.state.step, history, line, by, interrupted)


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
