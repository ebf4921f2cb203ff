"""Tiles shared out over the CPU's threads, each of which computes its tiles alone.

Torch's own threads work together on every single operation and wait for the slowest at its end. A
walk over tiles has hundreds of operations, so on a machine that is busy with something else most of
the time would be waiting. Here each thread has its share of the tiles, and all meet once, at the
end.
"""

from __future__ import annotations

import contextlib
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
    layout: Layout, tiles: list[Tile], work: Callable[[int, list[tuple[int, Tile]]], Result]
) -> list[Result]:
    """Call `work` on a share's number and numbered tiles in each thread; at least one result.

    Shares are consecutive, nearly equal in entries, and depend on sizes and the number of threads
    only, so that adding up the results in order gives the same bits every time.
    """
    numbered = list(enumerate(tiles))
    ends = list(accumulate(tile.shape[0] * tile.shape[1] for tile in tiles))
    total = ends[-1] if ends else 0
    gradient_bytes = layout.rows.numel() * layout.rows.element_size() + 1
    count = min(
        layout.threads, total // _SMALLEST_SHARE, max(1, _LARGEST_GRADIENTS // gradient_bytes)
    )
    if count <= 1:
        return [work(0, numbered)]
    shares: list[list[tuple[int, Tile]]] = [[] for _ in range(count)]
    for (number, tile), end in zip(numbered, ends, strict=True):
        shares[min(count - 1, (end - 1) * count // total)].append((number, tile))
    inference = torch.is_inference_mode_enabled()

    def in_callers_mode(number: int) -> Result:
        # The mode is each thread's own, and outside of it the caller's tensors cannot be changed.
        with torch.inference_mode(inference):
            return work(number, shares[number])

    with ThreadPoolExecutor(count) as executor:
        return list(executor.map(in_callers_mode, range(count)))
