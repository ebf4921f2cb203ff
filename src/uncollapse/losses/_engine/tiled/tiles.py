"""Tiles of the similarity matrix; no more than one of them needs to exist at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from uncollapse.losses._engine.arguments import Precision
from uncollapse.losses._engine.definition import Scope
from uncollapse.losses._engine.grouping import Grouping
from uncollapse.losses._engine.products import add_products, beside, operands, product

# Classes up to this size are taken from near the diagonal, all of a tile in one operation.
NEAR_DIAGONAL = 80
# Entries that products want to begin at a multiple of: 64 bytes of float32.
_ALIGNED = 16


@dataclass(frozen=True)
class Layout:
    """The anchors whose rows this process computes, against all samples of the batch."""

    rows: Tensor  # (R, d), scaled so that rows @ columns.T are the logits, in the batch's order.
    columns: Tensor  # (N, d), sorted by class; `rows` itself if this process has all samples.
    grouping: Grouping  # Classes and instances of the columns.
    own_column: Tensor | None  # (R,) int64 ascending, each row's column; None for rows = columns.
    tile_size: int  # Largest side of a tile.
    largest_logit: float  # A bound on the magnitude of every logit.
    threads: int  # How many of them may share the tiles.
    half: tuple[HalfRows, HalfRows] | None = None  # Rows and columns, where a device has products.

    def add_columns(self, total: Tensor, entries: Tensor, part: slice) -> None:
        """total += entries @ columns[part]."""
        if self.half is None:
            total.addmm_(entries, self.columns[part])
        else:
            self.half[1].add(total, entries, part)

    def add_rows(self, total: Tensor, entries: Tensor, part: slice) -> None:
        """total += entries @ rows[part]."""
        if self.half is None:
            total.addmm_(entries, self.rows[part])
        else:
            self.half[0].add(total, entries, part)

    @property
    def is_symmetric(self) -> bool:
        """Whether tile (r, c) holds tile (c, r) as well, transposed."""
        return self.own_column is None

    def of_rows(self, values: Tensor) -> Tensor:
        """The part of a vector over columns, or a matrix, that belongs to the rows."""
        return values if self.own_column is None else values.index_select(0, self.own_column)

    def sides(self, values: Tensor) -> Sides:
        """A vector over columns beside its part over rows."""
        return Sides(self.of_rows(values), values)

    def held(self, count: int) -> Tensor:
        """(count,) zeros in the rows' dtype, between those that `Diagonals.beside` reads too."""
        around = min(self.grouping.classes.longest, NEAR_DIAGONAL)
        return self.rows.new_zeros(count + 2 * around)[around : around + count]


@dataclass(frozen=True)
class HalfRows:
    """Rows (n, d) in half precision as they came, and the scales (n,) that they lack."""

    rows: Tensor
    scales: Tensor
    precision: Precision

    def selected(self, index: Tensor) -> HalfRows:
        """Some of them."""
        rows, scales = (each.index_select(0, index) for each in (self.rows, self.scales))
        return HalfRows(rows, scales, self.precision)

    def logits(self, part: slice, others: HalfRows, other: slice, out: Tensor) -> Tensor:
        """Inner products of some rows with some others."""
        logits = product(self.rows[part], others.rows[other].T, out)
        return logits.mul_(self.scales[part, None]).mul_(others.scales[other])

    def add(self, total: Tensor, entries: Tensor, part: slice) -> None:
        """total += entries @ some rows, scaled."""
        parts = operands(entries, self.scales[part], self.rows.dtype, self.precision)
        add_products(total, parts, beside(self.rows[part], parts))


class Sides(NamedTuple):
    """The same numbers of rows (R,) and of columns (N,)."""

    rows: Tensor
    columns: Tensor

    def of_tile(self, tile: Tile) -> tuple[Tensor, Tensor]:
        """Those of the tile's rows, and of its columns."""
        return self.rows[tile.rows], self.columns[tile.columns]


@dataclass(frozen=True, eq=False)
class Tile:
    """Rows by columns of the similarity matrix."""

    rows: slice
    columns: slice
    scope: Scope  # Which of its entries count.
    mirrored: bool = False  # Whether the tile stands for its transpose too.
    diagonal: bool = False  # Whether its columns are its rows, so that it is its own transpose.
    # Rows and columns, within the tile, of entries of a sample with itself; None without such
    # entries, and for a diagonal tile.
    itself: tuple[Tensor, Tensor] | None = None
    # In a tile of scope "own class", as large as what `within` gives: 1 where both samples are of
    # one class and 0 elsewhere; None if all are.
    same: Tensor | None = None
    # Tiles of scope "own class" that hold all entries of this tile of two samples of one class;
    # empty if nobody asked for them.
    blocks: tuple[Tile, ...] = ()
    # Entries of storage before and behind the tile's own, which hold finite numbers whenever the
    # tile's own are read by a block.
    margin: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def sides(self) -> tuple[tuple[slice, int], ...]:
        """Rows, and columns if the tile is mirrored, with the axis along which their sums run."""
        return ((self.rows, 1), (self.columns, 0))[: 1 + self.mirrored]

    @property
    def size(self) -> int:
        """Entries of storage that the tile needs."""
        return math.prod(self.shape) + 2 * self.margin

    def place(self, storage: Tensor) -> Tensor:
        """The first entries of `storage`, but for the margin, as a matrix of the tile's shape."""
        height, width = self.shape
        return storage.as_strided((height, width), (width, 1), self.margin)

    def logits(self, layout: Layout, storage: Tensor) -> Tensor:
        """The tile's logits in `storage`, those out of scope too."""
        if layout.half is not None:
            of_rows, of_columns = layout.half
            return of_rows.logits(self.rows, of_columns, self.columns, self.place(storage))
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
        """`Layout.held` numbers of columns from `first` on, as a factor of what `within` gives."""
        return held[self.columns.start - first : self.columns.stop - first]

    def hide(self, values: Tensor, hidden: float) -> Tensor:
        """Put `hidden` where an entry is out of scope, in place; the values are finite."""
        # Products are several times faster than masks.
        if self.scope == "other classes":
            for block in self.blocks:
                within = block.within(self, values)
                if block.same is None:
                    within.fill_(hidden)
                elif hidden == 0:
                    within.addcmul_(within, block.same, value=-1)
                else:
                    within.masked_fill_(block.same != 0, hidden)
            return values
        if self.same is not None and hidden == 0:
            values.mul_(self.same)
        elif self.same is not None:
            values.masked_fill_(self.same == 0, hidden)
        return self.hide_itself(values, hidden)

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

    As samples are sorted by class, row i of the block holds columns i - reach to i + reach of the
    tile's row i: one operation for however many classes. At the ends these are entries of the rows
    before and behind, or of the tile's margin: never of one class.
    """

    reach: int = 0  # One less than the size of the largest class, at most half a row of the tile.

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and diagonals."""
        return self.rows.stop - self.rows.start, 2 * self.reach + 1

    @property
    def whole(self) -> Tile:
        """The tile, with a margin of at least `reach` and such that its first entry is aligned."""
        margin = -(-self.reach // _ALIGNED) * _ALIGNED
        return Tile(self.rows, self.columns, self.scope, diagonal=True, margin=margin)

    @property
    def size(self) -> int:
        """Entries of storage that the tile needs."""
        return self.whole.size

    def logits(self, layout: Layout, storage: Tensor) -> Tensor:
        """The logits near the diagonal, from those of the whole tile."""
        whole = self.whole
        storage[: whole.margin] = 0
        storage[whole.size - whole.margin : whole.size] = 0
        return self.within(whole, whole.logits(layout, storage))

    def within(self, tile: Tile, values: Tensor) -> Tensor:
        """The view of the tile's values near its diagonal."""
        row = values.stride(0)
        return values.as_strided(self.shape, (row + 1, 1), values.storage_offset() - self.reach)

    def beside(self, held: Tensor, first: int = 0) -> Tensor:
        """`Layout.held` numbers of columns from `first` on, as a factor of what `within` gives."""
        start = held.storage_offset() + self.rows.start - first - self.reach
        return held.as_strided(self.shape, (1, 1), start)

    def hide_itself(self, values: Tensor, hidden: float) -> Tensor:
        """Put `hidden` where a sample meets itself."""
        values[:, self.reach].fill_(hidden)
        return values


def storage_for(like: Tensor, tiles: Iterable[Tile]) -> Tensor:
    """Memory for the largest of the tiles, and no more, since each page costs an operation."""
    size, margin = 0, 0
    for tile in tiles:
        size, margin = max(size, tile.size), max(margin, tile.margin)
    return like.new_zeros(size) if margin else like.new_empty(size)
