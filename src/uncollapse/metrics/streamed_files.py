"""`accumulate_files`: files in one pass, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal

import numpy as np

from uncollapse import samples
from uncollapse.errors import InputError
from uncollapse.metrics._file_faults import over_its_file, split_error, split_ids
from uncollapse.metrics._opened import (
    IN_MEMORY_BYTES,
    bytes_of,
    opened,
    reference_files,
    reference_of,
    with_reference,
)
from uncollapse.metrics.stream import Accumulator
from uncollapse.progress import Progress, quiet
from uncollapse.tables import (
    Columns,
    Joined,
    Reading,
    ReferenceFiles,
    Rows,
    Source,
    columns_read,
    joined,
    sources_of,
)

# A stream is read and measured this many rows at a time: they stay in the processor's cache, and
# memory for the next ones is there already (of larger parts it is given back and asked for again).
_STREAM_ROWS = 16384
# The same of a wide reference, in numbers, as long as there are a quarter as many rows.
_STREAM_NUMBERS = 1 << 22


def accumulate_files(
    paths: Source | Iterable[Source],
    *,
    columns: Columns | None = None,
    labels_from: Sequence[Source] = (),
    interval: Literal["exact", "blocks"] = "exact",
    reference: ReferenceFiles | Source | None = None,
    drop_invalid: bool = False,
    split: str | None = None,
    partition: bool = False,
    progress: Progress = quiet,
) -> Accumulator:
    """One pass over files in bounded memory; the arguments are those of `measure_files`.

    Rows of one instance must follow each other. With `drop_invalid`, a pass over the other columns
    comes first, because an instance may lie in two classes whose rows are far apart. A `partition`
    may be empty, as others hold the other rows; of a column of splits its part must be said.

    Raises:
        InputError: As `measure_files`; also rows of one instance that do not follow each other.
    """
    paths = sources_of(paths)
    reading = opened(paths, columns or Columns(), labels_from, drop_invalid, split, partition)
    beside = reference_files(reference)
    other = None if beside is None else with_reference(reading, beside)
    return accumulated(reading, interval, progress, other)


def accumulated(
    reading: Reading,
    interval: Literal["exact", "blocks"],
    progress: Progress,
    other: Joined | None = None,
) -> Accumulator:
    """One pass over what is opened already."""
    if reading.columns.fine is not None or reading.columns.slices:
        raise InputError(
            "a stream without finer labels and slices",
            "columns of them",
            "measure a part of the rows in memory for the probe",
        )
    if other is not None and not other.in_step and bytes_of(other.reading(1)) > IN_MEMORY_BYTES:
        raise InputError(
            f"the rows of {other.name} in the order of the embeddings, for a stream",
            "the same ids in another order",
            "sort both by the id, or measure them in memory (--in-memory)",
        )
    reading = replace(reading, batch=_rows_at_a_time(other))
    accumulator = Accumulator(interval, drop_invalid=reading.fill_ragged)
    accumulator.split = None if reading.judged is None else reading.judged.part
    accumulator.columns = columns_read(reading)
    if accumulator.drop_invalid:
        accumulator.split_ids = split_ids(reading)
    done = 0
    for part in _whole_instances(_ahead(reading.parts(other))):
        rows = part.embeddings, part.labels, part.instances, part.groups
        try:
            accumulator.update(
                *rows,
                reference=None if other is None else reference_of(part, other),
                sources=part.sources,
                first_row=part.vectors_place.row,
            )
        except samples.RowError as error:
            split = split_error(reading) if error.fault.startswith("instance_in_two") else None
            raise split or over_its_file(error, reading) from error
        except samples.RepeatedInstanceError as error:
            raise split_error(reading) or error from error
        done += len(part)
        progress(done, reading.rows)
    return accumulator


def _rows_at_a_time(other: Joined | None) -> int:
    """Rows that are read and measured together."""
    beside = None if other is None else other.reading(1)
    if beside is None or not beside.rows:
        return _STREAM_ROWS
    numbers = bytes_of(beside) / 8 / beside.rows  # of a row
    few = int(_STREAM_NUMBERS / max(numbers, 1))
    return min(_STREAM_ROWS, max(_STREAM_ROWS // 4, few))


def _ahead(parts: Iterator[Rows]) -> Iterator[Rows]:
    """The parts, each read by another thread while the one before it is measured."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        waiting = reader.submit(next, parts, None)
        while (part := waiting.result()) is not None:
            waiting = reader.submit(next, parts, None)
            yield part


def _whole_instances(parts: Iterator[Rows]) -> Iterator[Rows]:
    """The parts, cut where the last instance of each begins: the rest comes with the next."""
    held = None
    for part in parts:
        if part.instances is not None and part.embeddings.ndim == 2:
            whole = part if held is None else replace(joined([held, part]), sources=part.sources)
            same = np.asarray(whole.instances != part.instances[-1])
            cut = int(np.flatnonzero(same)[-1]) + 1 if same.any() else 0
            part, held = whole.take(slice(0, cut)), whole.take(slice(cut, None))
        if len(part):
            yield part
    if held is not None:
        yield held
