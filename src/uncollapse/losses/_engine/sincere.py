"""SINCERE: each positive pair against the samples of other classes only, by blocks of tiles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor
from torch.nn.functional import softplus

from uncollapse.losses._engine.row_sums import Denominators, accumulator, inverse_exponentials
from uncollapse.losses._engine.tiles import Layout, Sides, Tile, storage_for
from uncollapse.losses._engine.walk import share_tiles


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
    negatives: Sides  # N_i, or log N_i. Idle anchors have none: their pairs cost nothing.
    weights: Sides  # -w_i of each of anchor i's pairs, times N_i unless shifted.

    @classmethod
    def build(
        cls, layout: Layout, log_negatives: Tensor, weights: Tensor, is_shifted: bool
    ) -> PairsAgainstNegatives:
        """From (N,) log N_i, -inf for idle anchors, and (N,) weights of pairs."""
        negatives = log_negatives if is_shifted else log_negatives.exp()
        weights = -weights if is_shifted else -weights * negatives
        held = (layout.held(len(side)).copy_(side) for side in (negatives, weights))
        return cls(layout, is_shifted, *(layout.sides(side) for side in held))

    def sums(self, denominators: Denominators) -> tuple[Tensor, Tensor]:
        """(R,) sums of l_ij over the pairs of an anchor, and of their derivatives by log N_i.

        Kept pairs become their `slopes`, in place.
        """
        layout, is_shifted, kept = self.layout, self.is_shifted, denominators.pairs

        def work(_: int, mine: list[Tile]) -> tuple[Tensor, Tensor]:
            losses, slopes = (accumulator(layout, len(layout.rows)) for _ in range(2))
            storage = storage_for(layout.rows, (block for block in mine if block not in kept))
            for block in mine:
                pairs = kept[block] if block in kept else self._pairs(block, storage)
                of_sides = []
                for part, axis in block.sides:
                    negatives = self.negatives[1 - axis][part].unsqueeze(axis)
                    margins = self._margins(pairs, negatives)
                    of_pairs = softplus(margins, threshold=40) if is_shifted else margins.log1p()
                    losses[part].add_(of_pairs.sum(axis))
                    of_sides.append(self._slopes(pairs, margins))
                    slopes[part].add_(of_sides[-1].sum(axis))
                if block in kept:
                    self._weigh(block, pairs, *of_sides)
            return losses, slopes

        blocks = [block for tile in denominators.tiles for block in tile.blocks]
        shares = zip(*share_tiles(layout, blocks, work), strict=True)
        losses, slopes = (reduce(torch.add, parts) for parts in shares)
        return losses, slopes if self.is_shifted else slopes.mul_(self.negatives.rows)

    def slopes(self, block: Tile, pairs: Tensor) -> Tensor:
        """w_i dl_ij / ds_ij + w_j dl_ji / ds_ij of a block, in place of its pairs."""
        negatives = self.negatives.rows[block.rows, None]
        return self._weigh(block, pairs, self._slopes(pairs, self._margins(pairs, negatives)))

    def _weigh(
        self, block: Tile, pairs: Tensor, of_rows: Tensor, of_columns: Tensor | None = None
    ) -> Tensor:
        """`slopes` in place of `pairs`, from those of rows alone, and of columns if known."""
        of_rows.mul_(self.weights.rows[block.rows, None])
        if block.diagonal:
            return torch.add(of_rows, of_rows.T, out=pairs)
        if of_columns is None:
            negatives = block.beside(self.negatives.columns)
            of_columns = self._slopes(pairs, self._margins(pairs, negatives))
        return torch.addcmul(of_rows, of_columns, block.beside(self.weights.columns), out=pairs)

    def _pairs(self, block: Tile, storage: Tensor) -> Tensor:
        """f_ij of a block that was not kept, or s_ij."""
        logits = block.logits(self.layout, storage)
        if self.is_shifted:
            return block.hide(logits, torch.inf)
        return inverse_exponentials(block, logits.exp_())

    def _margins(self, pairs: Tensor, negatives: Tensor) -> Tensor:
        """N_i f_ij, or its log."""
        return negatives - pairs if self.is_shifted else negatives * pairs

    def _slopes(self, pairs: Tensor, margins: Tensor) -> Tensor:
        """dl_ij / dlog N_i in place of the margins, less its factor N_i unless shifted."""
        if self.is_shifted:
            return margins.sigmoid_()
        return torch.div(pairs, margins.add_(1), out=margins)
