"""Losses whose denominators depend on classes: SINCERE, class-conditional InfoNCE, L_spread."""

from __future__ import annotations

from collections.abc import Sequence

import torch.distributed as dist
from torch import Tensor

from uncollapse.errors import InputError
from uncollapse.losses.evaluate import evaluate
from uncollapse.losses.grouping import Grouping
from uncollapse.losses.objective import AgainstNegatives, Part, SoftmaxPart, Term, check_classes
from uncollapse.losses.presets import supcon_term
from uncollapse.losses.samples import check_choice, check_number
from uncollapse.losses.supcl import OneClass, make_options
from uncollapse.losses.weights import (
    AnchorsWithoutPositives,
    pair_weights,
    view_positives,
)

__all__ = ["class_conditional_info_nce_loss", "l_spread_loss", "sincere_loss"]


def sincere_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    instances: Tensor | None = None,
    *,
    temperature: float,
    anchors_without_positives: AnchorsWithoutPositives = "drop",
    normalize: bool = True,
    gather: bool = False,
    process_group: dist.ProcessGroup | None = None,
    tile_size: int | None = None,
) -> Tensor:
    """SINCERE: each positive against the samples of other classes, never against its own class.

        L = mean_i  -1/|P(i)| sum_{j in P(i)} log( exp(s_ij) / (exp(s_ij) + N_i) )
        N_i = sum over k of other classes of exp(s_ik)

    with s_ij = z_i.z_j / tau and P(i) as in `supcon_loss`.

    Args and errors: as in `supcl_loss`; a batch of one class is always an error, because nothing
    is then in the sum over other classes.

    References:
        Feeney and Hughes, "SINCERE: Supervised Information Noise-Contrastive Estimation
        REvisited", 2023 (arXiv 2309.14277).

    Example:
        >>> import torch
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> round(sincere_loss(torch.eye(4), labels, temperature=1).item(), 4)  # log 3
        1.0986
    """
    check_choice("anchors_without_positives", anchors_without_positives, AnchorsWithoutPositives)
    definition = ("sincere", anchors_without_positives)
    options = make_options(temperature, normalize, gather, process_group, tile_size, *definition)

    def parts_of(grouping: Grouping) -> Sequence[Part]:
        check_classes(grouping, "error", "draw batches of several classes; SINCERE needs them")
        return [AgainstNegatives((supcon_term(grouping, 1.0, anchors_without_positives),))]

    return evaluate(embeddings, labels, instances, options, parts_of)[0]


def _class_conditional_term(
    grouping: Grouping, weight: float, anchors_without_positives: AnchorsWithoutPositives
) -> Term:
    """Own views against the rest of the class; the unlabelled are no anchors."""
    views = view_positives(grouping, "exclude") * grouping.labelled
    pairs = pair_weights(
        "class-conditional", views, grouping.labelled, "anchors", anchors_without_positives
    )
    if weight and grouping.instances_of_classes.longest < 2:
        raise InputError(
            "two instances of one class in the batch, for the class-conditional term",
            "no class with two instances",
            "draw several instances of a class, for example with a class-balanced sampler",
        )
    if weight and not pairs.pair_count:
        raise InputError(
            "two views of one labelled instance in the batch",
            "no positive pair of the class-conditional term",
            "give labels, and embeddings (b, p, d) with p > 1 or instance numbers",
        )
    return Term(weight, pairs, with_views=True, with_class=False, scope="own class")


def class_conditional_info_nce_loss(
    embeddings: Tensor,
    labels: Tensor,
    instances: Tensor | None = None,
    *,
    temperature: float,
    anchors_without_positives: AnchorsWithoutPositives = "drop",
    normalize: bool = True,
    gather: bool = False,
    process_group: dist.ProcessGroup | None = None,
    tile_size: int | None = None,
) -> Tensor:
    """Class-conditional InfoNCE: own views against the rest of the own class.

        l_ij = -log( exp(s_ij) / sum_{k != i of i's class} exp(s_ik) ),  j another view of i

    averaged over each anchor's other views and then over anchors. It spreads a class and says
    nothing about other classes; unlabelled samples take no part.

    Args and errors: as in `supcl_loss`.

    References:
        Chen et al., "Perfectly Balanced: Improving Transfer and Robustness of Supervised
        Contrastive Learning", ICML 2022 (arXiv 2204.07596), L_cNCE.

    Example:
        >>> import torch
        >>> views = torch.eye(8).reshape(4, 2, 8)
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> round(class_conditional_info_nce_loss(views, labels, temperature=1).item(), 4)  # log 3
        1.0986
    """
    check_choice("anchors_without_positives", anchors_without_positives, AnchorsWithoutPositives)
    definition = ("class-conditional", anchors_without_positives)
    options = make_options(temperature, normalize, gather, process_group, tile_size, *definition)

    def parts_of(grouping: Grouping) -> Sequence[Part]:
        term = _class_conditional_term(grouping, 1.0, anchors_without_positives)
        return [SoftmaxPart("exclude", (term,))]

    return evaluate(embeddings, labels, instances, options, parts_of)[0]


def l_spread_loss(
    embeddings: Tensor,
    labels: Tensor,
    instances: Tensor | None = None,
    *,
    alpha: float,
    temperature: float,
    anchors_without_positives: AnchorsWithoutPositives = "drop",
    one_class: OneClass = "error",
    normalize: bool = True,
    gather: bool = False,
    process_group: dist.ProcessGroup | None = None,
    tile_size: int | None = None,
) -> Tensor:
    """L_spread: SupCon with a class-conditional InfoNCE share against class collapse.

        L = (1 - alpha) L_SupCon + alpha L_cNCE

    Args:
        embeddings: As in `supcl_loss`, like all arguments that are not named here.
        labels: As in `supcl_loss`.
        instances: As in `supcl_loss`.
        alpha: Weight of the class-conditional term, in [0, 1].
        temperature: tau.
        anchors_without_positives: As in `supcl_loss`, for both terms.
        one_class: As in `supcl_loss`, if alpha < 1.
        normalize: As in `supcl_loss`.
        gather: As in `supcl_loss`.
        process_group: As in `supcl_loss`.
        tile_size: As in `supcl_loss`.

    References:
        Chen et al., ICML 2022 (arXiv 2204.07596). The public code contrasts each pair of views
        apart and takes each positive's denominator over negatives; here both terms are over all
        samples of the batch, with SupCon as in `supcon_loss`.

    Example:
        >>> import torch
        >>> views = torch.eye(8).reshape(4, 2, 8)
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> round(l_spread_loss(views, labels, alpha=1, temperature=1).item(), 4)  # log 3
        1.0986
    """
    check_choice("anchors_without_positives", anchors_without_positives, AnchorsWithoutPositives)
    check_choice("one_class", one_class, OneClass)
    alpha = check_number("alpha", alpha, 0.0, 1.0)
    definition = ("l-spread", alpha, anchors_without_positives, one_class)
    options = make_options(temperature, normalize, gather, process_group, tile_size, *definition)

    def parts_of(grouping: Grouping) -> Sequence[Part]:
        terms = []
        if alpha < 1:
            check_classes(grouping, one_class, "give alpha=1, or one_class='allow' if it is meant")
            terms.append(supcon_term(grouping, 1 - alpha, anchors_without_positives))
        if alpha > 0:
            terms.append(_class_conditional_term(grouping, alpha, anchors_without_positives))
        return [SoftmaxPart("exclude", tuple(terms))]

    return evaluate(embeddings, labels, instances, options, parts_of)[0]
