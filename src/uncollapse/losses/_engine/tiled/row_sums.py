"""Denominators of the softmax and of single pairs, by tiles: the first pass over the matrix.

This and `gradient.py` are the only parts of the tiled backend whose cost grows with N^2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor
from torch.linalg import vecdot
from torch.nn.functional import softplus

from uncollapse.losses._engine.arguments import precise_dtype
from uncollapse.losses._engine.definition import Scope
from uncollapse.losses._engine.tiled.partition import partition, share_tiles, tiles_to_keep
from uncollapse.losses._engine.tiled.tiles import Layout, Tile, storage_for

# Logits up to this magnitude need no shift: no exponential overflows, no denominator underflows.
_UNSHIFTED = {torch.float32: 57.0, torch.float64: 350.0}
# Beyond it each tile is shifted by its largest logit, and exponentials below exp(_DROPPED) count as
# 0 (they are hardly normal numbers, with which products are slow). That is exact for every
# denominator above exp(_SPAN) of the tile's largest exponential: what was dropped is at most
# N exp(-30) of it. Any other denominator needs a shift of its own.
_DROPPED = {torch.float32: -80.0, torch.float64: -690.0}
_SPAN = {torch.float32: 50.0, torch.float64: 640.0}


@dataclass(frozen=True)
class Denominators:
    """What the first pass leaves for the second: `exponentials`, as far as they fit into memory."""

    tiles: list[Tile]  # All tiles of the first scope, which were walked over.
    kept: dict[Tile, tuple[Tensor, Tensor | None]]  # Entries and shift.
    pairs: dict[Tile, Tensor]  # By block.
    # Of the first scope, then of own classes, if they were asked for:
    log_values: dict[Scope, Tensor]  # (R,) log of each row's denominator; -inf for an empty sum.
    floors: dict[Scope, Tensor]  # (N,) the least log that is exact; empty if no tile is shifted.


def accumulator(layout: Layout, size: int, value: float = 0.0) -> Tensor:
    """(size,) of `value`, from which sums over tiles are taken."""
    return layout.rows.new_full((size,), value, dtype=precise_dtype(layout.rows.device))


def log_denominators(
    layout: Layout,
    scope: Scope,
    *,
    own_classes: bool = False,
    with_pairs: bool = False,
    keep: bool = False,
) -> Denominators:
    """First pass over the tiles: log D_i = log sum over j in scope(i) of exp(y_i . y_j).

    Exponentials are also summed over own classes if asked for; with pairs, these are kept apart.
    """
    # Quotients of a denominator and an exponential span more than either of them.
    bound = _UNSHIFTED[layout.rows.dtype] / (1.5 if with_pairs else 1)
    is_shifted = layout.largest_logit > bound
    tiles = partition(layout, scope, with_blocks=own_classes or with_pairs)
    keeps, keeps_pairs = tiles_to_keep(layout, tiles, with_pairs) if keep else (set(), set())
    scopes: list[Scope] = [scope, "own class"] if own_classes else [scope]
    passed = Denominators(tiles, {}, {}, {}, {})
    shifts: dict[Tile, Tensor] = {}

    def work(_: int, mine: list[Tile]) -> list[Tensor]:
        """(R,) sums over the tiles, and over their blocks for a second scope; logs if shifted."""
        nothing = -torch.inf if is_shifted else 0.0
        totals = [accumulator(layout, len(layout.rows), nothing) for _ in scopes]
        storage = storage_for(layout.rows, (tile for tile in mine if tile not in keeps))
        for tile in mine:
            space = storage_for(storage, [tile]) if tile in keeps else storage
            blocks = tile.blocks if tile in keeps_pairs else ()
            entries, shift, pairs = exponentials(layout, tile, is_shifted, space, blocks)
            _add(totals[0], tile, entries, shift)
            for total in totals[1:]:
                for block in tile.blocks:
                    _add(total, block, block.within(tile, entries), shift, block.same)
            if tile in keeps:
                passed.kept[tile] = entries, shift
            if shift is not None:
                shifts[tile] = shift
            passed.pairs.update(pairs)
        return totals

    add = torch.logaddexp if is_shifted else torch.add
    shares = zip(*share_tiles(layout, tiles, work), strict=True)
    for name, log_sums in zip(scopes, (reduce(add, parts) for parts in shares), strict=True):
        passed.log_values[name] = log_sums
        if not is_shifted:
            log_sums.log_()
            continue
        floors, passed.floors[name] = _floors(layout, shifts, name == scope)
        if not bool((log_sums >= floors).all()):
            passed.log_values[name] = _sums_with_own_shifts(layout, partition(layout, name))
            passed.kept.clear()
            passed.pairs.clear()
    return passed


def _add(
    total: Tensor, tile: Tile, entries: Tensor, shift: Tensor | None, counted: Tensor | None = None
) -> None:
    """Add a tile's exponentials, times `counted`, to its rows, and to columns if mirrored."""
    for part, axis in tile.sides:
        sums = entries.sum(axis) if counted is None else vecdot(entries, counted, dim=axis)
        if shift is None:
            total[part].add_(sums)
        else:
            total[part] = total[part].logaddexp(sums.to(total.dtype).log_().add_(shift))


def _floors(layout: Layout, shifts: dict[Tile, Tensor], of_tiles: bool) -> tuple[Tensor, Tensor]:
    """(R,) and (N,): _SPAN below the largest shift of a tile, or block, with the row or column."""
    rows = columns = accumulator(layout, len(layout.rows), -torch.inf)
    if not layout.is_symmetric:
        columns = accumulator(layout, len(layout.columns), -torch.inf)
    for tile, shift in shifts.items():
        for part in (tile,) if of_tiles else tile.blocks:
            rows[part.rows] = rows[part.rows].clamp(min=shift)
            columns[part.columns] = columns[part.columns].clamp(min=shift)
    span = _SPAN[layout.rows.dtype]
    return rows - span, columns - span


def exponentials(
    layout: Layout, tile: Tile, is_shifted: bool, storage: Tensor, blocks: Sequence[Tile]
) -> tuple[Tensor, Tensor | None, dict[Tile, Tensor]]:
    """exp(logits - shift) of a tile in `storage`, 0 where out of scope; the shift; pairs of blocks.

    Pairs are 1 / exp(logit), 0 where two samples are none; with a shift the logits, inf where none.
    """
    logits = tile.logits(layout, storage)
    if not is_shifted:
        # Hidden afterwards: exp takes several times as long for -inf.
        entries = logits.exp_()
        pairs = {
            block: inverse_exponentials(block, block.within(tile, entries)) for block in blocks
        }
        return tile.hide(entries, 0), None, pairs
    pairs = {b: b.hide(b.within(tile, logits).clone(), torch.inf) for b in blocks}
    # A tile without an entry in scope would have the shift -inf.
    shift = tile.hide(logits, -torch.inf).max().clamp(min=torch.finfo(logits.dtype).min)
    return exp_or_zero(logits.sub_(shift)), shift, pairs


def exp_or_zero(entries: Tensor) -> Tensor:
    """exp in place, and 0 where it is hardly a normal number."""
    return torch.threshold_(entries, _DROPPED[entries.dtype], -torch.inf).exp_()


def inverse_exponentials(block: Tile, entries: Tensor) -> Tensor:
    """1 / exp(logit) of a block's pairs of a class, 0 where two samples are none."""
    if block.same is None:
        inverse = entries.reciprocal()
    else:
        # Around a tile there may be zeros, and 0 / 0 is no number.
        inverse = block.same / entries.clamp(min=torch.finfo(entries.dtype).tiny)
    return block.hide_itself(inverse, 0)


def log_of_one_more(values: Tensor) -> Tensor:
    """log(1 + x) for x >= 0, as exact as torch's log1p, which not every CPU has vectorised.

    With u = 1 + x as it is rounded: log(u) - ((u - 1) - x) / u.
    """
    more = values + 1
    lost = (more - 1).sub_(values).div_(more)
    return more.log_().sub_(lost)


def _sums_with_own_shifts(layout: Layout, tiles: list[Tile]) -> Tensor:
    """(R,) log denominators, with a shift for every row of every tile."""

    def work(_: int, mine: list[Tile]) -> Tensor:
        log_sums = accumulator(layout, len(layout.rows), -torch.inf)
        storage, other = (storage_for(layout.rows, mine) for _ in range(2))
        for tile in mine:
            logits = tile.hide(tile.logits(layout, storage), -torch.inf)
            for part, axis in tile.sides:
                largest = logits.amax(axis, keepdim=True).clamp(min=torch.finfo(logits.dtype).min)
                sums = torch.sub(logits, largest, out=tile.place(other))
                logs = sums.exp_().sum(axis).to(log_sums.dtype).log_().add_(largest.flatten())
                log_sums[part] = log_sums[part].logaddexp(logs)
        return log_sums

    return reduce(torch.logaddexp, share_tiles(layout, tiles, work))


class PairsAgainstNegatives:
    """SINCERE: the losses of positive pairs whose anchors' negatives are known, f_ij = exp(-s_ij).

        l_ij = -log( exp(s_ij) / (exp(s_ij) + N_i) ) = log(1 + N_i f_ij),  j in P(i)
        dl_ij / ds_ij = -N_i f_ij / (1 + N_i f_ij) = -dl_ij / dlog N_i

    from f_ij and N_i; where these are not representable, from s_ij and log N_i, as softplus and
    sigmoid of log N_i - s_ij. What is no pair of a class has f_ij = 0, s_ij = inf: no loss.
    """

    def __init__(
        self, layout: Layout, log_negatives: Tensor, weights: Tensor, is_shifted: bool
    ) -> None:
        """From (N,) log N_i, -inf for idle anchors, and (N,) weights of pairs."""
        negatives = log_negatives if is_shifted else log_negatives.exp()
        weights = -weights if is_shifted else -weights * negatives
        self.layout = layout
        self.is_shifted = is_shifted  # Whether s_ij and log N_i are used.
        self.negatives, self.weights = (
            layout.sides(layout.held(len(side)).copy_(side)) for side in (negatives, weights)
        )

    def sums(self, denominators: Denominators) -> tuple[Tensor, Tensor]:
        """(R,) sums of l_ij and dl_ij / dlog N_i over pairs; kept pairs become `slopes`."""
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
                    of_pairs = (
                        softplus(margins, threshold=40) if is_shifted else log_of_one_more(margins)
                    )
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
