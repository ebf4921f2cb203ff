"""The tiled backend, from a batch to value and gradient."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor
from torch.linalg import vecdot

from uncollapse.losses._engine.arguments import DegenerateBatchError, Options, precise_dtype
from uncollapse.losses._engine.batch import Checked
from uncollapse.losses._engine.definition import Definition, Positives
from uncollapse.losses._engine.result import ClassSums, Computed, Evaluated, lacking
from uncollapse.losses._engine.threads import single_threaded
from uncollapse.losses._engine.tiled.gradient import Quotients, add_gradient
from uncollapse.losses._engine.tiled.layout import Batch, lay_out
from uncollapse.losses._engine.tiled.row_sums import PairsAgainstNegatives, log_denominators
from uncollapse.losses._engine.tiled.tiles import Layout
from uncollapse.losses._engine.tiled.weights import TermPairs, weigh_pairs


def evaluate_tiled(checked: Checked, definition: Definition, with_gradient: bool) -> Computed:
    """Sort by class, walk over the tiles for the value, and again for the gradient."""
    options = checked.options
    with single_threaded(checked.samples.embeddings.device) as threads:
        batch = lay_out(checked, threads)
        rows = batch.layout.rows
        gradient = torch.zeros_like(rows) if with_gradient else None
        try:
            terms = weigh_pairs(definition, batch.layout.grouping)
        except DegenerateBatchError as lacks:
            return lacking(checked, definition, lacks, gradient)
        values, positives = _evaluate_terms(batch, terms, gradient)
        sums = positives.class_sums(options) if positives and options.track else None
        total = rows.new_zeros((), dtype=precise_dtype(rows.device))
        for pairs, value in zip(terms, values, strict=True):
            total.add_(value, alpha=pairs.term.weight)
        pulled, slope = (None, None) if gradient is None else batch.pull_back(gradient)
    shown = [
        value.to(rows.dtype) if pairs.count else None
        for pairs, value in zip(terms, values, strict=True)
    ]
    counts = tuple(pairs.anchors_without_positives for pairs in terms)
    evaluated = Evaluated(total.to(rows.dtype), shown, counts, "tiled", sums=sums)
    return Computed(evaluated, pulled, slope)


def _evaluate_terms(
    batch: Batch, terms: list[TermPairs], gradient: Tensor | None
) -> tuple[list[Tensor], _PositiveSums | None]:
    """Each term's value, not yet weighed; the loss's gradient is added to `gradient`.

        L = sum_t weight_t sum_i sum_{j in P_t(i)} w_ti (log D_i - s_ij),  D_i of the term's scope

    Each scope has a term of weight other than 0; a second scope is "own class".
    """
    if terms[0].term.scope == "other classes":
        return [_against_negatives(batch, terms[0], gradient)], None
    layout, keep = batch.layout, gradient is not None
    scopes = list(dict.fromkeys(pairs.term.scope for pairs in terms))
    denominators = log_denominators(layout, scopes[0], own_classes=len(scopes) > 1, keep=keep)
    logs = batch.to_columns(*denominators.log_values.values())
    log_columns = dict(zip(scopes, logs, strict=True))
    positives = _PositiveSums(layout, with_itself=scopes[0] == "all")
    if gradient is not None:
        quotients = {}
        for scope in scopes:
            weighed = [p for p in terms if p.term.scope == scope and p.term.weight]
            weights = reduce(torch.add, [p.per_anchor * p.term.weight for p in weighed])
            has_idle = any(p.has_idle for p in weighed)
            quotients[scope] = Quotients(layout, log_columns[scope], weights, has_idle)
        add_gradient(layout, denominators, quotients, gradient)
        del denominators  # What was kept makes room for what follows.
        views, classes = _pair_weights(terms, "views"), _pair_weights(terms, "class")
        positives.subtract_gradient(views, classes, gradient)
    values = [_value(pairs, log_columns[pairs.term.scope], positives) for pairs in terms]
    return values, positives


def _pair_weights(terms: list[TermPairs], kind: Positives) -> Tensor | None:
    """(N,): each of an anchor's pairs of one kind, in the loss; None if no term weighs them."""
    weighed = [p for p in terms if kind in p.term.positives and p.term.weight]
    return reduce(torch.add, [p.per_pair * p.term.weight for p in weighed]) if weighed else None


def _value(pairs: TermPairs, log_columns: Tensor, positives: _PositiveSums) -> Tensor:
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
    layout, weight, keep = batch.layout, pairs.term.weight, gradient is not None
    negatives = log_denominators(layout, "other classes", with_pairs=True, keep=keep)
    (log_columns,) = batch.to_columns(negatives.log_values["other classes"])
    # Idle anchors have no pair of weight: their pairs are to cost nothing.
    log_negatives = log_columns
    if pairs.has_idle:
        log_negatives = log_columns.masked_fill(pairs.per_pair == 0, -torch.inf)
    weights = pairs.per_pair * weight
    is_shifted = bool(negatives.floors)
    against = PairsAgainstNegatives(layout, log_negatives, weights, is_shifted)
    losses, shares = batch.to_columns(*against.sums(negatives))
    if gradient is not None:
        weights = pairs.per_pair * shares * weight
        quotients = Quotients(layout, log_columns, weights, pairs.has_idle)
        add_gradient(layout, negatives, {"other classes": quotients}, gradient, against.slopes)
    return pairs.per_pair.dot(losses)


class _PositiveSums:
    """Weighted sums of positive logits y_i.y_j in O(N d), from sums over instances and classes.

    The weight of a pair is equal for all views of an instance, because their numbers of positives
    are (and for all of a class, where every instance has as many views), so with I_k the sum over
    instance k and C_c the sum over class c

        sum over pairs of views       v_i y_i.y_j = sum_k v_k I_k.I_k  (- sum_i v_i y_i.y_i)
        sum over pairs in classes     c_i y_i.y_j = sum_k c_k I_k.(C_c - I_k),  c of k

    where the last part of the first line leaves out self pairs.
    """

    def __init__(self, layout: Layout, with_itself: bool) -> None:
        self.layout = layout
        self.with_itself = with_itself  # Whether a sample with itself is a pair of views.
        self.instances = layout.grouping.instances
        self.instances_of_classes = layout.grouping.instances_of_classes
        self.by_instance = self.instances.sums(layout.columns)  # (K, d): I_k.
        self.by_class = self.instances_of_classes.sums(self.by_instance)  # (C, d): C_c.
        self.instance_squares = _products(self.by_instance, self.by_instance)  # (K,): I_k.I_k.
        self.products: Tensor | None = None  # (K,): I_k.(C_c - I_k), once they are summed.

    def over_views(self, weights: Tensor) -> Tensor:
        """Scalar: sum of v_i y_i.y_j over pairs of views, v = weights (N,)."""
        total = self._per_instance(weights).dot(self.instance_squares)
        if not self.with_itself:
            total = total - weights.dot(_products(self.layout.columns, self.layout.columns))
        return total

    def over_classes(self, weights: Tensor) -> Tensor:
        """Scalar: sum of c_i y_i.y_j over pairs of a class, of two instances, c = weights (N,)."""
        products = _products(self.by_instance, self._classes_of_instances())
        self.products = products.sub_(self.instance_squares)
        return self._per_instance(weights).dot(self.products)

    def class_sums(self, options: Options) -> ClassSums:
        """What says how far the classes are spread."""
        grouping = self.layout.grouping
        return ClassSums(self.products, self.instance_squares, grouping, options.temperature)

    def subtract_gradient(
        self, view_weights: Tensor | None, class_weights: Tensor | None, gradient: Tensor
    ) -> None:
        """Subtract the gradient of over_views(v) + over_classes(c) in the rows from (R, d).

            G_i -= 2 (v_k - c_k) I_k + c_k C_c + C'_c  (- 2 v_i y_i),  k, c of row i

        with C'_c = sum over the class of c_k I_k; None stands for weights of 0.
        """
        zero = self.layout.columns.new_zeros(())
        of_views, of_classes = (
            zero if weights is None else self._per_instance(weights).to(zero.dtype)[:, None]
            for weights in (view_weights, class_weights)
        )
        total = self.by_instance * (of_views - of_classes).mul_(2)
        if class_weights is not None:
            runs, instances = self.instances_of_classes, self.instances
            if instances.longest * len(instances.sizes) == len(self.layout.columns):
                # Weights are equal in a class, and C'_c = c_k C_c.
                total.addcmul_(self._classes_of_instances(), of_classes, value=2)
            else:
                total.addcmul_(self._classes_of_instances(), of_classes)
                weighed = runs.sums(self.by_instance, of_classes.squeeze(1))
                total.add_(weighed.index_select(0, runs.run_of_row))
        instance_of_row = self.layout.of_rows(self.instances.run_of_row)
        gradient.sub_(total.index_select(0, instance_of_row))
        if not self.with_itself and view_weights is not None:
            of_rows = self.layout.of_rows(view_weights).to(gradient.dtype)
            gradient.addcmul_(self.layout.rows, of_rows[:, None], value=2)

    def _per_instance(self, weights: Tensor) -> Tensor:
        return weights.index_select(0, self.instances.starts)

    def _classes_of_instances(self) -> Tensor:
        """(K, d): C_c of each instance's class; not kept, because it takes half a batch."""
        return self.by_class.index_select(0, self.instances_of_classes.run_of_row)


def _products(left: Tensor, right: Tensor) -> Tensor:
    """left_i . right_i of each row, for sums over rows in float64."""
    products: Tensor = vecdot(left, right)
    return products.to(precise_dtype(left.device))
