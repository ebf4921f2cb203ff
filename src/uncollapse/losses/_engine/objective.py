"""The value of a loss, term by term, and its gradient in the batch's rows."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from uncollapse.losses._engine.backward import Quotients, add_gradient
from uncollapse.losses._engine.batch import Batch
from uncollapse.losses._engine.definition import Positives
from uncollapse.losses._engine.pair_weights import TermPairs
from uncollapse.losses._engine.positives import PositiveSums
from uncollapse.losses._engine.row_sums import log_denominators
from uncollapse.losses._engine.sincere import PairsAgainstNegatives


def evaluate_terms(batch: Batch, terms: list[TermPairs], gradient: Tensor | None) -> list[Tensor]:
    """Each term's value, not yet weighed; the loss's gradient is added to `gradient`."""
    if terms[0].term.scope == "other classes":
        return [_against_negatives(batch, terms[0], gradient)]
    return _softmax_terms(batch, terms, gradient)


def _softmax_terms(batch: Batch, terms: list[TermPairs], gradient: Tensor | None) -> list[Tensor]:
    """Terms with one denominator per anchor and scope, all from one pass over the tiles.

    L = sum_t weight_t sum_i sum_{j in P_t(i)} w_ti (log D_i - s_ij),  D_i of the term's scope

    Each scope has a term of weight other than 0; a second scope is "own class".
    """
    layout = batch.layout
    scopes = list(dict.fromkeys(pairs.term.scope for pairs in terms))
    denominators = log_denominators(
        layout, scopes[0], own_classes=len(scopes) > 1, keep=gradient is not None
    )
    logs = batch.to_columns(*(sums.log_values for sums in denominators.scopes))
    log_columns = dict(zip(scopes, logs, strict=True))
    positives = PositiveSums(layout, with_itself=scopes[0] == "all")
    if gradient is not None:
        quotients = []
        for scope in scopes:
            weighed = [p for p in terms if p.term.scope == scope and p.term.weight]
            weights = reduce(torch.add, [p.per_anchor * p.term.weight for p in weighed])
            has_idle = any(p.has_idle for p in weighed)
            quotients.append(Quotients.build(layout, log_columns[scope], weights, has_idle))
        add_gradient(layout, denominators, quotients, gradient)
        views, classes = _pair_weights(terms, "views"), _pair_weights(terms, "class")
        positives.subtract_gradient(views, classes, gradient)
    return [_value(pairs, log_columns[pairs.term.scope], positives) for pairs in terms]


def _pair_weights(terms: list[TermPairs], kind: Positives) -> Tensor | None:
    """(N,): each of an anchor's pairs of one kind, in the loss; None if no term weighs them."""
    weighed = [p for p in terms if kind in p.term.positives and p.term.weight]
    return reduce(torch.add, [p.per_pair * p.term.weight for p in weighed]) if weighed else None


def _value(pairs: TermPairs, log_columns: Tensor, positives: PositiveSums) -> Tensor:
    """sum_i sum_{j in P(i)} w_i (log D_i - s_ij)."""
    if pairs.has_idle:
        log_columns = log_columns.masked_fill(pairs.per_anchor == 0, 0)
    value = pairs.per_anchor.dot(log_columns)
    if pairs.count and "views" in pairs.term.positives:
        value = value - positives.over_views(pairs.per_pair)
    if pairs.count and "class" in pairs.term.positives:
        value = value - positives.over_classes(pairs.per_pair)
    # Each pair's loss is at least 0; the difference of sums may round below.
    return value.clamp(min=0)


def _against_negatives(batch: Batch, pairs: TermPairs, gradient: Tensor | None) -> Tensor:
    """SINCERE: every positive pair has its own denominator, itself and the other classes.

    L = sum_i sum_{j in P(i)} w_i log(1 + N_i / exp(s_ij)),  N_i = sum over other classes
    """
    layout, weight = batch.layout, pairs.term.weight
    negatives = log_denominators(
        layout, "other classes", with_pairs=True, keep=gradient is not None
    )
    (log_columns,) = batch.to_columns(negatives.scopes[0].log_values)
    is_shifted = negatives.scopes[0].largest_shifts is not None
    # Idle anchors have no pair of weight: their pairs are to cost nothing.
    log_negatives = log_columns
    if pairs.has_idle:
        log_negatives = log_columns.masked_fill(pairs.per_pair == 0, -torch.inf)
    weights = pairs.per_pair * weight
    against = PairsAgainstNegatives.build(layout, log_negatives, weights, is_shifted)
    losses, shares = batch.to_columns(*against.sums(negatives))
    if gradient is not None:
        weights = pairs.per_pair * shares * weight
        quotients = Quotients.build(layout, log_columns, weights, pairs.has_idle)
        add_gradient(layout, negatives, [quotients], gradient, against)
    return pairs.per_pair.dot(losses)
