"""A stress test's folder: locked while it is at work, and what its runs have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from uncollapse.errors import InputError
from uncollapse.records import Document, StressOptions, to_json_types
from uncollapse.storage import locked, write_json
from uncollapse.training import TrainConfig

# What a damaged run depends on beside its name, seed and configuration.
_ASKED = ("rare", "confusion", "objective", "layer")


@dataclass(frozen=True)
class StressPlan(Document):
    """plan.json: what was asked for, which stays, and epochs of a run; 0 until they are known."""

    kind: ClassVar[str] = "stress-plan"
    asked: dict[str, Any]
    epochs: int = 0


@contextmanager
def opened(
    path: Path, configs: dict[str, TrainConfig], options: StressOptions
) -> Iterator[StressPlan]:
    """Lock a folder; its plan. Damages and seeds may be others than before, and are added.

    Refused where it holds something else, another setting's runs, or one at work.
    """
    there = {file.name for file in path.iterdir()} if path.is_dir() else set()
    if "plan.json" not in there and not there <= {"lock"}:
        raise InputError(
            f"a new folder or one with a stress test, not {path}",
            "one that holds other files",
            "choose another folder with -o",
        )
    asked: dict[str, Any] = {name: config.plain() for name, config in configs.items()}
    asked["options"] = {name: getattr(options, name) for name in _ASKED}
    new = StressPlan(to_json_types(asked))
    with locked(path, "stress test"):
        file = path / "plan.json"
        if not file.exists():
            yield new
            return
        former = StressPlan.read(file, "restore the file, or choose another folder with -o")
        if former.asked != new.asked:
            raise InputError(
                f"the configurations and options of the stress test in {path}",
                "others",
                "give the same ones to resume, or choose another folder with -o",
            )
        yield former


def keep(path: Path, plan: StressPlan) -> None:
    """Write the plan."""
    write_json(path / "plan.json", plan.to_dict())
