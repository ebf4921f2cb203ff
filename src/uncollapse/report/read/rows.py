"""From a file of embeddings to its measurement and a picture, in one pass over its rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from uncollapse import tables
from uncollapse.errors import InputError
from uncollapse.metrics import Accumulator, Measurement, measure, measure_files
from uncollapse.records import Prediction
from uncollapse.report.inputs_model import Measured, ReportOptions
from uncollapse.report.read.picture import Drawn, Integers, picture
from uncollapse.report.rows_model import Floats, Points
from uncollapse.tables import (
    USUAL_PATHS,
    Columns,
    Reading,
    ReferenceFiles,
    Rows,
    Shard,
    Source,
    label_column,
)

# Embeddings that take more than this as float64 are measured as a stream.
IN_MEMORY_BYTES = 1 << 28
STREAM_ROWS = 65536
CACHED_ROWS = 8192
# Usual names of the column that names a row.
_NAMES = ("id", "name", "path", "file")


class _Roles(NamedTuple):
    """Which columns of a file are read: those of vectors, the one that is judged first, and others.

    `name` names a row in the picture, `path` is its file.
    """

    layers: tuple[str, ...]
    columns: Columns
    label: str
    name: str | None
    path: str | None

    def used(self, layer: str) -> dict[str, str]:
        """Which column has which role, for the auditor."""
        beside = {"id": self.name, "path": self.path}
        named = {role: column for role, column in beside.items() if column}
        return self.columns.by_role(layer, self.label) | named


def measured_rows(
    shards: list[Shard],
    source: Source,
    options: ReportOptions,
    prediction: Prediction | None,
    known: set[str],
) -> Iterator[tuple[Measured | None, Points]]:
    """The measurement (None for the layers that are `known`) and the picture of every layer.

    The prediction is of the run's setting, and so for the projector, where the loss is.
    """
    roles = _roles(shards[0], options)
    path = source if isinstance(source, str | Path) else shards[0].path
    for layer in roles.layers:
        rows = _read(shards, roles, layer, options)
        if not rows.count:
            raise InputError(f"rows in {path}", "none", "give a file that holds embeddings")
        title = layer if layer in ("projector", "backbone") or len(roles.layers) > 1 else ""
        place = title or options.layer or ""
        measured = None
        if title not in known:
            of_loss = prediction if title in ("projector", "") else None
            # Of the layers beside, the variances are enough: the probe takes most of the time.
            whole = layer == roles.layers[0]
            if whole and options.reference != ReferenceFiles():
                measurement = _against(source, rows, layer, options, of_loss, title or None)
            else:
                measurement = rows.measurement(options.seed, of_loss, title or None, whole=whole)
            streamed = rows.state is not None
            used = roles.used(layer)
            measured = Measured(str(path), title, rows.split, measurement, streamed, used)
        # After it, which refuses rows that cannot be used, and says how many there are.
        yield measured, picture(rows.shown(), place, options.seed)


def _roles(shard: Shard, options: ReportOptions) -> _Roles:
    """By the file's own description, which `uncollapse embed` writes, or as the caller says."""
    about, given = tables.description_of(shard), options.columns
    present = [column.name for column in shard.columns]
    name, file = (next((u for u in usual if u in present), None) for usual in (_NAMES, USUAL_PATHS))
    if given.embedding is not None or not about.layers:
        embedding = given.embedding or ",".join(tables.embedding_columns(shard))
        return _Roles((embedding,), given, given.label or label_column(shard, None), name, file)
    wanted = options.layer or ("projector" if "projector" in about.layers else about.layers[0])
    if wanted not in about.layers:
        raise InputError(
            f"a layer {wanted!r} in {shard.path}",
            f"the layers {', '.join(about.layers)}",
            "name one of them with --layer",
        )
    views = about.views > 1 and not about.plain_first and "instance" in present
    columns = Columns(
        label=given.label or about.label,
        instance=given.instance or ("instance" if views else None),
        group=given.group or ("group" if "group" in present else None),
        fine=given.fine or next(iter(about.fine), None),
        slices=given.slices or about.slices,
        text=given.text,
    )
    others = (layer for layer in about.layers if layer != wanted)
    label = columns.label or label_column(shard, None)
    return _Roles((wanted, *others), columns, label, name, file)


@dataclass
class _RowsRead:
    """Rows as they are read: all of them in memory, or sums of them, and some for the picture."""

    roles: _Roles
    split: str
    most: int
    generator: np.random.Generator
    parts: list[Rows] = field(default_factory=list)
    state: Accumulator | None = None
    count: int = 0
    keys: Floats = field(default_factory=lambda: np.empty(0))
    numbers: Integers = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    kept: list[Rows] = field(default_factory=list)

    def add(self, part: Rows) -> None:
        """Take one part."""
        labelled = np.array([label is not None for label in _labels(part)], dtype=bool)
        if labelled.any():
            places = np.flatnonzero(labelled)
            self._draw(part if labelled.all() else part.take(places), self.count + places)
        self.count += len(part)
        self.parts.append(part)
        size = self.count * int(np.prod(part.embeddings.shape[1:])) * 8
        streams = part.embeddings.ndim == 2 and part.instances is None
        if self.state is None and size > IN_MEMORY_BYTES and streams:
            self.state = Accumulator("blocks")
        if self.state is not None:
            self._accumulate(self.state)

    def _accumulate(self, state: Accumulator) -> None:
        for part in self.parts:
            for start in range(0, len(part), CACHED_ROWS):
                held = part.take(slice(start, start + CACHED_ROWS))
                state.update(
                    held.embeddings,
                    held.labels,
                    groups=held.groups,
                    sources=held.sources,
                    first_row=held.vectors_place.row,
                )
        self.parts = []

    def _draw(self, part: Rows, numbers: Integers) -> None:
        """Keep the rows with the smallest of random keys: a uniform draw without replacement.

        Class by class, the first of each before the second of any: a collapsed class of few rows
        must be seen, however many others there are.
        """
        self.kept.append(part)
        self.keys = np.concatenate([self.keys, self.generator.random(len(part))])
        self.numbers = np.concatenate([self.numbers, numbers])
        if len(self.keys) > 4 * self.most:
            self.drawn()

    def drawn(self) -> Rows:
        """The rows of the picture; no others are kept."""
        rows = tables.joined(self.kept)
        _, codes = np.unique(list(map(str, _labels(rows))), return_inverse=True)
        by_class = np.lexsort((self.keys, codes))
        first = np.searchsorted(codes[by_class], np.arange(codes.max() + 1))
        place = np.empty(len(codes), dtype=int)
        place[by_class] = np.arange(len(codes)) - first[codes[by_class]]
        order = np.sort(np.lexsort((self.keys, place))[: self.most])
        self.kept, self.keys, self.numbers = (
            [rows.take(order)],
            self.keys[order],
            self.numbers[order],
        )
        return self.kept[0]

    def shown(self) -> Drawn:
        """The rows of the picture, and what is known of them."""
        rows, roles = self.drawn(), self.roles
        return Drawn(rows, self.numbers, self.count, roles.name, roles.path)

    def measurement(
        self, seed: int, prediction: Prediction | None, layer: str | None, *, whole: bool
    ) -> Measurement:
        """Of all rows; with the probe, slices and nulls where the whole is wanted."""
        split = self.split or None
        if self.state is not None:
            fitting = _fitting(prediction, self.state.classes().names)
            return self.state.measurement(prediction=fitting, layer=layer, split=split)
        part = tables.joined(self.parts)
        slices = {name: part.slices[name] for name in self.roles.columns.slices}
        return measure(
            part.embeddings,
            part.labels,
            instances=part.instances,
            groups=part.groups,
            fine_labels=part.fine_labels if whole else None,
            slices=slices if whole else None,
            permutations=20 if whole else 0,
            prediction=_fitting(prediction, set(_labels(part)) - {None}),
            seed=seed,
            layer=layer,
            split=split,
            sources=part.sources,
        )


def _against(
    source: Source,
    rows: _RowsRead,
    layer: str,
    options: ReportOptions,
    prediction: Prediction | None,
    title: str | None,
) -> Measurement:
    """Held against a reference, whose rows are joined as `uncollapse measure` joins them."""
    return measure_files(
        source,
        columns=replace(rows.roles.columns, embedding=layer, label=rows.roles.label),
        reference=options.reference,
        prediction=prediction,
        seed=options.seed,
        layer=title,
        split=rows.split or None,
    )


def _labels(part: Rows) -> list[Any]:
    """Labels by name; None for rows without one."""
    where = part.sources["labels"]
    names = tables.plain_names(part.labels, where, label=True, declared=False, untyped=False)
    return list(names.tolist())


def _fitting(prediction: Prediction | None, names: Collection[Any]) -> Prediction | None:
    """The prediction where it is of as many classes as the rows have, else nothing."""
    same = prediction is not None and len(prediction.phase_per_class) == len(names)
    return prediction if same else None


def _read(shards: list[Shard], roles: _Roles, layer: str, options: ReportOptions) -> _RowsRead:
    named = (*roles.columns.slices, roles.name, roles.path)
    extra = tuple(dict.fromkeys(column for column in named if column is not None))
    columns = replace(roles.columns, embedding=layer, slices=extra)
    given = roles.columns
    needed = (given.label, given.instance, given.group, given.fine, *given.slices)
    judged = tables.judged_rows(shards, None, {name for name in needed if name})
    split = "" if judged is None else judged.part
    rows = _RowsRead(roles, split, options.sample, np.random.default_rng((options.seed, 7)))
    for part in Reading(shards, [], columns, judged, batch=STREAM_ROWS).parts():
        rows.add(part)
    return rows
