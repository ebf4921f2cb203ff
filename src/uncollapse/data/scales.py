"""Mean and standard deviation of the training rows, by channel or by feature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uncollapse.data.dataset import Inputs
from uncollapse.errors import InputError

_BLOCK = 1024


@dataclass(frozen=True)
class Scales:
    """Mean and standard deviation of each channel (images, in [0, 1]) or feature.

    Attributes:
        mean: (C,) or (D,) float32.
        std: The same shape; 0 for a channel or feature that never changes.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]


def training_scales(inputs: Inputs, rows: NDArray[np.int64], *, images: int = 10_000) -> Scales:
    """Mean and standard deviation over the training rows.

    Args:
        inputs: The data's inputs.
        rows: Numbers of the training rows.
        images: Of images, at most this many rows are read, evenly spaced; of vectors all are.

    Returns:
        The scales (of stored views over all views), from sums in float64.

    Raises:
        InputError: There is no row.

    Examples:
        >>> from types import SimpleNamespace
        >>> table = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
        >>> inputs = SimpleNamespace(kind="vector", shape=(2,), read=lambda rows: table[rows])
        >>> training_scales(inputs, np.arange(2))
        Scales(mean=array([2., 5.], dtype=float32), std=array([1., 0.], dtype=float32))
    """
    if not len(rows):
        raise InputError("training rows", "none", "give the data a split with training rows")
    if inputs.kind == "image" and len(rows) > images:
        rows = rows[np.linspace(0, len(rows) - 1, images).astype(np.int64)]
    shift = _flat(inputs, rows[:_BLOCK]).mean(0)  # keeps the differences of squares exact
    count, first, second = 0, torch.zeros_like(shift), torch.zeros_like(shift)
    for start in range(0, len(rows), _BLOCK):
        values = _flat(inputs, rows[start : start + _BLOCK]) - shift
        count += len(values)
        first += values.sum(0)
        second += values.square().sum(0)
    unit = 255.0 if inputs.kind == "image" else 1.0
    std = (second / count - (first / count).square()).clamp(min=0).sqrt()
    mean = shift + first / count
    return Scales((mean / unit).numpy().astype(np.float32), (std / unit).numpy().astype(np.float32))


def _flat(inputs: Inputs, rows: NDArray[np.int64]) -> Tensor:
    """All pixels or views of some rows, (places, C or D) float64."""
    values = inputs.read(rows)
    if inputs.kind == "image":
        values = values.movedim(1, -1)
    return values.reshape(-1, values.shape[-1]).to(torch.float64)
