"""`measure_files`: the same as `measure`, from files; in memory or as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from uncollapse import samples
from uncollapse.errors import InputError
from uncollapse.metrics._file_faults import over_its_file
from uncollapse.metrics._measure import DEFAULT_PROBE, measure_arrays, within_options
from uncollapse.metrics._opened import (
    IN_MEMORY_BYTES,
    bytes_of,
    opened,
    reference_files,
    reference_of,
    with_reference,
)
from uncollapse.metrics._retention import PERMUTATIONS
from uncollapse.metrics.persist import Paths, merged_states
from uncollapse.metrics.row_table import check_table, table_of
from uncollapse.metrics.streamed_files import accumulated
from uncollapse.probes import ProbeOptions
from uncollapse.progress import Progress, quiet
from uncollapse.records import Margins, Measurement, Prediction
from uncollapse.tables import (
    SPLIT_COLUMN,
    Columns,
    ReferenceFiles,
    Source,
    columns_read,
    sources_of,
)

ClassCounts = dict[Any, int]


def measure_files(
    paths: Source | Iterable[Source],
    *,
    columns: Columns | None = None,
    labels_from: Sequence[Source] = (),
    reference: ReferenceFiles | Source | None = None,
    stream: bool | None = None,
    interval: Literal["auto", "exact", "blocks"] = "auto",
    drop_invalid: bool = False,
    progress: Progress = quiet,
    prediction: Prediction | Mapping[str, Any] | Callable[[ClassCounts], Prediction] | None = None,
    margins: Margins | None = None,
    probe: ProbeOptions | None = DEFAULT_PROBE,
    permutations: int = 20,
    confidence: float = 0.95,
    seed: int = 0,
    layer: str | None = None,
    split: str | None = None,
    rows_to: Path | None = None,
) -> Measurement:
    """Say whether the embeddings in files are collapsed.

    Args:
        paths: npy, npz, parquet, safetensors, arrow, feather, CSV, TSV or JSON lines files (text
            also .gz and .zst), folders of them, Hugging Face dataset folders, URLs that fsspec
            knows, "-" for the standard input, a `Query`, tables of Arrow (what has
            `__arrow_c_stream__`), or accumulators saved by `save_state`; several are shards of one
            set.
        columns: What is where in them.
        labels_from: Files with the labels and the other columns, when they lie apart from the
            embeddings; row by row the same order.
        reference: File or table with another embedding of the same rows, as in `measure`; or a
            `ReferenceFiles` that names its column, a column of the same files, or an id column.
            Rows are joined by an id column where both have one (rows that only one has are left
            out and counted), else by position. A stream holds at most 32 MiB of its rows, drawn at
            random, and needs both in one order, or a reference that fits in memory.
        stream: Whether to read in parts, in bounded memory and without probe, slices and nulls.
            None: when the embeddings take more than 256 MiB and neither probe nor slices are asked.
        interval: Of a stream, as in `Accumulator`; "auto" is "blocks".
        drop_invalid: Drop and count unusable rows instead of refusing them.
        progress: Called as rows are read, and as they are compared one by one.
        prediction: As in `measure`; or a function from {label: rows} to it, for a prediction that
            depends on the class counts of the files.
        margins: As in `measure`.
        probe: As in `measure`; a stream has no probe.
        permutations: As in `measure`; a stream has no null.
        confidence: As in `measure`.
        seed: As in `measure`; a stream draws nothing.
        layer: As in `measure`.
        split: Part of the rows that is measured, by the column `split` of the files: train,
            validation, test (by any of their names), or "all". None: test, else validation, else
            train, where there is such a column, else all rows. Without that column the name is for
            the record alone.
        rows_to: A parquet file for what is worth a look row by row (`row_table`); in memory only.

    Raises:
        InputError: As `measure`, with file and column; also files that are cut short, of another
            format, of different lengths, or that hold pickles.

    Examples:
        >>> import numpy as np
        >>> from tempfile import TemporaryDirectory
        >>> labels = np.repeat([0, 1, 2], 50)
        >>> with TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/rows.npz", embeddings=np.eye(3, 16)[labels], labels=labels)
        ...     measure_files([f"{folder}/rows.npz"]).verdict
        'collapsed'
    """
    columns, paths = columns or Columns(), sources_of(paths)
    beside = reference_files(reference)
    if rows_to is not None:
        read = [*paths, *labels_from, None if beside is None else beside.reference]
        check_table(rows_to, stream, read)
    if within_options(probe) is None:
        columns = replace(columns, fine=None)
    state = merged_states(paths, columns, labels_from, drop_invalid, split)
    if state is not None and beside is not None:
        raise InputError(
            "embeddings beside a reference",
            "a saved state, which has its reference in it or has none",
            "give the reference where the state is saved (--save-state)",
        )
    if state is None:
        reading = opened(paths, columns, labels_from, drop_invalid, split)
        named_part = split is not None
        split = split if reading.judged is None else reading.judged.part
        memory_only = columns.fine is not None or bool(columns.slices)
        large = bytes_of(reading) > IN_MEMORY_BYTES and rows_to is None
        other = None if beside is None else with_reference(reading, beside)
        if stream or (stream is None and not memory_only and large):
            kind: Literal["exact", "blocks"] = "exact" if interval == "exact" else "blocks"
            state = accumulated(reading, kind, progress, other)
    if state is not None:
        if rows_to is not None:
            check_table(rows_to, True)
        if callable(prediction):
            prediction = prediction(state.classes().counts)
        measured = state.measurement(
            prediction=prediction,
            margins=margins,
            confidence=confidence,
            layer=layer,
            split=split,
            permutations=PERMUTATIONS if permutations else 0,
            seed=seed,
        )
        return _joined_by_position(measured, labels_from)
    rows = reading.whole(progress, other)
    try:
        measured = measure_arrays(
            rows.embeddings,
            **rows.each(lambda column, _: column),
            reference=None if other is None else reference_of(rows, other),
            prediction=prediction,
            margins=margins,
            probe=probe,
            permutations=permutations,
            confidence=confidence,
            drop_invalid=drop_invalid,
            seed=seed,
            layer=layer,
            split=split,
            sources=rows.sources,
        )
    except samples.RowError as error:
        raise over_its_file(error, reading) from error
    if rows_to is not None:
        beside_it = None if other is None else reference_of(rows, other)
        looks = table_of(reading, rows, beside_it, drop_invalid=drop_invalid, progress=progress)
        looks.write(rows_to)
    conditions = replace(measured.conditions, columns=columns_read(reading))
    measured = replace(measured, conditions=conditions)
    if reading.judged is not None and not named_part and SPLIT_COLUMN not in columns.slices:
        measured = _beside_other_parts(measured, paths, columns, labels_from)
    return _joined_by_position(measured, labels_from)


def _beside_other_parts(
    measured: Measurement, paths: Paths, columns: Columns, labels_from: Paths
) -> Measurement:
    """The record with every part of the data as a slice, which turns no verdict.

    What is collapsed on the rows that it was trained on can look spread on new ones.
    """
    columns = replace(columns, fine=None, slices=(SPLIT_COLUMN,))
    conditions = measured.conditions
    with suppress(InputError):  # the rows that are judged can be used; others need not be
        parts = measure_files(
            paths,
            columns=columns,
            labels_from=labels_from,
            stream=False,
            drop_invalid=True,
            prediction=measured.prediction,
            margins=conditions.margins,
            probe=None,
            permutations=0,
            confidence=conditions.confidence,
        )
        column = (parts.slices or {})[SPLIT_COLUMN]
        if len(column.values) > 1:
            slices = {**(measured.slices or {}), SPLIT_COLUMN: column}
            return replace(measured, slices=slices)
    return measured


def _joined_by_position(measured: Measurement, labels_from: Paths) -> Measurement:
    """The record, which says how rows of several files were joined."""
    if not labels_from:
        return measured
    return replace(measured, conditions=replace(measured.conditions, joined_by="position"))
