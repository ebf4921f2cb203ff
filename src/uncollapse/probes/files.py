"""Embeddings with splits and targets from files: parquet, npz, safetensors, CSV and the like."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.probes.dataset import Embedded
from uncollapse.tables import Columns, Reading, Shard, embedding_columns, named_column, open_shards

__all__ = ["ProbeColumns", "embedded_files"]

_KEY = b"uncollapse"


@dataclass(frozen=True)
class ProbeColumns:
    """Names of columns; what is None is found in the parquet metadata or by its usual name.

    Attributes:
        layers: Columns of vectors; empty: those that the metadata names, else the usual one.
        targets: Columns to read; empty: label, finer labels and slices.
        label: The training label.
        group: What must not be divided between splits.
        instance: Instance of each row.
        split: Split of each row.
    """

    layers: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    label: str | None = None
    group: str | None = None
    instance: str | None = None
    split: str | None = None


def embedded_files(
    paths: Sequence[str | Path], columns: ProbeColumns | None = None, *, name: str = ""
) -> Embedded:
    """Embeddings of one data set from files.

    Args:
        paths: Files (npz, parquet, safetensors, CSV, arrow; several are shards of one set), folders
            of them, or the folder of a run, which means its embeddings.parquet.
        columns: What is where in them.
        name: Of the data set.

    Raises:
        InputError: A run that was not embedded, a column that is not there, an unreadable file.
    """
    columns = columns or ProbeColumns()
    shards = open_shards([_embeddings_of(Path(path)) for path in paths])
    first = shards[0]
    known, present = _metadata(first.path), [column.name for column in first.columns]
    layers = columns.layers or tuple(known.get("layers", ())) or (_usual(first),)
    label = columns.label
    if label is None and (known or not columns.targets or _has_label(first)):
        label = named_column(first, None, embedding_columns(first, Columns(layers[0]))[0])
    fine, slices = tuple(known.get("fine", ())), tuple(known.get("slices", ()))
    targets = columns.targets or tuple(n for n in (label, *fine, *slices) if n is not None)
    roles = {
        "split": columns.split or ("split" if "split" in present else None),
        "groups": columns.group or ("group" if known and "group" in present else None),
        "instances": columns.instance or ("instance" if known and "instance" in present else None),
    }
    columns_read = tuple(dict.fromkeys([*targets, *([label] if label is not None else [])]))
    wanted = dict.fromkeys([*columns_read, *(n for n in roles.values() if n is not None)])
    matrices, values, sources = _read(shards, layers, tuple(wanted))
    return Embedded(
        matrices,
        {target: values[target] for target in columns_read},
        split=values[roles["split"]] if roles["split"] else None,
        label=label,
        fine=tuple(n for n in targets if n != label and n not in slices),
        slices=tuple(n for n in slices if n in targets),
        groups=values[roles["groups"]] if roles["groups"] else None,
        instances=values[roles["instances"]] if roles["instances"] else None,
        name=name,
        sources=sources,
    )


def _embeddings_of(path: Path) -> Path:
    """The path itself, or the embeddings in the folder of a run."""
    if not path.is_dir():
        return path
    if (path / "embeddings.parquet").is_file():
        return path / "embeddings.parquet"
    tables = [*path.glob("*.parquet"), *path.glob("*.npz"), *path.glob("*.arrow")]
    if tables and not [*path.glob("*.yaml"), *path.glob("*.jsonl")]:
        return path
    raise InputError(
        f"embeddings.parquet in {path}",
        "none",
        f"uncollapse embed {path} -o {path}/embeddings.parquet",
    )


def _metadata(path: Path) -> dict[str, Any]:
    """What `uncollapse embed` wrote into a parquet file, or nothing."""
    if path.suffix != ".parquet":
        return {}
    import pyarrow.parquet as pq

    text = (pq.read_schema(path).metadata or {}).get(_KEY)
    try:
        found = {} if text is None else json.loads(text)
    except ValueError as error:
        raise InputError(
            f"JSON in the metadata of {path}", f"{error}", "embed the run again"
        ) from error
    return found if isinstance(found, dict) else {}


def _usual(shard: Shard) -> str:
    names = embedding_columns(shard, Columns())
    return names[0] if len(names) == 1 else ",".join(names)


def _has_label(shard: Shard) -> bool:
    return bool({"label", "labels"} & {column.name for column in shard.columns})


def _read(
    shards: list[Shard], layers: Sequence[str], wanted: tuple[str, ...]
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]], dict[str, str]]:
    """Matrices by layer, columns by name, and where the layers come from."""
    matrices: dict[str, NDArray[Any]] = {}
    values: dict[str, NDArray[Any]] = {}
    sources: dict[str, str] = {}
    for layer in layers:
        columns = Columns(embedding=layer, label=wanted[0] if wanted else None, slices=wanted)
        parts = list(Reading(shards, [], columns).parts())
        if not parts:
            raise InputError(f"rows in {shards[0].path}", "none", "give a file with embeddings")
        if len({part.embeddings.shape[1:] for part in parts}) > 1:
            raise InputError(
                f"vectors of one length in {layer!r}", "several", "probe files of one model"
            )
        named = layer.split(",")
        title = layer if len(named) == 1 else f"{named[0]}..{named[-1]}"
        matrices[title] = np.concatenate([part.embeddings for part in parts])
        sources[f"layer {title}"] = parts[0].sources["embeddings"]
        for name in wanted if not values else ():
            values[name] = _together([part.columns[f"slice {name}"] for part in parts])
    return matrices, values, sources


def _together(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    if any(array.dtype == object for array in arrays):
        arrays = [array.astype(object) for array in arrays]
    return np.concatenate(arrays)
