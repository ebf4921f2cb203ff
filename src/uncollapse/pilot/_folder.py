"""The pilot's folder: lock, plan, result, and the configuration that is recommended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml
from filelock import FileLock, Timeout

from uncollapse.errors import InputError
from uncollapse.pilot.options import PilotOptions
from uncollapse.records import (
    Document,
    PilotPlan,
    PilotResult,
    TrialFile,
    changed_config,
    read_json,
    to_json_types,
)
from uncollapse.storage import write_json, write_text
from uncollapse.training import TrainConfig

# What may differ when a pilot is gone on with.
_FREE = ("workers", "budget")
# Where a configuration names files.
_PATHS = (
    ("data", "path"),
    ("data", "table"),
    ("data", "root"),
    ("data", "folder"),
    ("encoder", "weights"),
)


@dataclass(frozen=True)
class PlanFile(Document):
    """A pilot's plan.json: what was asked for, which stays, and the plan made of it."""

    kind: ClassVar[str] = "plan"
    asked: dict[str, Any]
    plan: PilotPlan | None  # None until it is made.


@contextmanager
def opened(path: Path, config: TrainConfig, options: PilotOptions) -> Iterator[PlanFile]:
    """Lock a pilot's folder; its plan.

    Refused where it holds something else or another pilot, one at work, or a damaged trial.
    """
    there = {file.name for file in path.iterdir()} if path.is_dir() else set()
    if "plan.json" not in there and not there <= {"lock"}:
        raise InputError(
            f"a new folder or one with a pilot, not {path}",
            "one that holds other files",
            "choose another folder with -o",
        )
    lock = FileLock(path / "lock", timeout=0)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise InputError(
            f"no other pilot at work in {path}", "one", "wait for it or stop it"
        ) from error
    except OSError as error:
        remedy = "choose another"
        raise InputError(f"a folder {path} to write to", str(error), remedy) from error
    try:
        yield _plan(path, config, options)
    finally:
        lock.release()


def _plan(path: Path, config: TrainConfig, options: PilotOptions) -> PlanFile:
    asked = {key: value for key, value in asdict(options).items() if key not in _FREE}
    new = PlanFile(to_json_types({"config": config.plain(), "options": asked}), None)
    file = path / "plan.json"
    if not file.exists():
        return new
    record = read_json(file, "a plan", "restore the file, or choose another folder with -o")
    former = PlanFile.from_dict(record, str(file))
    if former.asked != new.asked:
        raise InputError(
            f"the configuration and options of the pilot in {path}",
            "others",
            "go on with the same ones, or choose another folder with -o",
        )
    TrialFile.read_all(path)
    return former


def finish(path: Path, result: PilotResult, config: TrainConfig, base: Path) -> None:
    """Write pilot.json and recommended.yaml; the latter of an earlier try does not stay."""
    file, chosen = path / "recommended.yaml", result.recommendation
    if chosen is None:
        file.unlink(missing_ok=True)
    else:
        block = changed_config(config.plain(), chosen.change)
        for part, key in _PATHS:
            # Relative paths are not to depend on where the file lies.
            value = block[part].get(key)
            if isinstance(value, str) and not value.startswith("package:"):
                block[part] = block[part] | {key: str((base / value).resolve())}
        said = f"# What `uncollapse pilot` recommends: {result.reasons[-1].text}.\n"
        said += f"#   uncollapse train {file}\n"
        write_text(file, said + yaml.safe_dump(block, sort_keys=False, allow_unicode=True))
    write_json(path / "pilot.json", result.to_dict())
