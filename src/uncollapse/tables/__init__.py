"""Files of rows: every format is read here, and nowhere else."""

from uncollapse.tables.columns import (
    Columns,
    embedding_columns,
    named_column,
)
from uncollapse.tables.formats import (
    ENDINGS,
    open_shards,
)
from uncollapse.tables.npy import (
    DAMAGED,
    read_archive,
)
from uncollapse.tables.rows import (
    Part,
    Reading,
)
from uncollapse.tables.shard import (
    Shard,
)

__all__ = [
    "DAMAGED",
    "ENDINGS",
    "Columns",
    "Part",
    "Reading",
    "Shard",
    "embedding_columns",
    "named_column",
    "open_shards",
    "read_archive",
]
