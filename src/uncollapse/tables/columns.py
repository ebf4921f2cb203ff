"""Which column holds what: as the caller says, or by its usual names."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from pathlib import Path

from uncollapse.errors import InputError
from uncollapse.tables.shard import Column, Shard

__all__ = ["Columns", "embedding_columns", "named_column"]

_USUAL_EMBEDDINGS = ("embedding", "embeddings", "emb", "features", "feature", "vector", "z", "x")
_USUAL_LABELS = ("label", "labels", "y", "target", "targets", "class")


@dataclass(frozen=True)
class Columns:
    """Names of the columns (of the arrays, in npz and safetensors files).

    Attributes:
        embedding: A column of lists; or several columns of numbers, by a pattern such as "e*" or
            separated by commas. None: by its usual names, else the only column of lists, else the
            only family of number columns such as e0, e1, e2.
        label: Class of each row. None: by its usual names.
        instance: Instance of each row.
        group: Independent group of each row.
        fine: Finer label of each row.
        slices: Slice columns.
    """

    embedding: str | None = None
    label: str | None = None
    instance: str | None = None
    group: str | None = None
    fine: str | None = None
    slices: tuple[str, ...] = ()

    @property
    def others(self) -> list[str]:
        """Every column that is named besides embedding and label."""
        given = (self.instance, self.group, self.fine, *self.slices)
        return [name for name in given if name is not None]


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


def embedding_columns(shard: Shard, columns: Columns) -> list[str]:
    """The column of vectors, or the columns of single dimensions, in order."""
    return _only(shard, _embedding_columns(shard, columns))


def _embedding_columns(shard: Shard, columns: Columns) -> list[str]:
    found = shard.columns
    names = [column.name for column in found]
    if columns.embedding is not None:
        if columns.embedding in names:
            return [columns.embedding]
        wanted = [
            name
            for pattern in columns.embedding.split(",")
            for name in names
            if fnmatch.fnmatchcase(name, pattern.strip())
        ]
        if not wanted:
            raise _missing(shard.path, f"an embedding column {columns.embedding!r}", found)
        return wanted
    vectors = [column.name for column in found if column.kind == "matrix"]
    for name in _USUAL_EMBEDDINGS:
        if name in vectors:
            return [name]
    if len(vectors) == 1:
        return vectors
    if not vectors and (numbered := _numbered(found)):
        return numbered
    raise _missing(shard.path, "one embedding column (--embedding)", found)


def _numbered(columns: list[Column]) -> list[str]:
    """The columns that share a name but for a final number, if there is one such family of numbers.

    A column of text in it is not left out but given too, for the reader to refuse: one bad entry
    makes a column of a CSV file text, and to measure without that dimension would be wrong.
    """
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


def named_column(shard: Shard, name: str | None, embedding: str | None) -> str:
    """The label column, or another that was named."""
    return _only(shard, [_named_column(shard, name, embedding)])[0]


def _named_column(shard: Shard, name: str | None, embedding: str | None) -> str:
    found = shard.columns
    names = [column.name for column in found]
    if name is not None:
        if name in names:
            return name
        if len(names) == 1 and shard.path.suffix == ".npy":
            return names[0]
        raise _missing(shard.path, f"a column {name!r}", found)
    for usual in _USUAL_LABELS:
        if usual in names:
            return usual
    single = [column.name for column in found if not column.shape and column.name != embedding]
    single = [c for c in single if {k.name: k.kind for k in found}[c] != "matrix"]
    if len(single) == 1:
        return single[0]
    raise _missing(shard.path, "a label column (--label)", found)
