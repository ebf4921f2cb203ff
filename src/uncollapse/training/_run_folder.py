"""A run's folder: what the first process writes of a run, and reads to go on with it."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from uncollapse.errors import InputError
from uncollapse.records import (
    Environment,
    EpochLine,
    KeptReference,
    Prediction,
    RunRecord,
    RunStatus,
    to_json_types,
    yaml_text,
)
from uncollapse.storage import beside, json_text, write_json, write_text
from uncollapse.training._checkpoint import remove_leftovers
from uncollapse.training.config import TrainConfig, load_config
from uncollapse.training.problem import Problem

PACKAGES = ("uncollapse", "torch", "numpy", "timm", "kornia", "lightning-fabric", "scikit-learn")
_REMEDY = "give a folder that `uncollapse train` wrote"
# What may differ between a run and its continuation: neither changes a weight.
FREE = ("workers", "device", "checkpoint", "validation")


def check_folder(folder: Path, *, resume: bool) -> None:
    """Check that the folder holds a run if it is to be resumed, and none otherwise."""
    there = (folder / "run.json").exists()
    if resume and not there:
        raise InputError(f"a run to resume in {folder}", "no run.json", "leave --resume out")
    if there and not resume:
        raise InputError(
            f"a new folder for the run, not {folder}",
            "one that holds a run",
            "resume it with --resume, or choose another folder with -o",
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

    def keeping(self, kept: KeptReference) -> None:
        """Note what the loss keeps; refused where a resumed run has kept something else."""
        former = self._record.keep
        if former is not None and former.fingerprint != kept.fingerprint:
            raise InputError(
                f"the reference of the run in {self.path}",
                "another one, by its fingerprint",
                "restore the file that data.reference names, or start anew with -o",
            )
        self._record = replace(self._record, keep=kept)

    def note_before(self, measures: dict[str, float]) -> None:
        """What the model shows on validation rows before its first step."""
        self._record = replace(self._record, before=measures)

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
        environment=Environment.now(gpu=_gpu(problem)),
        prediction=prediction,
        more=_in_json(more),
    )


def _gpu(problem: Problem) -> str:
    """Name of the accelerator that the run may use."""
    import torch

    wanted = problem.config.device != "cpu" and torch.cuda.is_available()
    return torch.cuda.get_device_name() if wanted else ""


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
