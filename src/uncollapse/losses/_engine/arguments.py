"""What the caller gave beside the batch, checked."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from uncollapse.errors import InputError

UNLABELLED = -1
# What torch's cross-entropy (`ignore_index`) and Hugging Face mark a row without a label by.
IGNORED = -100

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]

# What a batch has a class or an instance number of each row in.
Ids = Tensor | NDArray[Any] | Sequence[Any]
Degenerate = Literal["error", "zero"]
# How a loss is computed: `choice` says which is taken where.
Backend = Literal["auto", "dense", "tiled", "fused"]
# When values are looked at: in the call, in a later one, or never.
Checks = Literal["now", "deferred", "off"]
# What products are made of: see `fused`.
Precision = Literal["exact", "fast"]


class DegenerateBatchError(InputError):
    """A batch that lacks the pairs which the loss is made of; "zero" counts it as nothing."""


@dataclass(frozen=True)
class Options:
    """What all losses take beside their definition, checked."""

    temperature: float
    normalize: bool  # Whether embeddings are divided by their norm.
    gather: bool = False  # Whether the batch is that of all processes.
    process_group: dist.ProcessGroup | None = None  # None for all processes.
    tile_size: int | None = None  # None for a choice by batch and device.
    degenerate: Degenerate = "error"  # What a batch without pairs is.
    learned: bool = False  # Whether the temperature has a gradient.
    track: bool = False  # Whether sums over classes are handed out.
    backend: Backend = "auto"
    checks: Checks | None = None  # None: now on a CPU, deferred elsewhere.
    precision: Precision = "exact"

    def __post_init__(self) -> None:
        check_choice("degenerate", self.degenerate, Degenerate)
        check_choice("backend", self.backend, Backend)
        check_choice("precision", self.precision, Precision)
        if self.checks is not None:
            check_choice("checks", self.checks, Checks)
        temperature = check_number("temperature", self.temperature, 1e-6, 1e6)
        object.__setattr__(self, "temperature", temperature)
        for name in ("normalize", "gather", "track"):
            flag = getattr(self, name)
            # A string would be true whatever it says.
            if not isinstance(flag, bool):
                raise InputError(f"{name} True or False", f"{name} = {flag!r}", "choose one")
        if self.track and not self.normalize:
            expected = "normalize=True with track, whose variances are those of unit vectors"
            raise InputError(expected, "normalize=False", "leave track out")
        size = self.tile_size
        is_size = isinstance(size, int) and not isinstance(size, bool) and size > 0
        if size is not None and not is_size:
            expected = "tile_size a positive integer or None"
            raise InputError(expected, f"tile_size = {size!r}", "leave it out")


def smallest_norm(dtype: torch.dtype) -> float:
    """Below it, squares are no longer normal numbers, and a norm loses its digits."""
    return float(torch.finfo(dtype).tiny ** 0.5)


def precise_dtype(device: torch.device) -> torch.dtype:
    """The dtype of sums over tiles and samples: float64 where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def check_choice(name: str, value: object, choices: Any) -> None:
    """Raise if the value of an option is none of its choices."""
    if value not in get_args(choices):
        expected = f"{name} one of {', '.join(map(repr, get_args(choices)))}"
        raise InputError(expected, f"{name} = {value!r}", "choose one")


def read_temperature(temperature: float | Tensor) -> tuple[float, Tensor | None]:
    """tau, and the tensor that it comes from where that takes a gradient."""
    return read_learned("temperature", temperature, 1e-6, 1e6)


def read_learned(
    name: str, value: float | Tensor, low: float, high: float
) -> tuple[float, Tensor | None]:
    """A number in [low, high], and the tensor that it comes from where that takes a gradient."""
    if not isinstance(value, Tensor) or not value.requires_grad:
        return check_number(name, value, low, high), None
    number = check_number(name, value.detach(), low, high)
    return number, value if torch.is_grad_enabled() else None


def check_number(name: str, value: object, low: float, high: float) -> float:
    """`value` as a float, if it is a number within [low, high]."""
    expected = f"{name} a number in [{low:g}, {high:g}]"
    if isinstance(value, Tensor):
        if value.requires_grad:
            given = f"{name} = a tensor that requires a gradient"
            raise InputError(expected, given, f"give float({name}); no gradient reaches it")
        if value.numel() != 1:
            shape = f"{name} = a tensor of shape {tuple(value.shape)}"
            raise InputError(expected, shape, "give one number")
        value = value.item()
    is_flag = isinstance(value, bool)
    if is_flag or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise InputError(expected, f"{name} = {value!r}", "give a finite number")
    if not low <= float(value) <= high:
        raise InputError(expected, f"{name} = {float(value):g}", "give a number in that range")
    return float(value)
