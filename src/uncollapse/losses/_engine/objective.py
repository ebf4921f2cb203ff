"""From a loss's definition and a batch to its value and gradient, for autograd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual
from torch.linalg import vecdot

from uncollapse.errors import InputError
from uncollapse.losses._engine.arguments import DegenerateBatchError, Ids, Options, precise_dtype
from uncollapse.losses._engine.backward import Quotients, add_gradient
from uncollapse.losses._engine.batch import Batch, lay_out, read_batch
from uncollapse.losses._engine.definition import Definition, Positives, TermPairs, weigh_pairs
from uncollapse.losses._engine.grouping import Grouping
from uncollapse.losses._engine.partition import single_threaded
from uncollapse.losses._engine.row_sums import PairsAgainstNegatives, log_denominators
from uncollapse.losses._engine.tiles import Layout


@dataclass(frozen=True)
class ClassSums:
    """Of a batch, sums over classes C_c and over instances I_k of scaled rows y = u / sqrt(tau)."""

    class_squares: Tensor  # (C,) |C_c|^2.
    instance_squares: Tensor  # (K,) |I_k|^2.
    grouping: Grouping
    temperature: float


@dataclass(frozen=True)
class Evaluated:
    """A loss of a batch, and of each term what a user may see."""

    loss: Tensor  # Scalar, part of the caller's graph.
    values: list[Tensor | None]  # Scalars, not part of it; None if the batch has no such pair.
    anchors_without_positives: list[int]
    lacks: DegenerateBatchError | None = None  # Why the batch counts as nothing, where it does.
    sums: ClassSums | None = None  # Where they are tracked.


def evaluate(
    embeddings: Tensor,
    labels: Ids | None,
    instances: Ids | None,
    definition: Definition,
    options: Options,
    temperature: Tensor | None = None,
) -> Evaluated:
    """The loss of a batch, and its gradient if it is needed, because both come from the same tiles.

    Only gradient and embeddings live until the backward pass. `temperature` is what a learned one
    (`options.learned`) comes from.
    """
    if torch.compiler.is_compiling():
        arguments = (embeddings, labels, instances, definition, options, temperature)
        alone: Evaluated = opaque(evaluate)(*arguments)
        return alone
    check_mode(embeddings)
    flat, computed = compute(embeddings, labels, instances, definition, options)
    learned = None
    if temperature is not None and computed.slope is not None:
        learned = -temperature.reshape(()).log().to(flat.device), computed.slope
    loss = with_known_gradient(flat, computed.shown.loss, computed.gradient, learned)
    return replace(computed.shown, loss=loss)


def opaque(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a call that the compiler does not look into.

    As a decorator, what is used here would import the compiler for everybody.
    """
    disable: Callable[..., Any] = torch.compiler.disable
    disabled: Callable[..., Any] = disable(
        function, reason="with fullgraph=True use SupCLLoss(gather=False) of fixed temperature"
    )
    return disabled


def with_known_gradient(
    embeddings: Tensor,
    loss: Tensor,
    gradient: Tensor | None,
    learned: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """The loss as part of the embeddings' graph, and of log(1 / tau) with the slope in it."""
    apply: Callable[..., Tensor] = _Loss.apply
    return apply(embeddings, *(learned or (None, None)), loss, gradient)


def check_mode(embeddings: Tensor) -> None:
    """Backward passes only: torch would refuse the others in its own words, or half way."""
    remedy = "use loss.backward() or torch.autograd.grad, or reference_supcl, which knows them all"
    if torch._C._are_functorch_transforms_active():
        expected = "a call outside of torch.func's transforms"
        raise InputError(expected, "one inside (grad, jacrev, jvp, vmap or another)", remedy)
    unpack: Callable[..., Any] = unpack_dual
    if isinstance(embeddings, Tensor) and unpack(embeddings).tangent is not None:
        raise InputError("a derivative by backward passes", "one in forward mode", remedy)


@dataclass(frozen=True)
class Computed:
    """A loss without a graph, and its gradient in the rows of the embeddings."""

    shown: Evaluated
    gradient: Tensor | None  # (N, d) in the dtype of the computation; None where not asked for
    slope: Tensor | None = None  # In log(1 / tau), where the temperature is learned.


def compute(
    embeddings: Tensor,
    labels: Ids | None,
    instances: Ids | None,
    definition: Definition,
    options: Options,
    *,
    with_gradient: bool | None = None,
) -> tuple[Tensor, Computed]:
    """The embeddings as (N, d) rows, and their loss; with its gradient where they ask for one."""
    checked = read_batch(embeddings, labels, instances, definition, options)
    flat = checked.samples.embeddings
    if with_gradient is None:
        with_gradient = options.learned or (torch.is_grad_enabled() and flat.requires_grad)
    without_autocast = torch.autocast(flat.device.type, enabled=False)
    with torch.no_grad(), without_autocast, single_threaded(flat.device) as threads:
        batch = lay_out(checked, threads)
        rows = batch.layout.rows
        gradient = torch.zeros_like(rows) if with_gradient else None
        try:
            terms = weigh_pairs(definition, batch.layout.grouping)
        except DegenerateBatchError as lacks:
            if options.degenerate == "error":
                raise
            count = len(definition.terms)
            nothing = Evaluated(rows.new_zeros(()), [None] * count, [0] * count, lacks)
            slope = rows.new_zeros(()) if options.learned else None
            return flat, Computed(nothing, gradient, slope)
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
    lacking = [pairs.anchors_without_positives for pairs in terms]
    evaluated = Evaluated(total.to(rows.dtype), shown, lacking, sums=sums)
    return flat, Computed(evaluated, pulled, slope)


class _Loss(torch.autograd.Function):
    """A loss whose gradient in the embeddings, and in log(1 / tau) where learned, is known."""

    @staticmethod
    def forward(
        ctx: Any,
        embeddings: Tensor,
        log_inverse: Tensor | None,
        slope: Tensor | None,
        loss: Tensor,
        gradient: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(embeddings, gradient, log_inverse, slope)
        # What is returned as it came would be a view, which nobody may change in place.
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        embeddings, gradient, log_inverse, slope = ctx.saved_tensors
        apply: Callable[..., Tensor] = _Gradient.apply
        of_temperature = None if slope is None else apply(upstream, log_inverse, slope)
        return apply(upstream, embeddings, gradient), of_temperature, None, None, None


class _Gradient(torch.autograd.Function):
    """upstream * gradient, and a clear error for whoever differentiates that again."""

    @staticmethod
    def forward(ctx: Any, upstream: Tensor, embeddings: Tensor, gradient: Tensor) -> Tensor:
        with single_threaded(embeddings.device):
            return (gradient * upstream).to(embeddings.dtype)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> None:
        raise InputError(
            "first derivatives of the loss",
            "a second derivative",
            "this loss has none; use a dense implementation where you need it",
        )


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

    def over_views(self, weights: Tensor) -> Tensor:
        """Scalar: sum of v_i y_i.y_j over pairs of views, v = weights (N,)."""
        total = self._per_instance(weights).dot(self.instance_squares)
        if not self.with_itself:
            total = total - weights.dot(_products(self.layout.columns, self.layout.columns))
        return total

    def over_classes(self, weights: Tensor) -> Tensor:
        """Scalar: sum of c_i y_i.y_j over pairs of a class, of two instances, c = weights (N,)."""
        products = _products(self.by_instance, self._classes_of_instances())
        return self._per_instance(weights).dot(products.sub_(self.instance_squares))

    def class_sums(self, options: Options) -> ClassSums:
        """What says how far the classes are spread."""
        squares = _products(self.by_class, self.by_class)
        grouping = self.layout.grouping
        return ClassSums(squares, self.instance_squares, grouping, options.temperature)

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
