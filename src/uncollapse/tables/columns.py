"""Which column holds what: as the caller says, or by its usual names."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from pathlib import Path

from uncollapse.errors import InputError
from uncollapse.samples import ByRole
from uncollapse.tables._shard import Column, Shard

_USUAL_EMBEDDINGS = ("embedding", "embeddings", "emb", "features", "feature", "vector", "z", "x")
_USUAL_LABELS = ("label", "labels", "y", "target", "targets", "class")


@dataclass(frozen=True)
class Columns:
    """Names of the columns (of the arrays, in npz and safetensors files).

    Vectors are a column of lists; or several columns of numbers, by a pattern or separated by
    commas. Where they are not named: by their usual names, else the only column of lists, else the
    only family of number columns such as e0, e1, e2. Labels: by their usual names.

    Attributes:
        embedding: Column of vectors, or a pattern of number columns such as "e*".
        label: Column of class labels.
        instance: Column of instance ids, when rows are views of instances.
        group: Column of what was drawn independently (patient, part).
        fine: Column of finer labels, for the within-class probe.
        slices: Column over whose values to compare; may be repeated.

    Examples:
        >>> import numpy as np
        >>> from tempfile import TemporaryDirectory
        >>> from uncollapse import measure_files
        >>> columns = Columns(embedding="z", label="kind", slices=("site",))
        >>> kinds, sites = np.repeat([0, 1, 2], 50), np.arange(150) % 2
        >>> with TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/rows.npz", z=np.eye(3, 16)[kinds], kind=kinds, site=sites)
        ...     list(measure_files([f"{folder}/rows.npz"], columns=columns).slices)
        ['site']
    """

    embedding: str | None = None
    label: str | None = None
    instance: str | None = None
    group: str | None = None
    fine: str | None = None
    slices: tuple[str, ...] = ()


def _missing(path: Path, what: str, columns: list[Column]) -> InputError:
    listed = ", ".join(column.name for column in columns[:20])
    more = ", ..." if len(columns) > 20 else ""
    return InputError(f"{what} in {path}", f"columns {listed}{more}", "name the column that is it")


def _only(shard: Shard, chosen: list[str]) -> list[str]:
    """The chosen columns, each of which must be the only one of its name."""
    names = [column.name for column in shard.columns]
    for name in chosen:
        if names.count(name) > 1:
            raise InputError(
                f"one column {name!r} in {shard.path}",
                f"{names.count(name)} of that name",
                "give every column a name of its own",
            )
    return chosen


def embedding_columns(shard: Shard, embedding: str | None = None) -> list[str]:
    """The column of vectors, or the columns of single dimensions, in order."""
    columns = shard.columns
    if embedding is None:
        return _only(shard, _usual_embedding(shard))
    if embedding in (column.name for column in columns):
        return _only(shard, [embedding])
    matching = [
        column.name
        for pattern in embedding.split(",")
        for column in columns
        if fnmatch.fnmatchcase(column.name, pattern.strip())
    ]
    if not matching:
        raise _missing(shard.path, f"an embedding column {embedding!r}", columns)
    return _only(shard, matching)


def _usual_embedding(shard: Shard) -> list[str]:
    vectors = [column.name for column in shard.columns if column.kind == "matrix"]
    usual = [name for name in _USUAL_EMBEDDINGS if name in vectors]
    chosen = usual[:1] or vectors or _numbered(shard.columns)
    if not chosen or (not usual and len(vectors) > 1):
        raise _missing(shard.path, "one embedding column (--embedding)", shard.columns)
    return chosen


def _numbered(columns: list[Column]) -> list[str]:
    """The columns that share a name but for a final number, if they are the only such family."""
    # One bad entry makes a column of a CSV file text: it is given too, for the reader to refuse.
    families: dict[str, list[Column]] = {}
    for column in columns:
        match = re.fullmatch(r"(.*?)\d+", column.name)
        if match is not None:
            families.setdefault(match[1], []).append(column)
    several = [
        [column.name for column in family]
        for family in families.values()
        if sum(column.kind == "number" for column in family) > 1
    ]
    return several[0] if len(several) == 1 else []


def number_columns(shard: Shard) -> list[str]:
    """The columns of numbers, and those of text that share a name with them but for a number."""
    family = _numbered(shard.columns)
    return [c.name for c in shard.columns if c.kind == "number" or c.name in family]


def named_column(shard: Shard, name: str, what: str = "a column") -> str:
    """A column that must be there; the only array of an npy file has any name."""
    names = [column.name for column in shard.columns]
    if name in names:
        return _only(shard, [name])[0]
    if len(names) == 1 and shard.path.suffix == ".npy":
        return names[0]
    raise _missing(shard.path, f"{what} {name!r}", shard.columns)


def label_column(shard: Shard, embedding: str | None) -> str:
    """The column of labels by its usual names, else the only one that can be it."""
    names = [column.name for column in shard.columns]
    for usual in _USUAL_LABELS:
        if usual in names:
            return _only(shard, [usual])[0]
    single = [c.name for c in shard.columns if c.kind != "matrix" and c.name != embedding]
    if len(single) == 1:
        return single[0]
    raise _missing(shard.path, "a label column (--label)", shard.columns)


def roles_of(shard: Shard, columns: Columns, embedding: str | None) -> ByRole[str]:
    """Column of each role besides the embedding, which lies in the same file or (None) elsewhere.

    Raises:
        InputError: A column that is not there, or more than once.
    """
    if embedding is not None and shard.path.suffix == ".npy":
        raise InputError(
            f"labels beside the embeddings in {shard.path}",
            "a single array",
            "give the file with the labels (--labels-from)",
        )

    def named(name: str | None) -> str | None:
        return None if name is None else named_column(shard, name)

    return ByRole(
        labels=named(columns.label) or label_column(shard, embedding),
        instances=named(columns.instance),
        groups=named(columns.group),
        fine_labels=named(columns.fine),
        slices={name: named_column(shard, name) for name in columns.slices},
    )
