"""Names of the columns that are read, by their role, where some were not given too."""

from __future__ import annotations

from uncollapse.tables.columns import embedding_columns, roles_of
from uncollapse.tables.rows import Reading


def columns_read(reading: Reading) -> dict[str, str]:
    """The columns that are read, by their role, as the first file has them.

    Raises:
        InputError: They are not there, or cannot be known.
    """
    shard, given = reading.shards[0], reading.columns
    vectors = embedding_columns(shard, given.embedding)
    apart = bool(reading.others)
    roles = roles_of(reading.others[0] if apart else shard, given, [] if apart else vectors)
    embedding = vectors[0] if len(vectors) == 1 else f"{vectors[0]}..{vectors[-1]}"
    return given.by_role(embedding, str(roles.labels))
