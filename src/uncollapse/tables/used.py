"""Names of the columns that are read, where some were not given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from uncollapse.tables.columns import Columns, embedding_columns, roles_of
from uncollapse.tables.formats import open_shards


def used_columns(
    paths: Sequence[str | Path], columns: Columns, labels_from: Sequence[str | Path] = ()
) -> Columns:
    """The columns with the names of the embedding and the label that are read, by the first file.

    Raises:
        InputError: They are not there, or cannot be known.
    """
    views = columns.instance is not None
    shard = open_shards(paths[:1], views=views)[0]
    vectors = embedding_columns(shard, columns.embedding)
    other = open_shards(labels_from[:1], views=views)[0] if labels_from else None
    roles = roles_of(other or shard, columns, [] if other else vectors)
    embedding = vectors[0] if len(vectors) == 1 else f"{vectors[0]}..{vectors[-1]}"
    return replace(columns, embedding=embedding, label=roles.labels)
