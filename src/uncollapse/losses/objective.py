"""A loss as a weighted sum of terms over positive pairs, evaluated with its gradient."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Literal

import torch
from torch import Tensor

from uncollapse.errors import InputError
from uncollapse.losses.batch import Batch
from uncollapse.losses.denominators import log_denominators
from uncollapse.losses.gradient import Anchors, add_gradient
from uncollapse.losses.grouping import Grouping
from uncollapse.losses.negatives import PairsAgainstNegatives
from uncollapse.losses.tiles import Scope
from uncollapse.losses.weights import PairWeights, SelfPairs

__all__ = ["AgainstNegatives", "Part", "SoftmaxPart", "Term", "check_classes"]


@dataclass(frozen=True)
class Term:
    """A mean over positive pairs.

    Attributes:
        weight: Of the term in the loss.
        pairs: Of its pairs in the mean.
        with_views: Whether views of the anchor's instance are positives.
        with_class: Whether other instances of the anchor's class are.
        scope: Which samples its denominators sum over.
    """

    weight: float
    pairs: PairWeights
    with_views: bool
    with_class: bool
    scope: Scope = "others"


@dataclass(frozen=True)
class SoftmaxPart:
    """Terms with one denominator per anchor and scope, all from one pass over the tiles.

        L = sum_t weight_t sum_i sum_{j in P_t(i)} w_ti (log D_i - s_ij),  D_i of the term's scope

    Attributes:
        self_pairs: Whether an anchor is among its own views.
        terms: Of each scope at least one of weight other than 0. A second scope is "own class".
    """

    self_pairs: SelfPairs
    terms: tuple[Term, ...]

    def evaluate(self, batch: Batch, gradient: Tensor | None) -> list[Tensor]:
        """Each term's value, not yet weighed; the loss's gradient is added to `gradient`."""
        scopes = list(dict.fromkeys(term.scope for term in self.terms))
        keep_bytes = batch.keep_bytes if gradient is not None else 0
        denominators = log_denominators(
            batch.layout, scopes[0], keep_bytes, own_classes=len(scopes) > 1
        )
        logs = batch.to_columns(*(sums.log_values for sums in denominators.scopes))
        log_columns = dict(zip(scopes, logs, strict=True))
        if gradient is not None:
            anchors = [self._anchors(scope, log_columns[scope]) for scope in scopes]
            add_gradient(batch.layout, denominators, anchors, gradient)
            batch.positive_sums.subtract_gradient(
                self._pair_weights("with_views"),
                self._pair_weights("with_class"),
                self.self_pairs,
                gradient,
            )
        return [self._value(batch, term, log_columns[term.scope]) for term in self.terms]

    def _value(self, batch: Batch, term: Term, log_columns: Tensor) -> Tensor:
        per_pair, per_anchor = term.pairs.per_pair, term.pairs.per_anchor
        if term.pairs.has_idle:
            log_columns = log_columns.masked_fill(per_anchor == 0, 0)
        value = per_anchor.dot(log_columns)
        if term.with_views and term.pairs.pair_count:
            value = value - batch.positive_sums.of_views(per_pair, self.self_pairs)
        if term.with_class and term.pairs.pair_count:
            value = value - batch.positive_sums.of_classes(per_pair)
        # Each pair's loss is at least 0; the difference of sums may round below.
        return value.clamp(min=0)

    def _anchors(self, scope: Scope, log_columns: Tensor) -> Anchors:
        """All pairs of an anchor together, of the terms with this scope."""
        terms = [term for term in self.terms if term.scope == scope and term.weight]
        weights = reduce(torch.add, [term.pairs.per_anchor * term.weight for term in terms])
        return Anchors(log_columns, weights, any(term.pairs.has_idle for term in terms))

    def _pair_weights(self, kind: Literal["with_views", "with_class"]) -> Tensor | None:
        """(N,): each of an anchor's pairs of one kind; None if no term weighs such pairs."""
        terms = [term for term in self.terms if getattr(term, kind) and term.weight]
        if not terms:
            return None
        return reduce(torch.add, [term.pairs.per_pair * term.weight for term in terms])


@dataclass(frozen=True)
class AgainstNegatives:
    """SINCERE: every positive pair has its own denominator, itself and the other classes.

    L = sum_i sum_{j in P(i)} w_i log(1 + N_i / exp(s_ij)),  N_i = sum over other classes

    Attributes:
        terms: The one term, over views and class.
    """

    terms: tuple[Term]

    def evaluate(self, batch: Batch, gradient: Tensor | None) -> list[Tensor]:
        """The term's value; the loss's gradient is added to `gradient`."""
        layout = batch.layout
        (term,) = self.terms
        weights = term.pairs.per_pair
        keep_bytes = batch.keep_bytes if gradient is not None else 0
        negatives = log_denominators(layout, "other classes", keep_bytes, pairs=True)
        (log_columns,) = batch.to_columns(negatives.scopes[0].log_values)
        is_shifted = negatives.scopes[0].largest_shifts is not None
        # Idle anchors have no pair of weight: their pairs are to cost nothing.
        log_negatives = log_columns
        if term.pairs.has_idle:
            log_negatives = log_columns.masked_fill(weights == 0, -torch.inf)
        pairs = PairsAgainstNegatives.of(layout, log_negatives, weights * term.weight, is_shifted)
        losses, shares = batch.to_columns(*pairs.sums(negatives))
        if gradient is not None:
            anchors = Anchors(log_columns, weights * shares * term.weight, term.pairs.has_idle)
            add_gradient(layout, negatives, [anchors], gradient, pairs)
        return [weights.dot(losses)]


Part = SoftmaxPart | AgainstNegatives


def check_classes(grouping: Grouping, one_class: str, remedy: str) -> None:
    """Raise if all samples are of one class, unless that is allowed."""
    if one_class == "error" and grouping.class_count == 1 and not grouping.unlabelled_count:
        raise InputError("at least two classes in the batch", "one class only", remedy)
