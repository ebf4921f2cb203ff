"""From a file of embeddings to its measurement and a picture, in one pass over its rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.metrics import Accumulator, Measurement, measure
from uncollapse.records import Prediction
from uncollapse.report.inputs_model import Measured, Points, ReportOptions
from uncollapse.report.read.picture import picture
from uncollapse.tables import (
    Columns,
    Reading,
    Rows,
    Shard,
    description_of,
    embedding_columns,
    joined,
    open_shards,
)

Array = NDArray[Any]

# Embeddings that take more than this as float64 are measured as a stream.
IN_MEMORY_BYTES = 1 << 28
STREAM_ROWS = 65536
CACHED_ROWS = 8192
# Rows of these splits, the first that is there, are what is judged.
JUDGED = ("test", "validation")


@dataclass(frozen=True)
class Roles:
    """Which columns of a file are read.

    Attributes:
        layers: Columns of vectors, the one that the report is about first.
        columns: The others.
        split: The column of splits; None without one.
        name: The column that names a row in the picture; None without one.
    """

    layers: tuple[str, ...]
    columns: Columns
    split: str | None
    name: str | None


def measured_rows(
    path: Path, options: ReportOptions, prediction: Prediction | None, known: set[str]
) -> Iterator[tuple[Measured | None, Points]]:
    """The measurement (None for the layers that are `known`) and the picture of every layer.

    Args:
        path: File or folder of embeddings.
        options: Columns, size of the picture and seed.
        prediction: Of the run's setting; it is for the projector, where the loss is.
        known: Layers that have been measured elsewhere.
    """
    shards = open_shards([path])
    roles = _roles(shards[0], options)
    for layer in roles.layers:
        rows = _read(shards, roles, layer, options)
        if not rows.count:
            raise InputError(f"rows in {path}", "none", "give a file that holds embeddings")
        title = layer if layer in ("projector", "backbone") or len(roles.layers) > 1 else ""
        place = title or options.layer or ""
        points = picture(rows.drawn(), roles.name, place, rows.count, options.seed)
        of_loss = prediction if title in ("projector", "") else None
        measured = None
        if title not in known:
            # Of the layers beside, the variances are enough: the probe takes most of the time.
            whole = layer == roles.layers[0]
            measurement = rows.measurement(options.seed, of_loss, title or None, whole=whole)
            streamed = rows.state is not None
            measured = Measured(str(path), title, rows.split, measurement, streamed)
        yield measured, points


def _roles(shard: Shard, options: ReportOptions) -> Roles:
    """By the file's own description, which `uncollapse embed` writes, or as the caller says."""
    about, given = description_of(shard), options.columns
    present = [column.name for column in shard.columns]
    split = "split" if "split" in present and given.label != "split" else None
    name = next((usual for usual in ("id", "name", "path", "file") if usual in present), None)
    if given.embedding is not None or not about.layers:
        embedding = given.embedding or ",".join(embedding_columns(shard))
        return Roles((embedding,), given, split, name)
    wanted = options.layer or ("projector" if "projector" in about.layers else about.layers[0])
    if wanted not in about.layers:
        raise InputError(
            f"a layer {wanted!r} in {shard.path}",
            f"the layers {', '.join(about.layers)}",
            "name one of them with --layer",
        )
    views = about.views > 1 and "instance" in present
    columns = Columns(
        label=given.label or about.label,
        instance=given.instance or ("instance" if views else None),
        group=given.group or ("group" if "group" in present else None),
        fine=given.fine or next(iter(about.fine), None),
        slices=given.slices or about.slices,
    )
    others = (layer for layer in about.layers if layer != wanted)
    return Roles((wanted, *others), columns, split, name)


@dataclass
class _Rows:
    """Rows as they are read: all of them in memory, or sums of them, and some for the picture."""

    roles: Roles
    split: str
    most: int
    generator: np.random.Generator
    parts: list[Rows] = field(default_factory=list)
    state: Accumulator | None = None
    count: int = 0
    keys: Array = field(default_factory=lambda: np.empty(0))
    kept: list[Rows] = field(default_factory=list)

    def add(self, part: Rows) -> None:
        """Take one part."""
        self._draw(part)
        self.count += len(part)
        self.parts.append(part)
        size = self.count * int(np.prod(part.embeddings.shape[1:])) * 8
        streams = part.embeddings.ndim == 2 and part.instances is None
        if self.state is None and size > IN_MEMORY_BYTES and streams:
            self.state = Accumulator("blocks")
        if self.state is not None:
            for held in self.parts:
                _accumulate(self.state, held)
            self.parts = []

    def _draw(self, part: Rows) -> None:
        """Keep the rows with the smallest of random keys: a uniform draw without replacement."""
        keys = self.generator.random(len(part))
        chosen = np.flatnonzero(keys <= np.sort(keys)[: self.most][-1])
        self.kept.append(part.take(chosen))
        self.keys = np.concatenate([self.keys, keys[chosen]])
        if len(self.keys) > 4 * self.most:
            self._thin()

    def _thin(self) -> None:
        order = np.sort(np.argsort(self.keys, kind="stable")[: self.most])
        self.kept, self.keys = [joined(self.kept).take(order)], self.keys[order]

    def drawn(self) -> Rows:
        """The rows of the picture."""
        self._thin()
        return self.kept[0]

    def measurement(
        self, seed: int, prediction: Prediction | None, layer: str | None, *, whole: bool
    ) -> Measurement:
        """Of all rows; with the probe, slices and nulls where the whole is wanted."""
        if self.state is not None:
            return self.state.measurement(
                prediction=_fitting(prediction, self.state.classes().names),
                layer=layer,
                split=self.split or None,
            )
        part = joined(self.parts)
        slices = {name: part.slices[name] for name in self.roles.columns.slices}
        return measure(
            part.embeddings,
            part.labels,
            instances=part.instances,
            groups=part.groups,
            fine_labels=part.fine_labels if whole else None,
            slices=slices if whole else None,
            permutations=20 if whole else 0,
            prediction=_fitting(prediction, set(part.labels.tolist())),
            seed=seed,
            layer=layer,
            split=self.split or None,
            sources=part.sources,
        )


def _fitting(prediction: Prediction | None, names: Any) -> Prediction | None:
    """The prediction where it is of as many classes as the rows have, else nothing."""
    if prediction is None or len(prediction.phase_per_class) != len(names):
        return None
    return prediction


def _read(shards: list[Shard], roles: Roles, layer: str, options: ReportOptions) -> _Rows:
    extra = [*roles.columns.slices, *(n for n in (roles.split, roles.name) if n is not None)]
    columns = replace(roles.columns, embedding=layer, slices=tuple(dict.fromkeys(extra)))
    split = _judged(shards, roles.split)
    rows = _Rows(roles, split, options.sample, np.random.default_rng((options.seed, 7)))
    for part in Reading(shards, [], columns, batch=STREAM_ROWS).parts():
        if roles.split is not None and split:
            part = part.take(np.flatnonzero(part.slices[roles.split].astype(str) == split))
        if len(part):
            rows.add(part)
    return rows


def _judged(shards: list[Shard], column: str | None) -> str:
    """The split whose rows are judged; "" for all rows."""
    values: set[str] = set()
    if column is None:
        return ""
    for shard in shards:
        for part in shard.read([], [column], STREAM_ROWS):
            values |= set(np.unique(part[column].astype(str)).tolist())
    return next((name for name in JUDGED if name in values), "")


def _accumulate(state: Accumulator, part: Rows) -> None:
    for start in range(0, len(part), CACHED_ROWS):
        held = part.take(slice(start, start + CACHED_ROWS))
        state.update(
            held.embeddings,
            held.labels,
            groups=held.groups,
            sources=held.sources,
            first_row=held.vectors_place.row,
        )
