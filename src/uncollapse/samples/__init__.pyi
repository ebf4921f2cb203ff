from .checks import (
    RowError,
    checked,
    raise_fault,
    row_fault,
    row_faults,
    split_faults,
    usable,
    vector_faults,
)
from .codes import (
    Codes,
    Hashes,
    IdSet,
    RepeatedInstanceError,
    encode,
    hash_ids,
    sorted_names,
)
from .embeddings import (
    as_matrix,
    is_unit,
    row_norms,
    to_numpy,
    unit_rows,
)
from .sample import (
    ByRole,
    Sample,
    sample_of,
    select,
)

__all__ = [
    "ByRole",
    "Codes",
    "Hashes",
    "IdSet",
    "RepeatedInstanceError",
    "RowError",
    "Sample",
    "as_matrix",
    "checked",
    "encode",
    "hash_ids",
    "is_unit",
    "raise_fault",
    "row_fault",
    "row_faults",
    "row_norms",
    "sample_of",
    "select",
    "sorted_names",
    "split_faults",
    "to_numpy",
    "unit_rows",
    "usable",
    "vector_faults",
]
