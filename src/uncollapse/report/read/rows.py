"""From a file of embeddings to its measurement and a picture, in one pass over its rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.metrics import Accumulator, Measurement, measure
from uncollapse.records import Prediction
from uncollapse.report.inputs_model import Measured, Options, Points
from uncollapse.report.read.picture import picture
from uncollapse.tables import Columns, Part, Reading, Shard, embedding_columns, open_shards

__all__ = ["measured_rows"]

Array = NDArray[Any]

# Embeddings that take more than this as float64 are measured as a stream.
IN_MEMORY_BYTES = 1 << 28
STREAM_ROWS = 65536
CACHED_ROWS = 8192
# Rows of these splits, the first that is there, are what is judged.
JUDGED = ("test", "validation")
LEAST_CLASS = 3


@dataclass(frozen=True)
class Roles:
    """Which columns of a file are read.

    Attributes:
        layers: Columns of vectors, the one that the report is about first.
        columns: The others.
        split: The column of splits; None without one.
        name: The column that names a row in the picture; None without one.
        slices: Slice columns.
    """

    layers: tuple[str, ...]
    columns: Columns
    split: str | None
    name: str | None
    slices: tuple[str, ...]


def measured_rows(
    path: Path, options: Options, prediction: Prediction | None, known: set[str]
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
        points = picture(rows.drawn(), title or options.layer or "", rows.count, options.seed)
        of_loss = prediction if title in ("projector", "") else None
        measured = None
        if title not in known:
            # Of the layers beside, the variances are enough: the probe takes most of the time.
            whole = layer == roles.layers[0]
            measurement = rows.measurement(options.seed, of_loss, title or None, whole=whole)
            streamed = rows.state is not None
            measured = Measured(str(path), title, rows.split, measurement, streamed)
        yield measured, points


def _roles(shard: Shard, options: Options) -> Roles:
    """By the file's own description, which `uncollapse embed` writes, or as the caller says."""
    about, given = _about(shard.path), options.columns
    present = [column.name for column in shard.columns]
    split = "split" if "split" in present and given.label != "split" else None
    name = next((one for one in ("id", "name", "path", "file") if one in present), None)
    layers = tuple(str(one) for one in about.get("layers", ()) if one in present)
    if given.embedding is not None or not layers:
        return Roles(
            (given.embedding or ",".join(embedding_columns(shard, given)),),
            given,
            split,
            name,
            given.slices,
        )
    wanted = options.layer or ("projector" if "projector" in layers else layers[0])
    if wanted not in layers:
        raise InputError(
            f"a layer {wanted!r} in {shard.path}",
            f"the layers {', '.join(layers)}",
            "name one of them with --layer",
        )
    fine = given.fine or next((one for one in about.get("fine", ()) if one in present), None)
    views = about.get("views") or 0
    columns = Columns(
        label=given.label or about.get("label"),
        instance=given.instance or ("instance" if views > 1 and "instance" in present else None),
        group=given.group or ("group" if "group" in present else None),
        fine=fine,
    )
    slices = given.slices or tuple(one for one in about.get("slices", ()) if one in present)
    return Roles((wanted, *(one for one in layers if one != wanted)), columns, split, name, slices)


def _about(path: Path) -> dict[str, Any]:
    if path.suffix != ".parquet":
        return {}
    import pyarrow.parquet as pq

    try:
        found = json.loads((pq.read_schema(path).metadata or {}).get(b"uncollapse", b"{}"))
    except ValueError as error:
        raise InputError(
            f"JSON in the metadata of {path}", f"{error}", "embed the run again"
        ) from error
    return found if isinstance(found, dict) else {}


@dataclass
class _Rows:
    """Rows as they are read: all of them in memory, or sums of them, and some for the picture."""

    roles: Roles
    split: str
    most: int
    generator: np.random.Generator
    parts: list[Part] = field(default_factory=list)
    state: Accumulator | None = None
    count: int = 0
    keys: Array = field(default_factory=lambda: np.empty(0))
    kept: list[Part] = field(default_factory=list)

    def add(self, part: Part) -> None:
        """Take one part."""
        self._draw(part)
        self.count += len(part.embeddings)
        self.parts.append(part)
        size = self.count * int(np.prod(part.embeddings.shape[1:])) * 8
        streams = part.embeddings.ndim == 2 and "instances" not in part.columns
        if self.state is None and size > IN_MEMORY_BYTES and streams:
            self.state = Accumulator("blocks")
        if self.state is not None:
            for held in self.parts:
                _accumulate(self.state, held)
            self.parts = []

    def _draw(self, part: Part) -> None:
        """Keep the rows with the smallest of random keys: a uniform draw without replacement."""
        keys = self.generator.random(len(part.embeddings))
        chosen = np.flatnonzero(keys <= np.sort(keys)[: self.most][-1])
        self.kept.append(_take(part, chosen))
        self.keys = np.concatenate([self.keys, keys[chosen]])
        if len(self.keys) > 4 * self.most:
            self._thin()

    def _thin(self) -> None:
        order = np.sort(np.argsort(self.keys, kind="stable")[: self.most])
        self.kept, self.keys = [_take(_joined(self.kept), order)], self.keys[order]

    def drawn(self) -> dict[str, Array]:
        """The rows of the picture."""
        self._thin()
        part = self.kept[0]
        vectors = np.asarray(part.embeddings, dtype=np.float64)
        if vectors.ndim == 3:
            vectors = vectors[:, 0]
        found = {"vectors": vectors, "label": part.columns["labels"]}
        if "fine_labels" in part.columns:
            found["fine"] = part.columns["fine_labels"]
        if self.roles.name is not None:
            found["name"] = part.columns[f"slice {self.roles.name}"]
        return found

    def measurement(
        self, seed: int, prediction: Prediction | None, layer: str | None, *, whole: bool
    ) -> Measurement:
        """Of all rows; with the probe, slices and nulls where the whole is wanted."""
        if self.state is not None:
            return self.state.measurement(
                prediction=_fitting(prediction, self.state.classes()[0].names),
                layer=layer,
                split=self.split or None,
            )
        part = _joined(self.parts)
        columns = part.columns
        slices = {name: columns[f"slice {name}"] for name in self.roles.slices}
        return measure(
            part.embeddings,
            columns["labels"],
            instances=columns.get("instances"),
            groups=columns.get("groups"),
            fine_labels=columns.get("fine_labels") if whole else None,
            slices=(slices or None) if whole else None,
            permutations=20 if whole else 0,
            prediction=_fitting(prediction, set(columns["labels"].tolist())),
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


def _read(shards: list[Shard], roles: Roles, layer: str, options: Options) -> _Rows:
    extra = [*roles.slices, *(n for n in (roles.split, roles.name) if n is not None)]
    columns = replace(roles.columns, embedding=layer, slices=tuple(dict.fromkeys(extra)))
    split = _judged(shards, roles, columns)
    rows = _Rows(roles, split, options.sample, np.random.default_rng((options.seed, 7)))
    for part in Reading(shards, [], columns, batch=STREAM_ROWS).parts():
        if split:
            named = part.columns[f"slice {roles.split}"]
            part = _take(part, np.flatnonzero(named.astype(str) == split))
        if len(part.embeddings):
            rows.add(part)
    return rows


def _judged(shards: list[Shard], roles: Roles, columns: Columns) -> str:
    """The split whose rows are judged; "" for all rows."""
    if roles.split is None:
        return ""
    values: set[str] = set()
    for shard in shards:
        for part in shard.read([roles.split], STREAM_ROWS, False):
            values |= set(np.unique(part[roles.split].astype(str)).tolist())
    return next((one for one in JUDGED if one in values), "")


def _accumulate(state: Accumulator, part: Part) -> None:
    for start in range(0, len(part.embeddings), CACHED_ROWS):
        stop = start + CACHED_ROWS
        groups = part.columns.get("groups")
        state.update(
            part.embeddings[start:stop],
            part.columns["labels"][start:stop],
            None,
            None if groups is None else groups[start:stop],
            sources=part.sources,
            first_row=part.first_row + start,
        )


def _take(part: Part, rows: Array) -> Part:
    columns = {role: values[rows] for role, values in part.columns.items()}
    return replace(part, embeddings=part.embeddings[rows], columns=columns)


def _joined(parts: list[Part]) -> Part:
    if len(parts) == 1:
        return parts[0]
    widths = {part.embeddings.shape[1:] for part in parts}
    if len(widths) > 1:
        raise InputError(
            "embeddings of one length in all files",
            " and ".join(str(shape) for shape in sorted(widths)),
            "report files of one model together",
        )
    columns = {}
    for role in parts[0].columns:
        arrays = [part.columns[role] for part in parts]
        if any(array.dtype == object for array in arrays):
            arrays = [array.astype(object) for array in arrays]
        columns[role] = np.concatenate(arrays)
    vectors = np.concatenate([part.embeddings for part in parts])
    return replace(parts[0], embeddings=vectors, columns=columns)
