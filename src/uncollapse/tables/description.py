"""What `uncollapse embed` says in a file of the embeddings that it wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass

from uncollapse.errors import InputError
from uncollapse.records import Part
from uncollapse.tables._shard import Shard


@dataclass(frozen=True)
class Description(Part):
    """Names of the columns that a file of embeddings has, as far as it says.

    Attributes:
        layers: Columns of vectors.
        label: Training label.
        fine: Finer labels.
        slices: Slice columns.
        views: Views of each instance; 0 for one row per instance, not augmented.
    """

    layers: tuple[str, ...] = ()
    label: str | None = None
    fine: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    views: int = 0


def description_of(shard: Shard) -> Description:
    """The description in a parquet file (metadata) or an npz archive (the array "about").

    Raises:
        InputError: It is damaged.
    """
    try:
        return Description.from_dict(json.loads(shard.about or "{}"))
    except ValueError as error:  # an InputError is one
        raise InputError(
            f"JSON in the metadata of {shard.path}", f"{error}", "embed the run again"
        ) from error
