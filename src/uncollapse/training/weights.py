"""Weights from a file into a model: found without importing anything, loaded without unpickling."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from importlib.machinery import PathFinder
from pathlib import Path, PurePosixPath
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from torch import Tensor, nn

from uncollapse.errors import InputError

# Wrappers in which public checkpoints keep their state dict.
_INSIDE = ("state_dict", "model", "model_state_dict")
# Before the names of an encoder's tensors in a checkpoint of `uncollapse train`.
_BACKBONE = "backbone."
# A damaged pickle ends torch's reader in any of these.
_UNREADABLE = (
    UnpicklingError, OSError, RuntimeError, ValueError, EOFError, LookupError, TypeError,
    AttributeError, AssertionError, MemoryError, struct.error,
)  # fmt: skip
# Of batch norm; older files have none, and nothing is computed from it.
_COUNTER = "num_batches_tracked"


def load_weights(model: nn.Module, path: Path, match: Literal["name", "order"]) -> None:
    """Load every parameter and buffer of a model from a file.

    Tensors are matched by "name" (what the model has no place for, such as a classifier, is left
    out), or by "order": the n-th tensor of the file is the n-th of the model where their last names
    ("weight", "running_var") and their modules agree, since shapes alone cannot distinguish a
    weight from a variance. A safetensors file has no order and is matched by name only. Of a
    checkpoint of `uncollapse train` the backbone's are taken.
    """
    tensors, wanted = _tensors(path), model.state_dict()
    if all(_BACKBONE + name in tensors for name in wanted):
        tensors = {name: tensors[_BACKBONE + name] for name in wanted}
    if match == "order":
        tensors = wanted | _by_order(tensors, wanted, path)
    missing = [name for name in wanted if name not in tensors]
    if missing:
        raise InputError(
            f"all {len(wanted)} tensors of the model in {path}",
            f"{len(missing)} missing, the first {missing[0]!r}",
            "give weights of this model, or match: order where only names differ",
        )
    for name, tensor in wanted.items():
        _check_tensor(tensors[name], tensor, f"{name!r} in {path}")
    model.load_state_dict({name: tensors[name] for name in wanted})


def _by_order(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path
) -> dict[str, Tensor]:
    """The file's tensors by the model's names; refused where the pairs do not mean the same."""
    if path.suffix.lower() == ".safetensors":
        raise InputError(
            "weights that have an order, for match: order",
            f"{path}, and a safetensors file has none (it is sorted when it is written)",
            "rename its tensors to the model's names and use match: name, or give a .pt state dict",
        )
    names = [name for name in wanted if not name.endswith(_COUNTER)]
    given = [name for name in tensors if not name.endswith(_COUNTER)]
    if len(given) < len(names):
        raise InputError(
            f"{len(names)} tensors in {path}", f"{len(given)}", "give weights of this model"
        )
    pairs = list(zip(names, given, strict=False))
    present = {name.rpartition(".")[0] for name in names}
    modules: dict[str, str] = {}
    partners: dict[str, str] = {}
    for name, other in pairs:
        (module, _, last), (other_module, _, other_last) = (
            name.rpartition("."),
            other.rpartition("."),
        )
        same_module = modules.setdefault(module, other_module) == other_module
        same_module &= partners.setdefault(other_module, module) == module
        if last != other_last or not same_module or _another(module, other_module, present):
            raise InputError(
                f"weights in {path} in the model's order",
                f"{other!r} where the model has {name!r}",
                "rename the tensors to the model's names and use match: name",
            )
    return {name: tensors[other] for name, other in pairs}


def _another(module: str, other: str, present: set[str]) -> bool:
    """Whether a name of the file is that of another module beside the model's: key for query.

    Numbers say nothing: what is left out between two layers moves them.
    """
    parent, dot, mine = module.rpartition(".")
    theirs = other.rpartition(".")[2]
    return theirs != mine and not theirs.isdecimal() and f"{parent}{dot}{theirs}" in present


def _check_tensor(given: Tensor, wanted: Tensor, where: str) -> None:
    if given.shape != wanted.shape:
        raise InputError(
            f"shape {tuple(wanted.shape)} for {where}",
            f"{tuple(given.shape)}",
            "give weights of this model, with as many input channels",
        )
    if given.is_floating_point() != wanted.is_floating_point() or given.is_complex():
        raise InputError(
            f"{wanted.dtype} for {where}",
            f"{given.dtype}",
            "give weights as they were trained: quantised ones must be dequantised first",
        )
    if given.is_quantized or given.layout != torch.strided or given.is_meta:
        raise InputError(f"a plain tensor for {where}", "a packed one", "save dense float tensors")
    if given.is_floating_point() and not bool(torch.isfinite(given.to(wanted.dtype)).all()):
        raise InputError(
            f"finite numbers for {where}",
            f"NaN, infinity, or what is infinite as {wanted.dtype}",
            "take a checkpoint from before the training diverged",
        )


def weights_path(given: str, base: Path | None) -> Path:
    """Where a file of weights is: a path from `base`, or "package:NAME/FILE" in a package.

    The package is found on the path of imports by its plain name, and nothing of it is run.
    """
    if not given.startswith("package:"):
        return Path(given) if base is None else base / given
    name, _, file = given.removeprefix("package:").partition("/")
    inside = PurePosixPath(file)
    if not re.fullmatch(r"[A-Za-z_]\w*", name) or not file or ".." in inside.parts:
        raise InputError(
            "package:NAME/FILE with a package's plain name and a file inside it",
            repr(given),
            "dotted names and paths with .. are not taken; give a path of your own",
        )
    if inside.is_absolute() or "\\" in file:
        raise InputError(
            "a file inside the package", repr(given), "write it as package:NAME/folder/file"
        )
    spec = PathFinder.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"the installed package {name}, for {given!r}",
            "an environment without it",
            f"pip install {name.replace('_', '-')}",
        )
    return Path(next(iter(spec.submodule_search_locations))) / file


def _tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise InputError(f"a file of weights at {path}", "none", "check encoder.weights")
    try:
        state: Any = (
            load_file(path)
            if path.suffix.lower() == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (*_UNREADABLE, SafetensorError) as error:
        reason = " ".join(str(error).split())[:120]
        if isinstance(error, UnpicklingError):  # torch's own text advises to load it all the same
            reason = "a pickle of more than tensors, or a damaged one"
        raise InputError(
            f"weights in {path} that load without unpickling", reason, "save them as safetensors"
        ) from error
    for key in _INSIDE:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    entries = state.items() if isinstance(state, dict) else ()
    tensors = {k: v for k, v in entries if isinstance(k, str) and isinstance(v, Tensor)}
    if not tensors:
        found = f"{type(state).__name__} without tensors by name"
        raise InputError(f"a state dict in {path}", found, "save model.state_dict()")
    return tensors
