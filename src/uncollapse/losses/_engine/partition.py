"""Cuts the similarity matrix into tiles."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch

from uncollapse.losses._engine import tiles
from uncollapse.losses._engine.definition import Scope
from uncollapse.losses._engine.tiles import Diagonals, Layout, Tile

# Classes up to this size share a block, since more work in one operation costs less than another.
_SMALL_CLASS = 128
# The same where all that is done with a block is a sum and a product: a comparison of classes,
# which a class alone does not need, costs as much as another block.
_SMALL_CLASS_SUMMED = 80
_SMALL_CLASS_GPU = 256


def partition(layout: Layout, scope: Scope, *, with_blocks: bool = False) -> list[Tile]:
    """All tiles that hold an entry of the scope, in an order that depends on the sizes only.

    Each tile names its blocks of own classes if they are asked for, or the scope needs them.
    """
    if scope == "own class":
        grid = _Grid(layout, _class_bands(layout, scope))
        return [
            grid.tile(rows, columns, scope, band.is_one_class)
            for band in grid.bands
            for rows, columns in grid.pieces(band.rows, band.columns)
        ]
    with_blocks = with_blocks or scope == "other classes"
    near_diagonal = _with_diagonals(layout, scope) if with_blocks else None
    if near_diagonal is not None:
        return near_diagonal
    grid = _Grid(layout, _class_bands(layout, scope) if with_blocks else [])
    whole = slice(0, len(layout.rows)), slice(0, len(layout.columns))
    return [grid.tile(rows, columns, scope) for rows, columns in grid.pieces(*whole)]


def _with_diagonals(layout: Layout, scope: Scope) -> list[Tile] | None:
    """Tiles with own classes near the diagonal; None if these are too large, or one is cut."""
    classes, count = layout.grouping.classes, len(layout.rows)
    if not layout.is_symmetric or classes.longest > tiles.NEAR_DIAGONAL:
        return None
    reach, ends = classes.longest - 1, [*classes.starts.tolist()[1:], count]
    edges = _edges(slice(0, count), ends, layout.tile_size)
    narrowest = min(right - left for left, right in pairwise(edges))
    if 2 * reach > narrowest or not set(edges[1:]) <= set(ends):
        return None
    # From 1, as 0 is what lies beyond; in the dtype of the entries, which the comparison wants.
    numbers = torch.add(classes.run_of_row, 1, out=layout.held(count))
    whole = slice(0, count)
    near = Diagonals(whole, whole, "own class", reach=reach).beside(numbers)
    same = torch.eq(numbers[:, None], near, out=layout.rows.new_empty(near.shape))
    cuts = [slice(top, bottom) for top, bottom in pairwise(edges)]
    parts = []
    for index, rows in enumerate(cuts):
        block = Diagonals(rows, rows, "own class", same=same[rows], reach=reach)
        margin = block.whole.margin
        parts.append(Tile(rows, rows, scope, diagonal=True, blocks=(block,), margin=margin))
        parts += [Tile(rows, columns, scope, mirrored=True) for columns in cuts[index + 1 :]]
    return parts


class _Band(NamedTuple):
    """A run of whole classes: where its rows and columns stand."""

    rows: slice
    columns: slice
    is_one_class: bool


class _Grid:
    """Cuts ranges of rows and columns into tiles; without bands none of them has blocks."""

    def __init__(self, layout: Layout, bands: list[_Band]) -> None:
        self.layout = layout
        self.bands = bands
        self._row_ends = [band.rows.stop for band in bands]
        self._column_ends = [band.columns.stop for band in bands]
        if bands:
            # In the dtype of the entries, which the comparison then need not convert.
            classes = layout.grouping.classes.run_of_row.to(layout.rows.dtype)
            self._classes = layout.sides(classes)

    def pieces(self, rows: slice, columns: slice) -> Iterator[tuple[slice, slice]]:
        """Ranges of at most the tile's size; of a symmetric matrix only the upper triangle."""
        size = self.layout.tile_size
        row_edges = _edges(rows, self._row_ends, size)
        column_edges = _edges(columns, self._column_ends, size)
        for index, (top, bottom) in enumerate(pairwise(row_edges)):
            first = index if self.layout.is_symmetric else 0
            for left, right in pairwise(column_edges[first:]):
                yield slice(top, bottom), slice(left, right)

    def tile(self, rows: slice, columns: slice, scope: Scope, is_one_class: bool = True) -> Tile:
        """One tile, with what it has to know of its place."""
        layout, itself, same = self.layout, None, None
        diagonal = layout.is_symmetric and rows.start == columns.start
        if layout.own_column is not None and scope in ("others", "own class"):
            own = layout.own_column[rows] - columns.start
            inside = ((own >= 0) & (own < columns.stop - columns.start)).nonzero().squeeze(1)
            itself = (inside, own.index_select(0, inside)) if len(inside) else None
        if not is_one_class:
            own_classes, classes = self._classes.rows[rows], self._classes.columns[columns]
            same = torch.eq(own_classes[:, None], classes, out=layout.rows.new_empty(0))
        blocks = () if scope == "own class" else tuple(self._blocks(rows, columns))
        mirrored = layout.is_symmetric and not diagonal
        return Tile(rows, columns, scope, mirrored, diagonal, itself, same, blocks)

    def _blocks(self, rows: slice, columns: slice) -> Iterator[Tile]:
        """The parts of the tile that lie in the rows and in the columns of one band."""
        # The first band that ends neither above nor left of the tile.
        first = max(
            bisect_right(self._row_ends, rows.start),
            bisect_right(self._column_ends, columns.start),
        )
        for band in self.bands[first:]:
            if band.rows.start >= rows.stop or band.columns.start >= columns.stop:
                break
            both = _overlap(band.rows, rows), _overlap(band.columns, columns)
            yield self.tile(*both, "own class", band.is_one_class)


def _edges(whole: slice, band_ends: list[int], size: int) -> list[int]:
    """Where to cut: evenly, or at the end of a band that is near, which then stays whole."""
    length = whole.stop - whole.start
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
    # Without rows, as a process may be, there is nothing to cut.
    return [*edges, whole.stop] if length else []


def _overlap(first: slice, second: slice) -> slice:
    return slice(max(first.start, second.start), min(first.stop, second.stop))


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
    row_bounds = bounds
    if layout.own_column is not None:
        edges = torch.tensor(bounds, device=layout.rows.device)
        row_bounds = torch.searchsorted(layout.own_column, edges).tolist()
    return [
        _Band(slice(top, bottom), slice(left, right), alone)
        for (top, bottom), (left, right), alone in zip(
            pairwise(row_bounds), pairwise(bounds), is_one_class, strict=True
        )
        if bottom > top
    ]
