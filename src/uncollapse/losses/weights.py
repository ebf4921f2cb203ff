"""How much each positive pair of a batch weighs, for every convention."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from uncollapse.errors import InputError
from uncollapse.losses.grouping import Grouping
from uncollapse.losses.samples import precise_dtype

__all__ = [
    "AnchorsWithoutPositives",
    "PairWeights",
    "Reduction",
    "SelfPairs",
    "class_positives",
    "pair_weights",
    "published_positives",
    "view_positives",
]

SelfPairs = Literal["include", "exclude"]
Reduction = Literal["pairs", "anchors"]
AnchorsWithoutPositives = Literal["drop", "zero", "error"]


@dataclass(frozen=True)
class PairWeights:
    """The weight of each positive pair of one term: equal for all pairs of one anchor.

    Attributes:
        per_pair: (N,) float64, the weight of each of anchor i's pairs; 0 without pairs.
        positives: (N,) int64, number of positives of anchor i.
        pair_count: Number of pairs in the batch; the term has no value if it is 0.
        without_positives: Number of the term's anchors that have none.
        has_idle: Whether a row of the batch has no weight.
    """

    per_pair: Tensor
    positives: Tensor
    pair_count: int
    without_positives: int
    has_idle: bool

    @cached_property
    def per_anchor(self) -> Tensor:
        """(N,) float64: all pairs of anchor i together."""
        return self.per_pair * self.positives


def view_positives(grouping: Grouping, self_pairs: SelfPairs) -> Tensor:
    """(N,): views of the anchor's own instance, with the anchor itself or without."""
    views = grouping.instances.size_of
    return views if self_pairs == "include" else views - 1


def class_positives(grouping: Grouping) -> Tensor:
    """(N,): samples of the anchor's class and of another instance; 0 for the unlabelled."""
    return (grouping.classes.size_of - grouping.instances.size_of) * grouping.labelled


def published_positives(grouping: Grouping) -> Tensor:
    """(N,): all other samples of the anchor's class, its own views among them (Khosla et al.)."""
    return grouping.classes.size_of - 1


def pair_weights(
    term: str,
    positives: Tensor,
    anchors: Tensor | None,
    reduction: Reduction,
    anchors_without_positives: AnchorsWithoutPositives,
) -> PairWeights:
    """Weights with which the mean over a term's positive pairs is taken.

        pairs:    w_i = 1 / sum_k |P(k)|
        anchors:  w_i = 1 / (A |P(i)|), A the number of anchors with a positive ("drop") or of all
                  anchors ("zero")

    Args:
        term: Its name, for messages.
        positives: (N,) number of positives of each row, |P(i)|.
        anchors: (N,) bool, the rows that are anchors of this term; None for all.
        reduction: Mean over pairs, or over each anchor's pairs and then over anchors.
        anchors_without_positives: What an anchor without a positive does.

    Returns:
        The weights; all 0 if no row has a positive.

    Raises:
        InputError: An anchor has no positive and the policy is "error".
    """
    has = positives > 0
    anchors = torch.ones_like(has) if anchors is None else anchors
    pairs, with_positives, all_anchors = torch.stack(
        [positives.sum(), has.sum(), anchors.sum()]
    ).tolist()
    lacking = all_anchors - with_positives
    if anchors_without_positives == "error" and lacking:
        raise InputError(
            f"a positive for every anchor of the {term} term",
            f"{lacking} of {all_anchors} anchors without one",
            "use a class-balanced sampler, or anchors_without_positives='drop' or 'zero'",
        )
    precise = precise_dtype(positives.device)
    if reduction == "pairs":
        per_pair = has.to(precise) / max(pairs, 1)
    else:
        counted = with_positives if anchors_without_positives == "drop" else all_anchors
        per_pair = has.to(precise) / (positives.clamp(min=1) * max(counted, 1))
    return PairWeights(per_pair, positives, pairs, lacking, with_positives < len(positives))
