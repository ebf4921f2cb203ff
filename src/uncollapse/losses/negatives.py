"""SINCERE: each positive pair against the samples of other classes only, by tiles."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from uncollapse.losses.denominators import accumulator, add_tile_product
from uncollapse.losses.tiles import Layout, Tile, tiles_of
from uncollapse.losses.workers import share_tiles

__all__ = ["pair_losses"]


def pair_losses(
    layout: Layout, log_negatives: Tensor, weights: Tensor, gradient: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Sum of each anchor's pair losses, and what they weigh in its negatives.

        l_ij = -log( exp(s_ij) / (exp(s_ij) + N_i) ) = softplus(log N_i - s_ij),  j in P(i)
        h_i  = sum over j in P(i) of the derivative of l_ij by log N_i

    Only the blocks of own classes hold such pairs.

    Args:
        layout: Rows and columns.
        log_negatives: (N,) log N_i of all columns, finite where the weight is not 0.
        weights: (N,) weight of each of anchor i's pairs.
        gradient: (R, d); if given, the gradient through s_ij is added in place.

    Returns:
        (R,) sums of l_ij and (R,) h_i, both not yet weighed.
    """
    dtype = layout.rows.dtype
    # An idle anchor has no negatives, or none that count: its pairs then cost nothing.
    log_columns = log_negatives.masked_fill(weights == 0, -torch.inf).to(dtype)
    log_rows = layout.of_rows(log_columns)
    column_weights = weights.to(dtype)
    row_weights = layout.of_rows(column_weights)

    def work(share: int, tiles: list[tuple[int, Tile]]) -> tuple[Tensor, Tensor, Tensor | None]:
        total = gradient
        if gradient is not None and share > 0:
            total = torch.zeros_like(gradient)
        losses, shares = (accumulator(layout, len(layout.rows)) for _ in range(2))
        side = min(layout.tile_size, len(layout.columns))
        storage = layout.rows.new_empty(side * side)
        for _, tile in tiles:
            logits = tile.logits(layout, storage)
            margins = log_rows[tile.rows, None] - logits
            tile.hide(layout, margins)
            losses[tile.rows] += softplus(margins, threshold=40).sum(1)
            from_rows = margins.sigmoid_()
            shares[tile.rows] += from_rows.sum(1)
            from_rows.mul_(row_weights[tile.rows, None])
            if layout.is_symmetric and not tile.mirrored:
                # A tile on the diagonal: what its columns see is what its rows see, transposed.
                if total is not None:
                    add_tile_product(layout, tile, (from_rows + from_rows.T).neg_(), total)
                continue
            margins = logits.neg_().add_(log_columns[None, tile.columns])
            tile.hide(layout, margins)
            if tile.mirrored:
                losses[tile.columns] += softplus(margins, threshold=40).sum(0)
            from_columns = margins.sigmoid_()
            if tile.mirrored:
                shares[tile.columns] += from_columns.sum(0)
            if total is not None:
                from_rows.addcmul_(from_columns, column_weights[None, tile.columns])
                add_tile_product(layout, tile, from_rows.neg_(), total)
        return losses, shares, total

    (losses, shares, _), *others = share_tiles(layout, list(tiles_of(layout, "own class")), work)
    for more_losses, more_shares, more in others:
        losses += more_losses
        shares += more_shares
        if gradient is not None and more is not None:
            gradient.add_(more)
    return losses, shares
