"""A Ray Dataset: the state of every block where the block lies, measured here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from uncollapse.errors import InputError
from uncollapse.metrics._measure import Counts
from uncollapse.metrics._partial import measure_states, partition_state
from uncollapse.metrics._retention import PERMUTATIONS
from uncollapse.records import Margins, Measurement, Prediction
from uncollapse.tables import ALL, SPLIT_COLUMN, Columns, chosen_part


def is_dataset(given: Any) -> bool:
    """Whether it is a Ray Dataset, without importing Ray."""
    kind = type(given)
    return kind.__module__.startswith("ray.data.") and hasattr(given, "map_batches")


def measure_dataset(
    dataset: Any,
    *,
    columns: Columns | None = None,
    interval: Literal["exact", "blocks"] = "exact",
    drop_invalid: bool = False,
    prediction: Prediction | Mapping[str, Any] | Callable[[Counts], Prediction] | None = None,
    margins: Margins | None = None,
    confidence: float = 0.95,
    layer: str | None = None,
    split: str | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    **_: Any,
) -> Measurement:
    """Measure a Ray Dataset, by the state of every block; `measure` is the door to it.

    Ray runs a block again whose worker was lost.

    Raises:
        InputError: As `partition_state` and `measure_states`; finer labels or slices.
    """
    columns = columns or Columns()
    if columns.fine is not None or columns.slices:
        raise InputError(
            "a Dataset without finer labels and slices",
            "columns of them",
            "measure a part of the rows in memory for them: dataset.limit(100000).to_pandas()",
        )
    roles, part = {columns.label, columns.instance, columns.group}, split
    if split != ALL and SPLIT_COLUMN not in roles and SPLIT_COLUMN in dataset.columns():
        words = {str(word) for word in dataset.unique(SPLIT_COLUMN) if word is not None}
        part = chosen_part(words, split, f"column {SPLIT_COLUMN!r} of the Dataset")

    def state(block: Any) -> Any:
        import pyarrow as pa

        made, wrong = b"", []
        try:
            made = partition_state(
                block, columns=columns, interval=interval, drop_invalid=drop_invalid, split=part
            )
        except InputError as error:  # which Ray would show with all that it ran through
            wrong = [error.expected, error.found, error.remedy]
        kinds = pa.large_binary(), pa.list_(pa.string())
        return pa.table({"state": pa.array([made], kinds[0]), "wrong": pa.array([wrong], kinds[1])})

    mapped = dataset.map_batches(state, batch_format="pyarrow", batch_size=None)
    return measure_states(
        _states(mapped),
        prediction=prediction,
        margins=margins,
        confidence=confidence,
        layer=layer,
        split=split,
        permutations=permutations,
        seed=seed,
    )


def _states(mapped: Any) -> Iterator[bytes]:
    """The blocks' states."""
    for row in mapped.iter_rows():
        if len(row["wrong"]):
            raise InputError(*row["wrong"])
        yield row["state"]
