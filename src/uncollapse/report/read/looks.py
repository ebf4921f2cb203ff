"""The table of `uncollapse measure --rows`: which of its rows are worth a look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from uncollapse import tables
from uncollapse.errors import InputError
from uncollapse.report.read.near import MOST_PAIRS
from uncollapse.report.read.thumbnails import small_pictures
from uncollapse.report.rows_model import Floats, Look, Looks

Integers = NDArray[np.int64]
# Columns that every such table has, and no file of embeddings.
_ITS_OWN = {"row", "label", "nearest", "distance", "copy", "label_doubt", "suggested"}
# Rows of each table that have their pictures before the others: so many are shown at once.
_PICTURED = 20
_NUMBERS = ("row", "nearest", "distance", "label_doubt", "lost")


def is_row_table(path: Path) -> bool:
    """Whether a file is such a table, by its columns."""
    return path.suffix == ".parquet" and path.is_file() and _names(path) >= _ITS_OWN


def read_looks(path: Path, folders: Sequence[Path]) -> Looks:
    """The first rows of each kind, with small pictures from below the folders or the table's own.

    Raises:
        InputError: It is damaged.
    """
    table = _RowsOfTable.read(path)
    near, all_doubted, all_lost = table.near(), table.doubted(), table.least_kept()
    doubted, lost = all_doubted[:MOST_PAIRS], all_lost[:MOST_PAIRS]
    paired = [row for pair in near for row in pair]
    first = [*paired[: 2 * _PICTURED], *doubted[:_PICTURED], *lost[:_PICTURED], *paired]
    places, thumbnails = small_pictures(table.file, first, path.parent, *folders)

    def look(row: int, value: float, other: str, other_row: int | None = None) -> Look:
        picture = None if other_row is None else places[other_row]
        return Look(table.name[row], table.label[row], other, value, places[row], picture)

    return Looks(
        source=str(path),
        rows=len(table.name),
        near=tuple(look(a, 1 - float(table.distance[a]), table.name[b], b) for a, b in near),
        doubted=tuple(look(row, float(table.doubt[row]), table.suggested[row]) for row in doubted),
        lost=tuple(look(row, float(table.lost[row]), "") for row in lost),
        all_doubted=len(all_doubted),
        all_lost=len(all_lost),
        thumbnails=thumbnails,
    )


@dataclass(frozen=True)
class _RowsOfTable:
    """Its columns; `nearest` holds places in the table, -1 for none."""

    name: list[str]
    file: list[str]
    label: list[str]
    suggested: list[str]
    nearest: Integers
    distance: Floats
    doubt: Floats
    lost: Floats

    @classmethod
    def read(cls, path: Path) -> Self:
        wanted = sorted(_names(path) & {*_ITS_OWN, "id", "path", "lost"})
        numbers = [name for name in wanted if name in _NUMBERS]
        texts = [name for name in wanted if name not in _NUMBERS]
        (shard,) = tables.open_shards(path)
        parts = list(shard.read(numbers, texts, 65536))
        if not parts:
            raise InputError(f"rows in {path}", "none", "write it again with --rows")
        read = {name: np.concatenate([part[name] for part in parts]) for name in wanted}
        count = len(read["row"])
        row, file = read["row"].astype(int), _texts(read.get("path"), count)
        named = zip(_texts(read.get("id"), count), file, row, strict=True)
        place = {int(each): number for number, each in enumerate(row)}
        return cls(
            name=[name or path or f"#{number}" for name, path, number in named],
            file=file,
            label=_texts(read["label"], count),
            suggested=_texts(read["suggested"], count),
            nearest=np.array([place.get(int(each), -1) for each in read["nearest"]]),
            distance=read["distance"].astype(float),
            doubt=read["label_doubt"].astype(float),
            lost=read["lost"].astype(float) if "lost" in read else np.full(count, np.nan),
        )

    def near(self) -> list[tuple[int, int]]:
        """Pairs of a class, the closest first, each once."""
        known = np.where(self.nearest >= 0, self.distance, np.nan)
        both = ((row, int(self.nearest[row])) for row in _least(known))
        return list({frozenset(pair): pair for pair in both}.values())[:MOST_PAIRS]

    def doubted(self) -> list[int]:
        """Rows whose neighbours suggest another class, the most doubtful first."""
        other = np.array(self.suggested) != np.array(self.label)
        return _least(np.where(other, -self.doubt, np.nan))

    def least_kept(self) -> list[int]:
        """Rows that lost neighbours which the reference has, those that lost most first."""
        return _least(np.where(self.lost > 0, -self.lost, np.nan))


def _names(path: Path) -> set[str]:
    (shard,) = tables.open_shards(path)
    return {column.name for column in shard.columns}


def _least(values: Floats) -> list[int]:
    """Places of the known values, the smallest first."""
    order = np.argsort(values, kind="stable")
    return [int(place) for place in order if np.isfinite(values[place])]


def _texts(values: Any, count: int) -> list[str]:
    """Values as text; "" for those that are missing, and for all where there are none."""
    given = [None] * count if values is None else values.tolist()
    return ["" if value is None else str(value) for value in given]
