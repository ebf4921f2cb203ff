"""`train`, which can be killed at any moment and goes on where it was; and a run's folder."""

from __future__ import annotations

import gc
import json
import platform
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch.distributed as dist

from uncollapse.errors import InputError
from uncollapse.progress import OnStep, no_steps
from uncollapse.records import (
    EpochLine,
    Prediction,
    RunRecord,
    RunStatus,
    to_json_types,
    yaml_text,
)
from uncollapse.storage import beside, json_text, locked, write_json, write_text
from uncollapse.training._checkpoint import read_checkpoint, remove_leftovers
from uncollapse.training._loop import Loop, Scores, make_fabric
from uncollapse.training.config import TrainConfig, load_config
from uncollapse.training.problem import Problem

PACKAGES = ("uncollapse", "torch", "numpy", "timm", "kornia", "lightning-fabric", "scikit-learn")
_REMEDY = "give a folder that `uncollapse train` wrote"
# What may differ between a run and its continuation: neither changes a weight.
FREE = ("workers", "device", "checkpoint", "validation")


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
    saved = read_checkpoint(output / "checkpoints") if resume else None
    loop = Loop(problem, fabric, saved, None if folder is None else output / "checkpoints")
    if folder is not None:
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


def check_folder(folder: Path, *, resume: bool) -> None:
    """Check that the folder holds a run if it is to be resumed, and none otherwise."""
    there = (folder / "run.json").exists()
    if resume and not there:
        raise InputError(f"a run to resume in {folder}", "no run.json", "leave --resume out")
    if there and not resume:
        raise InputError(
            f"a new folder for the run, not {folder}",
            "one that holds a run",
            "go on with it by --resume, or choose another folder with -o",
        )


def read_run(folder: Path) -> tuple[TrainConfig, RunRecord]:
    """The configuration and run.json of a run."""
    record = RunRecord.read(folder / "run.json", _REMEDY)
    return load_config(folder / "config.yaml"), record


class RunFolder:
    """What the first process writes of a run; nothing before `begin`.

    It is refused where it holds a run without `resume`, or another run with it.
    """

    def __init__(
        self, path: Path, problem: Problem, *, resume: bool, noted: Mapping[str, Any]
    ) -> None:
        check_folder(path, resume=resume)
        self.path, self._problem, self._resumed = path, problem, resume
        self._record = _same_run(path, problem) if resume else _new_run(problem, noted)
        self.lines = EpochLine.read_all(path / "metrics.jsonl")

    def begin(self, after_step: int) -> None:
        """Write what there is to say before the first step.

        Lines of steps after `after_step` are dropped: a resumed run writes them again.
        """
        if not self._resumed:
            plain = self._problem.config.plain()
            write_text(self.path / "config.yaml", yaml_text(plain))
            _write_splits(self.path / "splits.parquet", self._problem)
        write_json(self.path / "run.json", replace(self._record, status="running").to_dict())
        remove_leftovers(self.path / "checkpoints")
        self.lines = [line for line in self.lines if line.step <= after_step]
        self._write_lines()
        # torch.utils.tensorboard looks for a TensorFlow that nothing else here uses.
        from torch.utils.tensorboard.writer import SummaryWriter

        make: Any = SummaryWriter
        self._board = make(str(self.path / "tensorboard"), purge_step=after_step + 1)

    def add(self, line: EpochLine) -> None:
        """Append an epoch's line, and the same numbers to TensorBoard."""
        self.lines.append(line)
        self._write_lines()
        for name, value in [*line.numbers.items(), ("seconds", line.seconds)]:
            self._board.add_scalar(name, value, line.step)
        self._board.flush()

    def _write_lines(self) -> None:
        texts = [json.dumps(line.to_dict(), allow_nan=False) + "\n" for line in self.lines]
        write_text(self.path / "metrics.jsonl", "".join(texts))

    def end(self, status: RunStatus, reason: str | None = None) -> None:
        """Note in run.json how the run ended."""
        self._board.close()
        record = replace(self._record, status=status, reason=reason)
        write_json(self.path / "run.json", record.to_dict())


def _new_run(problem: Problem, noted: Mapping[str, Any]) -> RunRecord:
    data = problem.data
    setting = None
    with suppress(InputError):
        setting = problem.setting()
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    more = dict(noted)
    prediction = more.pop("prediction", None)
    if isinstance(prediction, Mapping):
        prediction = Prediction.from_dict(dict(prediction))
    return RunRecord(
        status="running",
        base=str(problem.base),
        data=data.description,
        label_names=tuple(data.label_names),
        fine=tuple(data.fine),
        slices=tuple(data.slices),
        setting=setting,
        coverage=problem.sampler.coverage(0).text,
        steps_per_epoch=problem.sampler.steps,
        parameters=sum(p.numel() for p in problem.model.parameters()),
        command=tuple(sys.argv),
        versions=versions,
        prediction=prediction,
        more=_in_json(more),
    )


def _in_json(noted: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = to_json_types(noted)
    try:
        json_text(plain)
    except (TypeError, ValueError) as error:
        raise InputError("a record of what JSON holds", str(error), "leave it out") from error
    return plain


def _same_run(folder: Path, problem: Problem) -> RunRecord:
    """The record of the run, unless it is one of another configuration or other data."""
    former, record = read_run(folder)
    before, now = former.plain(), problem.config.plain()
    differing = [key for key in now if key not in FREE and before.get(key) != now[key]]
    if differing:
        raise InputError(
            f"the configuration of the run in {folder}",
            f"another one ({', '.join(differing)} differ)",
            "resume with the same configuration, or start anew with -o",
        )
    fingerprint = problem.data.description.fingerprint
    if record.data.fingerprint != fingerprint:
        raise InputError(
            f"the data of the run in {folder}",
            f"data with another fingerprint ({str(fingerprint)[:12]})",
            "restore the data as they were, or start anew with -o",
        )
    return record


def _write_splits(path: Path, problem: Problem) -> None:
    """Which row is in which part, so that anybody can check it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = problem.data
    names = [data.label_names[code] if code >= 0 else None for code in data.labels]
    table = pa.table({"id": data.ids.tolist(), "split": data.split.tolist(), "label": names})
    with beside(path) as part:
        pq.write_table(table, part)
