"""Log denominators of the softmax, by tiles: the first pass over the similarity matrix.

This and `gradient.py` are the only parts of the loss whose cost grows with N^2, and the place for a
fused kernel: a backend replaces `log_denominators` and `add_gradient` and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.linalg import vecdot

from uncollapse.losses.grid import tiles_of
from uncollapse.losses.keeping import what_to_keep
from uncollapse.losses.samples import precise_dtype
from uncollapse.losses.tiles import Layout, Scope, Tile, storage_for
from uncollapse.losses.workers import share_tiles

__all__ = [
    "DROPPED",
    "Denominators",
    "Exponentials",
    "Sums",
    "accumulator",
    "exponentials",
    "inverse_exponentials",
    "is_exact",
    "log_denominators",
]

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
    """A tile of exponentials.

    Attributes:
        entries: exp(logit - shift), 0 where out of scope.
        shift: The tile's; None for 0.
        own: The tile's blocks of own classes: 1 / exp(logit), 0 where two samples are no pair of
            a class; if there is a shift, the logits, inf where they are none. Empty if they were
            not asked for.
    """

    entries: Tensor
    shift: Tensor | None
    own: list[Tensor]


@dataclass(frozen=True)
class Sums:
    """The denominators of one scope.

    Attributes:
        log_values: (R,) log of each row's denominator; -inf for an empty sum.
        scope: Which columns they sum over.
        largest_shifts: (N,) the largest shift of a tile that holds the column; None if none is
            shifted.
    """

    log_values: Tensor
    scope: Scope
    largest_shifts: Tensor | None


@dataclass(frozen=True)
class Denominators:
    """What the first pass leaves for the second.

    Attributes:
        tiles: All tiles of the first scope, which were walked over.
        scopes: The denominators of that scope, then those of own classes, if they were asked for.
        kept: The first of those tiles by number, as many as fit into memory.
        own: `Exponentials.own` by number of the tile, as many as fit into memory: a tile that has
            blocks is kept only if these are.
    """

    tiles: list[Tile]
    scopes: list[Sums]
    kept: dict[int, Exponentials]
    own: dict[int, list[Tensor]]


def accumulator(layout: Layout, size: int) -> Tensor:
    """Zeros (size,) in which sums over tiles are taken."""
    return layout.rows.new_zeros(size, dtype=precise_dtype(layout.rows.device))


def log_denominators(
    layout: Layout,
    scope: Scope,
    keep_bytes: int,
    *,
    own_classes: bool = False,
    pairs: bool = False,
) -> Denominators:
    """First pass over the tiles.

        log D_i = log sum over j in scope(i) of exp(y_i . y_j)

    Args:
        layout: Rows y_i and columns y_j, scaled by 1 / sqrt(temperature).
        scope: Which columns the sum of a row runs over.
        keep_bytes: Memory for exponentials that the second pass then need not compute again.
        own_classes: Whether the same exponentials are also summed over own classes.
        pairs: Whether what is within own classes is kept apart, for losses of single pairs.
    """
    # Quotients of a denominator and an exponential span more than either of them.
    bound = _UNSHIFTED[layout.rows.dtype] / (1.5 if pairs else 1)
    needs_shifts = layout.largest_logit > bound
    tiles = tiles_of(layout, scope, with_own=own_classes or pairs)
    scopes: list[Scope] = [scope, "own class"] if own_classes else [scope]
    keeps = what_to_keep(tiles, keep_bytes // layout.rows.element_size(), pairs)
    totals, kept, own = _walk(layout, tiles, len(scopes), needs_shifts, *keeps)
    if not needs_shifts:
        named = zip(totals, scopes, strict=True)
        sums = [Sums(total.sums.log_(), name, None) for total, name in named]
        return Denominators(tiles, sums, kept, own)
    shifted = []
    for total, name in zip(totals, scopes, strict=True):
        log_sums = total.log_sums
        if not is_exact(log_sums, total.row_shifts, layout):
            log_sums, kept, own = _sums_with_own_shifts(layout, tiles_of(layout, name)), {}, {}
        shifted.append(Sums(log_sums, name, total.column_shifts))
    return Denominators(tiles, shifted, kept, own)


_Walked = tuple[list["_Share"], dict[int, Exponentials], dict[int, list[Tensor]]]


def _walk(
    layout: Layout,
    tiles: list[Tile],
    scope_count: int,
    is_shifted: bool,
    keeps: set[int],
    keeps_own: set[int],
) -> _Walked:
    """Sums over the tiles, and over their blocks for a second scope; what is to be kept of them."""

    def work(_: int, mine: list[tuple[int, Tile]]) -> _Walked:
        shares = [_Share.empty(layout, is_shifted) for _ in range(scope_count)]
        kept, own = {}, {}
        storage = storage_for(layout.rows, (tile for number, tile in mine if number not in keeps))
        for number, tile in mine:
            is_kept = number in keeps
            space = storage_for(storage, [tile]) if is_kept else storage
            computed = exponentials(layout, tile, is_shifted, space, number in keeps_own)
            shares[0].add(tile, computed.entries, computed.shift)
            for share in shares[1:]:
                for block in tile.own:
                    part = block.within(tile, computed.entries)
                    share.add(block, part, computed.shift, block.same)
            if is_kept:
                kept[number] = computed
            if number in keeps_own:
                own[number] = computed.own
        return shares, kept, own

    (totals, kept, own), *others = share_tiles(layout, tiles, work)
    for shares, more, more_own in others:
        for total, share in zip(totals, shares, strict=True):
            total.merge(share)
        kept |= more
        own |= more_own
    return totals, kept, own


@dataclass
class _Share:
    """Sums over the tiles of one thread, for one scope; without shifts only `sums` has entries.

    Attributes:
        sums: (R,) sums of exponentials without a shift.
        log_sums: (R,) logs of the sums of those with one.
        row_shifts: (R,) largest shift of a tile that holds the row.
        column_shifts: (N,) the same for the columns; `row_shifts` itself if they are the rows.
    """

    sums: Tensor
    log_sums: Tensor
    row_shifts: Tensor
    column_shifts: Tensor

    @classmethod
    def empty(cls, layout: Layout, is_shifted: bool) -> _Share:
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
        self, tile: Tile, entries: Tensor, shift: Tensor | None, same: Tensor | None = None
    ) -> None:
        """Add a tile's exponentials to its rows, and to its columns if it is mirrored.

        Args:
            tile: Or a block of one.
            entries: Of its shape.
            shift: Theirs.
            same: 1 for those that count and 0 for others; None if all do.
        """
        for part, axis in ((tile.rows, 1), (tile.columns, 0)):
            if shift is not None:
                shifts = self.row_shifts if axis == 1 else self.column_shifts
                shifts[part] = shifts[part].clamp(min=shift)
            if axis == 0 and not tile.mirrored:
                continue
            sums = entries.sum(axis) if same is None else vecdot(entries, same, dim=axis)
            if shift is None:
                self.sums[part].add_(sums)
            else:
                logs = sums.to(self.sums.dtype).log_().add_(shift)
                self.log_sums[part] = self.log_sums[part].logaddexp(logs)

    def merge(self, other: _Share) -> None:
        """Add the sums over other tiles."""
        self.sums += other.sums
        self.log_sums = self.log_sums.logaddexp(other.log_sums)
        same = self.column_shifts is self.row_shifts
        self.row_shifts = self.row_shifts.maximum(other.row_shifts)
        self.column_shifts = (
            self.row_shifts if same else self.column_shifts.maximum(other.column_shifts)
        )


def is_exact(log_values: Tensor, shifts: Tensor, layout: Layout) -> bool:
    """Whether no denominator is so far below a shift that what was dropped counts."""
    return bool((log_values >= shifts - _SPAN[layout.rows.dtype]).all())


def exponentials(
    layout: Layout, tile: Tile, is_shifted: bool, storage: Tensor, with_own: bool
) -> Exponentials:
    """exp(logits - shift) in `storage`, and what is asked for of own classes."""
    logits = tile.logits(layout, storage)
    own = []
    if not is_shifted:
        # Hidden afterwards: exp takes several times as long for -inf.
        entries = logits.exp_()
        if with_own:
            own = [inverse_exponentials(block, block.within(tile, entries)) for block in tile.own]
        return Exponentials(tile.hide(entries, 0), None, own)
    if with_own:
        own = [block.hide(block.within(tile, logits).clone(), torch.inf) for block in tile.own]
    # A tile without an entry in scope would have the shift -inf.
    shift = tile.hide(logits, -torch.inf).max().clamp(min=torch.finfo(logits.dtype).min)
    torch.threshold_(logits.sub_(shift), DROPPED[logits.dtype], -torch.inf)
    return Exponentials(logits.exp_(), shift, own)


def inverse_exponentials(block: Tile, entries: Tensor) -> Tensor:
    """1 / exp(logit) of a block's pairs of a class, 0 where two samples are none."""
    if block.same is None:
        inverse = entries.reciprocal()
    else:
        # Around a tile there may be zeros, and 0 / 0 is no number.
        inverse = block.same / entries.clamp(min=torch.finfo(entries.dtype).tiny)
    return block.hide_itself(inverse, 0)


def _sums_with_own_shifts(layout: Layout, tiles: list[Tile]) -> Tensor:
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
