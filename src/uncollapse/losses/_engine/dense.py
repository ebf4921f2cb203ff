"""The dense backend: the formula over the whole N x N matrix, without a sort and without waiting.

    s = y y',  log p = log_softmax of s over each anchor's scope,  P_ij = w_i for pairs (i, j)
    L = - sum P log p,  G = a p - P with a_i = sum_j P_ij,  dL/dy = (G + G') y

Value and gradient are made together, so that nothing of size N^2 lives until the backward pass; for
a moment there are 13 bytes for each entry of the matrix, in float32.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import softplus

from uncollapse.losses._engine.arguments import UNLABELLED, DegenerateBatchError
from uncollapse.losses._engine.batch import Checked, pulled_back
from uncollapse.losses._engine.checks import Facts
from uncollapse.losses._engine.definition import Definition, Scope, Term
from uncollapse.losses._engine.plain import (
    Plain,
    conclude,
    examine,
    facts_of,
    lay_plain,
    needs_instances,
    weighted,
)
from uncollapse.losses._engine.products import (
    beside,
    has_half_products,
    operands,
    product,
)
from uncollapse.losses._engine.result import Computed, Lacking, lacking


def evaluate_dense(checked: Checked, definition: Definition, with_gradient: bool) -> Computed:
    """Value and gradient of a batch from its matrix of logits."""
    plain = _lay_out(checked)
    with_itself = definition.terms[0].scope == "all"
    masks = _masks(plain, with_itself)
    rows = plain.own.stop - plain.own.start
    positives = plain.instances.new_empty(len(definition.terms), rows)
    for term, of_term in zip(definition.terms, positives, strict=True):
        masks.count(plain, term, of_term)
    dtype = checked.samples.compute_dtype
    weighed = _weigh(definition, plain.to_columns(positives), plain.labels, masks.labelled, dtype)
    try:
        seen = examine(plain, lambda: _facts(plain, definition, masks, weighed))
    except DegenerateBatchError as lacks:
        nothing = torch.zeros_like(plain.rows) if with_gradient else None
        return lacking(checked, definition, lacks, nothing)
    logits = _logits(plain)
    if not with_itself:
        logits.diagonal(plain.own.start).fill_(_lowest(logits))
    of_loss = _softmax if definition.terms[0].scope != "other classes" else _against_negatives
    costs, entries = of_loss(plain, definition, masks, logits, weighed, with_gradient)
    values = weighed.values(plain, costs)
    evaluated = conclude(plain, definition, values, weighed.lacking, seen)
    if entries is None:
        return Computed(evaluated, None)
    rows = plain.scaled[plain.own]
    gradient = _gradient(plain, entries, definition.unit)
    return Computed(evaluated, *pulled_back(rows, gradient, checked.scales, checked))


def _lay_out(checked: Checked) -> Plain:
    """Scaled columns, or where a device multiplies half precision, these as they are."""
    if not has_half_products(checked.samples.embeddings):
        return lay_plain(checked, scaled=True)
    scales = checked.scales
    if checked.processes is not None:
        scales = checked.processes.gather(scales)
    return replace(lay_plain(checked, scaled=False), scales=scales)


def _logits(plain: Plain) -> Tensor:
    """(R, N): s_ij."""
    logits = product(plain.rows, plain.columns.T)
    if plain.scales is not None:
        logits.mul_(plain.scales[plain.own, None]).mul_(plain.scales)
    return logits


def _gradient(plain: Plain, entries: Tensor, unit: float) -> Tensor:
    """(R, d): that in scaled rows, from (R, N) entries over a unit; these are overwritten."""
    if plain.scales is None:
        return torch.addmm(entries.new_empty(1), entries, plain.columns, beta=0, alpha=unit)
    options = plain.checked.options
    parts = operands(entries, plain.scales, plain.columns.dtype, options.precision)
    gradient = product(parts[0], beside(plain.columns, parts))
    if len(parts) > 1:
        gradient.sub_(product(parts[1], plain.columns))
    return gradient if unit == 1 else gradient.mul_(unit)


def _facts(plain: Plain, definition: Definition, masks: _Masks, weighed: _Weighed) -> Facts:
    checked = plain.checked
    sizes = checked.scales
    if not checked.options.normalize or checked.processes is not None:
        sizes = torch.linalg.vector_norm(plain.scaled, dim=1)
    ends = {"size": sizes.aminmax(), "label": plain.labels.aminmax()}
    if needs_instances(checked):
        ends["instance"] = plain.instances.aminmax()
    counts = masks.counts(definition)
    having = weighed.lacking.having
    return facts_of(checked, definition, ends, counts, having, len(plain.labels))


@dataclass(frozen=True)
class _Masks:
    """Which columns are what to each row: (R, N) bool."""

    labelled: Tensor  # (N,) bool.
    neighbours: Tensor  # Of one class, of two instances.
    views: Tensor  # Of one instance; the row itself only where it is in its own scope.
    conflicts: Tensor | None  # Of one instance and two labels; None where that cannot be.

    @cached_property
    def own_class(self) -> Tensor:
        """(R, N): views and neighbours."""
        return self.views | self.neighbours

    def pairs(self, term: Term) -> Tensor:
        """(R, N): the term's positives of each row."""
        if len(term.positives) == 2:
            return self.own_class
        return self.views if "views" in term.positives else self.neighbours

    def count(self, plain: Plain, term: Term, positives: Tensor) -> None:
        """How many there are, in (R,) positives."""
        torch.sum(self.pairs(term), 1, out=positives)
        # Neighbours are labelled already.
        if term.labelled_anchors and "views" in term.positives:
            positives.mul_(self.labelled[plain.own])

    def within(self, plain: Plain, scope: Scope, logits: Tensor) -> Tensor:
        """The logits of a scope, and what is lower than all of them elsewhere."""
        if scope != "own class":
            return logits
        # What is lowest stands where a row meets itself.
        return torch.where(self.own_class, logits, logits.diagonal(plain.own.start)[:, None])

    def counts(self, definition: Definition) -> dict[str, Tensor]:
        """What some batches are refused for."""
        counts = {}
        if definition.conventions.anchors_without_positives == "error":
            counts["labelled"] = self.labelled.sum()
        if self.conflicts is not None:
            counts["conflicts"] = self.conflicts.sum()
        if any(term.scope == "own class" for term in definition.terms):
            counts["neighbours"] = self.neighbours.sum()
        return counts


def _masks(plain: Plain, with_itself: bool) -> _Masks:
    labels, instances, own = plain.labels, plain.instances, plain.own
    labelled = labels != UNLABELLED
    views = instances[own, None] == instances
    same = labels[own, None] == labels
    # True > False: of one instance and not of one label, of one class and not of one instance.
    conflicts = views > same if plain.checked.samples.instances_given else None
    neighbours = same.logical_and_(labelled) > views
    if not with_itself:
        views.diagonal(own.start).fill_(False)
    return _Masks(labelled, neighbours, views, conflicts)


@dataclass(frozen=True)
class _Weighed:
    """Weights of each term's anchors in its mean: all pairs of one anchor weigh the same."""

    per_pair: Tensor  # (T, N) in the dtype of the logits, 0 without pairs.
    per_anchor: Tensor  # (T, N), of all its pairs together.
    lacking: Lacking

    def values(self, plain: Plain, costs: Tensor) -> Tensor:
        """(T,): sum_i w_ti costs_ti, from (T, R) sums of - log p over pairs."""
        return (self.per_pair * plain.to_columns(costs)).sum(1)

    def anchors(self, definition: Definition, scope: Scope) -> Tensor:
        """(N,): a_i, what all pairs of an anchor weigh by the terms of a scope, in units."""
        terms = zip(definition.terms, definition.shares, strict=True)
        chosen = (share if term.scope == scope else 0 for term, share in terms)
        return weighted(self.per_anchor.unbind(), chosen)


def _weigh(
    definition: Definition,
    positives: Tensor,
    labels: Tensor,
    labelled: Tensor,
    dtype: torch.dtype,
) -> _Weighed:
    """From (T, N) numbers of positives of each anchor and term.

    pairs:    w_i = 1 / sum_k |P(k)|
    anchors:  w_i = 1 / (A |P(i)|), A the number of anchors with a positive ("drop") or of all
              anchors ("zero")
    """
    has = torch.gt(positives, 0, out=positives.new_empty(positives.shape, dtype=dtype))
    having = has.sum(1, dtype=positives.dtype)
    of_labelled = tuple(term.labelled_anchors for term in definition.terms)
    if definition.conventions.reduction == "pairs":
        totals = positives.sum(1)[:, None]
    elif definition.conventions.anchors_without_positives == "zero":
        totals = torch.empty_like(positives)
        for only, of_term, total in zip(of_labelled, positives, totals, strict=True):
            torch.mul(of_term, labelled.sum() if only else len(labels), out=total)
    else:
        totals = positives * having[:, None]
    per_pair = has / totals.clamp(min=1)
    return _Weighed(per_pair, per_pair * positives, Lacking(having, labels, of_labelled))


def _softmax(
    plain: Plain,
    definition: Definition,
    masks: _Masks,
    logits: Tensor,
    weighed: _Weighed,
    with_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """(T, R) sums of - log p over pairs, and (R, N) G + G' over the unit of weights."""
    scopes = list(dict.fromkeys(term.scope for term in definition.terms))
    log_p = {scope: masks.within(plain, scope, logits).log_softmax(1) for scope in scopes}
    costs = logits.new_empty(len(definition.terms), len(logits))
    for term, of_term in zip(definition.terms, costs, strict=True):
        torch.sum(masks.pairs(term) * log_p[term.scope], 1, out=of_term)
    costs.neg_()
    if not with_gradient:
        return costs, None

    def slopes(log_p: dict[Scope, Tensor], axis: int) -> Tensor:
        """a p - P, all terms together, in place of the first log p, with anchors along an axis."""
        of_side = (plain.own, None) if axis == 0 else (None,)
        first, *others = scopes
        p = {scope: of_scope.exp_() for scope, of_scope in log_p.items()}
        entries = p[first].mul_(weighed.anchors(definition, first)[of_side])
        weights = zip(weighed.per_pair, weighed.per_anchor, definition.shares, strict=True)
        for term, (per_pair, per_anchor, share) in zip(definition.terms, weights, strict=True):
            if term.scope in others:
                entries.addcmul_(p[term.scope], per_anchor[of_side], value=share)
            if share:
                entries.addcmul_(masks.pairs(term), per_pair[of_side], value=-share)
        return entries

    of_rows = slopes(log_p, 0)
    if plain.is_symmetric:
        return costs, of_rows + of_rows.T
    for scope in scopes:
        within = masks.within(plain, scope, logits)
        log_p[scope] = within - plain.to_columns(within.logsumexp(1)[None])
    return costs, of_rows.add_(slopes(log_p, 1))


def _against_negatives(
    plain: Plain,
    definition: Definition,
    masks: _Masks,
    logits: Tensor,
    weighed: _Weighed,
    with_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """SINCERE: the same of l_ij = log(1 + N_i / exp(s_ij)), N_i the sum over other classes."""
    (term,) = definition.terms
    pairs, per_pair = masks.pairs(term), weighed.per_pair[0]
    negatives = logits.masked_fill(pairs, _lowest(logits))
    log_negatives = negatives.logsumexp(1, keepdim=True)
    margins = log_negatives - logits
    costs = softplus(margins, threshold=40).mul_(pairs).sum(1)[None]
    if not with_gradient:
        return costs, None
    shares = margins.sigmoid_().mul_(pairs)
    of_anchors, own = shares.sum(1), (plain.own, None)

    def slopes(shares: Tensor, log_negatives: Tensor, anchors: Tensor, weights: Tensor) -> Tensor:
        softmax = (negatives - log_negatives).exp_().mul_(anchors * weights)
        return softmax.addcmul_(shares, weights, value=-1)

    of_rows = slopes(shares, log_negatives, of_anchors[:, None], per_pair[own])
    if plain.is_symmetric:
        return costs, of_rows + of_rows.T
    log_columns, anchors = plain.to_columns(torch.stack([log_negatives.squeeze(1), of_anchors]))
    shares = (log_columns - logits).sigmoid_().mul_(pairs)
    return costs, of_rows.add_(slopes(shares, log_columns, anchors, per_pair))


def _lowest(logits: Tensor) -> float:
    """What a softmax makes 0, whatever else there is; and a number still, less any logit."""
    return float(torch.finfo(logits.dtype).min) / 2
