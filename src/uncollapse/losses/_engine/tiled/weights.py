"""What each pair of a batch weighs in a term's mean, from the sizes of classes and instances."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from uncollapse.losses._engine.arguments import precise_dtype
from uncollapse.losses._engine.definition import (
    Definition,
    Term,
    refuse_neighbourless,
    refuse_single,
)
from uncollapse.losses._engine.grouping import Grouping
from uncollapse.records import Conventions


@dataclass(frozen=True)
class TermPairs:
    """A term's positive pairs in a batch; all pairs of one anchor weigh the same."""

    term: Term
    per_pair: Tensor  # (N,) float64, the weight of each of anchor i's pairs; 0 without pairs.
    per_anchor: Tensor  # (N,) float64, the weight of all of them together.
    count: int  # Of pairs; the term has no value if it is 0.
    anchors_without_positives: int
    has_idle: bool  # Whether a row of the batch has no pair.


def weigh_pairs(definition: Definition, grouping: Grouping) -> list[TermPairs]:
    """The pairs of every term, if the batch has those that the loss needs."""
    if len(grouping.instances.sizes) < 2:
        refuse_single(len(grouping.labelled))
    definition.check(len(grouping.classes.sizes) == 1 and bool(grouping.labelled[0]))
    return [_term_pairs(term, definition.conventions, grouping) for term in definition.terms]


def _term_pairs(term: Term, conventions: Conventions, grouping: Grouping) -> TermPairs:
    """Weights with which the mean over a term's positive pairs is taken; all 0 if it has none.

    pairs:    w_i = 1 / sum_k |P(k)|
    anchors:  w_i = 1 / (A |P(i)|), A the number of anchors with a positive ("drop") or of all
              anchors ("zero")
    """
    # An unlabelled instance is a class of its own.
    views, members = (
        runs.sizes.index_select(0, runs.run_of_row)
        for runs in (grouping.instances, grouping.classes)
    )
    positives = torch.zeros_like(views)
    if "views" in term.positives:
        positives = views if term.scope == "all" else views - 1
    if "class" in term.positives:
        positives = positives + (members - views)
    anchors = grouping.labelled if term.labelled_anchors else torch.ones_like(grouping.labelled)
    positives = positives * anchors
    has = positives > 0
    pair_count, with_positives, anchor_count = torch.stack(
        [positives.sum(), has.sum(), anchors.sum()]
    ).tolist()
    lacking = anchor_count - with_positives
    if term.scope == "own class" and grouping.instances_of_classes.longest < 2:
        refuse_neighbourless(term)
    term.check(conventions, pair_count, lacking, anchor_count)
    if conventions.reduction == "pairs":
        weights = has.to(precise_dtype(has.device)) / max(pair_count, 1)
    else:
        # A term that is only logged knows no error: its "error" is "drop".
        counts_all = conventions.anchors_without_positives == "zero"
        counted = anchor_count if counts_all else with_positives
        per_anchor = positives.clamp(min=1) * max(counted, 1)
        weights = has.to(precise_dtype(has.device)) / per_anchor
    has_idle = with_positives < len(positives)
    return TermPairs(term, weights, weights * positives, pair_count, lacking, has_idle)
