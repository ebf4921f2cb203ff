"""The SupCL loss (1 - alpha) L_sup + alpha L_self under every convention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch.distributed as dist
from torch import Tensor

from uncollapse.errors import InputError
from uncollapse.losses.batch import Options
from uncollapse.losses.evaluate import evaluate
from uncollapse.losses.grouping import Grouping
from uncollapse.losses.objective import Part, SoftmaxPart, Term, check_classes
from uncollapse.losses.samples import check_choice, check_flag, check_number
from uncollapse.losses.tiles import Scope
from uncollapse.losses.weights import (
    AnchorsWithoutPositives,
    PairWeights,
    Reduction,
    SelfPairs,
    class_positives,
    pair_weights,
    view_positives,
)

__all__ = ["OneClass", "SupCLTerms", "check_arguments", "make_options", "supcl_loss", "supcl_terms"]

OneClass = Literal["error", "allow"]


@dataclass(frozen=True)
class SupCLTerms:
    """The loss and what it is made of.

    Attributes:
        loss: Scalar, (1 - alpha) supervised + alpha self_supervised, in nats; has the gradient.
        supervised: Scalar without gradient; None if the batch has no such pair.
        self_supervised: Scalar without gradient; None if the batch has no such pair.
        supervised_anchors_without_positives: Labelled samples whose class has no other instance in
            the batch. Unlabelled samples are no anchors of this term and never counted.
        self_supervised_anchors_without_positives: Samples without another view in the batch.
    """

    loss: Tensor
    supervised: Tensor | None
    self_supervised: Tensor | None
    supervised_anchors_without_positives: int
    self_supervised_anchors_without_positives: int


def supcl_terms(
    embeddings: Tensor,
    labels: Tensor | None,
    instances: Tensor | None = None,
    *,
    alpha: float,
    temperature: float,
    self_pairs: SelfPairs = "exclude",
    reduction: Reduction = "anchors",
    anchors_without_positives: AnchorsWithoutPositives = "drop",
    one_class: OneClass = "error",
    normalize: bool = True,
    gather: bool = False,
    process_group: dist.ProcessGroup | None = None,
    tile_size: int | None = None,
) -> SupCLTerms:
    """`supcl_loss` with its two terms apart, for logging, at no extra cost.

    Arguments and errors are those of `supcl_loss`.

    Returns:
        The loss, which has the gradient, its terms and the number of anchors without a positive.

    Example:
        >>> import torch
        >>> views = torch.eye(4).reshape(2, 2, 4)  # two instances with two views each
        >>> terms = supcl_terms(views, torch.tensor([0, 1]), alpha=1, temperature=0.5)
        >>> round(terms.self_supervised.item(), 4), terms.supervised is None
        (1.0986, True)
        >>> terms.supervised_anchors_without_positives
        4
    """
    check_arguments(self_pairs, reduction, anchors_without_positives, one_class)
    alpha = check_number("alpha", alpha, 0.0, 1.0)
    conventions = (self_pairs, reduction, anchors_without_positives, one_class)
    definition = ("supcl", alpha, *conventions)
    options = make_options(temperature, normalize, gather, process_group, tile_size, *definition)
    pairs: list[PairWeights] = []

    def parts_of(grouping: Grouping) -> Sequence[Part]:
        if alpha < 1:
            check_classes(grouping, one_class, "give alpha=1, or one_class='allow' if it is meant")
        terms = []
        scope: Scope = "all" if self_pairs == "include" else "others"
        for name, weight, positives, anchors in (
            ("supervised", 1 - alpha, class_positives(grouping), grouping.labelled),
            ("self-supervised", alpha, view_positives(grouping, self_pairs), None),
        ):
            # A term without weight is only logged: nothing about it is an error.
            is_logged_only = not weight and anchors_without_positives == "error"
            policy = "drop" if is_logged_only else anchors_without_positives
            pairs.append(pair_weights(name, positives, anchors, reduction, policy))
            is_supervised = name == "supervised"
            terms.append(Term(weight, pairs[-1], not is_supervised, is_supervised, scope))
        _check_pairs(*terms)
        return [SoftmaxPart(self_pairs, tuple(terms))]

    loss, values = evaluate(embeddings, labels, instances, options, parts_of)
    supervised, self_supervised = (
        value if pair.pair_count else None for pair, value in zip(pairs, values, strict=True)
    )
    return SupCLTerms(
        loss,
        supervised,
        self_supervised,
        pairs[0].without_positives,
        pairs[1].without_positives,
    )


def check_arguments(
    self_pairs: str, reduction: str, anchors_without_positives: str, one_class: str
) -> None:
    """Raise if one of the conventions is none."""
    check_choice("self_pairs", self_pairs, SelfPairs)
    check_choice("reduction", reduction, Reduction)
    check_choice("anchors_without_positives", anchors_without_positives, AnchorsWithoutPositives)
    check_choice("one_class", one_class, OneClass)


def _check_pairs(supervised: Term, self_supervised: Term) -> None:
    """Raise if a term that has weight has no pair."""
    if supervised.weight and not supervised.pairs.pair_count:
        raise InputError(
            "two instances of one class in the batch, because alpha < 1",
            "no positive pair of the supervised term",
            "give labels and a class-balanced batch, or alpha=1",
        )
    if self_supervised.weight and not self_supervised.pairs.pair_count:
        raise InputError(
            "two views of one instance in the batch, because alpha > 0",
            "no positive pair of the self-supervised term",
            "give embeddings (b, p, d) with p > 1 or instance numbers, or alpha=0",
        )


def make_options(
    temperature: float,
    normalize: bool,
    gather: bool,
    process_group: dist.ProcessGroup | None,
    tile_size: int | None,
    *definition: object,
) -> Options:
    """Check what every loss of this room takes; `definition` is the loss's name and the rest."""
    temperature = check_number("temperature", temperature, 1e-6, 1e6)
    check_flag("normalize", normalize)
    check_flag("gather", gather)
    is_size = isinstance(tile_size, int) and not isinstance(tile_size, bool) and tile_size > 0
    if tile_size is not None and not is_size:
        raise InputError(
            "tile_size a positive integer or None", f"tile_size = {tile_size!r}", "leave it out"
        )
    return Options(temperature, normalize, gather, process_group, tile_size, definition)


def supcl_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    instances: Tensor | None = None,
    *,
    alpha: float,
    temperature: float,
    self_pairs: SelfPairs = "exclude",
    reduction: Reduction = "anchors",
    anchors_without_positives: AnchorsWithoutPositives = "drop",
    one_class: OneClass = "error",
    normalize: bool = True,
    gather: bool = False,
    process_group: dist.ProcessGroup | None = None,
    tile_size: int | None = None,
) -> Tensor:
    """Supervised contrastive loss with a self-supervised share against class collapse.

        L = (1 - alpha) L_sup + alpha L_self
        L_sup, L_self = mean over positive pairs (i, j) of -log( exp(z_i.z_j / tau) / D_i )
        D_i = sum over k of exp(z_i.z_k / tau)

    L_sup's pairs are of one class and of different instances, L_self's are views of one instance.
    With self_pairs="include", the anchor i is in D_i and (i, i) among L_self's pairs; with
    "exclude" it is in neither. Exact to rounding for every temperature. Memory is linear in N:
    the N x N similarity matrix never exists.

    Args:
        embeddings: (N, d), or (b, p, d) for p views of b instances; float16, bfloat16, float32 or
            float64. Half precision is computed in float32.
        labels: (N,) or (b,), integers from 0; -1 for unlabelled: such a sample is in every
            denominator and in L_self, but of no class. None if all are unlabelled.
        instances: (N,) or (b,), integers; equal numbers are views of one instance. Without them
            each row of the first dimension is an instance. With `gather`, numbers of different
            processes are compared, so give numbers of the data set, or none.
        alpha: Weight of L_self, in [0, 1].
        temperature: tau, in [1e-6, 1e6].
        self_pairs: "exclude" as SimCLR and SupCon, "include" as the CIFAR code of Lee et al.
        reduction: "anchors": mean over each anchor's pairs, then over anchors; "pairs": mean over
            all pairs of the batch. They differ when classes differ in size.
        anchors_without_positives: "drop": left out of the mean; "zero": counted as 0, as
            SupContrast does; "error". Under "pairs" such an anchor has nothing to leave out, so
            "drop" and "zero" agree.
        one_class: Whether a batch of one class only, without unlabelled samples, is an error when
            alpha < 1: L_sup then has no other class to tell apart.
        normalize: Divide embeddings by their norm; without it they are taken as they are.
        gather: With torch.distributed initialised, the loss is that of all processes' samples
            together, and gradients are right after DDP's averaging. Otherwise of no effect.
        process_group: The processes to gather from; None for all.
        tile_size: Largest side of a tile; None for a choice by batch size and device.

    Returns:
        Scalar in nats; float32, or float64 for float64 embeddings.

    Raises:
        InputError: An argument is out of range, shapes do not fit, an embedding is not finite or
            zero, a term with weight has no positive pair, or what an option calls an error.

    Example:
        >>> import torch
        >>> views = torch.randn(8, 2, 16, generator=torch.Generator().manual_seed(0))
        >>> views.requires_grad_()  # doctest: +ELLIPSIS
        tensor(...)
        >>> labels = torch.tensor([0, 0, 1, 1, 2, 2, -1, -1])
        >>> loss = supcl_loss(views, labels, alpha=0.5, temperature=0.1)
        >>> loss.backward()

    References:
        Lee et al., "A Theoretical Framework for Preventing Class Collapse in Supervised
        Contrastive Learning", AISTATS 2025 (arXiv 2503.08203), equations of L_sup and L_self.
    """
    return supcl_terms(
        embeddings,
        labels,
        instances,
        alpha=alpha,
        temperature=temperature,
        self_pairs=self_pairs,
        reduction=reduction,
        anchors_without_positives=anchors_without_positives,
        one_class=one_class,
        normalize=normalize,
        gather=gather,
        process_group=process_group,
        tile_size=tile_size,
    ).loss
