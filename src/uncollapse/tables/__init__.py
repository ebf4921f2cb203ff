"""Files of rows: every format is read here, and nowhere else."""

from uncollapse.tables._shard import Shard
from uncollapse.tables.columns import (
    Columns,
    embedding_columns,
    label_column,
    named_column,
    number_columns,
)
from uncollapse.tables.description import description_of
from uncollapse.tables.formats import ENDINGS, open_arrays, open_shards
from uncollapse.tables.numpy_files import ArraysShard
from uncollapse.tables.rows import Place, Reading, Rows, joined, joined_names
from uncollapse.tables.whole import Table, WholeColumns

__all__ = [
    "ENDINGS",
    "ArraysShard",
    "Columns",
    "Place",
    "Reading",
    "Rows",
    "Shard",
    "Table",
    "WholeColumns",
    "description_of",
    "embedding_columns",
    "joined",
    "joined_names",
    "label_column",
    "named_column",
    "number_columns",
    "open_arrays",
    "open_shards",
]
