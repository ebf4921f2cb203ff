"""The gradient of log denominators, by tiles: the second pass over the similarity matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from uncollapse.losses._engine.partition import partition
from uncollapse.losses._engine.row_sums import DROPPED, Denominators, exponentials, is_exact
from uncollapse.losses._engine.sincere import PairsAgainstNegatives
from uncollapse.losses._engine.threads import share_tiles
from uncollapse.losses._engine.tiles import Layout, Tile, storage_for

_NumberedTiles = list[tuple[int, Tile]]


@dataclass(frozen=True)
class Quotients:
    """w_i / D_i of one scope, for rows and columns."""

    layout: Layout
    log_rows: Tensor  # (R,) log D_i, inf for idle anchors.
    log_columns: Tensor  # (N,) the same of the columns.
    row_weights: Tensor  # (R,) w_i.
    column_weights: Tensor  # (N,) w_j.
    rows: Tensor  # (R, 1) w_i / D_i in the rows' dtype, of use where no tile is shifted.
    columns: Tensor  # (N,) the same of the columns, `Layout.held`.

    @classmethod
    def build(
        cls, layout: Layout, log_columns: Tensor, weights: Tensor, has_idle: bool
    ) -> Quotients:
        """From (N,) log D_j and (N,) w_j; idle anchors, of weight 0, may have an empty sum."""
        if has_idle:
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
        held = self.layout.held(len(of_columns)).copy_(of_columns)
        return of_rows.to(self.rows.dtype)[:, None], tile.beside(held, tile.columns.start)

    def softmax(self, tile: Tile, logits: Tensor) -> Tensor:
        """w_i exp(s_ij - log D_i) + w_j exp(s_ij - log D_j), whatever the magnitudes."""
        dtype, dropped = logits.dtype, DROPPED[logits.dtype]
        entries = logits - self.log_rows[tile.rows, None].to(dtype)
        torch.threshold_(entries, dropped, -torch.inf).exp_()
        entries.mul_(self.row_weights[tile.rows, None].to(dtype))
        logits = logits.sub_(self.log_columns[None, tile.columns].to(dtype))
        torch.threshold_(logits, dropped, -torch.inf).exp_()
        return entries.addcmul_(logits, self.column_weights[None, tile.columns].to(dtype))


def add_gradient(
    layout: Layout,
    denominators: Denominators,
    quotients: Sequence[Quotients],
    gradient: Tensor,
    against: PairsAgainstNegatives | None = None,
) -> None:
    """Second pass: add the gradient of sum_i w_i log D_i to `gradient`, for every scope at once.

        G_i += sum_j (w_i / D_i + w_j / D_j) exp(y_i . y_j) y_j

    Entry (i, j) is in the scope of i exactly when (j, i) is in the scope of j, so the sum over
    other anchors' denominators needs no other tiles, and no row of another process.

    Args:
        layout: As in the first pass.
        denominators: What the first pass returned for the rows.
        quotients: Of the columns, for each of its scopes.
        gradient: (R, d), changed in place.
        against: A loss of pairs whose gradient is added as well; kept pairs are its slopes already.
    """
    is_shifted = False
    for sums, of_scope in zip(denominators.scopes, quotients, strict=True):
        if sums.largest_shifts is not None:
            is_shifted = True
            if not is_exact(of_scope.log_columns, sums.largest_shifts, layout):
                _add_apart(layout, denominators, quotients, gradient, against)
                return

    def entries(mine: _NumberedTiles) -> Iterator[tuple[Tile, Tensor]]:
        again = (tile for number, tile in mine if denominators.kept[number].entries is None)
        storage = storage_for(layout.rows, again)
        outer = storage_for(layout.rows, (tile for _, tile in mine))
        for number, tile in mine:
            kept, pairs = denominators.kept[number], None
            values, shift = kept.entries, kept.shift
            if values is None:
                needs_pairs = against is not None and kept.pairs is None
                values, shift, pairs = exponentials(layout, tile, is_shifted, storage, needs_pairs)
            combined = _combine(quotients, tile, shift, outer).mul_(values)
            if against is not None:
                slopes = kept.pairs or map(against.slopes, tile.blocks, pairs or ())
                for block, of_block in zip(tile.blocks, slopes, strict=True):
                    block.within(tile, combined).add_(of_block)
            yield tile, combined

    _add_products(layout, denominators.tiles, entries, gradient)


def _combine(
    quotients: Sequence[Quotients], tile: Tile, shift: Tensor | None, storage: Tensor
) -> Tensor:
    """w_i / D_i + w_j / D_j of a tile, the second scope's in its blocks."""
    combined = torch.add(*quotients[0].of_tile(tile, shift), out=tile.place(storage))
    for of_scope in quotients[1:]:
        for block in tile.blocks:
            within = block.within(tile, combined)
            for of_side in of_scope.of_tile(block, shift):
                if block.same is None:
                    within.add_(of_side)
                else:
                    within.addcmul_(of_side, block.same)
    return combined


def _add_apart(
    layout: Layout,
    denominators: Denominators,
    quotients: Sequence[Quotients],
    gradient: Tensor,
    against: PairsAgainstNegatives | None,
) -> None:
    """The same gradient with a shift of its own for every row and column, scope by scope."""
    for sums, of_scope in zip(denominators.scopes, quotients, strict=True):
        entries = partial(_entries_apart, layout, -torch.inf, of_scope.softmax)
        _add_products(layout, partition(layout, sums.scope), entries, gradient)
    if against is not None:
        entries = partial(_entries_apart, layout, torch.inf, against.slopes)
        _add_products(layout, partition(layout, "own class"), entries, gradient)


def _entries_apart(
    layout: Layout,
    hidden: float,
    entries_of: Callable[[Tile, Tensor], Tensor],
    mine: _NumberedTiles,
) -> Iterator[tuple[Tile, Tensor]]:
    """What `entries_of` makes of the tiles' logits, with `hidden` where out of scope."""
    storage = storage_for(layout.rows, (tile for _, tile in mine))
    for _, tile in mine:
        yield tile, entries_of(tile, tile.hide(tile.logits(layout, storage), hidden))


def _add_products(
    layout: Layout,
    tiles: list[Tile],
    entries_of: Callable[[_NumberedTiles], Iterator[tuple[Tile, Tensor]]],
    gradient: Tensor,
) -> None:
    """Add each tile's entries times the columns to the rows of `gradient`, and the mirror image."""

    def work(share: int, mine: _NumberedTiles) -> Tensor:
        total = gradient if share == 0 else torch.zeros_like(gradient)
        for tile, entries in entries_of(mine):
            total[tile.rows].addmm_(entries, layout.columns[tile.columns])
            if tile.mirrored:
                total[tile.columns].addmm_(entries.T, layout.rows[tile.rows])
        return total

    for total in share_tiles(layout, tiles, work)[1:]:
        gradient.add_(total)
