"""What the caller gave as a batch, checked and flattened: one row per embedding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from uncollapse.errors import InputError
from uncollapse.losses._engine.arguments import (
    FLOATS,
    IGNORED,
    UNLABELLED,
    Ids,
    Options,
    smallest_norm,
)

_INTEGERS = {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}


@dataclass(frozen=True)
class Samples:
    """One row per embedding; rows of one instance number are views of one instance."""

    embeddings: Tensor  # (N, d), the caller's dtype, still part of the caller's graph.
    labels: Tensor  # (N,) int64, -1 for unlabelled.
    instances: Tensor  # (N,) int64.
    instances_given: bool  # Or they were counted from zero.
    count: int  # Of the first dimension: instances, if they were not given.

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


def row_scales(
    rows: Tensor,
    dtype: torch.dtype,
    options: Options,
    of: Rows = EMBEDDINGS,
    *,
    look: bool = True,
) -> Tensor:
    """(n,): 1 / (|e| sqrt(tau)), or 1 / sqrt(tau) if rows are taken as they are.

    Without a look at them, a row of zeros is one that has no direction, and others are as they are.
    """
    rows = rows.detach()
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=dtype)
    scale = options.temperature**-0.5
    if len(norms) == 0:
        return norms
    tiny = smallest_norm(dtype)
    if not look:
        return scale / norms.clamp(min=tiny) if options.normalize else torch.full_like(norms, scale)
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
    if float(smallest) < tiny:
        row = int(norms.argmin())
        is_zero = not bool(rows[row].any())
        raise InputError(
            f"{of.name} with a direction",
            f"a {'' if is_zero else 'nearly '}zero vector in row {row}",
            of.remedy,
        )
    scales: Tensor = scale / norms
    return scales


def refuse_overflow(norm: float, dtype: torch.dtype) -> None:
    """Raise if the largest norm of a scaled row gives inner products that the dtype has not."""
    if norm * norm > torch.finfo(dtype).max / 1e6:
        raise InputError(
            "inner products / temperature that do not overflow",
            f"up to {norm * norm:.0e}",
            "scale the embeddings down, or let them be normalised",
        )


def read_samples(
    embeddings: Tensor,
    labels: Ids | None,
    instances: Ids | None,
    *,
    allow_empty: bool = False,
    look: bool = True,
) -> Samples:
    """Check shapes and dtypes, and flatten (b, p, d) with labels (b,) to one row per embedding.

    Without a look at them, labels below -1 are not found.
    """
    _check_embeddings(embeddings, allow_empty)
    views = embeddings.shape[1] if embeddings.ndim == 3 else 1
    count, device = embeddings.shape[0], embeddings.device
    if labels is None:
        classes = torch.full((count * views,), UNLABELLED, device=device)
    else:
        classes = _read_labels(labels, count, views, device, look)
    if instances is None:
        numbers_of = torch.arange(count, device=device)
    else:
        numbers_of = _whole("instances", as_tensor("instances", instances), count, device)
    if views != 1:
        numbers_of = numbers_of.repeat_interleave(views)
    return Samples(embeddings.flatten(0, -2), classes, numbers_of, instances is not None, count)


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


def as_tensor(name: str, ids: Ids) -> Tensor:
    """A list or array of numbers as a tensor."""
    if isinstance(ids, Tensor):
        return ids
    remedy = f"number them, for example by numpy.unique({name}, return_inverse=True)[1]"
    if not isinstance(ids, np.ndarray | list | tuple):
        expected = f"{name} as a tensor, an array or a list of whole numbers"
        raise InputError(expected, type(ids).__name__, f"give torch.as_tensor({name})")
    if np.ma.is_masked(ids):
        raise InputError(f"{name} of whole numbers", "masked entries", "mark them by -1")
    if len(ids) and not isinstance(ids, np.ndarray) and all(isinstance(i, Tensor) for i in ids):
        ids = [i.item() if i.numel() == 1 else i.tolist() for i in ids]
    try:
        array = np.asarray(ids)
        if array.dtype == object:  # a column of pandas: numbers as Python has them
            array = np.asarray(array.tolist())
    except ValueError as error:
        raise InputError(f"one of the {name} per row", "rows of several lengths", remedy) from error
    if array.dtype.kind not in "biuf":
        found = f"{array.dtype}" if array.dtype != object else "other things"
        raise InputError(f"{name} of whole numbers", found, remedy)
    if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise InputError(f"{name} below 2^63", f"{int(array.max())}", remedy)
    wide = np.float64 if array.dtype.kind == "f" else np.int64
    return torch.from_numpy(array.astype(wide))


def _read_labels(labels: Ids, count: int, views: int, device: torch.device, look: bool) -> Tensor:
    """(count views,) int64 classes, and `UNLABELLED` for none."""
    given = as_tensor("labels", labels)
    if given.is_floating_point():
        given = _whole_of_floats(given)
    if given.ndim == 2 and given.shape[1] == 1:
        given = given.squeeze(1)
    classes = _whole("labels", given, count, device)
    ignored = (classes == IGNORED)[:, None]
    # One operation makes room for the views and fills it.
    classes = classes[:, None].expand(-1, views).masked_fill(ignored, UNLABELLED).flatten()
    if look and count:
        check_least(int(classes.min()))
    return classes


def check_least(label: int) -> None:
    """Raise if the least label is none."""
    if label < UNLABELLED:
        raise InputError(
            f"labels of 0 or more, or -1 for unlabelled ({IGNORED}, which cross-entropy ignores, "
            "is read as -1)",
            f"label {label}",
            "number the classes from 0",
        )


def _whole_of_floats(labels: Tensor) -> Tensor:
    """Whole numbers in a dtype of floats, as far as it has them all, as integers."""
    values = labels.detach()
    most = 2 / torch.finfo(values.dtype).eps
    usable = values.isfinite() & (values == values.round()) & (values.abs() <= most)
    if not bool(usable.all()):
        worst = float(values[~usable].flatten()[0])
        inexact = "too large to be exact, " if abs(worst) > most else ""
        raise InputError(
            "labels of whole numbers, one class a row",
            f"{inexact}{worst:g} ({values.dtype})",
            "a score or soft label is no class: cut it, as in (labels > 0.5).long(), or give the "
            "class number with .long()",
        )
    return values.long()


def _whole(name: str, ids: Tensor, count: int, device: torch.device) -> Tensor:
    """Labels or instance numbers as (count,) int64 on the device of the embeddings."""
    if ids.dtype not in _INTEGERS:
        expected = f"{name} of an integer dtype"
        raise InputError(expected, f"{ids.dtype}", f"convert them with {name}.long()")
    if tuple(ids.shape) != (count,):
        expected = f"{name} of shape ({count},), one per row of the embeddings' first dimension"
        one_hot = ids.ndim == 2 and len(ids) == count
        cast = f"give {name}.argmax(dim=1) of one-hot rows" if one_hot else "reshape or repeat them"
        raise InputError(expected, f"shape {tuple(ids.shape)}", cast)
    return ids.detach().to(device=device, dtype=torch.int64)
