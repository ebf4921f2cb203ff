"""Cuts the similarity matrix into tiles."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from uncollapse.losses import tiles
from uncollapse.losses.tiles import Diagonals, Layout, Scope, Tile

__all__ = ["tiles_of"]

# Classes up to this size share a block, since more work in one operation costs less than another.
_SMALL_CLASS = 128
# The same where all that is done with a block is a sum and a product: a comparison of classes,
# which a class alone does not need, costs as much as another block.
_SMALL_CLASS_SUMMED = 80
_SMALL_CLASS_GPU = 256


def tiles_of(layout: Layout, scope: Scope, *, with_own: bool = False) -> list[Tile]:
    """All tiles that hold an entry of the scope, in an order that depends on the sizes only.

    Args:
        layout: Rows and columns.
        scope: Which entries count.
        with_own: Whether each tile also names its blocks of own classes; those of scope "other
            classes" always do.
    """
    if scope != "own class" and (with_own or scope == "other classes"):
        found = _with_diagonals(layout, scope)
        if found is not None:
            return found
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
    numbers = torch.add(classes.of, 1, out=layout.held(count))
    whole = slice(0, count)
    near = Diagonals(whole, whole, "own class", False, False, reach=reach).beside(numbers)
    same = torch.eq(numbers[:, None], near, out=layout.rows.new_empty(near.shape))
    cuts = [slice(top, bottom) for top, bottom in pairwise(edges)]
    found = []
    for index, rows in enumerate(cuts):
        own = Diagonals(rows, rows, "own class", False, False, None, same[rows], reach=reach)
        found.append(Tile(rows, rows, scope, False, True, None, None, (own,), own.around))
        found += [Tile(rows, columns, scope, True, False) for columns in cuts[index + 1 :]]
    return found


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
        size = self.layout.tile_size
        row_edges = _edges(rows, self._row_ends, size)
        column_edges = _edges(columns, self._column_ends, size)
        for index, (top, bottom) in enumerate(pairwise(row_edges)):
            first = index if self._is_symmetric else 0
            for left, right in pairwise(column_edges[first:]):
                yield slice(top, bottom), slice(left, right)

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
