"""From a file of embeddings to its measurement and a picture, in one pass over its rows.

The picture is of principal components and not a neighbour embedding, because distances are the
subject: t-SNE and UMAP give every cluster about the same size, so that a collapsed class would look
healthy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncollapse import tables
from uncollapse.errors import InputError
from uncollapse.metrics import Accumulator, Measurement, measure
from uncollapse.records import Prediction
from uncollapse.report.inputs_model import Floats, Measured, Points, ReportOptions
from uncollapse.report.read.near import nearest_pairs
from uncollapse.report.read.thumbnails import small_pictures
from uncollapse.tables import Columns, Reading, Rows, Shard, label_column

Integers = NDArray[np.int64]
# Embeddings that take more than this as float64 are measured as a stream.
IN_MEMORY_BYTES = 1 << 28
STREAM_ROWS = 65536
CACHED_ROWS = 8192
# Usual names of the columns that name a row, and that hold its file.
_NAMES = ("id", "name", "path", "file")
_FILES = ("path", "file", "filename", "file_name", "image_path")
# Eigenvalues that a picture keeps.
SPECTRUM = 30


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
        columns = self.columns
        used = {
            "embedding": layer,
            "label": self.label,
            "instance": columns.instance,
            "group": columns.group,
            "fine": columns.fine,
            "slice": ", ".join(columns.slices),
            "id": self.name,
            "path": self.path,
        }
        return {role: column for role, column in used.items() if column}


def measured_rows(
    shards: list[Shard],
    path: Path,
    options: ReportOptions,
    prediction: Prediction | None,
    known: set[str],
) -> Iterator[tuple[Measured | None, Points]]:
    """The measurement (None for the layers that are `known`) and the picture of every layer.

    The prediction is of the run's setting, and so for the projector, where the loss is.
    """
    roles = _roles(shards[0], options)
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
            measurement = rows.measurement(options.seed, of_loss, title or None, whole=whole)
            streamed = rows.state is not None
            used = roles.used(layer)
            measured = Measured(str(path), title, rows.split, measurement, streamed, used)
        # After it, which refuses rows that cannot be used, and says how many there are.
        yield measured, _picture(rows, place, options.seed)


def _roles(shard: Shard, options: ReportOptions) -> _Roles:
    """By the file's own description, which `uncollapse embed` writes, or as the caller says."""
    about, given = tables.description_of(shard), options.columns
    present = [column.name for column in shard.columns]
    name, file = (next((u for u in usual if u in present), None) for usual in (_NAMES, _FILES))
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


def _picture(read: _RowsRead, layer: str, seed: int) -> Points:
    """Both projections of the rows that were drawn; of several views, the first is shown."""
    drawn, roles = read.drawn(), read.roles
    vectors = np.asarray(drawn.embeddings, dtype=np.float64)
    vectors = vectors[:, 0] if vectors.ndim == 3 else vectors
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norms).all():
        where = drawn.sources["embeddings"]
        raise InputError(f"finite numbers in {where}", "a NaN or an infinity", "take the rows out")
    vectors = vectors / np.maximum(norms, 1e-300)
    label = [str(value) for value in drawn.labels]
    placed, values = _components(vectors - vectors.mean(axis=0))
    _, codes = np.unique(label, return_inverse=True)
    counts = np.bincount(codes)
    means = np.zeros((len(counts), vectors.shape[1]))
    np.add.at(means, codes, vectors)
    inside, inner = _components(vectors - (means / counts[:, None])[codes])
    free = len(vectors) / max(1, len(vectors) - len(counts))
    x, y, u, v = np.round(np.hstack([placed, inside]), 4).T
    name, path = (
        _texts(None if column is None else drawn.slices[column], len(label))
        for column in (roles.name, roles.path)
    )
    near = nearest_pairs(vectors, codes)
    first = [row for pair in near for row in (pair.first, pair.second)]
    thumbnail, thumbnails = small_pictures(path, first, drawn.vectors_place.path.parent)
    return Points(
        layer=layer,
        x=x,
        y=y,
        u=u,
        v=v,
        shares=(*_shares(values), *_shares(inner)),
        label=tuple(label),
        fine=_texts(drawn.fine_labels, len(label)),
        name=_named(name, path, read.numbers),
        rows=read.count,
        seed=seed,
        spectrum=tuple(float(value * free) for value in inner[:SPECTRUM]),
        path=path,
        thumbnail=thumbnail,
        thumbnails=thumbnails,
        near=near,
    )


def _components(rows: Floats) -> tuple[Floats, Floats]:
    """(n, 2) principal components of centred rows (n, d), and all eigenvalues, largest first.

    Each component has its largest loading positive; the eigenvalues are those of rows' rows / n.
    """
    n, d = rows.shape
    if d <= n:
        values, vectors = np.linalg.eigh(rows.T @ rows / n)
        axes = vectors[:, ::-1][:, :2]
    else:
        values, vectors = np.linalg.eigh(rows @ rows.T / n)
        axes = rows.T @ vectors[:, ::-1][:, :2]
        axes = axes / np.maximum(np.linalg.norm(axes, axis=0), 1e-300)
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    placed = rows @ (axes * np.where(signs == 0, 1.0, signs))
    return np.pad(placed, ((0, 0), (0, 2 - placed.shape[1]))), np.clip(values[::-1], 0, None)


def _shares(eigenvalues: Floats) -> tuple[float, float]:
    """Of the first two in the sum."""
    total = float(eigenvalues.sum())
    first, second = np.append(eigenvalues, [0.0, 0.0]).tolist()[:2]
    return (first / total, second / total) if total > 0 else (0.0, 0.0)


def _named(names: tuple[str, ...], paths: tuple[str, ...], numbers: Integers) -> tuple[str, ...]:
    """By its id, its file, or its number among the judged rows, from 0."""
    named = zip(names, paths, numbers.tolist(), strict=True)
    return tuple(name or path or f"#{number}" for name, path, number in named)


def _texts(values: Any, count: int) -> tuple[str, ...]:
    """Values as text; "" for those that are missing, and for all where there are none."""
    given = [None] * count if values is None else values
    return tuple("" if value is None else str(value) for value in given)
