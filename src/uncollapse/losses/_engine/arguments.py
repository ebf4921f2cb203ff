"""What the caller gave, checked and flattened: one row per embedding."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from uncollapse.errors import InputError

UNLABELLED = -1

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
_INTEGERS = {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}


@dataclass(frozen=True)
class Options:
    """What all losses take beside their definition, checked."""

    temperature: float
    normalize: bool  # Whether embeddings are divided by their norm.
    gather: bool = False  # Whether the batch is that of all processes.
    process_group: dist.ProcessGroup | None = None  # None for all processes.
    tile_size: int | None = None  # None for a choice by batch and device.

    def __post_init__(self) -> None:
        temperature = check_number("temperature", self.temperature, 1e-6, 1e6)
        object.__setattr__(self, "temperature", temperature)
        for name in ("normalize", "gather"):
            flag = getattr(self, name)
            # A string would be true whatever it says.
            if not isinstance(flag, bool):
                raise InputError(f"{name} True or False", f"{name} = {flag!r}", "choose one")
        size = self.tile_size
        is_size = isinstance(size, int) and not isinstance(size, bool) and size > 0
        if size is not None and not is_size:
            expected = "tile_size a positive integer or None"
            raise InputError(expected, f"tile_size = {size!r}", "leave it out")


@dataclass(frozen=True)
class Samples:
    """One row per embedding; rows of one instance number are views of one instance."""

    embeddings: Tensor  # (N, d), the caller's dtype, still part of the caller's graph.
    labels: Tensor  # (N,) int64, -1 for unlabelled.
    instances: Tensor  # (N,) int64.
    instances_given: bool  # Or they were counted from zero.

    @property
    def compute_dtype(self) -> torch.dtype:
        """The dtype in which similarities are computed: at least float32."""
        return torch.promote_types(self.embeddings.dtype, torch.float32)


@dataclass(frozen=True)
class Rows:
    """What rows are called in an error, and what helps where one has no direction."""

    name: str
    remedy: str


EMBEDDINGS = Rows(
    "embeddings",
    "check the encoder's last layer (a ReLU can silence a whole row), or give unit vectors with "
    "normalize=False",
)


def row_scales(rows: Tensor, dtype: torch.dtype, options: Options, of: Rows = EMBEDDINGS) -> Tensor:
    """(n,): 1 / (|e| sqrt(tau)), or 1 / sqrt(tau) if rows are taken as they are."""
    rows = rows.detach()
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=dtype)
    scale = options.temperature**-0.5
    if len(norms) == 0:
        return norms
    smallest, largest = norms.aminmax()
    if not bool(torch.isfinite(largest)):
        row = int((~torch.isfinite(norms)).nonzero()[0])
        what = "nan" if bool(rows[row].isnan().any()) else "infinity"
        if bool(rows[row].isfinite().all()):
            what = "a norm that overflows"
        raise InputError(
            f"finite {of.name}",
            f"{what} in row {row}",
            "look for a diverged training step, or for half precision that overflows",
        )
    if not options.normalize:
        return torch.full_like(norms, scale)
    # Below this, squares are no longer normal numbers, and the norm loses its digits.
    if float(smallest) < torch.finfo(dtype).tiny ** 0.5:
        row = int(norms.argmin())
        is_zero = not bool(rows[row].any())
        raise InputError(
            f"{of.name} with a direction",
            f"a {'' if is_zero else 'nearly '}zero vector in row {row}",
            of.remedy,
        )
    scales: Tensor = scale / norms
    return scales


def precise_dtype(device: torch.device) -> torch.dtype:
    """The dtype of sums over tiles and samples: float64 where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


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


def read_samples(
    embeddings: Tensor,
    labels: Tensor | None,
    instances: Tensor | None,
    *,
    allow_empty: bool = False,
) -> Samples:
    """Check shapes and dtypes, and flatten (b, p, d) with labels (b,) to one row per embedding."""
    _check_embeddings(embeddings, allow_empty)
    views = embeddings.shape[1] if embeddings.ndim == 3 else 1
    count, device = embeddings.shape[0], embeddings.device
    instances_given = instances is not None
    if labels is None:
        labels = torch.full((count,), UNLABELLED, device=device)
    if instances is None:
        instances = torch.arange(count, device=device)
    labels = _read_ids("labels", labels, count, device)
    if count and int(labels.min()) < UNLABELLED:
        expected = "labels of 0 or more, or -1 for unlabelled"
        raise InputError(expected, f"label {int(labels.min())}", "number the classes from 0")
    instances = _read_ids("instances", instances, count, device)
    if views != 1:
        labels, instances = labels.repeat_interleave(views), instances.repeat_interleave(views)
    return Samples(embeddings.flatten(0, -2), labels, instances, instances_given)


def _check_embeddings(embeddings: Tensor, allow_empty: bool) -> None:
    expected = "embeddings of shape (N, d), or (b, p, d) for p views of b instances"
    if not isinstance(embeddings, Tensor):
        raise InputError(expected, type(embeddings).__name__, "give a torch tensor")
    if embeddings.dtype not in FLOATS:
        raise InputError(
            "embeddings of dtype float16, bfloat16, float32 or float64",
            f"{embeddings.dtype}",
            "convert them with embeddings.float()",
        )
    if embeddings.is_nested or embeddings.layout != torch.strided:
        raise InputError(
            "a dense tensor of embeddings",
            "a nested one" if embeddings.is_nested else f"layout {embeddings.layout}",
            "give embeddings.to_dense(), or the rows of a nested tensor with instance numbers",
        )
    shape = tuple(embeddings.shape)
    if embeddings.ndim not in (2, 3):
        raise InputError(expected, f"shape {shape}", "reshape the embeddings")
    if 0 in shape[1:] or (shape[0] == 0 and not allow_empty):
        raise InputError(expected, f"an empty tensor of shape {shape}", "give a batch with samples")


def _read_ids(name: str, ids: Tensor, count: int, device: torch.device) -> Tensor:
    """Labels or instance numbers as (count,) int64 on the device of the embeddings."""
    expected = f"{name} of shape ({count},), one per row of the embeddings' first dimension"
    if not isinstance(ids, Tensor):
        raise InputError(expected, type(ids).__name__, f"give torch.as_tensor({name})")
    if ids.dtype not in _INTEGERS:
        expected = f"{name} of an integer dtype"
        raise InputError(expected, f"{ids.dtype}", f"convert them with {name}.long()")
    if tuple(ids.shape) != (count,):
        raise InputError(expected, f"shape {tuple(ids.shape)}", f"reshape or repeat the {name}")
    return ids.detach().to(device=device, dtype=torch.int64)
