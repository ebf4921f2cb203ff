"""Embeddings with splits and targets from files: parquet, npz, safetensors, CSV and the like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from uncollapse.errors import InputError
from uncollapse.probes._dataset import Embedded
from uncollapse.tables import (
    Columns,
    Reading,
    Shard,
    Source,
    description_of,
    embedding_columns,
    label_column,
    named_column,
    named_text,
    open_shards,
    sources_of,
)


@dataclass(frozen=True)
class ProbeColumns:
    """Names of columns; what is None is found in the parquet metadata or by its usual name.

    Attributes:
        layers: Column of vectors (backbone, projector, ...); may be repeated. [default: all layers
            that `uncollapse embed` wrote, else the usual column]
        targets: Column to read; may be repeated. [default: label, finer labels, slices]
        label: Column of the class label that the encoder was trained on.
        group: Column of what must stay in one split (patient, part).
        instance: Column of instance ids, when rows are views of instances.
        split: Column of splits: train, validation, test. [default: split; without it, cut here]
        text: Column that is read as text, whatever its type; may be repeated.
    """

    layers: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    label: str | None = None
    group: str | None = None
    instance: str | None = None
    split: str | None = None
    text: tuple[str, ...] = ()


def embedded_files(
    paths: Source | Iterable[Source], columns: ProbeColumns | None = None, *, name: str = ""
) -> Embedded:
    """Embeddings of one data set from what any command reads, several being shards of one.

    The folder of a run means its embeddings.parquet; one that was not embedded is refused.
    """
    columns = columns or ProbeColumns()
    shards = open_shards([_embeddings_of(path) for path in sources_of(paths)])
    first = shards[0]
    _check_names(first, columns)
    about, present = description_of(first), [column.name for column in first.columns]
    layers = (
        columns.layers or about.layers or (",".join(embedding_columns(first, None, "--layer")),)
    )
    label = columns.label or about.label
    if label is None and (first.about or not columns.targets or {"label", "labels"} & {*present}):
        label = label_column(first, embedding_columns(first, layers[0])[0])
    labels = () if label is None else (label,)
    targets = columns.targets or (*labels, *about.fine, *about.slices)
    split = columns.split or ("split" if "split" in present else None)
    read = dict.fromkeys([*targets, *labels])
    given = Columns(
        label=label or targets[0],
        group=columns.group or ("group" if first.about and "group" in present else None),
        instance=columns.instance
        or ("instance" if first.about and "instance" in present else None),
        slices=tuple(read if split is None else read | {split: None}),
        text=columns.text,
    )
    matrices = {}
    sources = {} if split is None else {"split": f"column {split!r} of {first.path}"}
    for layer in layers:
        rows = Reading(shards, [], replace(given, embedding=layer)).whole()
        several = layer.split(",")
        title = layer if len(several) == 1 else f"{several[0]}..{several[-1]}"
        matrices[title], sources[f"layer {title}"] = rows.embeddings, rows.sources["embeddings"]
    return Embedded(
        matrices,
        {
            target: named_text(
                rows.slices[target],
                target in columns.text,
                first.is_untyped(target) and target not in about.slices,
            )
            for target in read
        },
        split=None if split is None else rows.slices[split],
        label=label,
        fine=tuple(n for n in targets if n != label and n not in about.slices),
        slices=tuple(n for n in about.slices if n in targets),
        groups=rows.groups,
        instances=rows.instances,
        name=name,
        sources=sources,
    )


def _check_names(shard: Shard, columns: ProbeColumns) -> None:
    """Refuse a name that no column has, by the option that gave it."""
    for layer in columns.layers:
        embedding_columns(shard, layer, "--layer")
    given = {
        "--target": columns.targets,
        "--label": (columns.label,),
        "--group": (columns.group,),
        "--split": (columns.split,),
    }
    for option, names in given.items():
        for name in filter(None, names):
            named_column(shard, name, option=option)


def _embeddings_of(given: Source) -> Source:
    """What is given itself, or the embeddings in the folder of a run."""
    if not isinstance(given, str | Path) or not Path(given).is_dir():
        return given
    path = Path(given)
    if (path / "embeddings.parquet").is_file():
        return path / "embeddings.parquet"
    if not any((path / name).is_file() for name in ("config.yaml", "run.json", "metrics.jsonl")):
        return path
    raise InputError(
        f"embeddings.parquet in {path}",
        "none",
        f"uncollapse embed {path} -o {path}/embeddings.parquet",
    )
