"""The pilot's folder: plan, trials, result, and the configuration that is recommended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from uncollapse.errors import InputError
from uncollapse.pilot.options import PilotOptions
from uncollapse.records import Document, PilotPlan, PilotResult, read_json, to_json_types
from uncollapse.storage import write_json, write_text
from uncollapse.training import TrainConfig

__all__ = ["Folder", "with_absolute_paths"]

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


class Folder:
    """A pilot's folder, locked while a pilot runs in it.

    Raises:
        InputError: It holds something else, a pilot of another configuration or other options, or
            a pilot runs in it.
    """

    def __init__(self, path: Path, config: TrainConfig, options: PilotOptions) -> None:
        self.path, self.block = path, config.plain()
        asked = {k: v for k, v in asdict(options).items() if k not in _FREE}
        self._asked = to_json_types({"config": self.block, "options": asked})
        self._lock: Any = None

    def __enter__(self) -> Folder:
        plan, path = self.path / "plan.json", self.path
        there = {file.name for file in path.iterdir()} if path.is_dir() else set()
        if not plan.exists() and not there <= {"lock"}:
            raise InputError(
                f"a new folder or one with a pilot, not {path}",
                "one that holds other files",
                "choose another folder with -o",
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = (path / "lock").open("w")
        except OSError as error:
            raise InputError(f"a folder {path} to write to", str(error), "choose another") from (
                error
            )
        self._take()
        try:
            self._check_same()
        except InputError:
            self.__exit__()
            raise
        return self

    def _former(self) -> PlanFile | None:
        """The plan that is here."""
        path = self.path / "plan.json"
        if not path.exists():
            return None
        remedy = "restore the file, or choose another folder with -o"
        return PlanFile.from_dict(read_json(path, "a plan", remedy), str(path))

    def _check_same(self) -> None:
        former = self._former()
        if former is not None and former.asked != self._asked:
            raise InputError(
                f"the configuration and options of the pilot in {self.path}",
                "others",
                "go on with the same ones, or choose another folder with -o",
            )

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def _take(self) -> None:
        try:
            import fcntl
        except ImportError:  # no such locks on this system: two pilots at once are not noticed
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise InputError(
                f"no other pilot at work in {self.path}", "one", "wait for it or stop it"
            ) from error

    def plan(self, make: Callable[[], PilotPlan]) -> PilotPlan:
        """The plan that is here, or a new one."""
        former = self._former()
        if former is not None:
            return former.plan
        plan = make()
        write_json(self.path / "plan.json", PlanFile(self._asked, plan).to_dict())
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
