"""What `uncollapse embed` says in a file of the embeddings that it wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass

from uncollapse.errors import InputError
from uncollapse.tables._shard import Shard

__all__ = ["Description", "description_of"]


@dataclass(frozen=True)
class Description:
    """Names of the columns that a file of embeddings has, as far as it says.

    Attributes:
        known: Whether it says anything.
        layers: Columns of vectors.
        label: Training label.
        fine: Finer labels.
        slices: Slice columns.
        views: Views of each instance; 0 for one row per instance, not augmented.
    """

    known: bool = False
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
    if not shard.about:
        return Description()
    try:
        about = json.loads(shard.about)
        present = {column.name for column in shard.columns}

        def listed(key: str) -> tuple[str, ...]:
            return tuple(str(name) for name in about.get(key, ()) if name in present)

        label = about.get("label")
        return Description(
            known=True,
            layers=listed("layers"),
            label=None if label is None else str(label),
            fine=listed("fine"),
            slices=listed("slices"),
            views=int(about.get("views") or 0),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"JSON in the metadata of {shard.path}", f"{error}", "embed the run again"
        ) from error
