"""Tiles of the similarity matrix; no more than one of them needs to exist at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from uncollapse.losses.grouping import Grouping

__all__ = [
    "NEAR_DIAGONAL",
    "Diagonals",
    "Layout",
    "Scope",
    "Tile",
    "default_tile_size",
    "storage_for",
]

# Which samples j the sum of anchor i runs over.
Scope = Literal["all", "others", "own class", "other classes"]

# Classes up to this size are taken from near the diagonal, all of a tile in one operation.
NEAR_DIAGONAL = 80
# Entries that products want to begin at a multiple of: 64 bytes of float32.
_ALIGNED = 16
_SMALL_BATCH = 1024


@dataclass(frozen=True)
class Layout:
    """The anchors whose rows this process computes, against all samples of the batch.

    Attributes:
        rows: (R, d) anchors, scaled so that rows @ columns.T are the logits, in the batch's order.
        columns: (N, d) all samples, sorted by class; `rows` itself if this process has them all.
        grouping: Classes and instances of the columns.
        own_column: (R,) int64 ascending, the column that each row is; None for rows = columns.
        tile_size: Largest side of a tile.
        largest_logit: A bound on the magnitude of every logit.
        threads: How many threads may share the tiles.
    """

    rows: Tensor
    columns: Tensor
    grouping: Grouping
    own_column: Tensor | None
    tile_size: int
    largest_logit: float
    threads: int

    @property
    def is_symmetric(self) -> bool:
        """Whether tile (r, c) holds tile (c, r) as well, transposed."""
        return self.own_column is None

    def of_rows(self, values: Tensor) -> Tensor:
        """The part of a vector over columns, or a matrix, that belongs to the rows."""
        return values if self.own_column is None else values.index_select(0, self.own_column)

    def held(self, count: int) -> Tensor:
        """(count,) zeros in the rows' dtype for numbers of columns, with zeros before and behind.

        Those around it are what `Diagonals.beside` reads past the ends.
        """
        around = min(self.grouping.classes.longest, NEAR_DIAGONAL)
        return self.rows.new_zeros(count + 2 * around)[around : around + count]


@dataclass(frozen=True, eq=False)
class Tile:
    """Rows by columns of the similarity matrix.

    Attributes:
        rows: Range of rows.
        columns: Range of columns.
        scope: Which of its entries count.
        mirrored: Whether the tile stands for its transpose too, which no other tile does.
        diagonal: Whether its columns are its rows, so that it is its own transpose.
        itself: Rows and columns (within the tile) of entries of a sample with itself, if the tile
            is not diagonal and has such entries.
        same: As large as what `within` gives, 1 where both samples are of one class and 0
            elsewhere, for a tile of scope "own class"; None if all entries are of one class.
        own: Blocks of this tile that hold all its entries of two samples of one class, each a tile
            of scope "own class"; empty if nobody asked for them.
        margin: Entries of storage before and behind the tile's own, which hold finite numbers
            whenever the tile's own are read by a block.
    """

    rows: slice
    columns: slice
    scope: Scope
    mirrored: bool
    diagonal: bool
    itself: tuple[Tensor, Tensor] | None = None
    same: Tensor | None = None
    own: tuple[Tile, ...] = ()
    margin: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def room(self) -> int:
        """Entries of storage that `logits` needs."""
        return math.prod(self.shape) + 2 * self.margin

    def place(self, storage: Tensor) -> Tensor:
        """The first entries of `storage`, but for the margin, as a matrix of the tile's shape."""
        height, width = self.shape
        return storage.as_strided((height, width), (width, 1), self.margin)

    def logits(self, layout: Layout, storage: Tensor) -> Tensor:
        """The tile's logits in `storage`, those out of scope too."""
        rows, columns = layout.rows[self.rows], layout.columns[self.columns]
        return torch.mm(rows, columns.T, out=self.place(storage))

    def within(self, tile: Tile, values: Tensor) -> Tensor:
        """The view of another tile's values that belongs to this block of it."""
        height, width = values.stride()
        top, left = self.rows.start - tile.rows.start, self.columns.start - tile.columns.start
        # One operation, where slices are two.
        start = values.storage_offset() + top * height + left * width
        return values.as_strided(self.shape, (height, width), start)

    def beside(self, held: Tensor, first: int = 0) -> Tensor:
        """Numbers of columns, from column `first` on, as a factor of what `within` gives.

        Args:
            held: As `Layout.held` makes it.
            first: Column of its first number.
        """
        return held[self.columns.start - first : self.columns.stop - first]

    def hide(self, values: Tensor, hidden: float) -> Tensor:
        """Put `hidden` where an entry is out of scope, in place; the values are finite."""
        if self.scope == "other classes":
            for block in self.own:
                block.hide_classes(block.within(self, values), hidden)
            return values
        if self.same is not None:
            # A product is several times faster than a mask.
            if hidden == 0:
                values.mul_(self.same)
            else:
                values.masked_fill_(self.same == 0, hidden)
        return self.hide_itself(values, hidden)

    def hide_classes(self, values: Tensor, hidden: float) -> None:
        """Put `hidden` where both samples of an entry are of one class, in place."""
        if self.same is None:
            values.fill_(hidden)
        elif hidden == 0:
            values.addcmul_(values, self.same, value=-1)
        else:
            values.masked_fill_(self.same != 0, hidden)

    def hide_itself(self, values: Tensor, hidden: float) -> Tensor:
        """Put `hidden` where a sample meets itself, if that is out of scope."""
        if self.scope != "all":
            if self.diagonal:
                values.diagonal().fill_(hidden)
            elif self.itself is not None:
                values[self.itself] = hidden
        return values


@dataclass(frozen=True, eq=False)
class Diagonals(Tile):
    """The entries near the diagonal of a diagonal tile: all of own classes, if classes are small.

    Samples are sorted by class, so that a row's own class lies within the size of the largest one
    of the row itself. Row i of the block holds columns i - reach to i + reach of the tile's row i,
    one operation for however many classes. At the ends these are entries of the rows before and
    behind, or of the tile's margin: never of one class.

    Attributes:
        reach: One less than the size of the largest class; twice as much as that is no more than
            a row of the tile.
    """

    reach: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and diagonals."""
        return self.rows.stop - self.rows.start, 2 * self.reach + 1

    @property
    def around(self) -> int:
        """The margin of the tile: at least `reach`, and such that its first entry is aligned."""
        return -(-self.reach // _ALIGNED) * _ALIGNED

    @property
    def room(self) -> int:
        """Entries of storage that `logits` needs."""
        height = self.shape[0]
        return height * height + 2 * self.around

    def logits(self, layout: Layout, storage: Tensor) -> Tensor:
        """The logits near the diagonal, from those of the whole tile."""
        whole = Tile(self.rows, self.columns, self.scope, False, True, margin=self.around)
        storage[: self.around] = 0
        storage[self.room - self.around : self.room] = 0
        return self.within(whole, whole.logits(layout, storage))

    def within(self, tile: Tile, values: Tensor) -> Tensor:
        """The view of the tile's values near its diagonal."""
        row = values.stride(0)
        return values.as_strided(self.shape, (row + 1, 1), values.storage_offset() - self.reach)

    def beside(self, held: Tensor, first: int = 0) -> Tensor:
        """Numbers of columns, from column `first` on, as a factor of what `within` gives."""
        start = held.storage_offset() + self.rows.start - first - self.reach
        return held.as_strided(self.shape, (1, 1), start)

    def hide_itself(self, values: Tensor, hidden: float) -> Tensor:
        """Put `hidden` where a sample meets itself."""
        values[:, self.reach].fill_(hidden)
        return values


def storage_for(like: Tensor, tiles: Iterable[Tile]) -> Tensor:
    """Memory for the largest of the tiles, with their margin.

    Not more: what is large comes page by page from the system, at the price of an operation each.
    """
    room, margin = 0, 0
    for tile in tiles:
        room, margin = max(room, tile.room), max(margin, tile.margin)
    return like.new_zeros(room) if margin else like.new_empty(room)


def default_tile_size(sample_count: int, device: torch.device) -> int:
    """Largest side of a tile: in cache on a CPU, large enough to fill a GPU."""
    if device.type != "cpu":
        return 4096
    return 320 if sample_count <= _SMALL_BATCH else 512
