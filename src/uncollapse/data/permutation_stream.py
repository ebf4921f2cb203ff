"""Endless streams of items without a repeat inside a block, at any point of which one can begin.

A stream runs through permutations of its items, one after the other, and is cut in blocks of equal
size. Where a permutation ends inside a block, the next one is changed just enough that the block
holds no item twice. Every item comes equally often (the counts of two items differ by one at most,
at the ends of permutations), and every set of `block` items is equally likely to be a given block.

A stream is a pure function of its key. Permutation number q is drawn from (key, q), so block
number 1,000,000 costs no more than block 0: nothing before it needs to be drawn, save the one
permutation before it (and, of a stream shorter than two blocks, the few since a block and a
permutation last ended together).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class PermutationStream:
    """Blocks of `block` different items out of `items`.

    Examples:
        >>> stream = PermutationStream(items=5, block=2, key=(0,))
        >>> blocks = stream.blocks(0, 5)  # two whole permutations
        >>> bool((np.bincount(blocks.ravel()) == 2).all())
        True
        >>> bool((stream.blocks(3, 5) == blocks[3:]).all())
        True
    """

    items: int  # numbered from 0
    block: int  # from 1 to `items`
    key: tuple[int, ...]  # what the stream is a function of, not negative

    def blocks(self, start: int, stop: int) -> Integers:
        """Blocks number `start` to `stop` - 1, of shape (stop - start, block)."""
        if stop <= start:
            return np.empty((0, self.block), dtype=np.int64)
        first, last = start * self.block, stop * self.block
        cycle, end = first // self.items, (last - 1) // self.items + 1
        drawn = np.concatenate(self._permutations(cycle, end))
        offset = cycle * self.items
        return drawn[first - offset : last - offset].reshape(stop - start, self.block)

    def counts(self, blocks: int) -> Integers:
        """How often each item came in the first `blocks` blocks, shape (items,), in one step."""
        cycle, rest = divmod(blocks * self.block, self.items)
        counts = np.full(self.items, cycle, dtype=np.int64)
        if rest:
            counts[self._permutations(cycle, cycle + 1)[0][:rest]] += 1
        return counts

    def _permutations(self, start: int, stop: int) -> list[Integers]:
        """Permutations number `start` to `stop` - 1, changed so that no block repeats an item."""
        # A permutation of two blocks or more has room to change its beginning without touching its
        # end, so the next one does not depend on what was changed. A shorter one does, back to
        # where a block and a permutation ended together.
        period = self.block // gcd(self.items, self.block)
        begin = start - 1 if self.items >= 2 * self.block else start - start % period
        begin = max(begin, 0)
        made: list[Integers] = []
        for cycle in range(begin, stop):
            order = np.random.default_rng((*self.key, cycle)).permutation(self.items)
            behind = cycle * self.items % self.block
            if behind and made:
                _keep_apart(order, made[-1][-behind:], self.block - behind)
            made.append(order)
        return made[start - begin :]


def _keep_apart(order: Integers, before: Integers, head: int) -> None:
    """Swap items of `before` out of the first `head` places of a permutation, in place."""
    taken = np.zeros(len(order), dtype=bool)
    taken[before] = True
    clashes = np.flatnonzero(taken[order[:head]])
    if len(clashes):
        free = head + np.flatnonzero(~taken[order[head:]])[: len(clashes)]
        order[clashes], order[free] = order[free], order[clashes]
