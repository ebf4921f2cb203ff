"""Data as training, evaluation and probes take them: inputs, labels, finer labels, split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.data._inputs import OpenedInputs
from uncollapse.errors import InputError
from uncollapse.records import DataDescription

SPLITS = ("train", "validation", "test")
# What files, folders and columns call them; of several arrays the last name counts.
SPLIT_WORDS = {
    "train": ("training", "train"),
    "validation": ("dev", "val", "validation", "valid"),
    "test": ("testing", "test"),
}


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
        description: What a record says of them.
    """

    inputs: OpenedInputs
    labels: NDArray[np.int64]
    label_names: tuple[str, ...]
    columns: Mapping[str, NDArray[Any]]
    fine: tuple[str, ...]
    slices: tuple[str, ...]
    groups: NDArray[Any] | None
    ids: NDArray[Any]
    split: NDArray[Any]
    description: DataDescription

    def rows(self, split: str) -> NDArray[np.int64]:
        """Numbers of the rows of one part, ascending.

        Raises:
            InputError: `split` is none of train, validation, test.
        """
        if split not in SPLITS:
            raise InputError(f"one of {', '.join(SPLITS)}", f"{split!r}", "name a part")
        return np.flatnonzero(self.split == split).astype(np.int64)
