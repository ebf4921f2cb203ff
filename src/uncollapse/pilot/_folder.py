"""A pilot's folder: locked while it is at work, what was asked for, and the files at its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from uncollapse.errors import InputError
from uncollapse.pilot.free import copy_map
from uncollapse.records import (
    Calibration,
    Document,
    Message,
    Objective,
    PilotOptions,
    PilotPlan,
    PilotResult,
    Recommendation,
    TrialFile,
    changed_config,
    to_json_types,
    yaml_text,
)
from uncollapse.storage import locked, write_json, write_text
from uncollapse.training import TrainConfig

# What may differ when a pilot is resumed, and what earlier versions did not ask for, by default.
_FREE = ("workers", "budget")
_NEW: dict[str, Any] = {"deploy": None, "goal": "least-change", "dials": []}
# Where a configuration names files.
_PATHS = [
    *(("data", key) for key in ("path", "table", "root", "folder")),
    ("encoder", "weights"),
    ("loss", "base"),
]


@dataclass(frozen=True)
class PlanFile(Document):
    """A pilot's plan.json: what was asked for, which stays, and the plan made of it."""

    kind: ClassVar[str] = "plan"
    asked: dict[str, Any]
    plan: PilotPlan | None  # None until it is made.
    objective: str = ""  # "" in files of earlier versions, and until the plan is made


@contextmanager
def opened(
    path: Path, config: TrainConfig, options: PilotOptions, calibration: Calibration | None = None
) -> Iterator[PlanFile]:
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
    with locked(path, "pilot"):
        yield _plan(path, config, options, calibration)


def _plan(
    path: Path, config: TrainConfig, options: PilotOptions, calibration: Calibration | None
) -> PlanFile:
    asked: dict[str, Any] = {
        "config": config.plain(),
        "options": {key: value for key, value in asdict(options).items() if key not in _FREE},
    }
    if calibration is not None:
        asked["calibration"] = sha256(calibration.to_json().encode()).hexdigest()
    new = PlanFile(to_json_types(asked), None)
    file = path / "plan.json"
    if not file.exists():
        return new
    former = PlanFile.read(file, "restore the file, or choose another folder with -o")
    then = former.asked.get("options")
    if isinstance(then, dict):
        # What an earlier version did not ask was as it is by default.
        former = replace(former, asked=former.asked | {"options": _NEW | then})
    if former.asked != new.asked:
        raise InputError(
            f"the configuration, options and calibration of the pilot in {path}",
            "others",
            "give the same ones to resume, or choose another folder with -o",
        )
    TrialFile.read_all(path)
    return former


def same_objective(former: PlanFile, goal: Objective, path: Path) -> None:
    """Refuse to go on with another objective than the runs of a folder were measured by."""
    if former.plan is None or former.objective == goal.name:
        return
    if former.objective or goal.by_retention:
        raise InputError(
            f"a pilot that was begun with the objective {goal.name}, in {path}",
            former.objective or "one of an earlier version, by other-view",
            "choose another folder with -o",
        )


def finish(path: Path, result: PilotResult, config: TrainConfig, base: Path) -> None:
    """Write pilot.json and recommended.yaml; the latter of an earlier try does not stay."""
    file, chosen = path / "recommended.yaml", result.recommendation
    linear = path / "map.safetensors"
    for former in (file, linear):
        former.unlink(missing_ok=True)
    if chosen is not None:
        if chosen.map:
            first = result.start.runs[0].seed
            copy_map(path / "trials" / "start" / f"seed-{first}", chosen.trial, linear)
        block = changed_config(config.plain(), chosen.change)
        # Relative paths are not to depend on where the file lies.
        stored = block["data"].get("reference") or {}
        for part, key in (*((block[part], key) for part, key in _PATHS), (stored, "path")):
            value = part.get(key)
            if isinstance(value, str) and not value.startswith("package:"):
                part[key] = str((base / value).resolve())
        write_text(file, _comment(file, result, chosen) + yaml_text(block))
    write_json(path / "pilot.json", result.to_dict())


def _comment(file: Path, result: PilotResult, chosen: Recommendation) -> str:
    """What `recommended.yaml` says at its head."""
    gain = next(reason.text for reason in reversed(result.reasons) if reason.code == "UC801")
    lines = [f"# What `uncollapse pilot` recommends: {gain}."]
    if chosen.change:
        lines.append(f"#   uncollapse train {file}")
        if chosen.layer != result.layer:
            lines.append(f"# Take the embedding from the layer {chosen.layer}.")
    else:
        apply = Message(f"free.{chosen.trial}", {})
        lines += [f"# No training: {apply}.", "# The setting below is the present one, as it was."]
    return "\n".join(lines) + "\n"
