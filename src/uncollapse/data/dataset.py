"""Data as training, evaluation and probes take them: inputs, labels, split, scales."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uncollapse.data._images import DecodedWhenRead
from uncollapse.errors import InputError
from uncollapse.records import DataDescription, InputKind
from uncollapse.tables import SPLITS

# Rows of which the scales are summed at once.
_BLOCK = 1024


@dataclass(frozen=True)
class Inputs:
    """Rows in memory, in a mapped file, or decoded when they are read.

    The array is uint8 (M, C, H, W), or float32 (M, D) or (M, V, D).
    """

    array: NDArray[Any] | DecodedWhenRead
    kind: InputKind
    rows: NDArray[np.int64] | None = None  # of the array, when not all belong to the data
    identity: tuple[bytes, str] | None = None  # in place of the bytes that are not in memory
    notes: tuple[str, ...] = ()  # what was noticed when they were opened

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a row."""
        return self.array.shape[1:]

    def read(self, rows: NDArray[np.int64]) -> Tensor:
        """The rows, copied."""
        chosen = self.array[rows if self.rows is None else self.rows[rows]]
        return torch.from_numpy(np.ascontiguousarray(chosen))

    def fingerprint(self) -> tuple[bytes, str]:
        """What tells these inputs from others, and what that is made of."""
        if self.identity is not None:
            return self.identity
        return hashlib.sha256(np.ascontiguousarray(self.array).data).digest(), "bytes of the inputs"


@dataclass(frozen=True)
class LabelledData:
    """N rows with their labels (see `load_data`)."""

    inputs: Inputs
    labels: NDArray[np.int64]  # (N,) codes 0..m-1 of the training label; -1 for a row without one
    label_names: tuple[str, ...]  # the m names
    columns: Mapping[str, NDArray[Any]]  # (N,) text: finer labels and slices; "" for none
    fine: tuple[str, ...]  # names of the columns that are finer labels
    slices: tuple[str, ...]
    groups: NDArray[Any] | None  # (N,) text
    ids: NDArray[Any]  # (N,) text, unique
    split: NDArray[Any]  # (N,) "train", "validation" or "test"
    description: DataDescription  # what a record says of them
    beside: NDArray[np.float32] | None = None  # (N, e) a stored reference; NaN where a row has none

    def rows(self, split: str) -> NDArray[np.int64]:
        """Numbers of the rows of one part, ascending; `split` is one of `SPLITS`."""
        if split not in SPLITS:
            raise InputError(f"one of {', '.join(SPLITS)}", f"{split!r}", "name a part")
        return np.flatnonzero(self.split == split).astype(np.int64)


@dataclass(frozen=True)
class Scales:
    """Mean and standard deviation of each channel (images, in [0, 1]) or feature, (C,) or (D,)."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]  # 0 for a channel or feature that never changes


def training_scales(inputs: Inputs, rows: NDArray[np.int64], *, images: int = 10_000) -> Scales:
    """The scales of the training rows (of stored views over all views), from sums in float64.

    Of images, at most `images` rows are read, evenly spaced; of vectors all are.
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
