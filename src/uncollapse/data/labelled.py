"""Data as training, evaluation and probes take them: inputs, labels, finer labels, split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from uncollapse.errors import InputError

__all__ = ["SPLITS", "Inputs", "LabelledData"]

SPLITS = ("train", "validation", "test")


class Inputs(Protocol):
    """Rows that can be read by number.

    Attributes:
        kind: "image", "vector" or "views" (stored views of a row).
        shape: (C, H, W), (D,) or (V, D).
    """

    @property
    def kind(self) -> Literal["image", "vector", "views"]:
        """What a row is."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a row."""
        ...

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def read(self, rows: NDArray[np.int64]) -> Tensor:
        """The rows: uint8 (n, C, H, W), float32 (n, D) or float32 (n, V, D)."""
        ...


@dataclass(frozen=True)
class LabelledData:
    """N rows with their labels (see `load_data`).

    Attributes:
        inputs: The rows themselves.
        labels: (N,) int64 codes 0..m-1 of the training label; -1 for a row without one.
        label_names: The m names.
        columns: (N,) text arrays: finer labels and slices. Empty text where the data have none.
        fine: Names of the columns that are finer labels.
        slices: Names of the columns that are slices.
        groups: (N,) text, or None.
        ids: (N,) text, unique.
        split: (N,) "train", "validation" or "test".
        description: JSON-able: source, licence, label map, counts, fingerprint, notes.
    """

    inputs: Inputs
    labels: NDArray[np.int64]
    label_names: tuple[str, ...]
    columns: Mapping[str, NDArray[Any]]
    fine: tuple[str, ...]
    slices: tuple[str, ...]
    groups: NDArray[Any] | None
    ids: NDArray[Any]
    split: NDArray[Any]
    description: dict[str, Any]

    def rows(self, split: str) -> NDArray[np.int64]:
        """Numbers of the rows of one part, ascending.

        Raises:
            InputError: `split` is none of train, validation, test.
        """
        if split not in SPLITS:
            raise InputError(f"one of {', '.join(SPLITS)}", f"{split!r}", "name a part")
        return np.flatnonzero(self.split == split).astype(np.int64)
