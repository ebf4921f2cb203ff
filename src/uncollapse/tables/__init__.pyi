from ._shard import (
    Shard,
    description_of,
)
from .beside import (
    USUAL_KEYS,
    USUAL_PATHS,
    IdDigest,
    Joined,
    ReferenceFiles,
    join_reference,
    usual_column,
)
from .columns import (
    USUAL_EMBEDDINGS,
    Columns,
    embedding_columns,
    label_column,
    named_column,
    named_text,
    number_columns,
    plain_names,
)
from .elsewhere import (
    is_elsewhere,
)
from .formats import (
    ENDINGS,
    Source,
    check_order,
    ending_of,
    is_rows,
    open_arrays,
    open_shards,
    sources_of,
)
from .numpy_files import (
    ArraysShard,
)
from .queries import (
    Query,
)
from .rows import (
    Place,
    Reading,
    Rows,
    joined,
    joined_names,
)
from .splits import (
    ALL,
    SPLIT_COLUMN,
    SPLIT_WORDS,
    SPLITS,
    Judged,
    chosen_part,
    distinct_rows,
    judged_rows,
    known_rows,
    part_names,
    part_of,
)
from .stores import (
    from_faiss,
    from_lancedb,
    from_qdrant,
)
from .streams import (
    ArrowStream,
    Batches,
    is_table,
)
from .used import (
    columns_read,
)
from .whole import (
    Table,
    WholeColumns,
)

__all__ = [
    "ALL",
    "ENDINGS",
    "SPLITS",
    "SPLIT_COLUMN",
    "SPLIT_WORDS",
    "USUAL_EMBEDDINGS",
    "USUAL_KEYS",
    "USUAL_PATHS",
    "ArraysShard",
    "ArrowStream",
    "Batches",
    "Columns",
    "IdDigest",
    "Joined",
    "Judged",
    "Place",
    "Query",
    "Reading",
    "ReferenceFiles",
    "Rows",
    "Shard",
    "Source",
    "Table",
    "WholeColumns",
    "check_order",
    "chosen_part",
    "columns_read",
    "description_of",
    "distinct_rows",
    "embedding_columns",
    "ending_of",
    "from_faiss",
    "from_lancedb",
    "from_qdrant",
    "is_elsewhere",
    "is_rows",
    "is_table",
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
    "sources_of",
    "usual_column",
]
