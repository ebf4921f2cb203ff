"""Checkpoints: safetensors and JSON, written beside and renamed, so that a whole one always exists.

A checkpoint is a folder with `model.safetensors`, `optimiser.safetensors` and `state.json`. The
files `last.json` and `best.json` beside it name the ones that count; a folder that neither names is
left over from a run that was killed, and is removed when the next one is written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor

from uncollapse.errors import InputError
from uncollapse.records import Document, Part, read_json
from uncollapse.storage import unwritable, write_json

Which = Literal["last", "best"]
_REMEDY = "copy the run's folder again"


@dataclass(frozen=True)
class Means(Part):
    """Sums over the steps of an epoch, saved with a checkpoint in the middle of it."""

    steps: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def plus(self, values: Mapping[str, float]) -> Means:
        """With one step more."""
        sums = {name: self.sums.get(name, 0.0) + value for name, value in values.items()}
        return Means(self.steps + 1, self.sums | sums)

    def means(self) -> dict[str, float]:
        """Mean of every quantity over the steps so far."""
        return {name: value / self.steps for name, value in self.sums.items()}


@dataclass(frozen=True)
class BestEpoch(Part):
    """The best epoch so far: by which measure, its value there, and when."""

    by: str
    value: float
    step: int
    epoch: int


@dataclass(frozen=True, kw_only=True)
class RunState(Document):
    """A checkpoint's state.json.

    Attributes:
        epoch: Epochs that are complete.
        offset: Steps of the next one that are done.
        step: Steps in all.
        means: Of the epoch under way.
        seconds: Of training.
        best: None without measures.
    """

    kind: ClassVar[str] = "checkpoint"
    epoch: int
    offset: int
    step: int
    means: Means
    seconds: float
    best: BestEpoch | None = None


@dataclass(frozen=True)
class Checkpoint:
    """The state dicts of model and optimiser, and where the run stands."""

    model: Mapping[str, Tensor]
    optimiser: Mapping[str, Any]
    state: RunState


@dataclass(frozen=True)
class _Named(Document):
    """last.json or best.json: the name of a checkpoint's folder."""

    kind: ClassVar[str] = "checkpoint-name"
    checkpoint: str


def write_checkpoint(folder: Path, content: Checkpoint, *, best: bool = False) -> None:
    """Write a checkpoint and point `last` to it, and `best` too where it is the best so far."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors, plain = _flattened(content.optimiser)
    name = f"step-{content.state.step:09d}"
    beside = folder / f".{name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        save_file(_contiguous(content.model), beside / "model.safetensors")
        save_file(_contiguous(tensors), beside / "optimiser.safetensors")
        write_json(beside / "state.json", content.state.to_dict() | {"optimiser": plain})
        for file in beside.iterdir():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        if (folder / name).exists():
            shutil.rmtree(folder / name)
        beside.replace(folder / name)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        reason = error if isinstance(error, OSError) else OSError(str(error))
        raise unwritable(folder / name, reason) from error
    for which in ("best", "last") if best else ("last",):
        write_json(folder / f"{which}.json", _Named(name).to_dict())
    counted = {_name(folder, "last"), _name(folder, "best")}
    for path in folder.iterdir():
        if path.is_dir() and path.name not in counted:
            shutil.rmtree(path, ignore_errors=True)


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _name(folder: Path, which: Which) -> str | None:
    path = folder / f"{which}.json"
    if not path.exists():
        return None
    return _Named.from_dict(read_json(path, remedy=_REMEDY), str(path)).checkpoint


def read_checkpoint(folder: Path, which: Which = "last") -> Checkpoint | None:
    """The checkpoint, or None if there is none yet."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    name = _name(folder, which)
    if name is None:
        return None
    path = folder / name / "state.json"
    record = read_json(path, remedy=_REMEDY)
    state = RunState.from_dict(record, str(path))
    try:
        model = load_file(folder / name / "model.safetensors")
        tensors = load_file(folder / name / "optimiser.safetensors")
        return Checkpoint(model, _nested(tensors, record["optimiser"]), state)
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise InputError(f"a whole checkpoint in {folder / name}", str(error), _REMEDY) from error


def _flattened(optimiser: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimiser's tensors under "PARAMETER.NAME", and the rest as JSON types."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {"groups": optimiser["param_groups"], "numbers": {}}
    for index, entries in optimiser["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{name}"] = value
            else:
                plain["numbers"][f"{index}.{name}"] = value
    return tensors, plain


def _nested(tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {}
    for key, value in [*tensors.items(), *plain["numbers"].items()]:
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    return {"state": state, "param_groups": plain["groups"]}
