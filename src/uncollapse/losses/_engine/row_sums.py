"""Log denominators of the softmax, by tiles: the first pass over the similarity matrix.

This and `backward.py` are the only parts of the loss whose cost grows with N^2, and the place for a
fused kernel: a backend replaces `log_denominators` and `add_gradient` and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor
from torch.linalg import vecdot

from uncollapse.losses._engine.arguments import precise_dtype
from uncollapse.losses._engine.definition import Scope
from uncollapse.losses._engine.partition import partition
from uncollapse.losses._engine.threads import share_tiles
from uncollapse.losses._engine.tile_cache import tiles_to_keep
from uncollapse.losses._engine.tiles import Layout, Tile, storage_for

# Logits up to this magnitude need no shift: no exponential overflows, no denominator underflows.
_UNSHIFTED = {torch.float32: 57.0, torch.float64: 350.0}
# Beyond it each tile is shifted by its largest logit, and exponentials below exp(DROPPED) count as
# 0 (they are hardly normal numbers, with which products are slow). That is exact for every
# denominator above exp(_SPAN) of the tile's largest exponential: what was dropped is at most
# N exp(-30) of it. Any other denominator needs a shift of its own.
DROPPED = {torch.float32: -80.0, torch.float64: -690.0}
_SPAN = {torch.float32: 50.0, torch.float64: 640.0}


@dataclass(frozen=True)
class Kept:
    """What the first pass has kept of a tile: `exponentials`, or None in their place."""

    entries: Tensor | None = None
    shift: Tensor | None = None
    pairs: list[Tensor] | None = None


@dataclass(frozen=True)
class ScopeSums:
    """The denominators of one scope."""

    scope: Scope
    log_values: Tensor  # (R,) log of each row's denominator; -inf for an empty sum.
    # (N,) the largest shift of a tile that holds the column; None if none is shifted.
    largest_shifts: Tensor | None


@dataclass(frozen=True)
class Denominators:
    """What the first pass leaves for the second."""

    tiles: list[Tile]  # All tiles of the first scope, which were walked over.
    kept: list[Kept]  # As much of each tile as fits into memory.
    scopes: list[ScopeSums]  # That scope, then own classes, if they were asked for.


def accumulator(layout: Layout, size: int, value: float = 0.0) -> Tensor:
    """(size,) of `value`, from which sums over tiles are taken."""
    return layout.rows.new_full((size,), value, dtype=precise_dtype(layout.rows.device))


def log_denominators(
    layout: Layout,
    scope: Scope,
    *,
    own_classes: bool = False,
    with_pairs: bool = False,
    keep: bool = False,
) -> Denominators:
    """First pass over the tiles.

        log D_i = log sum over j in scope(i) of exp(y_i . y_j)

    Args:
        layout: Rows y_i and columns y_j, scaled by 1 / sqrt(temperature).
        scope: Which columns the sum of a row runs over.
        own_classes: Whether the same exponentials are also summed over own classes.
        with_pairs: Whether pairs of own classes are kept apart, for losses of single pairs.
        keep: Whether exponentials are kept for a second pass.
    """
    # Quotients of a denominator and an exponential span more than either of them.
    bound = _UNSHIFTED[layout.rows.dtype] / (1.5 if with_pairs else 1)
    is_shifted = layout.largest_logit > bound
    tiles = partition(layout, scope, with_blocks=own_classes or with_pairs)
    keeps = tiles_to_keep(layout, tiles, with_pairs) if keep else (set(), set())
    names: list[Scope] = [scope, "own class"] if own_classes else [scope]
    totals, kept = _walk(layout, tiles, len(names), is_shifted, *keeps)
    shifts = [of_tile.shift for of_tile in kept]
    scopes = []
    for name, log_sums in zip(names, totals, strict=True):
        if not is_shifted:
            scopes.append(ScopeSums(name, log_sums.log_(), None))
            continue
        parts = [(tile,) if name == scope else tile.blocks for tile in tiles]
        row_shifts, column_shifts = _largest_shifts(layout, parts, shifts)
        if not is_exact(log_sums, row_shifts, layout):
            log_sums = _sums_with_own_shifts(layout, partition(layout, name))
            kept = [Kept()] * len(tiles)
        scopes.append(ScopeSums(name, log_sums, column_shifts))
    return Denominators(tiles, kept, scopes)


def _walk(
    layout: Layout,
    tiles: list[Tile],
    scope_count: int,
    is_shifted: bool,
    keeps: set[int],
    keeps_pairs: set[int],
) -> tuple[list[Tensor], list[Kept]]:
    """(R,) sums over the tiles, and over their blocks for a second scope; what is kept of each.

    If shifted, the logs of the sums.
    """

    def work(_: int, mine: list[tuple[int, Tile]]) -> tuple[list[Tensor], list[Kept]]:
        nothing = -torch.inf if is_shifted else 0.0
        totals = [accumulator(layout, len(layout.rows), nothing) for _ in range(scope_count)]
        kept = []
        storage = storage_for(layout.rows, (tile for number, tile in mine if number not in keeps))
        for number, tile in mine:
            space = storage_for(storage, [tile]) if number in keeps else storage
            entries, shift, pairs = exponentials(
                layout, tile, is_shifted, space, number in keeps_pairs
            )
            _add(totals[0], tile, entries, shift)
            for total in totals[1:]:
                for block in tile.blocks:
                    _add(total, block, block.within(tile, entries), shift, block.same)
            kept.append(Kept(entries if number in keeps else None, shift, pairs))
        return totals, kept

    shares = share_tiles(layout, tiles, work)
    add = torch.logaddexp if is_shifted else torch.add
    totals = [reduce(add, parts) for parts in zip(*(totals for totals, _ in shares), strict=True)]
    return totals, [of_tile for _, kept in shares for of_tile in kept]


def _add(
    total: Tensor, tile: Tile, entries: Tensor, shift: Tensor | None, counted: Tensor | None = None
) -> None:
    """Add a tile's exponentials, times `counted`, to its rows, and to columns if mirrored."""
    for part, axis in ((tile.rows, 1), (tile.columns, 0))[: 1 + tile.mirrored]:
        sums = entries.sum(axis) if counted is None else vecdot(entries, counted, dim=axis)
        if shift is None:
            total[part].add_(sums)
        else:
            total[part] = total[part].logaddexp(sums.to(total.dtype).log_().add_(shift))


def _largest_shifts(
    layout: Layout, parts: list[tuple[Tile, ...]], shifts: list[Tensor | None]
) -> tuple[Tensor, Tensor]:
    """(R,) and (N,): the largest shift of a part that holds the row, and the column."""
    rows = columns = accumulator(layout, len(layout.rows), -torch.inf)
    if not layout.is_symmetric:
        columns = accumulator(layout, len(layout.columns), -torch.inf)
    for tiles, shift in zip(parts, shifts, strict=True):
        for tile in tiles:
            rows[tile.rows] = rows[tile.rows].clamp(min=shift)
            columns[tile.columns] = columns[tile.columns].clamp(min=shift)
    return rows, columns


def is_exact(log_values: Tensor, shifts: Tensor, layout: Layout) -> bool:
    """Whether no denominator is so far below a shift that what was dropped counts."""
    return bool((log_values >= shifts - _SPAN[layout.rows.dtype]).all())


def exponentials(
    layout: Layout, tile: Tile, is_shifted: bool, storage: Tensor, with_pairs: bool
) -> tuple[Tensor, Tensor | None, list[Tensor] | None]:
    """exp(logits - shift) of a tile in `storage`, 0 where out of scope; the shift; pairs.

    These are for each of the tile's blocks 1 / exp(logit), 0 where two samples are no pair of a
    class; with a shift the logits, inf where they are none.
    """
    logits = tile.logits(layout, storage)
    pairs = None
    if not is_shifted:
        # Hidden afterwards: exp takes several times as long for -inf.
        entries = logits.exp_()
        if with_pairs:
            pairs = [inverse_exponentials(b, b.within(tile, entries)) for b in tile.blocks]
        return tile.hide(entries, 0), None, pairs
    if with_pairs:
        pairs = [b.hide(b.within(tile, logits).clone(), torch.inf) for b in tile.blocks]
    # A tile without an entry in scope would have the shift -inf.
    shift = tile.hide(logits, -torch.inf).max().clamp(min=torch.finfo(logits.dtype).min)
    torch.threshold_(logits.sub_(shift), DROPPED[logits.dtype], -torch.inf)
    return logits.exp_(), shift, pairs


def inverse_exponentials(block: Tile, entries: Tensor) -> Tensor:
    """1 / exp(logit) of a block's pairs of a class, 0 where two samples are none."""
    if block.same is None:
        inverse = entries.reciprocal()
    else:
        # Around a tile there may be zeros, and 0 / 0 is no number.
        inverse = block.same / entries.clamp(min=torch.finfo(entries.dtype).tiny)
    return block.hide_itself(inverse, 0)


def _sums_with_own_shifts(layout: Layout, tiles: list[Tile]) -> Tensor:
    """(R,) log denominators, with a shift for every row of every tile."""

    def work(_: int, mine: list[tuple[int, Tile]]) -> Tensor:
        log_sums = accumulator(layout, len(layout.rows)).fill_(-torch.inf)
        storage, other = (storage_for(layout.rows, (tile for _, tile in mine)) for _ in range(2))
        for _, tile in mine:
            logits = tile.hide(tile.logits(layout, storage), -torch.inf)
            for part, axis in ((tile.rows, 1), (tile.columns, 0)):
                if axis == 0 and not tile.mirrored:
                    continue
                largest = logits.amax(axis, keepdim=True).clamp(min=torch.finfo(logits.dtype).min)
                sums = torch.sub(logits, largest, out=tile.place(other))
                logs = sums.exp_().sum(axis).to(log_sums.dtype).log_().add_(largest.flatten())
                log_sums[part] = log_sums[part].logaddexp(logs)
        return log_sums

    return reduce(torch.logaddexp, share_tiles(layout, tiles, work))
