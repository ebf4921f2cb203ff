"""The dense backend: the formula over the whole N x N matrix, without a sort and without waiting.

    s = y y',  log p = log_softmax of s over each anchor's scope,  P_ij = w_i for pairs (i, j)
    L = - sum P log p,  G = a p - P with a_i = sum_j P_ij,  dL/dy = (G + G') y

Value and gradient are made together, so that nothing of size N^2 lives until the backward pass; for
a moment there are 13 bytes for each entry of the matrix, in float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from uncollapse.losses._engine.arguments import UNLABELLED, DegenerateBatchError
from uncollapse.losses._engine.batch import Checked, pulled_back
from uncollapse.losses._engine.definition import Definition, Scope, Term
from uncollapse.losses._engine.plain import Plain, Weighed, conclude, examine, lay_plain, weigh
from uncollapse.losses._engine.result import Computed, lacking


def evaluate_dense(checked: Checked, definition: Definition, with_gradient: bool) -> Computed:
    """Value and gradient of a batch from its matrix of logits."""
    plain = lay_plain(checked)
    with_itself = definition.terms[0].scope == "all"
    masks = _masks(plain, with_itself)
    positives = torch.stack([masks.positives(plain, term) for term in definition.terms])
    dtype = plain.columns.dtype
    weighed = weigh(definition, plain.to_columns(positives), masks.labelled, dtype)
    try:
        seen = examine(plain, definition, weighed, masks.counts(definition))
    except DegenerateBatchError as lacks:
        nothing = torch.zeros_like(plain.rows) if with_gradient else None
        return lacking(checked, definition, lacks, nothing)
    logits = plain.rows @ plain.columns.T
    if not with_itself:
        logits.diagonal(plain.own.start).fill_(_lowest(logits))
    of_loss = _softmax if definition.terms[0].scope != "other classes" else _against_negatives
    likelihoods, entries = of_loss(plain, definition, masks, logits, weighed, with_gradient)
    evaluated = conclude(plain, definition, weighed, likelihoods, seen)
    if entries is None:
        return Computed(evaluated, None)
    gradient = entries @ plain.columns
    return Computed(evaluated, *pulled_back(plain.rows, gradient, checked.scales, checked))


@dataclass(frozen=True)
class _Masks:
    """Which columns are what to each row: (R, N) bool."""

    labelled: Tensor  # (N,) bool.
    neighbours: Tensor  # Of one class, of two instances.
    views: Tensor  # Of one instance; the row itself only where it is in its own scope.
    conflicts: Tensor | None  # Of one instance and two labels; None where that cannot be.

    def pairs(self, term: Term) -> Tensor:
        """(R, N): the term's positives of each row."""
        if len(term.positives) == 2:
            return self.views | self.neighbours
        return self.views if "views" in term.positives else self.neighbours

    def positives(self, plain: Plain, term: Term) -> Tensor:
        """(R,): how many there are."""
        count = self.pairs(term).sum(1)
        # Neighbours are labelled already.
        if term.labelled_anchors and "views" in term.positives:
            count.mul_(self.labelled[plain.own])
        return count

    def within(self, scope: Scope, logits: Tensor) -> Tensor:
        """The logits of a scope, and what is lower than all of them elsewhere."""
        if scope != "own class":
            return logits
        return logits.masked_fill(~(self.views | self.neighbours), _lowest(logits))

    def counts(self, definition: Definition) -> dict[str, Tensor]:
        """What some batches are refused for."""
        counts = {}
        if self.conflicts is not None:
            counts["conflicts"] = self.conflicts.sum()
        if any(term.scope == "own class" for term in definition.terms):
            counts["neighbours"] = self.neighbours.sum()
        return counts


def _masks(plain: Plain, with_itself: bool) -> _Masks:
    labels, instances, own = plain.labels, plain.instances, plain.own
    labelled = labels != UNLABELLED
    views = instances[own, None] == instances
    conflicts = None
    if plain.checked.samples.instances_given:
        conflicts = views & (labels[own, None] != labels)
    # True > False: of one class and not of one instance.
    neighbours = (labels[own, None] == labels).logical_and_(labelled) > views
    if not with_itself:
        views.diagonal(own.start).fill_(False)
    return _Masks(labelled, neighbours, views, conflicts)


def _softmax(
    plain: Plain,
    definition: Definition,
    masks: _Masks,
    logits: Tensor,
    weighed: Weighed,
    with_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """(T, R) sums of log p over pairs, and (R, N) G + G'."""
    scopes = list(dict.fromkeys(term.scope for term in definition.terms))
    log_p = {scope: masks.within(scope, logits).log_softmax(1) for scope in scopes}
    likelihoods = torch.stack(
        [(masks.pairs(term) * log_p[term.scope]).sum(1) for term in definition.terms]
    )
    if not with_gradient:
        return likelihoods, None

    def slopes(scope: Scope, log_p: Tensor, axis: int) -> Tensor:
        """a p - P of the scope's terms in place of log p, with anchors along an axis."""
        of_side = (plain.own, None) if axis == 0 else (None,)
        terms = [(n, t) for n, t in enumerate(definition.terms) if t.scope == scope and t.weight]
        anchors = weighed.anchors(definition, scope)
        entries = log_p.exp_().mul_(anchors[of_side])
        for number, term in terms:
            per_pair = weighed.per_pair[number][of_side]
            entries.addcmul_(masks.pairs(term), per_pair, value=-term.weight)
        return entries

    total = None
    for scope in scopes:
        of_rows = slopes(scope, log_p.pop(scope), 0)
        if plain.is_symmetric:
            of_columns = of_rows.T
        else:
            within = masks.within(scope, logits)
            log_denominators = plain.to_columns(within.logsumexp(1)[None])
            of_columns = slopes(scope, within - log_denominators, 1)
        both = of_rows + of_columns
        total = both if total is None else total.add_(both)
    return likelihoods, total


def _against_negatives(
    plain: Plain,
    definition: Definition,
    masks: _Masks,
    logits: Tensor,
    weighed: Weighed,
    with_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """SINCERE: the same of l_ij = log(1 + N_i / exp(s_ij)), N_i the sum over other classes."""
    (term,) = definition.terms
    pairs = masks.pairs(term)
    others = ~pairs
    others.diagonal(plain.own.start).fill_(False)
    log_negatives = logits.masked_fill(~others, _lowest(logits)).logsumexp(1, keepdim=True)
    margins = log_negatives - logits
    likelihoods = torch.where(pairs, softplus(margins, threshold=40), 0).sum(1).neg_()[None]
    if not with_gradient:
        return likelihoods, None
    shares = torch.where(pairs, margins.sigmoid_(), 0).sum(1)
    per_pair = weighed.per_pair[0] * term.weight

    def slopes(log_negatives: Tensor, shares: Tensor, per_pair: Tensor) -> Tensor:
        softmax = torch.where(others, (logits - log_negatives).exp_(), 0).mul_(shares * per_pair)
        return softmax.sub_(torch.where(pairs, (log_negatives - logits).sigmoid_(), 0) * per_pair)

    of_rows = slopes(log_negatives, shares[:, None], per_pair[plain.own, None])
    if plain.is_symmetric:
        return likelihoods, of_rows + of_rows.T
    of_columns = plain.to_columns(torch.stack([log_negatives.squeeze(1), shares]))
    return likelihoods, of_rows + slopes(of_columns[0], of_columns[1], per_pair)


def _lowest(logits: Tensor) -> float:
    """What a softmax makes 0, whatever else there is; and a number still, less any logit."""
    return float(torch.finfo(logits.dtype).min) / 2
