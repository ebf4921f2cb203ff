"""The pilot's folder: plan, trials, result, and the configuration that is recommended."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from uncollapse.errors import InputError
from uncollapse.pilot.options import PilotOptions
from uncollapse.pilot.plan import Plan
from uncollapse.records import PilotResult, SettingChange
from uncollapse.storage import write_json, write_text
from uncollapse.training import TrainConfig

__all__ = ["Folder", "changed_block"]

# What may differ when a pilot is gone on with.
_FREE = ("workers", "budget")


class Folder:
    """A pilot's folder, locked while a pilot runs in it.

    Raises:
        InputError: It holds something else, a pilot of another configuration or other options, or
            a pilot runs in it.
    """

    def __init__(self, path: Path, config: TrainConfig, options: PilotOptions) -> None:
        self.path, self.block = path, config.plain()
        asked = {k: v for k, v in asdict(options).items() if k not in _FREE}
        self._asked = json.loads(json.dumps({"config": self.block, "options": asked}))
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
        if plan.exists():
            former = json.loads(plan.read_text(encoding="utf-8"))
            if former["asked"] != self._asked:
                self.__exit__()
                raise InputError(
                    f"the configuration and options of the pilot in {path}",
                    "others",
                    "go on with the same ones, or choose another folder with -o",
                )
        return self

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

    def plan(self, make: Callable[[], Plan]) -> Plan:
        """The plan that is here, or a new one."""
        file = self.path / "plan.json"
        if file.exists():
            return Plan(**json.loads(file.read_text(encoding="utf-8"))["plan"])
        plan = make()
        write_json(file, {"asked": self._asked, "plan": plan.to_dict()})
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


def changed_block(
    block: dict[str, Any], changes: Sequence[SettingChange], base: Path
) -> dict[str, Any]:
    """A full configuration with some keys changed and its relative paths made absolute."""
    new: dict[str, Any] = json.loads(json.dumps(block))
    for change in changes:
        of, key = change.key.split(".")
        new[of][key] = change.after
    for of, key in (
        ("data", "path"),
        ("data", "table"),
        ("data", "root"),
        ("data", "folder"),
        ("encoder", "weights"),
    ):
        value = new[of].get(key)
        if isinstance(value, str) and not value.startswith("package:"):
            new[of][key] = str((base / value).resolve())
    return new
