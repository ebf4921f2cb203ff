"""Log denominators of the softmax, by tiles: the first pass over the similarity matrix.

This and `backward.py` are the only parts of the loss whose cost grows with N^2, and the place for a
fused kernel: a backend replaces `log_denominators` and `add_gradient` and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

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
class Exponentials:
    """A tile of exponentials."""

    entries: Tensor  # exp(logit - shift), 0 where out of scope.
    shift: Tensor | None  # The tile's; None for 0.
    # For each of the tile's blocks 1 / exp(logit), 0 where two samples are no pair of a class; if
    # there is a shift, the logits, inf where they are none. Empty if not asked for.
    pairs: list[Tensor]


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
    scopes: list[ScopeSums]  # That scope, then own classes, if they were asked for.
    kept: dict[int, Exponentials]  # Of the tiles of these numbers.
    kept_pairs: dict[int, list[Tensor]]  # `Exponentials.pairs` of the tiles of these numbers.


def accumulator(layout: Layout, size: int) -> Tensor:
    """Zeros (size,) in which sums over tiles are taken."""
    return layout.rows.new_zeros(size, dtype=precise_dtype(layout.rows.device))


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
    totals, kept, kept_pairs = _walk(layout, tiles, len(names), is_shifted, *keeps)
    scopes = []
    for total, name in zip(totals, names, strict=True):
        if not is_shifted:
            scopes.append(ScopeSums(name, total.sums.log_(), None))
            continue
        log_sums = total.log_sums
        if not is_exact(log_sums, total.row_shifts, layout):
            log_sums = _sums_with_own_shifts(layout, partition(layout, name))
            kept, kept_pairs = {}, {}
        scopes.append(ScopeSums(name, log_sums, total.column_shifts))
    return Denominators(tiles, scopes, kept, kept_pairs)


_Walked = tuple[list["_Totals"], dict[int, Exponentials], dict[int, list[Tensor]]]


def _walk(
    layout: Layout,
    tiles: list[Tile],
    scope_count: int,
    is_shifted: bool,
    keeps: set[int],
    keeps_pairs: set[int],
) -> _Walked:
    """Sums over the tiles, and over their blocks for a second scope; what is to be kept of them."""

    def work(_: int, mine: list[tuple[int, Tile]]) -> _Walked:
        totals = [_Totals.empty(layout, is_shifted) for _ in range(scope_count)]
        kept, kept_pairs = {}, {}
        storage = storage_for(layout.rows, (tile for number, tile in mine if number not in keeps))
        for number, tile in mine:
            space = storage_for(storage, [tile]) if number in keeps else storage
            computed = exponentials(layout, tile, is_shifted, space, number in keeps_pairs)
            totals[0].add(tile, computed.entries, computed.shift)
            for total in totals[1:]:
                for block in tile.blocks:
                    entries = block.within(tile, computed.entries)
                    total.add(block, entries, computed.shift, block.same)
            if number in keeps:
                kept[number] = computed
            if number in keeps_pairs:
                kept_pairs[number] = computed.pairs
        return totals, kept, kept_pairs

    (totals, kept, kept_pairs), *others = share_tiles(layout, tiles, work)
    for more_totals, more, more_pairs in others:
        for total, more_total in zip(totals, more_totals, strict=True):
            total.merge(more_total)
        kept |= more
        kept_pairs |= more_pairs
    return totals, kept, kept_pairs


@dataclass
class _Totals:
    """Sums over the tiles of one thread, for one scope; without shifts only `sums` has entries."""

    sums: Tensor  # (R,) sums of exponentials without a shift.
    log_sums: Tensor  # (R,) logs of the sums of those with one.
    row_shifts: Tensor  # (R,) largest shift of a tile that holds the row.
    column_shifts: Tensor  # (N,) the same of columns; `row_shifts` itself if they are the rows.

    @classmethod
    def empty(cls, layout: Layout, is_shifted: bool) -> _Totals:
        """Before the first tile."""
        sums = accumulator(layout, len(layout.rows))
        if not is_shifted:
            none = sums[:0]
            return cls(sums, none, none, none)
        lowest = torch.full_like(sums, -torch.inf)
        column_shifts = row_shifts = lowest.clone()
        if not layout.is_symmetric:
            column_shifts = accumulator(layout, len(layout.columns)).fill_(-torch.inf)
        return cls(sums, lowest, row_shifts, column_shifts)

    def add(
        self, tile: Tile, entries: Tensor, shift: Tensor | None, counted: Tensor | None = None
    ) -> None:
        """Add a tile's exponentials, times `counted`, to its rows, and to columns if mirrored."""
        for part, axis in ((tile.rows, 1), (tile.columns, 0)):
            if shift is not None:
                shifts = self.row_shifts if axis == 1 else self.column_shifts
                shifts[part] = shifts[part].clamp(min=shift)
            if axis == 0 and not tile.mirrored:
                continue
            sums = entries.sum(axis) if counted is None else vecdot(entries, counted, dim=axis)
            if shift is None:
                self.sums[part].add_(sums)
            else:
                logs = sums.to(self.sums.dtype).log_().add_(shift)
                self.log_sums[part] = self.log_sums[part].logaddexp(logs)

    def merge(self, other: _Totals) -> None:
        """Add the sums over other tiles."""
        self.sums += other.sums
        self.log_sums = self.log_sums.logaddexp(other.log_sums)
        is_symmetric = self.column_shifts is self.row_shifts
        self.row_shifts = self.row_shifts.maximum(other.row_shifts)
        self.column_shifts = (
            self.row_shifts if is_symmetric else self.column_shifts.maximum(other.column_shifts)
        )


def is_exact(log_values: Tensor, shifts: Tensor, layout: Layout) -> bool:
    """Whether no denominator is so far below a shift that what was dropped counts."""
    return bool((log_values >= shifts - _SPAN[layout.rows.dtype]).all())


def exponentials(
    layout: Layout, tile: Tile, is_shifted: bool, storage: Tensor, with_pairs: bool
) -> Exponentials:
    """exp(logits - shift) in `storage`, and the pairs of the tile's blocks if asked for."""
    logits = tile.logits(layout, storage)
    blocks = tile.blocks if with_pairs else ()
    if not is_shifted:
        # Hidden afterwards: exp takes several times as long for -inf.
        entries = logits.exp_()
        pairs = [inverse_exponentials(block, block.within(tile, entries)) for block in blocks]
        return Exponentials(tile.hide(entries, 0), None, pairs)
    pairs = [block.hide(block.within(tile, logits).clone(), torch.inf) for block in blocks]
    # A tile without an entry in scope would have the shift -inf.
    shift = tile.hide(logits, -torch.inf).max().clamp(min=torch.finfo(logits.dtype).min)
    torch.threshold_(logits.sub_(shift), DROPPED[logits.dtype], -torch.inf)
    return Exponentials(logits.exp_(), shift, pairs)


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

    total, *others = share_tiles(layout, tiles, work)
    for other in others:
        total = total.logaddexp(other)
    return total
