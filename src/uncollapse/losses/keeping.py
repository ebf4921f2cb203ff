"""Which tiles of the first pass are kept for the second."""

from __future__ import annotations

import math

from uncollapse.losses.tiles import Tile

__all__ = ["what_to_keep"]


def what_to_keep(tiles: list[Tile], budget: int, pairs: bool) -> tuple[set[int], set[int]]:
    """Numbers of tiles that fit into memory together, and of those whose own classes do.

    Own classes come first: without them value and gradient of their pairs both need them again.

    Args:
        tiles: All tiles of a scope.
        budget: Number of entries that fit.
        pairs: Whether own classes are kept apart; a tile that has such blocks is then kept only if
            they are.
    """
    own = [sum(math.prod(block.shape) for block in tile.own) if pairs else 0 for tile in tiles]
    keeps_own = _spread(own, budget)
    budget -= sum(own[number] for number in keeps_own)
    sizes = [
        0 if own[number] and number not in keeps_own else tile.room
        for number, tile in enumerate(tiles)
    ]
    return _spread(sizes, budget), keeps_own


def _spread(sizes: list[int], budget: int) -> set[int]:
    """Numbers whose sizes fit, 0 left out; if not all, then evenly: threads share the tiles."""
    numbers = [number for number, size in enumerate(sizes) if size]
    if sum(sizes) <= budget:
        return set(numbers)
    count = budget // max(sizes)
    return {numbers[index * len(numbers) // count] for index in range(count)}
