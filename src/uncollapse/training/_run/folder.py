"""A run's folder: what is written before the first step, as it goes, and after the last."""

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

import yaml

from uncollapse.errors import InputError
from uncollapse.records import (
    EpochLine,
    Prediction,
    RunRecord,
    RunStatus,
    Setting,
    read_json,
    to_json_types,
)
from uncollapse.storage import beside, read_lines, unwritable, write_json, write_text
from uncollapse.training.config import TrainConfig, parse_config
from uncollapse.training.problem import Problem

PACKAGES = ("uncollapse", "torch", "numpy", "timm", "kornia", "lightning-fabric", "scikit-learn")
_REMEDY = "give a folder that `uncollapse train` wrote"
# What may differ between a run and its continuation: neither changes a weight.
FREE = ("workers", "device", "checkpoint", "validation")


def check_folder(folder: Path, *, resume: bool) -> None:
    """Check that the folder holds a run if it is to be resumed, and none otherwise.

    Raises:
        InputError: It does not.
    """
    there = (folder / "run.json").exists()
    if resume and not there:
        raise InputError(f"a run to resume in {folder}", "no run.json", "leave --resume out")
    if there and not resume:
        raise InputError(
            f"a new folder for the run, not {folder}",
            "one that holds a run",
            "go on with it by --resume, or choose another folder with -o",
        )


def begin_run(folder: Path, problem: Problem, *, resume: bool, record: Mapping[str, Any]) -> None:
    """Write config.yaml, splits.parquet and run.json, or check that they are this run's."""
    check_folder(folder, resume=resume)
    if resume:
        former = _check_same(folder, problem)
        write_json(folder / "run.json", replace(former, status="running").to_dict())
        return
    text = yaml.safe_dump(problem.config.plain(), sort_keys=False, allow_unicode=True)
    write_text(folder / "config.yaml", text)
    _write_splits(folder / "splits.parquet", problem)
    write_json(folder / "run.json", _description(problem, to_json_types(record)).to_dict())


def _description(problem: Problem, more: dict[str, Any]) -> RunRecord:
    data, known = problem.data, dict(more)
    prediction = known.pop("prediction", None)
    setting: Setting | None = None
    with suppress(InputError):
        setting = problem.setting()
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
        versions=_versions(),
        prediction=None if prediction is None else Prediction.from_dict(prediction),
        more=known,
    )


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def _write_splits(path: Path, problem: Problem) -> None:
    """Which row is in which part, so that anybody can check it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = problem.data
    names = [data.label_names[code] if code >= 0 else None for code in data.labels]
    table = pa.table({"id": data.ids.tolist(), "split": data.split.tolist(), "label": names})
    with beside(path) as part:
        pq.write_table(table, part)


def read_run(folder: Path) -> tuple[TrainConfig, RunRecord]:
    """The configuration and run.json of a run.

    Raises:
        InputError: The folder holds no run, or one of the two files is damaged.
    """
    try:
        block = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"a run in {folder}", str(error), _REMEDY) from error
    path = folder / "run.json"
    record = RunRecord.from_dict(read_json(path, "a run", _REMEDY), str(path))
    return parse_config(block, source=str(folder / "config.yaml")), record


def _check_same(folder: Path, problem: Problem) -> RunRecord:
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


def finish_run(folder: Path, status: RunStatus, reason: str | None) -> None:
    """Note in run.json how the run ended."""
    _, record = read_run(folder)
    write_json(folder / "run.json", replace(record, status=status, reason=reason).to_dict())


def read_journal(folder: Path) -> list[EpochLine]:
    """The lines of a run's metrics.jsonl; one cut short by a kill is left out."""
    path = folder / "metrics.jsonl"
    return [EpochLine.from_dict(line, str(path)) for line in read_lines(path)]


class Journal:
    """Writes one line per epoch, and the same numbers to TensorBoard.

    Lines of steps after `after_step` are dropped: a resumed run writes them again.
    """

    def __init__(self, folder: Path, *, after_step: int = 0) -> None:
        self.lines = [line for line in read_journal(folder) if line.step <= after_step]
        self._path = folder / "metrics.jsonl"
        # torch.utils.tensorboard looks for a TensorFlow that nothing else here uses.
        from torch.utils.tensorboard.writer import SummaryWriter

        make: Any = SummaryWriter
        self._board = make(str(folder / "tensorboard"), purge_step=after_step + 1)
        write_text(self._path, "".join(map(_text, self.lines)))

    def add(self, line: EpochLine) -> None:
        """Append a line."""
        self.lines.append(line)
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_text(line))
        except OSError as error:
            raise unwritable(self._path, error) from error
        for name, value in [*line.numbers.items(), ("seconds", line.seconds)]:
            self._board.add_scalar(name, value, line.step)
        self._board.flush()

    def close(self) -> None:
        """Finish the TensorBoard file."""
        self._board.close()


def _text(line: EpochLine) -> str:
    return json.dumps(line.to_dict(), allow_nan=False) + "\n"
