"""Checkpoints: safetensors and JSON, written beside and renamed, so that a whole one always exists.

A checkpoint is a folder with `model.safetensors`, `optimiser.safetensors` and `state.json`. The
files `last.json` and `best.json` beside it name the ones that count; a folder that neither names is
left over from a run that was killed, and is removed when the next one is written.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from uncollapse.errors import InputError
from uncollapse.storage import unwritable, write_json

__all__ = ["Which", "all_finite", "read_checkpoint", "write_checkpoint"]

Which = Literal["last", "best"]


def write_checkpoint(
    folder: Path,
    model: Mapping[str, Tensor],
    optimiser: Mapping[str, Any],
    state: Mapping[str, Any],
    *,
    best: bool = False,
) -> None:
    """Write a checkpoint and point `last` to it, and `best` too where asked.

    Args:
        folder: The run's folder of checkpoints.
        model: The model's state dict.
        optimiser: The optimiser's state dict.
        state: Where the run stands; JSON types, with "step".
        best: Whether it is the best so far.

    Raises:
        InputError: It cannot be written; the former checkpoints are whole and still count.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors, plain = _flattened(optimiser)
    name = f"step-{state['step']:09d}"
    beside = folder / f".{name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        save_file(_contiguous(model), beside / "model.safetensors")
        save_file(_contiguous(tensors), beside / "optimiser.safetensors")
        write_json(beside / "state.json", {**state, "optimiser": plain})
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
    if best:
        write_json(folder / "best.json", {"checkpoint": name})
    write_json(folder / "last.json", {"checkpoint": name})
    _remove_others(folder)


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _remove_others(folder: Path) -> None:
    counted = {_named(folder, which) for which in ("last", "best")}
    for path in folder.iterdir():
        if path.is_dir() and path.name not in counted:
            shutil.rmtree(path, ignore_errors=True)


def _named(folder: Path, which: str) -> str | None:
    try:
        return str(json.loads((folder / f"{which}.json").read_text(encoding="utf-8"))["checkpoint"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"the name of a checkpoint in {folder / which}.json", str(error), "restore the file"
        ) from error


def read_checkpoint(
    folder: Path, which: Which = "last"
) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]] | None:
    """The model's and the optimiser's state dicts and the state, or None if there is none yet.

    Raises:
        InputError: It is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    name = _named(folder, which)
    if name is None:
        return None
    try:
        state = json.loads((folder / name / "state.json").read_text(encoding="utf-8"))
        model = load_file(folder / name / "model.safetensors")
        tensors = load_file(folder / name / "optimiser.safetensors")
        optimiser = _nested(tensors, state.pop("optimiser"))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(
            f"a whole checkpoint in {folder / name}", str(error), "copy the run's folder again"
        ) from error
    return model, optimiser, state


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
