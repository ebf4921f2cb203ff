"""What a sample is: embeddings with their labels, checked once."""

from uncollapse.samples.checks import (
    RowError,
    Sample,
    check_rows,
    checked,
    raise_fault,
    row_fault,
    sample_of,
    select,
    split_instances,
)
from uncollapse.samples.embeddings import (
    Codes,
    as_matrix,
    encode,
    row_norms,
    sorted_names,
    to_numpy,
    unit_rows,
)
from uncollapse.samples.ids import (
    Hashes,
    IdSet,
    RepeatedInstanceError,
    hash_ids,
)

__all__ = [
    "Codes",
    "Hashes",
    "IdSet",
    "RepeatedInstanceError",
    "RowError",
    "Sample",
    "as_matrix",
    "check_rows",
    "checked",
    "encode",
    "hash_ids",
    "raise_fault",
    "row_fault",
    "row_norms",
    "sample_of",
    "select",
    "sorted_names",
    "split_instances",
    "to_numpy",
    "unit_rows",
]
