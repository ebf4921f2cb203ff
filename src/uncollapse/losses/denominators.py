"""Log denominators of the softmax and their gradient, by tiles.

This is the only part of the loss whose cost grows with N^2, and the place for a fused kernel: a
backend replaces `log_denominators` and `add_gradient` and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from uncollapse.losses.samples import precise_dtype
from uncollapse.losses.tiles import Layout, Scope, Tile, tiles_of
from uncollapse.losses.workers import share_tiles

__all__ = ["Denominators", "accumulator", "add_gradient", "log_denominators"]

# Logits up to this magnitude need no shift: no exponential overflows, no denominator underflows.
_UNSHIFTED = {torch.float32: 57.0, torch.float64: 350.0}
# Beyond it each tile is shifted by its largest logit, and exponentials below exp(_DROPPED) count as
# 0 (they are hardly normal numbers, with which products are slow). That is exact for every
# denominator above exp(_SPAN) of the tile's largest exponential: what was dropped is at most
# N exp(-30) of it. Any other denominator needs a shift of its own.
_DROPPED = {torch.float32: -80.0, torch.float64: -690.0}
_SPAN = {torch.float32: 50.0, torch.float64: 640.0}


@dataclass
class Denominators:
    """What the first pass leaves for the second.

    Attributes:
        log_values: (R,) log of each row's denominator; -inf for an empty sum.
        largest_shifts: (N,) the largest shift of a tile that holds the column; None if none is
            shifted.
        tiles: All tiles of the scope.
        kept: Exponentials and shifts of the first tiles by number, as many as fit into memory.
    """

    log_values: Tensor
    largest_shifts: Tensor | None
    tiles: list[Tile]
    kept: dict[int, tuple[Tensor, Tensor | None]]


def accumulator(layout: Layout, size: int) -> Tensor:
    """Zeros (size,) in which sums over tiles are taken."""
    return layout.rows.new_zeros(size, dtype=precise_dtype(layout.rows.device))


def log_denominators(layout: Layout, scope: Scope, keep_bytes: int) -> Denominators:
    """First pass over the tiles.

        log D_i = log sum over j in scope(i) of exp(y_i . y_j)

    Args:
        layout: Rows y_i and columns y_j, scaled by 1 / sqrt(temperature).
        scope: Which columns the sum of a row runs over.
        keep_bytes: Memory for exponentials that the second pass then need not compute again.
    """
    needs_shifts = layout.largest_logit > _UNSHIFTED[layout.rows.dtype]
    item_size = layout.rows.element_size()
    tiles = list(tiles_of(layout, scope))
    ends = accumulate(item_size * math.prod(tile.shape) for tile in tiles)
    keep_count = sum(end <= keep_bytes for end in ends)

    def work(_: int, mine: list[tuple[int, Tile]]) -> _Share:
        share = _Share.empty(layout)
        storage = _storage(layout)
        for number, tile in mine:
            keeps = number < keep_count
            space = storage.new_empty(math.prod(tile.shape)) if keeps else storage
            entries, shift = _exponentials(layout, tile, needs_shifts, space)
            share.add(tile, entries, shift)
            if keeps:
                share.kept[number] = (entries, shift)
        return share

    total, *others = share_tiles(layout, tiles, work)
    for other in others:
        total.merge(other)
    if not needs_shifts:
        return Denominators(total.sums.log_(), None, tiles, total.kept)
    if not _is_exact(total.log_sums, total.row_shifts, layout):
        log_sums = _sums_with_own_shifts(layout, tiles)
        return Denominators(log_sums, total.column_shifts, tiles, {})
    return Denominators(total.log_sums, total.column_shifts, tiles, total.kept)


@dataclass
class _Share:
    """Sums over the tiles of one thread.

    Attributes:
        sums: (R,) sums of exponentials without a shift.
        log_sums: (R,) logs of the sums of those with one.
        row_shifts: (R,) largest shift of a tile that holds the row.
        column_shifts: (N,) the same for the columns; `row_shifts` itself if they are the rows.
        kept: Exponentials and shifts of tiles, by their number.
    """

    sums: Tensor
    log_sums: Tensor
    row_shifts: Tensor
    column_shifts: Tensor
    kept: dict[int, tuple[Tensor, Tensor | None]]

    @classmethod
    def empty(cls, layout: Layout) -> _Share:
        sums = accumulator(layout, len(layout.rows))
        lowest = torch.full_like(sums, -torch.inf)
        column_shifts = row_shifts = lowest.clone()
        if not layout.is_symmetric:
            column_shifts = accumulator(layout, len(layout.columns)).fill_(-torch.inf)
        return cls(sums, lowest, row_shifts, column_shifts, {})

    def add(self, tile: Tile, entries: Tensor, shift: Tensor | None) -> None:
        """Add a tile's exponentials to its rows, and to its columns if it is mirrored."""
        for part, axis in ((tile.rows, 1), (tile.columns, 0)):
            if shift is not None:
                shifts = self.row_shifts if axis == 1 else self.column_shifts
                shifts[part] = shifts[part].clamp(min=shift)
            if axis == 0 and not tile.mirrored:
                continue
            if shift is None:
                self.sums[part] += entries.sum(axis)
            else:
                logs = entries.sum(axis).to(self.sums.dtype).log_().add_(shift)
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
        self.kept |= other.kept


def add_gradient(
    layout: Layout,
    denominators: Denominators,
    log_columns: Tensor,
    weights: Tensor,
    gradient: Tensor,
) -> None:
    """Second pass: add the gradient of sum_i weights_i log D_i to `gradient`.

        G_i += sum_j (w_i / D_i + w_j / D_j) exp(y_i . y_j) y_j

    Entry (i, j) is in the scope of i exactly when (j, i) is in the scope of j, so the sum over
    other anchors' denominators needs no other tiles, and no row of another process.

    Args:
        layout: As in the first pass.
        denominators: What the first pass returned for the rows.
        log_columns: (N,) log denominators of all columns.
        weights: (N,) w_j; anchors of weight 0 may have an empty sum.
        gradient: (R, d), changed in place.
    """
    log_columns = log_columns.masked_fill(weights == 0, torch.inf)
    shifts = denominators.largest_shifts
    if shifts is not None and not _is_exact(log_columns, shifts, layout):
        _add_with_own_shifts(layout, denominators.tiles, log_columns, weights, gradient)
        return
    dtype = layout.rows.dtype
    log_rows, row_weights = layout.of_rows(log_columns), layout.of_rows(weights)
    rows = columns = torch.empty(0)
    if shifts is None:
        columns = (weights * torch.exp(-log_columns)).to(dtype)
        rows = layout.of_rows(columns)

    def work(share: int, mine: list[tuple[int, Tile]]) -> Tensor:
        total = gradient if share == 0 else torch.zeros_like(gradient)
        storage, outer = _storage(layout), _storage(layout)
        for number, tile in mine:
            if number in denominators.kept:
                entries, shift = denominators.kept[number]
            else:
                entries, shift = _exponentials(layout, tile, shifts is not None, storage)
            if shift is None:
                of_rows, of_columns = rows[tile.rows], columns[tile.columns]
            else:
                of_rows = row_weights[tile.rows] * torch.exp(shift - log_rows[tile.rows])
                of_columns = weights[tile.columns] * torch.exp(shift - log_columns[tile.columns])
            combined = outer[: entries.numel()].view_as(entries)
            torch.add(of_rows.to(dtype)[:, None], of_columns.to(dtype)[None, :], out=combined)
            add_tile_product(layout, tile, combined.mul_(entries), total)
        return total

    for total in share_tiles(layout, denominators.tiles, work)[1:]:
        gradient.add_(total)


def add_tile_product(layout: Layout, tile: Tile, entries: Tensor, gradient: Tensor) -> None:
    """Add the tile's entries times the columns to the rows of `gradient`, and the mirror image."""
    gradient[tile.rows].addmm_(entries, layout.columns[tile.columns])
    if tile.mirrored:
        gradient[tile.columns].addmm_(entries.T, layout.rows[tile.rows])


def _is_exact(log_values: Tensor, shifts: Tensor, layout: Layout) -> bool:
    """Whether no denominator is so far below a shift that what was dropped counts."""
    return bool((log_values >= shifts - _SPAN[layout.rows.dtype]).all())


def _storage(layout: Layout) -> Tensor:
    side = min(layout.tile_size, len(layout.columns))
    return layout.rows.new_empty(min(side, len(layout.rows)) * side)


def _exponentials(
    layout: Layout, tile: Tile, is_shifted: bool, storage: Tensor
) -> tuple[Tensor, Tensor | None]:
    """exp(logits - shift) in `storage`, 0 where out of scope, and the shift."""
    logits = tile.logits(layout, storage)
    tile.hide(layout, logits)
    if not is_shifted:
        return logits.exp_(), None
    # A tile without an entry in scope would have the shift -inf.
    shift = logits.max().clamp(min=torch.finfo(logits.dtype).min)
    torch.threshold_(logits.sub_(shift), _DROPPED[logits.dtype], -torch.inf)
    return logits.exp_(), shift


def _sums_with_own_shifts(layout: Layout, tiles: list[Tile]) -> Tensor:
    def work(_: int, mine: list[tuple[int, Tile]]) -> Tensor:
        log_sums = accumulator(layout, len(layout.rows)).fill_(-torch.inf)
        storage, other = _storage(layout), _storage(layout)
        for _, tile in mine:
            logits = tile.logits(layout, storage)
            tile.hide(layout, logits)
            for part, axis in ((tile.rows, 1), (tile.columns, 0)):
                if axis == 0 and not tile.mirrored:
                    continue
                largest = logits.amax(axis, keepdim=True).clamp(min=torch.finfo(logits.dtype).min)
                sums = torch.sub(logits, largest, out=other[: logits.numel()].view_as(logits))
                logs = sums.exp_().sum(axis).to(log_sums.dtype).log_().add_(largest.flatten())
                log_sums[part] = log_sums[part].logaddexp(logs)
        return log_sums

    total, *others = share_tiles(layout, tiles, work)
    for other in others:
        total = total.logaddexp(other)
    return total


def _add_with_own_shifts(
    layout: Layout, tiles: list[Tile], log_columns: Tensor, weights: Tensor, gradient: Tensor
) -> None:
    """The same sum as softmax entries: w_i exp(s_ij - log D_i) + w_j exp(s_ij - log D_j)."""
    dtype = layout.rows.dtype
    log_columns, weights = log_columns.to(dtype), weights.to(dtype)
    log_rows, row_weights = layout.of_rows(log_columns), layout.of_rows(weights)
    dropped = _DROPPED[dtype]

    def work(share: int, mine: list[tuple[int, Tile]]) -> Tensor:
        total = gradient if share == 0 else torch.zeros_like(gradient)
        storage, other = _storage(layout), _storage(layout)
        for _, tile in mine:
            logits = tile.logits(layout, storage)
            tile.hide(layout, logits)
            entries = other[: logits.numel()].view_as(logits)
            torch.sub(logits, log_rows[tile.rows, None], out=entries)
            torch.threshold_(entries, dropped, -torch.inf).exp_()
            entries.mul_(row_weights[tile.rows, None])
            torch.threshold_(logits.sub_(log_columns[None, tile.columns]), dropped, -torch.inf)
            entries.addcmul_(logits.exp_(), weights[None, tile.columns])
            add_tile_product(layout, tile, entries, total)
        return total

    for total in share_tiles(layout, tiles, work)[1:]:
        gradient.add_(total)
