"""The gradient of log denominators, by tiles: the second pass over the similarity matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from uncollapse.losses.denominators import (
    DROPPED,
    Denominators,
    exponentials,
    is_exact,
)
from uncollapse.losses.grid import tiles_of
from uncollapse.losses.tiles import Layout, Tile, storage_for
from uncollapse.losses.workers import share_tiles

__all__ = ["Anchors", "PairSlopes", "add_gradient"]


@dataclass(frozen=True)
class Anchors:
    """What the anchors contribute to the loss through one of their denominators.

    Attributes:
        log_columns: (N,) log D_j of all columns.
        weights: (N,) w_j; anchors of weight 0 may have an empty sum.
        has_idle: Whether there may be such anchors.
    """

    log_columns: Tensor
    weights: Tensor
    has_idle: bool


class PairSlopes(Protocol):
    """A loss of single pairs within own classes, beside that of the denominators."""

    def slopes(self, block: Tile, pairs: Tensor) -> Tensor:
        """Derivatives of the loss by a block's logits, those of its transpose added.

        Args:
            block: Of own classes.
            pairs: What `exponentials` gives of it; may be overwritten.
        """


def add_gradient(
    layout: Layout,
    denominators: Denominators,
    anchors: Sequence[Anchors],
    gradient: Tensor,
    pairs: PairSlopes | None = None,
) -> None:
    """Second pass: add the gradient of sum_i w_i log D_i to `gradient`, for every scope at once.

        G_i += sum_j (w_i / D_i + w_j / D_j) exp(y_i . y_j) y_j

    Entry (i, j) is in the scope of i exactly when (j, i) is in the scope of j, so the sum over
    other anchors' denominators needs no other tiles, and no row of another process.

    Args:
        layout: As in the first pass.
        denominators: What the first pass returned for the rows.
        anchors: Log denominators and weights of the columns, for each of its scopes.
        gradient: (R, d), changed in place.
        pairs: A loss of pairs whose gradient is to be added as well. What was kept of own classes
            holds its slopes already.
    """
    quotients = [_Quotients.of(layout, those) for those in anchors]
    for sums, of_scope in zip(denominators.scopes, quotients, strict=True):
        shifts = sums.largest_shifts
        if shifts is not None and not is_exact(of_scope.log_columns, shifts, layout):
            _add_apart(layout, denominators, quotients, gradient, pairs)
            return
    tiles, is_shifted = denominators.tiles, shifts is not None

    def work(share: int, mine: list[tuple[int, Tile]]) -> Tensor:
        total = gradient if share == 0 else torch.zeros_like(gradient)
        again = (tile for number, tile in mine if number not in denominators.kept)
        storage = storage_for(layout.rows, again)
        outer = storage_for(layout.rows, (tile for _, tile in mine))
        for number, tile in mine:
            own = denominators.own.get(number)
            needs_own = pairs is not None and own is None
            computed = denominators.kept.get(number) or exponentials(
                layout, tile, is_shifted, storage, needs_own
            )
            entries, shift = computed.entries, computed.shift
            combined = torch.add(*quotients[0].of_tile(tile, shift), out=tile.place(outer))
            for of_scope in quotients[1:]:
                for block in tile.own:
                    part = block.within(tile, combined)
                    for of_side in of_scope.of_tile(block, shift):
                        if block.same is None:
                            part.add_(of_side)
                        else:
                            part.addcmul_(of_side, block.same)
            combined.mul_(entries)
            if pairs is not None:
                slopes = own or map(pairs.slopes, tile.own, computed.own)
                for block, of_block in zip(tile.own, slopes, strict=True):
                    block.within(tile, combined).add_(of_block)
            _add_product(layout, tile, combined, total)
        return total

    for total in share_tiles(layout, tiles, work)[1:]:
        gradient.add_(total)


@dataclass(frozen=True)
class _Quotients:
    """w_i / D_i of one scope, for rows and columns.

    Attributes:
        layout: Rows and columns.
        log_rows: (R,) log D_i, inf for idle anchors.
        log_columns: (N,) the same of the columns.
        row_weights: (R,) w_i.
        column_weights: (N,) w_j.
        rows: (R, 1) w_i / D_i in the rows' dtype, of use where no tile is shifted.
        columns: (N,) the same of the columns, `Layout.held`.
    """

    layout: Layout
    log_rows: Tensor
    log_columns: Tensor
    row_weights: Tensor
    column_weights: Tensor
    rows: Tensor
    columns: Tensor

    @classmethod
    def of(cls, layout: Layout, anchors: Anchors) -> _Quotients:
        weights = anchors.weights
        log_columns = anchors.log_columns
        if anchors.has_idle:
            log_columns = log_columns.masked_fill(weights == 0, torch.inf)
        columns = torch.mul(weights, log_columns.neg().exp_(), out=layout.held(len(weights)))
        row_weights, log_rows = layout.of_rows(weights), layout.of_rows(log_columns)
        rows = layout.of_rows(columns)[:, None]
        return cls(layout, log_rows, log_columns, row_weights, weights, rows, columns)

    def of_tile(self, tile: Tile, shift: Tensor | None) -> tuple[Tensor, Tensor]:
        """w_i / D_i exp(shift) of the tile's rows, w_j / D_j exp(shift) of its columns."""
        if shift is None:
            return self.rows[tile.rows], tile.beside(self.columns)
        of_rows = self.row_weights[tile.rows] * torch.exp(shift - self.log_rows[tile.rows])
        of_columns = self.column_weights[tile.columns] * torch.exp(
            shift - self.log_columns[tile.columns]
        )
        dtype = self.rows.dtype
        held = self.layout.held(len(of_columns)).copy_(of_columns)
        return of_rows.to(dtype)[:, None], tile.beside(held, tile.columns.start)

    def softmax(self, tile: Tile, logits: Tensor) -> Tensor:
        """w_i exp(s_ij - log D_i) + w_j exp(s_ij - log D_j), whatever the magnitudes."""
        dtype, dropped = logits.dtype, DROPPED[logits.dtype]
        entries = logits - self.log_rows[tile.rows, None].to(dtype)
        torch.threshold_(entries, dropped, -torch.inf).exp_()
        entries.mul_(self.row_weights[tile.rows, None].to(dtype))
        logits = logits.sub_(self.log_columns[None, tile.columns].to(dtype))
        torch.threshold_(logits, dropped, -torch.inf).exp_()
        return entries.addcmul_(logits, self.column_weights[None, tile.columns].to(dtype))


def _add_apart(
    layout: Layout,
    denominators: Denominators,
    quotients: list[_Quotients],
    gradient: Tensor,
    pairs: PairSlopes | None,
) -> None:
    """The same gradient with a shift of its own for every row and column, scope by scope."""
    for sums, of_scope in zip(denominators.scopes, quotients, strict=True):
        _add_entries(layout, tiles_of(layout, sums.scope), -torch.inf, of_scope.softmax, gradient)
    if pairs is not None:
        own = tiles_of(layout, "own class")
        _add_entries(layout, own, torch.inf, pairs.slopes, gradient)


def _add_entries(
    layout: Layout,
    tiles: list[Tile],
    hidden: float,
    entries_of: Callable[[Tile, Tensor], Tensor],
    gradient: Tensor,
) -> None:
    """Add what the entries make of the tiles' logits, with `hidden` where out of scope."""

    def work(share: int, mine: list[tuple[int, Tile]]) -> Tensor:
        total = gradient if share == 0 else torch.zeros_like(gradient)
        storage = storage_for(layout.rows, (tile for _, tile in mine))
        for _, tile in mine:
            logits = tile.hide(tile.logits(layout, storage), hidden)
            _add_product(layout, tile, entries_of(tile, logits), total)
        return total

    for total in share_tiles(layout, tiles, work)[1:]:
        gradient.add_(total)


def _add_product(layout: Layout, tile: Tile, entries: Tensor, gradient: Tensor) -> None:
    """Add the tile's entries times the columns to the rows of `gradient`, and the mirror image."""
    gradient[tile.rows].addmm_(entries, layout.columns[tile.columns])
    if tile.mirrored:
        gradient[tile.columns].addmm_(entries.T, layout.rows[tile.rows])
