"""Checkpoints: safetensors and JSON, written beside and renamed, so that a whole one always exists.

A checkpoint is a folder with `model.safetensors`, `optimiser.safetensors` and `state.json`. The
files `last.json` and `best.json` beside it name the ones that count; a folder that neither names is
left over from a run that was killed, and is removed when the next one is written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from uncollapse.errors import InputError
from uncollapse.records import Document, read_json
from uncollapse.storage import unwritable, write_json
from uncollapse.training._run.state import RunState

Which = Literal["last", "best"]
_REMEDY = "copy the run's folder again"


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


def all_finite(tensors: Mapping[str, Tensor]) -> bool:
    """Whether no weight is NaN or infinite."""
    return all(bool(torch.isfinite(t).all()) for t in tensors.values() if t.is_floating_point())
