"""`measure_files`: the same as `measure`, from files; in memory or as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.metrics.file_faults import check_part, recounted
from uncollapse.metrics.measure import measure
from uncollapse.metrics.persist import is_state, load_state
from uncollapse.metrics.split_instances import SPLIT_FAULTS, split_error, split_ids
from uncollapse.metrics.stream import Accumulator
from uncollapse.records import Measurement
from uncollapse.samples import RepeatedInstanceError, RowError, encode
from uncollapse.tables import Columns, Part, Reading, open_shards

__all__ = ["Progress", "accumulate_files", "measure_files"]

# Called with the rows read so far and the rows in all, where that is known.
Progress = Callable[[int, "int | None"], None]

# Embeddings that take more than this in memory are streamed.
_IN_MEMORY_BYTES = 1 << 28
# A stream is read and measured this many rows at a time: they stay in the processor's cache, and
# memory for the next ones is there already (of larger parts it is given back and asked for again).
_STREAM_ROWS = 16384


def _quiet(rows: int, of: int | None) -> None:
    """No progress."""


def measure_files(
    paths: Sequence[str | Path],
    *,
    columns: Columns | None = None,
    labels_from: Sequence[str | Path] = (),
    stream: bool | None = None,
    interval: Literal["auto", "exact", "blocks"] = "auto",
    drop_invalid: bool = False,
    progress: Progress = _quiet,
    prediction: Any = None,
    **options: Any,
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
        options: Further options of `measure`.

    Raises:
        InputError: As `measure`, with file and column; also files that are cut short, of another
            format, of different lengths, or that hold pickles.
    """
    if states := [path for path in paths if is_state(path)]:
        if len(states) < len(paths):
            raise InputError("saved accumulators only", "other files besides", "measure them apart")
        if labels_from or columns not in (None, Columns()):
            raise InputError(
                "saved accumulators alone",
                "columns or files with labels besides",
                "name them when the state is saved; it holds neither finer labels nor slices",
            )
        merged = load_state(states[0])
        for path in states[1:]:
            merged.merge(load_state(path))
        merged.drop_invalid = merged.drop_invalid or drop_invalid
        return _of_stream(merged, prediction, options)
    columns = columns or Columns()
    shards, others = open_shards(paths), open_shards(labels_from) if labels_from else []
    reading = Reading(shards, others, columns, drop_invalid)
    memory_only = columns.fine is not None or bool(columns.slices)
    if stream or (stream is None and not memory_only and _bytes(reading) > _IN_MEMORY_BYTES):
        found = accumulate_files(
            paths,
            columns=columns,
            labels_from=labels_from,
            interval="exact" if interval == "exact" else "blocks",
            drop_invalid=drop_invalid,
            progress=progress,
        )
        return _of_stream(found, prediction, options)
    return _in_memory(reading, drop_invalid, progress, prediction, options)


def accumulate_files(
    paths: Sequence[str | Path],
    *,
    columns: Columns | None = None,
    labels_from: Sequence[str | Path] = (),
    interval: Literal["exact", "blocks"] = "exact",
    drop_invalid: bool = False,
    progress: Progress = _quiet,
) -> Accumulator:
    """One pass over files in bounded memory; the arguments are those of `measure_files`.

    Rows of one instance must follow each other. With `drop_invalid`, a pass over the other columns
    comes first, because an instance may lie in two classes whose rows are far apart.

    Raises:
        InputError: As `measure_files`; also rows of one instance that do not follow each other.
    """
    columns = columns or Columns()
    if columns.fine is not None or columns.slices:
        raise InputError(
            "a stream without finer labels and slices",
            "columns of them",
            "measure a part of the rows in memory for the probe",
        )
    found = Accumulator(interval, drop_invalid=drop_invalid)
    shards, others = open_shards(paths), open_shards(labels_from) if labels_from else []
    reading = Reading(shards, others, columns, drop_invalid, batch=_STREAM_ROWS)
    if drop_invalid:
        found.split_ids = split_ids(reading)
    total, done = reading.rows, 0
    held: Part | None = None
    for part in _ahead(reading.parts()):
        done += len(part.embeddings)
        if "instances" in part.columns and part.embeddings.ndim == 2:
            part, held = _whole_instances(held, part)
        _add(found, part, reading)
        progress(done, total)
    if held is not None:
        _add(found, held, reading)
    if not done:
        raise reading.no_rows()
    return found


def _ahead(parts: Iterator[Part]) -> Iterator[Part]:
    """The parts, each read by another thread while the one before it is measured."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        waiting = reader.submit(next, parts, None)
        while (part := waiting.result()) is not None:
            waiting = reader.submit(next, parts, None)
            yield part


def _bytes(reading: Reading) -> float:
    """Memory that the embeddings take as float64: known rows, or eight times the files."""
    files = sum(shard.path.stat().st_size for shard in reading.shards)
    widths = [
        int(np.prod(column.shape))
        for shard in reading.shards[:1]
        for column in shard.columns
        if column.shape
    ]
    if reading.rows is not None and len(widths) == 1:
        return 8.0 * reading.rows * widths[0]
    return 2.0 * files


def _add(found: Accumulator, part: Part, reading: Reading) -> None:
    if not len(part.embeddings):
        return
    values = part.columns
    try:
        found.update(
            part.embeddings,
            values["labels"],
            values.get("instances"),
            values.get("groups"),
            sources=part.sources,
            first_row=part.first_row,
        )
    except RowError as error:
        whole = split_error(reading) if error.fault in SPLIT_FAULTS else None
        raise whole or recounted(error, part, reading) from error
    except RepeatedInstanceError as error:
        raise split_error(reading) or error from error


def _whole_instances(held: Part | None, part: Part) -> tuple[Part, Part | None]:
    """The part with what was held before it, cut where its last instance begins."""
    if held is not None:
        part = replace(
            part,
            embeddings=np.concatenate([held.embeddings, part.embeddings]),
            columns={
                role: np.concatenate([held.columns[role], values])
                for role, values in part.columns.items()
            },
            first_row=held.first_row,
            other_first_row=held.other_first_row,
        )
    names = part.columns["instances"]
    same = np.asarray(names != names[-1])
    cut = int(np.flatnonzero(same)[-1]) + 1 if same.any() else 0
    return part.cut(0, cut), part.cut(cut, len(names))


def _of_stream(found: Accumulator, prediction: Any, options: Mapping[str, Any]) -> Measurement:
    kept = {
        name: value
        for name, value in options.items()
        if name in {"margins", "confidence", "layer", "split"}
    }
    if callable(prediction):
        classes, _ = found.classes()
        counts = [moments.instances for moments in classes.units]
        prediction = prediction(dict(zip(classes.names, counts, strict=True)))
    return found.measurement(prediction=prediction, **kept)


def _in_memory(
    reading: Reading,
    drop_invalid: bool,
    progress: Progress,
    prediction: Any,
    options: Mapping[str, Any],
) -> Measurement:
    parts, done = [], 0
    for part in reading.parts():
        if not drop_invalid:
            check_part(part, reading)
        parts.append(part)
        done += len(part.embeddings)
        progress(done, reading.rows)
    if not parts:
        raise reading.no_rows()
    widths = {part.embeddings.shape[1:] for part in parts}
    if len(widths) > 1:
        raise InputError(
            "embeddings of one length in all files",
            " and ".join(str(shape) for shape in sorted(widths)),
            "measure files of one model together",
        )
    values = {role: _together([part.columns[role] for part in parts]) for role in parts[0].columns}
    slices = {name: values[f"slice {name}"] for name in reading.columns.slices}
    embeddings = np.concatenate([part.embeddings for part in parts])
    labels = values["labels"]
    if callable(prediction):
        prediction = prediction(_counts(labels, values.get("instances")))
    return measure(
        embeddings,
        labels,
        instances=values.get("instances"),
        groups=values.get("groups"),
        fine_labels=values.get("fine_labels"),
        slices=slices or None,
        prediction=prediction,
        drop_invalid=drop_invalid,
        sources=_sources(parts),
        **options,
    )


def _sources(parts: Sequence[Part]) -> dict[str, str]:
    """Where every role comes from: the first file, and how many more."""
    found = {}
    for role in parts[0].sources:
        several = dict.fromkeys(part.sources[role] for part in parts)
        more = f" and {len(several) - 1} more" if len(several) > 1 else ""
        found[role] = next(iter(several)) + more
    return found


def _together(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    # Numbers and text stay what they are, as in a stream: numpy would make text of both.
    kinds = {array.dtype.kind for array in arrays}
    if "O" in kinds or (kinds & {"U", "S"} and kinds - {"U", "S"}):
        arrays = [array.astype(object) for array in arrays]
    return np.concatenate(arrays)


def _counts(labels: NDArray[Any], instances: NDArray[Any] | None) -> dict[Any, int]:
    """Instances of each class."""
    codes = encode(labels, "labels", len(labels))
    mine = codes.codes
    if instances is not None:
        units = encode(instances, "instances", len(instances)).codes
        mine = np.unique(np.stack([mine, units]), axis=1)[0]
    counts = np.bincount(mine[mine >= 0], minlength=len(codes.names))
    return dict(zip(codes.names, counts.tolist(), strict=True))
