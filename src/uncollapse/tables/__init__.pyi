from ._shard import (
    Shard,
    description_of,
)
from .beside import (
    IdDigest,
    Joined,
    ReferenceFiles,
    join_reference,
)
from .columns import (
    Columns,
    embedding_columns,
    label_column,
    named_column,
    named_text,
    number_columns,
    plain_names,
)
from .formats import (
    ENDINGS,
    check_order,
    open_arrays,
    open_shards,
)
from .numpy_files import (
    ArraysShard,
)
from .rows import (
    Place,
    Reading,
    Rows,
    joined,
    joined_names,
)
from .splits import (
    SPLIT_COLUMN,
    SPLIT_WORDS,
    SPLITS,
    Judged,
    distinct_rows,
    judged_rows,
    known_rows,
    part_names,
    part_of,
)
from .used import (
    used_columns,
)
from .whole import (
    Table,
    WholeColumns,
)

__all__ = [
    "ENDINGS",
    "SPLITS",
    "SPLIT_COLUMN",
    "SPLIT_WORDS",
    "ArraysShard",
    "Columns",
    "IdDigest",
    "Joined",
    "Judged",
    "Place",
    "Reading",
    "ReferenceFiles",
    "Rows",
    "Shard",
    "Table",
    "WholeColumns",
    "check_order",
    "description_of",
    "distinct_rows",
    "embedding_columns",
    "join_reference",
    "joined",
    "joined_names",
    "judged_rows",
    "known_rows",
    "label_column",
    "named_column",
    "named_text",
    "number_columns",
    "open_arrays",
    "open_shards",
    "part_names",
    "part_of",
    "plain_names",
    "used_columns",
]
