"""The similarity matrix as a list of tiles; no more than one of them needs to exist at a time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from uncollapse.losses.grouping import Grouping

__all__ = ["Layout", "Scope", "Tile", "default_tile_size", "tiles_of"]

# Which samples j the sum of anchor i runs over.
Scope = Literal["all", "others", "own class", "other classes"]

_SMALL_BATCH = 1024
# Classes up to this size share a block, since more work in one operation costs less than another.
_SMALL_CLASS = 128
# The same where all that is done with a block is a sum and a product: a comparison of classes,
# which a class alone does not need, costs as much as another block.
_SMALL_CLASS_SUMMED = 80
_SMALL_CLASS_GPU = 256


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
        same: (rows, columns) 1 where both samples are of one class and 0 elsewhere, for a tile of
            scope "own class"; None if all entries are of one class.
        own: Blocks of this tile that hold all its entries of two samples of one class, each a tile
            of scope "own class"; empty if nobody asked for them.
    """

    rows: slice
    columns: slice
    scope: Scope
    mirrored: bool
    diagonal: bool
    itself: tuple[Tensor, Tensor] | None = None
    same: Tensor | None = None
    own: tuple[Tile, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def place(self, storage: Tensor) -> Tensor:
        """The first entries of `storage` as a matrix of the tile's shape."""
        height, width = self.shape
        return storage.as_strided((height, width), (width, 1))

    def logits(self, layout: Layout, storage: Tensor) -> Tensor:
        """The tile's logits in `storage`, those out of scope too."""
        rows, columns = layout.rows[self.rows], layout.columns[self.columns]
        return torch.mm(rows, columns.T, out=self.place(storage))

    def part(self, values: Tensor, block: Tile) -> Tensor:
        """The view of the tile's values that belongs to one of its blocks."""
        height, width = values.stride()
        top, left = block.rows.start - self.rows.start, block.columns.start - self.columns.start
        # One operation, where slices are two.
        start = values.storage_offset() + top * height + left * width
        return values.as_strided(block.shape, (height, width), start)

    def hide(self, values: Tensor, hidden: float) -> Tensor:
        """Put `hidden` where an entry is out of scope, in place; the values are finite."""
        if self.scope == "other classes":
            for block in self.own:
                block.hide_classes(self.part(values, block), hidden)
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


def default_tile_size(sample_count: int, device: torch.device) -> int:
    """Largest side of a tile: in cache on a CPU, large enough to fill a GPU."""
    if device.type != "cpu":
        return 4096
    return 320 if sample_count <= _SMALL_BATCH else 512


def tiles_of(layout: Layout, scope: Scope, *, with_own: bool = False) -> list[Tile]:
    """All tiles that hold an entry of the scope, in an order that depends on the sizes only.

    Args:
        layout: Rows and columns.
        scope: Which entries count.
        with_own: Whether each tile also names its blocks of own classes; those of scope "other
            classes" always do.
    """
    needs_bands = with_own or scope in ("own class", "other classes")
    grid = _Grid(layout, _class_bands(layout, scope) if needs_bands else [])
    if scope == "own class":
        return [
            grid.block(rows, columns, band.is_one_class)
            for band in grid.bands
            for rows, columns in grid.pieces(band.rows, band.columns)
        ]
    whole = slice(0, len(layout.rows)), slice(0, len(layout.columns))
    return [grid.tile(rows, columns, scope) for rows, columns in grid.pieces(*whole)]


@dataclass(frozen=True)
class _Band:
    """A run of whole classes: where its rows and columns stand."""

    rows: slice
    columns: slice
    is_one_class: bool


class _Grid:
    """Cuts ranges of rows and columns into tiles.

    Attributes:
        bands: Runs of whole classes, in order; empty if no tile asks for its own classes.
    """

    def __init__(self, layout: Layout, bands: list[_Band]) -> None:
        self.layout = layout
        self.bands = bands
        self._is_symmetric = layout.is_symmetric
        self._row_ends = [band.rows.stop for band in bands]
        self._column_ends = [band.columns.stop for band in bands]
        if bands:
            # In the dtype of the entries, which the comparison then need not convert.
            classes = layout.grouping.classes.of.to(layout.rows.dtype)
            self._classes_of_rows = layout.of_rows(classes)[:, None]
            self._classes = classes

    def pieces(self, rows: slice, columns: slice) -> Iterator[tuple[slice, slice]]:
        """Ranges of at most the tile's size; of a symmetric matrix only the upper triangle."""
        row_edges = self._edges(rows, self._row_ends)
        column_edges = self._edges(columns, self._column_ends)
        for index, (top, bottom) in enumerate(pairwise(row_edges)):
            first = index if self._is_symmetric else 0
            for left, right in pairwise(column_edges[first:]):
                yield slice(top, bottom), slice(left, right)

    def _edges(self, whole: slice, band_ends: list[int]) -> list[int]:
        """Where to cut: evenly, or at the end of a band that is near, which then stays whole."""
        size, length = self.layout.tile_size, whole.stop - whole.start
        count = -(-length // size)
        edges = [whole.start]
        for number in range(1, count):
            even = whole.start + length * number // count
            low = max(even - size // 4, whole.stop - size * (count - number))
            high = min(even + size // 4, edges[-1] + size)
            near = band_ends[bisect_left(band_ends, low) : bisect_right(band_ends, high)]
            # Products of odd sizes are up to a fifth slower than those of a multiple of 4.
            best = min(near, key=lambda end: (end % 4 > 0, abs(end - even)), default=None)
            edges.append(min(even, edges[-1] + size) if best is None else best)
        return [*edges, whole.stop]

    def tile(self, rows: slice, columns: slice, scope: Scope) -> Tile:
        """One tile of a scope other than "own class", with its blocks if there are bands."""
        diagonal = self._is_symmetric and rows.start == columns.start
        mirrored = self._is_symmetric and not diagonal
        itself = self._itself(rows, columns) if scope == "others" else None
        own = tuple(self._blocks(rows, columns)) if self.bands else ()
        return Tile(rows, columns, scope, mirrored, diagonal, itself, None, own)

    def block(self, rows: slice, columns: slice, is_one_class: bool) -> Tile:
        """One tile of scope "own class", within a band."""
        diagonal = self._is_symmetric and rows.start == columns.start
        mirrored = self._is_symmetric and not diagonal
        same = None
        if not is_one_class:
            size = rows.stop - rows.start, columns.stop - columns.start
            same = self.layout.rows.new_empty(size)
            torch.eq(self._classes_of_rows[rows], self._classes[columns], out=same)
        itself = self._itself(rows, columns)
        return Tile(rows, columns, "own class", mirrored, diagonal, itself, same)

    def _blocks(self, rows: slice, columns: slice) -> Iterator[Tile]:
        """The parts of the tile that lie in the rows and in the columns of one band."""
        # The first band that ends neither above nor left of the tile.
        first = max(
            bisect_right(self._row_ends, rows.start),
            bisect_right(self._column_ends, columns.start),
        )
        for index in range(first, len(self.bands)):
            band = self.bands[index]
            if band.rows.start >= rows.stop or band.columns.start >= columns.stop:
                break
            yield self.block(
                _overlap(band.rows, rows), _overlap(band.columns, columns), band.is_one_class
            )

    def _itself(self, rows: slice, columns: slice) -> tuple[Tensor, Tensor] | None:
        """Entries of a sample with itself, in the order of rows, whose own columns ascend."""
        if self.layout.own_column is None:
            return None
        own = self.layout.own_column[rows] - columns.start
        inside = ((own >= 0) & (own < columns.stop - columns.start)).nonzero().squeeze(1)
        return (inside, own.index_select(0, inside)) if len(inside) else None


def _overlap(one: slice, other: slice) -> slice:
    return slice(max(one.start, other.start), min(one.stop, other.stop))


def _class_bands(layout: Layout, scope: Scope) -> list[_Band]:
    """Runs of whole classes that hold a row: small classes share one."""
    largest = _SMALL_CLASS_SUMMED if scope == "others" else _SMALL_CLASS
    if layout.rows.device.type != "cpu":
        largest = _SMALL_CLASS_GPU
    largest = min(layout.tile_size, largest)
    starts = layout.grouping.classes.starts.tolist()
    ends = [*starts[1:], len(layout.columns)]
    bounds, is_one_class, first = [0], [], 0
    while first < len(ends):
        next_first = max(first + 1, bisect_right(ends, bounds[-1] + largest))
        is_one_class.append(next_first == first + 1)
        bounds.append(ends[next_first - 1])
        first = next_first
    of_rows = bounds
    if layout.own_column is not None:
        edges = torch.tensor(bounds, device=layout.rows.device)
        of_rows = torch.searchsorted(layout.own_column, edges).tolist()
    return [
        _Band(slice(top, bottom), slice(left, right), one)
        for top, bottom, left, right, one in zip(
            of_rows[:-1], of_rows[1:], bounds[:-1], bounds[1:], is_one_class, strict=True
        )
        if bottom > top
    ]
