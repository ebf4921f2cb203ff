"""A walk over tiles: how threads share it, and which tiles are kept for the next.

Torch's own threads work together on every single operation and wait for the slowest at its end. A
walk has hundreds of operations, so a machine that is busy with something else would mostly be
waiting. Here each thread has its share of the tiles, and all meet once, at the end.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import TypeVar

import torch

from uncollapse.losses._engine.tiles import Layout, Tile

Result = TypeVar("Result")

# A thread is worth its start from this many entries of the similarity matrix on.
_SMALLEST_SHARE = 2**22
# Each thread has a gradient of its own; all of them together are kept below this.
_LARGEST_GRADIENTS = 2**28
_KEEP_BYTES = 36 * 2**20
_KEEP_BYTES_GPU = 256 * 2**20


@contextlib.contextmanager
def single_threaded(device: torch.device) -> Iterator[int]:
    """Operations inside the block use one thread each; gives the number that they had.

    New threads take over the setting; it is what it was after the block.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield 1
        return
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def share_tiles(
    layout: Layout, tiles: list[Tile], work: Callable[[int, list[Tile]], Result]
) -> list[Result]:
    """Call `work` on a share's number and tiles in each thread; at least one result.

    Shares are consecutive, nearly equal in entries, and depend on sizes and the number of threads
    only, so that adding up the results in order gives the same bits every time.
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
