"""The dense backend: the formula over the whole N x N matrix, without a sort and without waiting.

    s = y y',  log p = log_softmax of s over each anchor's scope,  P_ij = w_i for pairs (i, j)
    L = - sum P log p,  G = a p - P with a_i = sum_j P_ij,  dL/dy = (G + G') y

Value and gradient are made together, so that nothing of size N^2 lives until the backward pass; for
a moment there are 13 bytes for each entry of the matrix, in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import softplus

from uncollapse.losses._engine.arguments import UNLABELLED, DegenerateBatchError
from uncollapse.losses._engine.batch import Checked, pulled_back
from uncollapse.losses._engine.checks import Facts
from uncollapse.losses._engine.definition import Definition, Positives, Scope
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

# What a term's positives are called among the masks.
_KINDS: dict[tuple[Positives, ...], str] = {
    ("views",): "views",
    ("class",): "neighbours",
    ("views", "class"): "own class",
}


def evaluate_dense(checked: Checked, definition: Definition, with_gradient: bool) -> Computed:
    """Value and gradient of a batch from its matrix of logits."""
    plain = _lay_out(checked)
    masks = _masks(plain, definition)
    positives, dtype = plain.to_columns(masks.positives), checked.samples.compute_dtype
    weighed = _weigh(definition, positives, plain.labels, masks.labelled, dtype)
    try:
        seen = examine(plain, lambda: _facts(plain, definition, masks, weighed))
    except DegenerateBatchError as lacks:
        nothing = torch.zeros_like(plain.rows) if with_gradient else None
        return lacking(checked, definition, lacks, nothing)
    of_loss = _softmax if definition.terms[0].scope != "other classes" else _against_negatives
    costs, entries = of_loss(plain, definition, masks, weighed, with_gradient)
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


def _logits(plain: Plain, masks: _Masks, scopes: Sequence[Scope]) -> Tensor:
    """(S, R, N): s_ij of each scope, and what is lower than all of them where it has none."""
    wide = torch.promote_types(plain.columns.dtype, torch.float32)
    own_class = masks.own_class
    both = plain.columns.new_empty(1 + (own_class is not None), *masks.views.shape, dtype=wide)
    logits = product(plain.rows, plain.columns.T, out=both[0])
    if plain.scales is not None:
        logits.mul_(plain.scales[plain.own, None]).mul_(plain.scales)
    diagonal = logits.diagonal(plain.own.start)
    if "all" not in scopes:
        diagonal.fill_(_lowest(logits))
    if own_class is not None:
        torch.where(own_class, logits, diagonal[:, None], out=both[1])
    return both[-len(scopes) :]


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
    counts = dict(masks.counts)
    if definition.conventions.anchors_without_positives == "error":
        counts["labelled"] = masks.labelled.sum()
    having = weighed.lacking.having
    return facts_of(checked, definition, ends, counts, having, len(plain.labels))


@dataclass(frozen=True)
class _Masks:
    """Which columns are what to each row."""

    labelled: Tensor  # (N,) bool.
    pairs: Tensor  # (T, R, N) bool: the positives of each term.
    views: Tensor  # (R, N) bool, of one instance; the row itself only where its scope has it.
    own_class: Tensor | None  # (R, N) bool: views and neighbours; where that is a scope.
    positives: Tensor  # (T, R) int64, how many of each term.
    counts: dict[str, Tensor]  # What some batches are refused for.


def _masks(plain: Plain, definition: Definition) -> _Masks:
    """All masks that are counted are parts of one tensor, counted at once."""
    labels, instances, own, terms = plain.labels, plain.instances, plain.own, definition.terms
    names = [_KINDS[term.positives] for term in terms]
    has_own = any(term.scope == "own class" for term in terms)
    names += ["conflicts"] * plain.checked.samples.instances_given + ["neighbours"] * has_own
    counted = labels.new_empty(len(names), own.stop - own.start, len(labels), dtype=torch.bool)
    place = dict(zip(names, counted, strict=True))

    labelled = labels != UNLABELLED
    views = torch.eq(instances[own, None], instances, out=place.get("views"))
    same = labels[own, None] == labels
    # True > False: of one instance and not of one label, of one class and not of one instance.
    if "conflicts" in place:
        torch.gt(views, same, out=place["conflicts"])
    same.logical_and_(labelled)
    neighbours = torch.gt(same, views, out=place.get("neighbours"))
    if terms[0].scope != "all":
        views.diagonal(own.start).fill_(False)
    in_class = place.get("own class")
    if in_class is not None or has_own:
        in_class = torch.bitwise_or(views, neighbours, out=in_class)

    counts = counted.sum(2)
    positives, rest = counts[: len(terms)], counts[len(terms) :]
    for term, of_term in zip(terms, positives, strict=True):
        # Neighbours are labelled already.
        if term.labelled_anchors and "views" in term.positives:
            of_term.mul_(labelled[own])
    totals = rest.sum(1).unbind() if len(rest) else ()
    named = dict(zip(names[len(terms) :], totals, strict=True))
    own_class, pairs = in_class if has_own else None, counted[: len(terms)]
    return _Masks(labelled, pairs, views, own_class, positives, named)


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
    weighed: _Weighed,
    with_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """(T, R) sums of - log p over pairs, and (R, N) G + G' over the unit of weights.

    All terms have one scope, or each has its own.
    """
    scopes = list(dict.fromkeys(term.scope for term in definition.terms))
    logits = _logits(plain, masks, scopes)
    log_p = logits.log_softmax(2)
    if plain.is_symmetric:
        del logits  # Not needed again, and as large as what follows.
    costs = (masks.pairs * log_p).sum(2).neg_()
    if not with_gradient:
        return costs, None

    def slopes(log_p: Tensor, axis: int) -> Tensor:
        """a p - P, all terms together, in place of the first log p, with anchors along an axis."""
        of_side = (plain.own, None) if axis == 0 else (None,)
        first, *others = scopes
        p = dict(zip(scopes, log_p.exp_(), strict=True))
        entries: Tensor = p[first].mul_(weighed.anchors(definition, first)[of_side])
        weights = zip(weighed.per_pair, weighed.per_anchor, definition.shares, strict=True)
        terms = zip(definition.terms, masks.pairs, weights, strict=True)
        for term, pairs, (per_pair, per_anchor, share) in terms:
            if term.scope in others:
                entries.addcmul_(p[term.scope], per_anchor[of_side], value=share)
            if share:
                entries.addcmul_(pairs, per_pair[of_side], value=-share)
        return entries

    of_rows = slopes(log_p, 0)
    if plain.is_symmetric:
        return costs, of_rows + of_rows.T
    log_p = logits - plain.to_columns(logits.logsumexp(2))[:, None]
    return costs, of_rows.add_(slopes(log_p, 1))


def _against_negatives(
    plain: Plain,
    definition: Definition,
    masks: _Masks,
    weighed: _Weighed,
    with_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """SINCERE: the same of l_ij = log(1 + N_i / exp(s_ij)), N_i the sum over other classes."""
    (logits,) = _logits(plain, masks, ["other classes"])
    (pairs,), per_pair = masks.pairs, weighed.per_pair[0]
    negatives = logits.masked_fill(pairs, _lowest(logits))
    log_negatives = negatives.logsumexp(1, keepdim=True)
    margins = log_negatives - logits
    costs = softplus(margins, threshold=40).mul_(pairs).sum(1)[None]
    if not with_gradient:
        return costs, None
    shares = margins.sigmoid_().mul_(pairs)
    of_anchors, own = shares.sum(1), (plain.own, None)

    def slopes(shares: Tensor, log_negatives: Tensor, anchors: Tensor, weights: Tensor) -> Tensor:
        softmax: Tensor = (negatives - log_negatives).exp_().mul_(anchors * weights)
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
