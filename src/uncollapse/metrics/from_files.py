"""`measure_files`: the same as `measure`, from files; in memory or as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from uncollapse.errors import InputError
from uncollapse.metrics._measure import DEFAULT_PROBE, measure
from uncollapse.metrics.file_faults import over_its_file, split_error, split_ids
from uncollapse.metrics.persist import is_state, load_state
from uncollapse.metrics.stream import Accumulator
from uncollapse.probes import ProbeOptions
from uncollapse.progress import Progress, quiet
from uncollapse.records import Margins, Measurement, Prediction
from uncollapse.samples import RepeatedInstanceError, RowError, encode, sample_of
from uncollapse.tables import Columns, Reading, Rows, joined, open_shards

ClassCounts = dict[Any, int]

# Embeddings that take more than this in memory are streamed.
_IN_MEMORY_BYTES = 1 << 28
# A stream is read and measured this many rows at a time: they stay in the processor's cache, and
# memory for the next ones is there already (of larger parts it is given back and asked for again).
_STREAM_ROWS = 16384


def measure_files(
    paths: Sequence[str | Path],
    *,
    columns: Columns | None = None,
    labels_from: Sequence[str | Path] = (),
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
) -> Measurement:
    """Say whether the embeddings in files are collapsed.

    Args:
        paths: npy, npz, parquet, safetensors, CSV or arrow files, folders of them, Hugging Face
            dataset folders, or accumulators saved by `save_state`; several are shards of one set.
        columns: What is where in them.
        labels_from: Files with the labels and the other columns, when they lie apart from the
            embeddings; row by row the same order.
        stream: Whether to read in parts, in bounded memory and without probe, slices and nulls.
            None: when the embeddings take more than 256 MiB and neither probe nor slices are asked.
        interval: Of a stream, as in `Accumulator`; "auto" is "blocks".
        drop_invalid: Drop and count unusable rows instead of refusing them.
        progress: Called as rows are read.
        prediction: As in `measure`; or a function from {label: rows} to it, for a prediction that
            depends on the class counts of the files.
        margins: As in `measure`.
        probe: As in `measure`; a stream has no probe.
        permutations: As in `measure`; a stream has no null.
        confidence: As in `measure`.
        seed: As in `measure`; a stream draws nothing.
        layer: As in `measure`.
        split: As in `measure`.

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
    columns = columns or Columns()
    if probe is None:
        columns = replace(columns, fine=None)
    state = _merged_states(paths, columns, labels_from, drop_invalid)
    if state is None:
        reading = _reading(paths, columns, labels_from, drop_invalid)
        memory_only = columns.fine is not None or bool(columns.slices)
        if stream or (stream is None and not memory_only and _bytes(reading) > _IN_MEMORY_BYTES):
            state = _accumulated(reading, "exact" if interval == "exact" else "blocks", progress)
    if state is not None:
        if callable(prediction):
            prediction = prediction(state.classes().counts)
        return state.measurement(
            prediction=prediction, margins=margins, confidence=confidence, layer=layer, split=split
        )
    rows = reading.whole(progress)
    if callable(prediction):
        prediction = prediction(_counts(rows))
    try:
        return measure(
            rows.embeddings,
            **rows.each(lambda column, _: column),
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
    except RowError as error:
        raise over_its_file(error, reading) from error


def accumulate_files(
    paths: Sequence[str | Path],
    *,
    columns: Columns | None = None,
    labels_from: Sequence[str | Path] = (),
    interval: Literal["exact", "blocks"] = "exact",
    drop_invalid: bool = False,
    progress: Progress = quiet,
) -> Accumulator:
    """One pass over files in bounded memory; the arguments are those of `measure_files`.

    Rows of one instance must follow each other. With `drop_invalid`, a pass over the other columns
    comes first, because an instance may lie in two classes whose rows are far apart.

    Raises:
        InputError: As `measure_files`; also rows of one instance that do not follow each other.
    """
    reading = _reading(paths, columns or Columns(), labels_from, drop_invalid)
    return _accumulated(reading, interval, progress)


def _merged_states(
    paths: Sequence[str | Path],
    columns: Columns,
    labels_from: Sequence[str | Path],
    drop_invalid: bool,
) -> Accumulator | None:
    """The saved accumulators as one; None if there are none."""
    states = [path for path in paths if is_state(path)]
    if not states:
        return None
    if len(states) < len(paths):
        raise InputError("saved accumulators only", "other files besides", "measure them apart")
    if labels_from or columns != Columns():
        raise InputError(
            "saved accumulators alone",
            "columns or files with labels besides",
            "name them when the state is saved; it holds neither finer labels nor slices",
        )
    merged = load_state(states[0])
    for path in states[1:]:
        merged.merge(load_state(path))
    merged.drop_invalid = merged.drop_invalid or drop_invalid
    return merged


def _reading(
    paths: Sequence[str | Path],
    columns: Columns,
    labels_from: Sequence[str | Path],
    drop_invalid: bool,
) -> Reading:
    others = open_shards(labels_from) if labels_from else []
    return Reading(open_shards(paths), others, columns, fill_ragged=drop_invalid)


def _bytes(reading: Reading) -> float:
    """Memory that the embeddings take as float64: known rows, or eight times the files."""
    widths = [int(np.prod(c.shape)) for c in reading.shards[0].columns if c.shape]
    if reading.rows is not None and len(widths) == 1:
        return 8.0 * reading.rows * widths[0]
    return 2.0 * sum(shard.path.stat().st_size for shard in reading.shards)


def _accumulated(
    reading: Reading, interval: Literal["exact", "blocks"], progress: Progress
) -> Accumulator:
    if reading.columns.fine is not None or reading.columns.slices:
        raise InputError(
            "a stream without finer labels and slices",
            "columns of them",
            "measure a part of the rows in memory for the probe",
        )
    reading = replace(reading, batch=_STREAM_ROWS)
    accumulator = Accumulator(interval, drop_invalid=reading.fill_ragged)
    if accumulator.drop_invalid:
        accumulator.split_ids = split_ids(reading)
    done = 0
    for part in _whole_instances(_ahead(reading.parts())):
        sample = sample_of(part.embeddings, part, part.sources)
        first_row, given_ids = part.vectors_place.row, part.instances is not None
        try:
            accumulator.add(sample, first_row, given_ids=given_ids)
        except RowError as error:
            split = split_error(reading) if error.fault.startswith("instance_in_two") else None
            raise split or over_its_file(error, reading) from error
        except RepeatedInstanceError as error:
            raise split_error(reading) or error from error
        done += len(part)
        progress(done, reading.rows)
    return accumulator


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


def _counts(rows: Rows) -> ClassCounts:
    """Instances of each class."""
    labels = encode(rows.labels, "labels", len(rows))
    codes = labels.codes
    if rows.instances is not None:
        units = encode(rows.instances, "instances", len(rows)).codes
        codes = np.unique(np.stack([codes, units]), axis=1)[0]
    counts = np.bincount(codes[codes >= 0], minlength=len(labels.names))
    return dict(zip(labels.names, counts.tolist(), strict=True))
