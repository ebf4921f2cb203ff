"""What a run says of its data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from uncollapse.records.codec import Part

InputKind = Literal["image", "vector", "views"]


@dataclass(frozen=True)
class DataDescription(Part):
    """What a record says of the data, in JSON types.

    Attributes:
        source: Kind of source.
        licence: Of the data; empty where the source does not say.
        label: Column of the training label.
        map: Coarse name -> finer names, when the label was made by a map.
        rows: Rows of each part.
        classes: Rows of each class, by part.
        unlabelled: Rows without a training label.
        split: How the split came about.
        seed: Of the split and of the subset.
        limit: As configured.
        notes: What the reader must know.
        kind: What a row is.
        shape: Shape of a row.
        fingerprint: SHA-256 of ids, labels, split and inputs: two runs with one fingerprint saw the
            same data.
        fingerprint_of: Of what of the inputs.
    """

    source: str
    licence: str
    label: str
    map: dict[str, list[str]] | None
    rows: dict[str, int]
    classes: dict[str, dict[str, int]]
    unlabelled: int
    split: str
    seed: int
    limit: int | dict[str, int | None] | None
    notes: list[str]
    kind: InputKind
    shape: list[int]
    fingerprint: str
    fingerprint_of: str
