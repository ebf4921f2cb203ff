"""Rows in partitions, on as many machines: a saved state of each, and the states measured."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from uncollapse.errors import InputError
from uncollapse.metrics._measure import Counts
from uncollapse.metrics._retention import PERMUTATIONS
from uncollapse.metrics.persist import load_state, save_state
from uncollapse.metrics.stream import Accumulator
from uncollapse.metrics.streamed_files import accumulate_files
from uncollapse.records import Margins, Measurement, Prediction
from uncollapse.tables import Columns, Source, sources_of


def partition_state(
    rows: Source | Iterable[Source],
    *,
    columns: Columns | None = None,
    interval: Literal["exact", "blocks"] = "exact",
    drop_invalid: bool = False,
    split: str | None = None,
) -> bytes:
    """The state of one partition's rows, to send to where `measure_states` is called.

    A partition may be empty, or hold a single class. All views of an instance must lie in one.

    Args:
        rows: Tables or record batches of Arrow (pyarrow, pandas, polars), or files.
        columns: What is where in them.
        interval: As in `Accumulator`.
        drop_invalid: Drop and count unusable rows instead of refusing them.
        split: Part that is measured, where the rows have a column `split`: train, validation, test,
            or "all". It must be said, as a partition does not see the words in the others.

    Raises:
        InputError: As `measure_files`; also a column `split`, and nothing said of it.

    Examples:
        >>> import numpy as np
        >>> import pyarrow as pa
        >>> rng = np.random.default_rng(0)
        >>> rows, labels = rng.standard_normal((400, 8)), np.arange(400) % 4
        >>> table = pa.table({"embedding": list(rows), "label": labels})
        >>> states = [partition_state(table.slice(k, 100)) for k in range(0, 400, 100)]
        >>> measure_states(states).verdict
        'not-collapsed'
    """
    state, given = Accumulator(interval, drop_invalid=drop_invalid), sources_of(rows)
    if given:  # Spark hands over no batch of a partition without rows
        state = accumulate_files(
            given,
            columns=columns,
            interval=interval,
            drop_invalid=drop_invalid,
            split=split,
            partition=True,
        )
    with tempfile.TemporaryDirectory() as folder:
        save_state(state, Path(folder, "state.npz"))
        return Path(folder, "state.npz").read_bytes()


def measure_states(
    states: Iterable[bytes],
    *,
    prediction: Prediction | Mapping[str, Any] | Callable[[Counts], Prediction] | None = None,
    margins: Margins | None = None,
    confidence: float = 0.95,
    layer: str | None = None,
    split: str | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Measurement:
    """The measurement of all rows whose partitions' states are given; the others as in `measure`.

    Estimates are those of one machine whatever the partitions, and intervals are where their
    states are exact.

    Raises:
        InputError: No states, states of different kinds, an instance in two of them, one class.

    Examples:
        >>> import numpy as np
        >>> import pyarrow as pa
        >>> table = pa.table({"z": list(np.eye(3, 8).repeat(9, axis=0)), "y": [0, 1, 2] * 9})
        >>> parts = [table.slice(0, 10), table.slice(10)]
        >>> measure_states([partition_state(part) for part in parts]).conditions.samples
        27
    """
    merged: Accumulator | None = None
    with tempfile.TemporaryDirectory() as folder:
        for state in states:
            Path(folder, "state.npz").write_bytes(state)
            read = load_state(Path(folder, "state.npz"))
            if merged is None:
                merged = read
            else:
                merged.merge(read)
    if merged is None:
        raise InputError("states of partitions", "none", "give what partition_state returns")
    if callable(prediction):
        prediction = prediction(merged.classes().counts)
    return merged.measurement(
        prediction=prediction,
        margins=margins,
        confidence=confidence,
        layer=layer,
        split=split,
        permutations=permutations,
        seed=seed,
    )
