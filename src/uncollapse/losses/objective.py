"""A loss as a weighted sum of terms over positive pairs, evaluated with its gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from uncollapse.errors import InputError
from uncollapse.losses.batch import Batch
from uncollapse.losses.denominators import add_gradient, log_denominators
from uncollapse.losses.grouping import Grouping
from uncollapse.losses.negatives import pair_losses
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
    """

    weight: float
    pairs: PairWeights
    with_views: bool
    with_class: bool


@dataclass(frozen=True)
class SoftmaxPart:
    """Terms that share one denominator per anchor.

        L = sum_t weight_t sum_i sum_{j in P_t(i)} w_ti (log D_i - s_ij)

    Attributes:
        scope: Which samples the denominator D_i sums over.
        self_pairs: Whether an anchor is among its own views.
        terms: At least one of weight other than 0.
    """

    scope: Scope
    self_pairs: SelfPairs
    terms: tuple[Term, ...]

    def evaluate(self, batch: Batch, gradient: Tensor | None) -> list[Tensor]:
        """Each term's value, not yet weighed; the loss's gradient is added to `gradient`."""
        layout = batch.layout
        keep_bytes = batch.keep_bytes if gradient is not None else 0
        denominators = log_denominators(layout, self.scope, keep_bytes)
        log_columns = batch.to_columns(denominators.log_values)
        sums = batch.positive_sums
        values = []
        anchor_weights: Tensor | None = None
        view_weights: Tensor | None = None
        class_weights: Tensor | None = None
        for term in self.terms:
            per_pair, per_anchor = term.pairs.per_pair, term.pairs.per_anchor
            value = (per_anchor * log_columns.masked_fill(per_anchor == 0, 0)).sum()
            if term.with_views and term.pairs.pair_count:
                value = value - sums.of_views(per_pair, self.self_pairs)
            if term.with_class and term.pairs.pair_count:
                value = value - sums.of_classes(per_pair)
            # Each pair's loss is at least 0; the difference of sums may round below.
            values.append(value.clamp(min=0))
            if term.weight:
                anchor_weights = _plus(anchor_weights, per_anchor * term.weight)
                if term.with_views:
                    view_weights = _plus(view_weights, per_pair * term.weight)
                if term.with_class:
                    class_weights = _plus(class_weights, per_pair * term.weight)
        if gradient is not None and anchor_weights is not None:
            add_gradient(layout, denominators, log_columns, anchor_weights, gradient)
            sums.subtract_gradient(view_weights, class_weights, self.self_pairs, gradient)
        return values


def _plus(total: Tensor | None, more: Tensor) -> Tensor:
    return more if total is None else total + more


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
        negatives = log_denominators(layout, "other classes", keep_bytes)
        log_columns = batch.to_columns(negatives.log_values)
        losses, shares = pair_losses(layout, log_columns, weights * term.weight, gradient)
        gathered = batch.to_columns(torch.stack([losses, shares], dim=1))
        if gradient is not None:
            anchor_weights = weights * gathered[:, 1] * term.weight
            add_gradient(layout, negatives, log_columns, anchor_weights, gradient)
        return [(weights * gathered[:, 0]).sum()]


Part = SoftmaxPart | AgainstNegatives


def check_classes(grouping: Grouping, one_class: str, remedy: str) -> None:
    """Raise if all samples are of one class, unless that is allowed."""
    if one_class == "error" and grouping.class_count == 1 and not grouping.unlabelled_count:
        raise InputError("at least two classes in the batch", "one class only", remedy)
