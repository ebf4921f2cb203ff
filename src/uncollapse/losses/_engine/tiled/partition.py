"""The similarity matrix cut into tiles, and these shared out over the CPU's threads.

Torch's own threads work together on every single operation and wait for the slowest at its end. A
walk over tiles has hundreds of operations, so a machine that is busy with something else would
mostly be waiting. Here each thread has its share of the tiles, and all meet once, at the end.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, pairwise
from typing import NamedTuple, TypeVar

import torch

from uncollapse.losses._engine.definition import Scope
from uncollapse.losses._engine.tiled import tiles
from uncollapse.losses._engine.tiled.tiles import Diagonals, Layout, Tile

Result = TypeVar("Result")

# Classes up to this size share a block, since more work in one operation costs less than another.
_SMALL_CLASS = 128
# The same where all that is done with a block is a sum and a product: a comparison of classes,
# which a class alone does not need, costs as much as another block.
_SMALL_CLASS_SUMMED = 80
_SMALL_CLASS_GPU = 256
# A thread is worth its start from this many entries of the similarity matrix on.
_SMALLEST_SHARE = 2**22
# Each thread has a gradient of its own; all of them together are kept below this.
_LARGEST_GRADIENTS = 2**28
_KEEP_BYTES = 36 * 2**20
_KEEP_BYTES_GPU = 256 * 2**20


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
    starts = [*layout.grouping.classes.starts.tolist(), len(layout.columns)]
    firsts = [0]
    while firsts[-1] < len(starts) - 1:
        after = bisect_right(starts, starts[firsts[-1]] + largest) - 1
        firsts.append(max(firsts[-1] + 1, after))
    bounds = row_bounds = [starts[first] for first in firsts]
    if layout.own_column is not None:
        edges = torch.tensor(bounds, device=layout.rows.device)
        row_bounds = torch.searchsorted(layout.own_column, edges).tolist()
    bands = zip(pairwise(row_bounds), pairwise(bounds), pairwise(firsts), strict=True)
    return [
        _Band(slice(top, bottom), slice(*columns), after == first + 1)
        for (top, bottom), columns, (first, after) in bands
        if bottom > top
    ]


def share_tiles(
    layout: Layout, tiles: list[Tile], work: Callable[[int, list[Tile]], Result]
) -> list[Result]:
    """Call `work` on a share's number and tiles in each thread; at least one result.

    Shares depend on sizes and the number of threads only: sums in order have the same bits again.
    """
    ends = list(accumulate(math.prod(tile.shape) for tile in tiles))
    total = ends[-1] if ends else 0
    gradients = _LARGEST_GRADIENTS // (layout.rows.nbytes + 1)
    count = min(layout.threads, total // _SMALLEST_SHARE, max(1, gradients))
    if count <= 1:
        return [work(0, tiles)]
    shares: list[list[Tile]] = [[] for _ in range(count)]
    for tile, end in zip(tiles, ends, strict=True):
        shares[min(count - 1, (end - 1) * count // total)].append(tile)
    inference = torch.is_inference_mode_enabled()

    def in_callers_mode(number: int) -> Result:
        # The mode is each thread's own, and outside of it the caller's tensors cannot be changed.
        with torch.inference_mode(inference):
            return work(number, shares[number])

    with ThreadPoolExecutor(count) as executor:
        return list(executor.map(in_callers_mode, range(count)))


def tiles_to_keep(
    layout: Layout, tiles: list[Tile], with_pairs: bool
) -> tuple[set[Tile], set[Tile]]:
    """Tiles that fit into memory together, and tiles whose blocks do.

    With pairs, blocks are kept apart and come first: without them value and gradient of their pairs
    both need them again. A tile that has blocks is then kept only if these are.
    """
    keep_bytes = _KEEP_BYTES if layout.rows.device.type == "cpu" else _KEEP_BYTES_GPU
    budget = keep_bytes // layout.rows.element_size()
    in_blocks = {
        tile: sum(math.prod(block.shape) for block in tile.blocks) if with_pairs else 0
        for tile in tiles
    }
    keeps_blocks = _spread(in_blocks, budget)
    budget -= sum(in_blocks[tile] for tile in keeps_blocks)
    sizes = {tile: tile.size for tile in tiles if tile in keeps_blocks or not in_blocks[tile]}
    return _spread(sizes, budget), keeps_blocks


def _spread(sizes: dict[Tile, int], budget: int) -> set[Tile]:
    """Tiles whose sizes fit, 0 left out; if not all, then evenly: threads share the tiles."""
    tiles = [tile for tile, size in sizes.items() if size]
    if sum(sizes.values()) <= budget:
        return set(tiles)
    count = budget // max(sizes.values())
    return {tiles[index * len(tiles) // count] for index in range(count)}
