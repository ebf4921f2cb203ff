"""What a loss is: terms, each a mean over positive pairs, and what each pair weighs in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NoReturn

import torch
from torch import Tensor

from uncollapse.errors import InputError
from uncollapse.losses._engine.arguments import DegenerateBatchError, precise_dtype
from uncollapse.losses._engine.grouping import Grouping
from uncollapse.records import Conventions

# Which samples k the denominator of anchor i sums over; "all" holds i itself, and (i, i) is then
# among the pairs of views. With "other classes" each pair is in a denominator of its own as well.
Scope = Literal["all", "others", "own class", "other classes"]
# Other views of the anchor's instance; other instances of its class.
Positives = Literal["views", "class"]


@dataclass(frozen=True)
class Term:
    """A mean over positive pairs (i, j) of -log( exp(s_ij) / D_i ), with a weight in the loss."""

    name: str
    weight: float
    positives: tuple[Positives, ...]
    scope: Scope
    missing: tuple[str, str, str]  # The error where a batch has no such pair.
    labelled_anchors: bool = False  # Whether the unlabelled are no anchors.

    def check(self, conventions: Conventions, pairs: int, lacking: int, anchors: int) -> None:
        """Raise if the batch does not have the pairs that the term needs."""
        if not self.weight:
            return  # It is only logged.
        if conventions.anchors_without_positives == "error" and lacking:
            raise InputError(
                f"a positive for every anchor of the {self.name} term",
                f"{lacking} of {anchors} anchors without one",
                "use a class-balanced sampler, or anchors_without_positives='drop' or 'zero'",
            )
        if not pairs:
            raise DegenerateBatchError(*self.missing)


@dataclass(frozen=True)
class Definition:
    """A loss: the sum of its terms, each times its weight."""

    terms: tuple[Term, ...]
    conventions: Conventions
    one_class_remedy: str | None = None  # None where a batch of one class is no error.

    @property
    def unit(self) -> float:
        """The first weight other than 0: with weights in units of it one has not to be applied."""
        return next(term.weight for term in self.terms if term.weight)

    def check(self, is_one_class: bool) -> None:
        """Raise if all samples are of one class and that is an error."""
        if is_one_class and self.one_class_remedy and self.conventions.one_class == "error":
            raise DegenerateBatchError(
                "at least two classes in the batch", "one class only", self.one_class_remedy
            )


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


def refuse_single(rows: int) -> NoReturn:
    """Of a batch of one instance."""
    raise DegenerateBatchError(
        "at least two instances in the batch",
        f"{rows} view(s) of one",
        "give a larger batch; with nothing to contrast the loss says nothing",
    )


def refuse_neighbourless(term: Term) -> NoReturn:
    """Of a batch without two instances of a class, for a term of scope "own class"."""
    raise DegenerateBatchError(
        f"two instances of one class in the batch, for the {term.name} term",
        "no class with two instances",
        "draw several instances of a class, for example with a class-balanced sampler",
    )


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
