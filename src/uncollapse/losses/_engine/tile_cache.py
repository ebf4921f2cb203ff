"""Which tiles of the first pass are kept for the second."""

from __future__ import annotations

import math

from uncollapse.losses._engine.tiles import Layout, Tile

_KEEP_BYTES = 36 * 2**20
_KEEP_BYTES_GPU = 256 * 2**20


def tiles_to_keep(layout: Layout, tiles: list[Tile], with_pairs: bool) -> tuple[set[int], set[int]]:
    """Numbers of tiles that fit into memory together, and of those whose blocks do.

    With pairs, blocks are kept apart and come first: without them value and gradient of their pairs
    both need them again. A tile that has blocks is then kept only if these are.
    """
    keep_bytes = _KEEP_BYTES if layout.rows.device.type == "cpu" else _KEEP_BYTES_GPU
    budget = keep_bytes // layout.rows.element_size()
    block_sizes = [0] * len(tiles)
    if with_pairs:
        block_sizes = [sum(math.prod(block.shape) for block in tile.blocks) for tile in tiles]
    keeps_blocks = _spread(block_sizes, budget)
    budget -= sum(block_sizes[number] for number in keeps_blocks)
    sizes = [
        0 if block_sizes[number] and number not in keeps_blocks else tile.size
        for number, tile in enumerate(tiles)
    ]
    return _spread(sizes, budget), keeps_blocks


def _spread(sizes: list[int], budget: int) -> set[int]:
    """Numbers whose sizes fit, 0 left out; if not all, then evenly: threads share the tiles."""
    numbers = [number for number, size in enumerate(sizes) if size]
    if sum(sizes) <= budget:
        return set(numbers)
    count = budget // max(sizes)
    return {numbers[index * len(numbers) // count] for index in range(count)}
