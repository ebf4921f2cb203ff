"""The gradient of log denominators, by tiles: the second pass over the similarity matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import torch
from torch import Tensor

from uncollapse.losses._engine.definition import Scope
from uncollapse.losses._engine.tiled.partition import partition, share_tiles
from uncollapse.losses._engine.tiled.row_sums import Denominators, exp_or_zero, exponentials
from uncollapse.losses._engine.tiled.tiles import Layout, Tile, storage_for


class Quotients:
    """w_i / D_i of one scope, for rows and columns."""

    def __init__(
        self, layout: Layout, log_columns: Tensor, weights: Tensor, has_idle: bool
    ) -> None:
        """From (N,) log D_j and (N,) w_j; idle anchors, of weight 0, may have an empty sum."""
        if has_idle:
            log_columns = log_columns.masked_fill(weights == 0, torch.inf)
        values = torch.mul(weights, log_columns.neg().exp_(), out=layout.held(len(weights)))
        self.layout = layout
        self.logs = layout.sides(log_columns)
        self.weights = layout.sides(weights)
        self.values = layout.sides(values)  # Of use where no tile is shifted.

    def of_tile(self, tile: Tile, shift: Tensor | None) -> tuple[Tensor, Tensor]:
        """w_i / D_i exp(shift) of the tile's rows, w_j / D_j exp(shift) of its columns."""
        if shift is None:
            return self.values.rows[tile.rows, None], tile.beside(self.values.columns)
        (row_weights, column_weights), logs = self.weights.of_tile(tile), self.logs.of_tile(tile)
        of_rows = row_weights * torch.exp(shift - logs[0])
        of_columns = column_weights * torch.exp(shift - logs[1])
        held = self.layout.held(len(of_columns)).copy_(of_columns)
        return of_rows.to(held.dtype)[:, None], tile.beside(held, tile.columns.start)

    def softmax(self, tile: Tile, logits: Tensor) -> Tensor:
        """w_i exp(s_ij - log D_i) + w_j exp(s_ij - log D_j), whatever the magnitudes."""
        log_rows, log_columns = [part.to(logits.dtype) for part in self.logs.of_tile(tile)]
        of_rows, of_columns = [part.to(logits.dtype) for part in self.weights.of_tile(tile)]
        entries = exp_or_zero(logits - log_rows[:, None]).mul_(of_rows[:, None])
        return entries.addcmul_(exp_or_zero(logits.sub_(log_columns)), of_columns)


def add_gradient(
    layout: Layout,
    denominators: Denominators,
    quotients: dict[Scope, Quotients],
    gradient: Tensor,
    slopes_of: Callable[[Tile, Tensor], Tensor] | None = None,
) -> None:
    """Second pass: add the gradient of sum_i w_i log D_i to (R, d), for every scope at once.

        G_i += sum_j (w_i / D_i + w_j / D_j) exp(y_i . y_j) y_j

    Entry (i, j) is in the scope of i exactly when (j, i) is in that of j, so the sum over other
    anchors' denominators needs no other tile, and no row of another process. Slopes of a loss of
    pairs are added as well; kept pairs are such slopes already.
    """
    for scope, floors in denominators.floors.items():
        if not bool((quotients[scope].logs.columns >= floors).all()):
            _add_apart(layout, quotients, gradient, slopes_of)
            return
    is_shifted = bool(denominators.floors)
    first, *others = quotients.values()

    def entries_of(mine: list[Tile]) -> Iterator[tuple[Tile, Tensor]]:
        again = (tile for tile in mine if tile not in denominators.kept)
        storage, outer = storage_for(layout.rows, again), storage_for(layout.rows, mine)
        for tile in mine:
            pairs: dict[Tile, Tensor] = {}
            if tile in denominators.kept:
                values, shift = denominators.kept[tile]
            else:
                lacking = [b for b in tile.blocks if slopes_of and b not in denominators.pairs]
                values, shift, pairs = exponentials(layout, tile, is_shifted, storage, lacking)
            # w_i / D_i + w_j / D_j, the second scope's in the tile's blocks.
            combined = torch.add(*first.of_tile(tile, shift), out=tile.place(outer))
            for block, of_scope in product(tile.blocks, others):
                within = block.within(tile, combined)
                for of_side in of_scope.of_tile(block, shift):
                    if block.same is None:
                        within.add_(of_side)
                    else:
                        within.addcmul_(of_side, block.same)
            combined.mul_(values)
            if slopes_of is not None:
                for block in tile.blocks:
                    kept = denominators.pairs.get(block)
                    slopes = slopes_of(block, pairs[block]) if kept is None else kept
                    block.within(tile, combined).add_(slopes)
            yield tile, combined

    _add_products(layout, denominators.tiles, entries_of, gradient)


def _add_apart(
    layout: Layout,
    quotients: dict[Scope, Quotients],
    gradient: Tensor,
    slopes_of: Callable[[Tile, Tensor], Tensor] | None,
) -> None:
    """The same gradient with a shift of its own for every row and column, scope by scope."""

    def add(scope: Scope, hidden: float, entries_of: Callable[[Tile, Tensor], Tensor]) -> None:
        def entries_apart(mine: list[Tile]) -> Iterator[tuple[Tile, Tensor]]:
            storage = storage_for(layout.rows, mine)
            for tile in mine:
                yield tile, entries_of(tile, tile.hide(tile.logits(layout, storage), hidden))

        _add_products(layout, partition(layout, scope), entries_apart, gradient)

    for scope, of_scope in quotients.items():
        add(scope, -torch.inf, of_scope.softmax)
    if slopes_of is not None:
        add("own class", torch.inf, slopes_of)


def _add_products(
    layout: Layout,
    tiles: list[Tile],
    entries_of: Callable[[list[Tile]], Iterator[tuple[Tile, Tensor]]],
    gradient: Tensor,
) -> None:
    """Add each tile's entries times the columns to the rows of `gradient`, and the mirror image."""

    def work(share: int, mine: list[Tile]) -> Tensor:
        total = gradient if share == 0 else torch.zeros_like(gradient)
        for tile, entries in entries_of(mine):
            layout.add_columns(total[tile.rows], entries, tile.columns)
            if tile.mirrored:
                layout.add_rows(total[tile.columns], entries.T, tile.rows)
        return total

    for total in share_tiles(layout, tiles, work)[1:]:
        gradient.add_(total)
