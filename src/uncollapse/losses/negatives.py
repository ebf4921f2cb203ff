"""SINCERE: each positive pair against the samples of other classes only, by blocks of tiles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from uncollapse.losses.denominators import (
    Denominators,
    accumulator,
    pair_exponentials,
    storage_for_tiles,
)
from uncollapse.losses.tiles import Layout, Tile
from uncollapse.losses.workers import share_tiles

__all__ = ["PairsAgainstNegatives"]


@dataclass(frozen=True)
class PairsAgainstNegatives:
    """The losses of positive pairs whose anchors' negatives are known, with e_ij = exp(s_ij).

        l_ij = -log( e_ij / (e_ij + N_i) ) = log(1 + N_i / e_ij),  j in P(i)
        dl_ij / ds_ij = -N_i / (e_ij + N_i) = -dl_ij / dlog N_i

    from e_ij and N_i; where these are not representable, from s_ij and log N_i, as softplus and
    sigmoid of log N_i - s_ij. What is no pair of a class has s_ij = e_ij = inf and costs nothing.

    Attributes:
        layout: Rows and columns.
        is_shifted: Whether s_ij and log N_i are used.
        rows: (R, 1) N_i, or log N_i. Idle anchors have none: their pairs cost nothing.
        columns: (1, N) the same of all columns.
        row_weights: (R, 1) weight of each of anchor i's pairs, times N_i unless shifted.
        column_weights: (1, N) the same of all columns.
    """

    layout: Layout
    is_shifted: bool
    rows: Tensor
    columns: Tensor
    row_weights: Tensor
    column_weights: Tensor

    @classmethod
    def of(
        cls, layout: Layout, log_negatives: Tensor, weights: Tensor, is_shifted: bool
    ) -> PairsAgainstNegatives:
        """From (N,) log N_i, finite where the weight is not 0, and (N,) weights of pairs."""
        columns = log_negatives.masked_fill(weights == 0, -torch.inf)
        columns = (columns if is_shifted else columns.exp()).to(layout.rows.dtype)
        weights = weights.to(layout.rows.dtype)
        weights = weights if is_shifted else weights * columns
        return cls(
            layout,
            is_shifted,
            layout.of_rows(columns)[:, None],
            columns[None, :],
            layout.of_rows(weights)[:, None],
            weights[None, :],
        )

    def sums(self, denominators: Denominators) -> tuple[Tensor, Tensor]:
        """(R,) sums of l_ij over the pairs of an anchor, and of their derivatives by log N_i."""
        layout = self.layout
        blocks: list[Tile] = []
        kept: list[Tensor | None] = []
        for number, tile in enumerate(denominators.scopes[0].tiles):
            blocks.extend(tile.own)
            computed = denominators.kept.get(number)
            kept.extend(computed.own if computed else [None] * len(tile.own))

        def work(_: int, mine: list[tuple[int, Tile]]) -> tuple[Tensor, Tensor]:
            losses, slopes = (accumulator(layout, len(layout.rows)) for _ in range(2))
            storage = storage_for_tiles(layout)
            for number, block in mine:
                pairs = kept[number]
                if pairs is None:
                    pairs = self._again(block, storage)
                negatives = self.rows[block.rows]
                losses[block.rows].add_(self._losses(pairs, negatives).sum(1))
                slopes[block.rows].add_(self._slopes(pairs, negatives).sum(1))
                if block.mirrored:
                    negatives = self.columns[:, block.columns]
                    losses[block.columns].add_(self._losses(pairs, negatives).sum(0))
                    slopes[block.columns].add_(self._slopes(pairs, negatives).sum(0))
            return losses, slopes

        (losses, slopes), *others = share_tiles(layout, blocks, work)
        for more_losses, more_slopes in others:
            losses += more_losses
            slopes += more_slopes
        return losses, slopes if self.is_shifted else slopes.mul_(self.rows.squeeze(1))

    def slopes(self, block: Tile, pairs: Tensor) -> Tensor:
        """w_i dl_ij / ds_ij + w_j dl_ji / ds_ij of a block."""
        of_rows = self._slopes(pairs, self.rows[block.rows]).mul_(self.row_weights[block.rows])
        of_columns = self._slopes(pairs, self.columns[:, block.columns])
        return of_rows.addcmul_(of_columns, self.column_weights[:, block.columns]).neg_()

    def _again(self, block: Tile, storage: Tensor) -> Tensor:
        logits = block.logits(self.layout, storage)
        if self.is_shifted:
            return block.hide(logits, torch.inf)
        return pair_exponentials(block, logits.exp_())

    def _losses(self, pairs: Tensor, negatives: Tensor) -> Tensor:
        if self.is_shifted:
            return softplus(negatives - pairs, threshold=40)
        return (negatives / pairs).log1p_()

    def _slopes(self, pairs: Tensor, negatives: Tensor) -> Tensor:
        """dl_ij / dlog N_i, less its factor N_i unless shifted."""
        if self.is_shifted:
            return (negatives - pairs).sigmoid_()
        return (pairs + negatives).reciprocal_()
