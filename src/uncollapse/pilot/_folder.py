"""The pilot's folder: plan, trials, result, and the configuration that is recommended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml
from filelock import FileLock, Timeout

from uncollapse.errors import InputError
from uncollapse.pilot.options import PilotOptions
from uncollapse.records import Document, PilotPlan, PilotResult, read_json, to_json_types
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
    plan: PilotPlan


@contextmanager
def opened(path: Path, config: TrainConfig, options: PilotOptions) -> Iterator[Folder]:
    """A pilot's folder, locked; refused where it holds something else or a pilot runs in it."""
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
        yield Folder(path, config, options)
    finally:
        lock.release()


class Folder:
    """What a pilot reads and writes; refused where its plan is that of another pilot."""

    def __init__(self, path: Path, config: TrainConfig, options: PilotOptions) -> None:
        self.path, self.block = path, config.plain()
        asked = {k: v for k, v in asdict(options).items() if k not in _FREE}
        self._asked = to_json_types({"config": self.block, "options": asked})
        self._file, self._former = path / "plan.json", None
        if self._file.exists():
            remedy = "restore the file, or choose another folder with -o"
            record = read_json(self._file, "a plan", remedy)
            self._former = PlanFile.from_dict(record, str(self._file))
        if self._former is not None and self._former.asked != self._asked:
            raise InputError(
                f"the configuration and options of the pilot in {path}",
                "others",
                "go on with the same ones, or choose another folder with -o",
            )

    def plan(self, make: Callable[[], PilotPlan]) -> PilotPlan:
        """The plan that is here, or a new one."""
        if self._former is not None:
            return self._former.plan
        plan = make()
        write_json(self._file, PlanFile(self._asked, plan).to_dict())
        return plan

    def recommend(self, block: dict[str, Any], said: str) -> str:
        """Write recommended.yaml; its path."""
        path = self.path / "recommended.yaml"
        text = f"# What `uncollapse pilot` recommends: {said}.\n#   uncollapse train {path}\n"
        text += yaml.safe_dump(block, sort_keys=False, allow_unicode=True)
        write_text(path, text)
        return str(path)

    def finish(self, result: PilotResult) -> None:
        """Write pilot.json; without a recommendation none of an earlier try stays."""
        write_json(self.path / "pilot.json", result.to_dict())
        if result.recommendation is None:
            (self.path / "recommended.yaml").unlink(missing_ok=True)


def with_absolute_paths(block: dict[str, Any], base: Path) -> dict[str, Any]:
    """A full configuration whose relative paths no longer depend on where it lies."""
    new = {part: dict(keys) if isinstance(keys, dict) else keys for part, keys in block.items()}
    for part, key in _PATHS:
        value = new[part].get(key)
        if isinstance(value, str) and not value.startswith("package:"):
            new[part][key] = str((base / value).resolve())
    return new
