"""SINCERE: each positive pair against the samples of other classes only, by blocks of tiles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from uncollapse.losses._engine.row_sums import Denominators, accumulator, inverse_exponentials
from uncollapse.losses._engine.threads import share_tiles
from uncollapse.losses._engine.tiles import Layout, Tile, storage_for


@dataclass(frozen=True)
class PairsAgainstNegatives:
    """The losses of positive pairs whose anchors' negatives are known, with f_ij = exp(-s_ij).

        l_ij = -log( exp(s_ij) / (exp(s_ij) + N_i) ) = log(1 + N_i f_ij),  j in P(i)
        dl_ij / ds_ij = -N_i f_ij / (1 + N_i f_ij) = -dl_ij / dlog N_i

    from f_ij and N_i; where these are not representable, from s_ij and log N_i, as softplus and
    sigmoid of log N_i - s_ij. What is no pair of a class has f_ij = 0, s_ij = inf: no loss.
    """

    layout: Layout
    is_shifted: bool  # Whether s_ij and log N_i are used.
    rows: Tensor  # (R, 1) N_i, or log N_i. Idle anchors have none: their pairs cost nothing.
    columns: Tensor  # (N,) the same of all columns, `Layout.held`.
    row_weights: Tensor  # (R, 1) -w_i of each of anchor i's pairs, times N_i unless shifted.
    column_weights: Tensor  # (N,) the same of all columns, `Layout.held`.

    @classmethod
    def build(
        cls, layout: Layout, log_negatives: Tensor, weights: Tensor, is_shifted: bool
    ) -> PairsAgainstNegatives:
        """From (N,) log N_i, -inf for idle anchors, and (N,) weights of pairs."""
        columns = log_negatives if is_shifted else log_negatives.exp()
        weights = -weights if is_shifted else -weights * columns
        columns, weights = (layout.held(len(v)).copy_(v) for v in (columns, weights))
        rows, row_weights = (layout.of_rows(v)[:, None] for v in (columns, weights))
        return cls(layout, is_shifted, rows, columns, row_weights, weights)

    def sums(self, denominators: Denominators) -> tuple[Tensor, Tensor]:
        """(R,) sums of l_ij over the pairs of an anchor, and of their derivatives by log N_i.

        Kept pairs become their `slopes`, in place.
        """
        layout, tiles = self.layout, denominators.tiles
        kept = {
            block: pairs
            for tile, of_tile in zip(tiles, denominators.kept, strict=True)
            if of_tile.pairs is not None
            for block, pairs in zip(tile.blocks, of_tile.pairs, strict=True)
        }

        def work(_: int, mine: list[tuple[int, Tile]]) -> tuple[Tensor, Tensor]:
            losses, slopes = (accumulator(layout, len(layout.rows)) for _ in range(2))
            storage = storage_for(layout.rows, (block for _, block in mine if block not in kept))
            for _, block in mine:
                pairs = kept[block] if block in kept else self._pairs(block, storage)
                margins = self._margins(pairs, self.rows[block.rows])
                losses[block.rows].add_(self._losses(margins).sum(1))
                of_rows = self._slopes(pairs, margins)
                slopes[block.rows].add_(of_rows.sum(1))
                of_columns = None
                if block.mirrored:
                    margins = self._margins(pairs, self.columns[block.columns])
                    losses[block.columns].add_(self._losses(margins).sum(0))
                    of_columns = self._slopes(pairs, margins)
                    slopes[block.columns].add_(of_columns.sum(0))
                if block in kept:
                    self._weigh(block, of_rows, of_columns, pairs)
            return losses, slopes

        blocks = [block for tile in tiles for block in tile.blocks]
        (losses, slopes), *others = share_tiles(layout, blocks, work)
        for more_losses, more_slopes in others:
            losses += more_losses
            slopes += more_slopes
        return losses, slopes if self.is_shifted else slopes.mul_(self.rows.squeeze(1))

    def slopes(self, block: Tile, pairs: Tensor) -> Tensor:
        """w_i dl_ij / ds_ij + w_j dl_ji / ds_ij of a block, in place of its pairs."""
        of_rows = self._slopes(pairs, self._margins(pairs, self.rows[block.rows]))
        return self._weigh(block, of_rows, None, pairs)

    def _weigh(
        self, block: Tile, of_rows: Tensor, of_columns: Tensor | None, pairs: Tensor
    ) -> Tensor:
        """`slopes` in place of `pairs`, from those of rows alone, and of columns if known."""
        of_rows.mul_(self.row_weights[block.rows])
        if block.diagonal:
            return torch.add(of_rows, of_rows.T, out=pairs)
        if of_columns is None:
            negatives = block.beside(self.columns)
            of_columns = self._slopes(pairs, self._margins(pairs, negatives))
        weights = block.beside(self.column_weights)
        return torch.addcmul(of_rows, of_columns, weights, out=pairs)

    def _pairs(self, block: Tile, storage: Tensor) -> Tensor:
        """f_ij of a block that was not kept, or s_ij."""
        logits = block.logits(self.layout, storage)
        if self.is_shifted:
            return block.hide(logits, torch.inf)
        return inverse_exponentials(block, logits.exp_())

    def _margins(self, pairs: Tensor, negatives: Tensor) -> Tensor:
        """N_i f_ij, or its log."""
        return negatives - pairs if self.is_shifted else negatives * pairs

    def _losses(self, margins: Tensor) -> Tensor:
        return softplus(margins, threshold=40) if self.is_shifted else margins.log1p()

    def _slopes(self, pairs: Tensor, margins: Tensor) -> Tensor:
        """dl_ij / dlog N_i in place of the margins, less its factor N_i unless shifted."""
        if self.is_shifted:
            return margins.sigmoid_()
        return torch.div(pairs, margins.add_(1), out=margins)
